//! What a single value may be: the trait, and the kinds that are no names, addresses or secrets.

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

use super::suggest::nearest;

/// Why a text is no value of a kind; never holds the text itself, which may be a secret put in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A predicate, such as `is no duration`.
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// A kind of single value: parses a text into a type that can't be wrong.
pub(super) trait Kind {
    type Value;

    /// What a value looks like, with an article: `a duration, as …`.
    fn name(&self) -> String;

    fn parse(&self, text: &str) -> Result<Self::Value, Fault>;

    /// Whether the text is never to be printed.
    fn secret(&self) -> bool {
        false
    }

    /// Whether quotes make it another type (text) and thus wrong.
    fn plain_only(&self) -> bool {
        false
    }
}

/// A duration within bounds, and why they are there.
pub(super) struct DurationIn {
    pub(super) min: Duration,
    pub(super) max: Duration,
    pub(super) why: &'static str,
}

/// The units of durations, the longest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

impl Kind for DurationIn {
    type Value = Duration;

    fn name(&self) -> String {
        format!("a duration from {} to {}, as 500ms, 10s, 10min or 1h", ms(self.min), ms(self.max))
    }

    fn parse(&self, text: &str) -> Result<Duration, Fault> {
        let remedy = || format!("write {}", self.name());
        let (number, unit) = split_unit(text);
        let Some((_, factor)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            let what = if unit.is_empty() { "is a duration without its unit" } else { "is no duration" };
            return Err(Fault::new(what, remedy()));
        };
        let number: u64 = number.parse().map_err(|_| Fault::new("is no duration", remedy()))?;
        let value = Duration::from_millis(number.saturating_mul(*factor));
        if value < self.min || value > self.max {
            let what = format!("is outside {} to {}", ms(self.min), ms(self.max));
            return Err(Fault::new(what, format!("stay within the bounds: {}", self.why)));
        }
        Ok(value)
    }
}

/// A duration as it is written in the file, in the longest unit that holds it whole.
pub(super) fn ms(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, factor): &&(&str, u64)| total >= *factor && total.is_multiple_of(*factor);
    let (unit, factor) = TIME_UNITS.iter().find(fits).copied().unwrap_or(("ms", 1));
    format!("{}{unit}", total / factor)
}

/// A size in bytes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(NonZeroU64);

impl Bytes {
    /// The number of bytes.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The number of bytes as a length in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.get()).unwrap_or(usize::MAX)
    }
}

impl From<Bytes> for NonZeroU64 {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS
            .iter()
            .find(|(_, factor)| self.get().is_multiple_of(*factor))
            .copied()
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.get() / factor)
    }
}

/// A size within bounds, and why they are there.
pub(super) struct BytesIn {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) why: &'static str,
}

/// The units of sizes, the largest first. Powers of 1024 alone, so that nobody has to guess.
const SIZE_UNITS: [(&str, u64); 3] = [("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl BytesIn {
    fn bounds(&self) -> (String, String) {
        let show =
            |bytes| NonZeroU64::new(bytes).map_or_else(|| "0B".to_owned(), |bytes| Bytes(bytes).to_string());
        (show(self.min), show(self.max))
    }
}

impl Kind for BytesIn {
    type Value = Bytes;

    fn name(&self) -> String {
        let (min, max) = self.bounds();
        format!("a size from {min} to {max}, as 512KiB or 2MiB")
    }

    fn parse(&self, text: &str) -> Result<Bytes, Fault> {
        let fault = |what: &str| Fault::new(what, format!("write {}", self.name()));
        let (number, unit) = split_unit(text);
        let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(fault(if unit.is_empty() { "is a size without its unit" } else { "is no size" }));
        };
        let number: u64 = number.parse().map_err(|_| fault("is no size"))?;
        let value = number.saturating_mul(*factor);
        match NonZeroU64::new(value).filter(|_| (self.min..=self.max).contains(&value)) {
            Some(value) => Ok(Bytes(value)),
            None => {
                let (min, max) = self.bounds();
                let remedy = format!("stay within the bounds: {}", self.why);
                Err(Fault::new(format!("is outside {min} to {max}"), remedy))
            }
        }
    }
}

/// Splits `10min` into number and unit.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A count from one to a bound, and why the bound is there.
pub(super) struct CountTo {
    pub(super) max: usize,
    pub(super) why: &'static str,
}

impl Kind for CountTo {
    type Value = NonZeroUsize;

    fn name(&self) -> String {
        format!("a whole number from 1 to {}", self.max)
    }

    fn parse(&self, text: &str) -> Result<NonZeroUsize, Fault> {
        let Ok(number) = text.parse::<usize>() else {
            return Err(Fault::new("is no whole number", format!("write {}", self.name())));
        };
        NonZeroUsize::new(number).filter(|number| number.get() <= self.max).ok_or_else(|| {
            let remedy = format!("stay within the bounds: {}", self.why);
            Fault::new(format!("is outside 1 to {}", self.max), remedy)
        })
    }

    fn plain_only(&self) -> bool {
        true
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn name(&self) -> String {
        "true or false".to_owned()
    }

    fn parse(&self, text: &str) -> Result<bool, Fault> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Fault::new("is neither true nor false", "write true or false")),
        }
    }

    fn plain_only(&self) -> bool {
        true
    }
}

/// One of some words.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T> OneOf<T> {
    fn words(&self) -> String {
        self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" | ")
    }
}

impl<T: Copy> Kind for OneOf<T> {
    type Value = T;

    fn name(&self) -> String {
        self.words()
    }

    fn parse(&self, text: &str) -> Result<T, Fault> {
        if let Some((_, value)) = self.0.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let remedy = match nearest(text, self.0.iter().map(|(word, _)| *word)) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write one of: {}", self.words()),
        };
        Err(Fault::new("is not known here", remedy))
    }
}

/// An address and port to listen on.
pub(super) struct ListenAddress;

impl Kind for ListenAddress {
    type Value = SocketAddr;

    fn name(&self) -> String {
        "an IP address with its port, as 127.0.0.1:9464".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SocketAddr, Fault> {
        text.parse().map_err(|_| Fault::new("is no address to listen on", format!("write {}", self.name())))
    }
}
