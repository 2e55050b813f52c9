//! Assertions that say what was expected and what came, and the figures of a scenario.

use anyhow::{Result, bail};
use std::fmt::{self, Debug, Display};

/// Figures that a scenario measured, printed on its line.
#[derive(Debug, Default)]
pub struct Measured(Vec<String>);

impl Measured {
    /// Notes one figure with its name and unit.
    pub fn add(&mut self, figure: impl Into<String>) {
        self.0.push(figure.into());
    }
}

impl Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Fails where both differ.
pub fn equal<T: PartialEq<U> + Debug, U: Debug>(what: impl Display, actual: T, expected: U) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    bail!("{what}: expected {expected:?}, got {actual:?}")
}

/// Fails where `actual` is below `bound`.
pub fn at_least<T: PartialOrd + Debug>(what: impl Display, actual: T, bound: T) -> Result<()> {
    if actual >= bound {
        return Ok(());
    }
    bail!("{what}: expected at least {bound:?}, got {actual:?}")
}

/// Fails where `actual` is above `bound`.
pub fn at_most<T: PartialOrd + Debug>(what: impl Display, actual: T, bound: T) -> Result<()> {
    if actual <= bound {
        return Ok(());
    }
    bail!("{what}: expected at most {bound:?}, got {actual:?}")
}

/// Fails where `text` does not hold `part`.
pub fn contains(what: impl Display, text: &str, part: &str) -> Result<()> {
    if text.contains(part) {
        return Ok(());
    }
    bail!("{what}: expected it to hold {part:?}, got {text:?}")
}

/// Fails where there are differences, naming the first few.
pub fn no_differences(what: impl Display, differences: &[String]) -> Result<()> {
    const SHOWN: usize = 8;
    if differences.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = differences.iter().take(SHOWN).map(String::as_str).collect();
    bail!("{what}: {} differences, such as {}", differences.len(), shown.join(" | "))
}

/// Median and maximum of some milliseconds.
pub fn p50_and_max(mut values_ms: Vec<f64>) -> (f64, f64) {
    values_ms.sort_by(f64::total_cmp);
    let middle = values_ms.get(values_ms.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    (middle, values_ms.last().copied().unwrap_or_default())
}
