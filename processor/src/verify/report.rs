//! What is told in the end: where it was compared, what agrees, and what does not.

use super::finding::Tally;
use crate::position::Positions;
use serde::Serialize;
use std::fmt;

/// All that was compared.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Each pipeline.
    pub pipelines: Vec<PipelineReport>,
}

/// What was compared of one pipeline.
#[derive(Debug, Serialize)]
pub struct PipelineReport {
    /// Its name.
    pub pipeline: String,
    /// The rows that were compared, by their `event_ts`.
    pub since: String,
    /// Up to there; none for all that come later.
    pub until: Option<String>,
    /// Where the snapshot stands in the WAL.
    pub lsn: String,
    /// What the snapshot sees, as Postgres writes it.
    pub snapshot: String,
    /// The topic.
    pub topic: String,
    /// Where each partition holds all that the snapshot sees.
    pub offsets: Positions,
    /// The topic, then each sink.
    pub compared: Vec<Compared>,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// What was compared with the table.
    pub what: String,
    /// Why it could not be, where that is so.
    pub failed: Option<String>,
    /// Where it stands: the first offset of each partition that it does not have.
    pub offsets: Positions,
    /// What it came to.
    #[serde(flatten)]
    pub tally: Tally,
}

impl Report {
    /// How many things are wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.all().map(|compared| compared.tally.wrong()).sum()
    }

    /// Whether all could be compared.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.all().all(|compared| compared.failed.is_none())
    }

    fn all(&self) -> impl Iterator<Item = &Compared> {
        self.pipelines.iter().flat_map(|pipeline| &pipeline.compared)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pipeline in &self.pipelines {
            writeln!(f, "{pipeline}")?;
        }
        let differences = match self.wrong() {
            0 => "no difference".to_owned(),
            1 => "1 difference".to_owned(),
            wrong => format!("{wrong} differences"),
        };
        let whole = if self.is_whole() { "" } else { "; not everything could be compared" };
        write!(f, "{differences}{whole}")
    }
}

impl fmt::Display for PipelineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.until.as_ref().map_or(String::new(), |until| format!(" and before {until}"));
        writeln!(f, "{}: rows with event_ts from {} on{until}", self.pipeline, self.since)?;
        writeln!(
            f,
            "as of {} in the WAL (snapshot {}), {} up to {}",
            self.lsn,
            self.snapshot,
            self.topic,
            offsets(&self.offsets)
        )?;
        let width =
            self.compared.iter().map(|compared| compared.what.chars().count()).max().unwrap_or_default();
        writeln!(
            f,
            "\n{:width$}  {:>9} {:>8} {:>8} {:>9} {:>6}  {:>9}",
            "", "compared", "missing", "doubled", "different", "extra", "unchecked"
        )?;
        for Compared { what, failed, offsets: at, tally } in &self.compared {
            if let Some(failed) = failed {
                writeln!(f, "{what:width$}  not compared: {failed}")?;
                continue;
            }
            write!(
                f,
                "{what:width$}  {:>9} {:>8} {:>8} {:>9} {:>6}  {:>9}",
                tally.checked, tally.missing, tally.doubled, tally.different, tally.extra, tally.unchecked
            )?;
            if !at.is_empty() {
                write!(f, "  at {}", offsets(at))?;
            }
            if tally.newer_content > 0 {
                write!(f, "  {} with newer content", tally.newer_content)?;
            }
            if tally.set_aside > 0 {
                write!(f, "  {} dead letters", tally.set_aside)?;
            }
            writeln!(f)?;
        }
        self.differences(f)
    }
}

impl PipelineReport {
    fn differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Compared { what, tally, .. } in self.compared.iter().filter(|compared| compared.tally.wrong() > 0)
        {
            writeln!(f, "\n{what}")?;
            for finding in &tally.differences {
                writeln!(f, "  {:9}  {}", finding.kind, finding.what)?;
            }
            let named = u64::try_from(tally.differences.len()).unwrap_or(u64::MAX);
            if tally.wrong() > named {
                writeln!(f, "  and {} more; --limit names them", tally.wrong() - named)?;
            }
        }
        Ok(())
    }
}

/// `0:120 1:118`.
fn offsets(positions: &Positions) -> String {
    let each = positions.iter().map(|(partition, offset)| format!("{partition}:{offset}"));
    each.collect::<Vec<_>>().join(" ")
}
