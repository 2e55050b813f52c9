//! What came of each seed, in a file that further runs are added to, so that several ranges make one table.
#![allow(clippy::print_stdout, reason = "this is the program's output")]

use super::plan::Plan;
use super::run::Outcome;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What of a failure is shown in the table.
const SHOWN: usize = 600;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    seed: u64,
    instances: usize,
    faults: Vec<String>,
    fired: usize,
    records: i64,
    lost: i64,
    doubled: i64,
    repeats: i64,
    seconds: f64,
    failed: Option<String>,
}

/// All lines of a file, and where it is.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    lines: Vec<Line>,
    /// How many of them were there already.
    old: usize,
}

impl Results {
    /// Those that are in the file already; none where there is none.
    pub fn open(path: PathBuf) -> Result<Self> {
        let text = if path.exists() { std::fs::read_to_string(&path)? } else { String::new() };
        let lines = text.lines().map(|line| {
            serde_json::from_str(line).with_context(|| format!("{} holds {line:?}", path.display()))
        });
        let lines: Vec<_> = lines.collect::<Result<_>>()?;
        Ok(Self { old: lines.len(), lines, path })
    }

    /// Adds what came of a seed, and prints it.
    pub fn add(&mut self, plan: &Plan, outcome: Outcome, folder: &Path) -> Result<()> {
        let line = Line::of(plan, &outcome);
        println!("{line}");
        for skipped in &outcome.skipped {
            println!("  skipped: {skipped}");
        }
        if !outcome.is_well() {
            println!("{plan}  logs: {}", folder.display());
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        writeln!(file, "{}", serde_json::to_string(&line)?)?;
        self.lines.push(line);
        Ok(())
    }

    /// Of each line that was added whether all went well.
    pub fn added(&self) -> Vec<bool> {
        self.lines.iter().skip(self.old).map(Line::is_well).collect()
    }

    /// Prints the sums of all lines; how many seeds failed.
    pub fn print(&self) -> usize {
        println!("{}", summary(&self.lines));
        last(&self.lines).values().filter(|line| !line.is_well()).count()
    }
}

/// Prints one table of the lines of several files; whether every seed in it is well.
pub fn merge(files: &[PathBuf]) -> Result<bool> {
    let mut all = Results { path: PathBuf::new(), lines: Vec::new(), old: 0 };
    for file in files {
        anyhow::ensure!(file.exists(), "{} does not exist", file.display());
        all.lines.extend(Results::open(file.clone())?.lines);
    }
    for line in last(&all.lines).values() {
        println!("{line}");
    }
    Ok(all.print() == 0)
}

/// The last run of each seed counts.
fn last(lines: &[Line]) -> BTreeMap<u64, &Line> {
    lines.iter().map(|line| (line.seed, line)).collect()
}

fn summary(lines: &[Line]) -> String {
    let last = last(lines);
    let sum = |of: fn(&Line) -> i64| last.values().map(|line| of(line)).sum::<i64>();
    let fired: usize = last.values().map(|line| line.fired).sum();
    let seconds: f64 = last.values().map(|line| line.seconds).sum();
    let mut failed: Vec<_> =
        last.values().filter(|line| !line.is_well()).map(|line| line.seed.to_string()).collect();
    if failed.is_empty() {
        failed.push("none".to_owned());
    }
    format!(
        "{} seeds, {fired} faults, {} records: {} lost, {} doubled; {} repeats refused; {seconds:.0} s in all; failed: {}",
        last.len(),
        sum(|line| line.records),
        sum(|line| line.lost),
        sum(|line| line.doubled),
        sum(|line| line.repeats),
        failed.join(", ")
    )
}

impl Line {
    fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let wrong = outcome.exact.wrong.iter().take(4).cloned().collect::<Vec<_>>().join("; ");
        let wrong = (!outcome.is_well() && !wrong.is_empty()).then_some(wrong);
        Self {
            seed: plan.seed.unwrap_or_default(),
            instances: plan.instances,
            faults: plan.steps.iter().map(|step| step.fault.to_string()).collect(),
            fired: outcome.fired,
            records: outcome.exact.records,
            lost: outcome.exact.lost,
            doubled: outcome.exact.doubled,
            repeats: outcome.exact.repeats,
            seconds: outcome.took.as_secs_f64(),
            failed: outcome.failed.clone().or(wrong),
        }
    }

    fn is_well(&self) -> bool {
        self.failed.is_none() && self.lost + self.doubled == 0
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, instances, fired, records, lost, doubled, seconds, .. } = self;
        let mark = if self.is_well() { '✓' } else { '✗' };
        write!(
            f,
            "{mark} seed {seed:<5} {seconds:>5.1} s  {instances} inst.  {fired} faults  {records:>6} records  {lost} lost  \
             {doubled} doubled  {}",
            self.faults.join(" · ")
        )?;
        if let Some(failed) = &self.failed {
            write!(f, "\n  {}", failed.chars().take(SHOWN).collect::<String>())?;
        }
        if !self.is_well() {
            write!(f, "\n  again: ./test_pipeline.sh --seeds {seed}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seed: u64, lost: i64) -> Line {
        let outcome = Outcome { fired: 2, ..Outcome::default() };
        Line { lost, records: 10, ..Line::of(&Plan { seed: Some(seed), ..Plan::of(seed) }, &outcome) }
    }

    #[test]
    fn files_merge_and_the_last_run_of_a_seed_counts() {
        let folder = std::env::temp_dir().join(format!("e2e-results-{:08x}", rand::random::<u32>()));
        std::fs::create_dir(&folder).unwrap();
        let write = |name: &str, lines: &[Line]| {
            let text: Vec<_> = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
            std::fs::write(folder.join(name), text.concat()).unwrap();
            folder.join(name)
        };
        let files =
            [write("a", &[line(1, 0), line(2, 3)]), write("b", &[line(3, 0)]), write("c", &[line(2, 0)])];
        assert!(!merge(&files[..2]).unwrap());
        assert!(merge(&files).unwrap());
        assert!(summary(&[line(1, 0), line(2, 3)]).contains("2 seeds, 4 faults, 20 records: 3 lost"));
        assert!(summary(&[line(1, 0), line(2, 3)]).ends_with("failed: 2"));
        std::fs::remove_dir_all(&folder).unwrap();
        merge(&files).unwrap_err();
    }

    #[test]
    fn a_seed_that_failed_says_how_to_run_it_again() {
        assert!(line(17, 1).to_string().ends_with("again: ./test_pipeline.sh --seeds 17"));
        assert!(!line(17, 0).to_string().contains("again"));
    }
}
