//! Raw results: a line of JSON for each time that a contender drained the topic.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// How it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Tells these lines from those of other measurements.
    pub measured: String,
    pub contender: String,
    pub run: u32,
    pub records: u32,
    pub partitions: i32,
    pub contents: u32,
    /// Whether the messages carry their schema.
    #[serde(default)]
    pub with_schema: bool,
    /// Events in both sinks, by the clock.
    pub events_per_second: f64,
    /// From the first effect in either sink until the last one in both.
    pub seconds: f64,
    /// From the start, or from the word to go on, to the first effect.
    pub start_seconds: f64,
    pub cpu_seconds_per_million: Costs,
    /// What the contender held at most, in memory that is resident.
    pub peak_mib: f64,
    /// Events that came to the receiver more than once.
    pub repeats: usize,
    /// Of this machine.
    pub cores: usize,
    /// Of the last minute before it.
    pub load_average: f64,
    /// What was missing or doubled afterwards.
    pub fault: Option<String>,
}

/// CPU-seconds of each process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Costs {
    pub program: f64,
    pub kafka: f64,
    pub redis: f64,
    pub receiver: f64,
}

impl Costs {
    /// From what program, Kafka, Redis and receiver have spent for so many millions of records.
    pub(super) fn of(spent: &[f64], million: f64) -> Result<Self> {
        let [program, kafka, redis, receiver] = *spent else { anyhow::bail!("four processes are watched") };
        Ok(Self {
            program: program / million,
            kafka: kafka / million,
            redis: redis / million,
            receiver: receiver / million,
        })
    }
}

impl Line {
    /// For the terminal.
    pub(super) fn told(&self) -> String {
        let Costs { program, kafka, redis, receiver } = self.cpu_seconds_per_million;
        format!(
            "run {}: {:<22} {:>7.0} events/s ({:.2} s, the first after {:.2}); CPU-seconds per million: program {program:.2}, \
             kafka {kafka:.2}, redis {redis:.2}, receiver {receiver:.2}; at most {:.0} MiB; {} sent again; load {:.1}; {}",
            self.run,
            self.contender,
            self.events_per_second,
            self.seconds,
            self.start_seconds,
            self.peak_mib,
            self.repeats,
            self.load_average,
            self.fault.as_deref().unwrap_or("right")
        )
    }

    /// Adds it to a file.
    pub(super) fn keep(&self, path: &Path) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(writeln!(file, "{}", serde_json::to_string(self)?)?)
    }

    /// The lines of a file.
    pub(super) fn all(text: &str) -> Result<Vec<Self>> {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
        lines
            .map(|(at, line)| {
                serde_json::from_str(line).with_context(|| format!("line {} is no raw result", at + 1))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() -> Result<()> {
        let line = Line {
            measured: "peers".to_owned(),
            contender: "deltafan".to_owned(),
            run: 1,
            records: 10,
            partitions: 4,
            contents: 3,
            with_schema: false,
            events_per_second: 5.0,
            seconds: 2.0,
            start_seconds: 0.5,
            cpu_seconds_per_million: Costs::of(&[4.0, 3.0, 2.0, 1.0], 2.0)?,
            peak_mib: 1.5,
            repeats: 0,
            cores: 2,
            load_average: 0.1,
            fault: None,
        };
        let text = serde_json::to_string(&line)?;
        assert_eq!(Line::all(&format!("{text}\n\n{text}\n"))?, [line.clone(), line]);
        let error = Line::all("{}").err().context("an empty object is taken for a line")?;
        assert!(error.to_string().contains("line 1"), "{error}");
        Ok(())
    }
}
