//! Prometheus text, read just far enough to add counters up.

use anyhow::{Context, Result};

/// The metrics of a process at one moment.
#[derive(Debug, Default)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Metrics {
    /// Reads what `/metrics` answers.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(sample).collect::<Result<_>>().map(Self)
    }

    /// The sum of all samples of `name` whose labels hold all of `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let fits = |sample: &&Sample| {
            sample.name == name && wanted.iter().all(|label| sample.labels.split(',').any(|has| has == label))
        };
        // Not `sum`: that of no floats is -0.
        self.0.iter().filter(fits).fold(0.0, |sum, sample| sum + sample.value)
    }
}

fn sample(line: &str) -> Result<Sample> {
    let (series, value) = line.rsplit_once(' ').with_context(|| format!("not a metric: {line:?}"))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Ok(Sample {
        name: name.to_owned(),
        labels: labels.trim_end_matches('}').to_owned(),
        value: value.parse().with_context(|| format!("not a metric: {line:?}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_has_the_labels() {
        let text = "# HELP a b\n# TYPE a counter\na{p=\"x\",sink=\"redis\"} 3\na{p=\"y\",sink=\"redis\"} 4\n\
                    a{p=\"x\",sink=\"webhook\"} 5\nb 7\n";
        let metrics = Metrics::parse(text).unwrap_or_default();
        let sum = |labels: &[(&str, &str)]| metrics.sum("a", labels).to_string();
        assert_eq!(
            (sum(&[("sink", "redis")]), sum(&[("sink", "redis"), ("p", "y")])),
            ("7".into(), "4".into())
        );
        assert_eq!((sum(&[]), sum(&[("sink", "redi")])), ("12".into(), "0".into()));
    }
}
