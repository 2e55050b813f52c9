//! What the user sees: a line per scenario, and the ends of the logs of one that failed.
#![allow(clippy::print_stdout, reason = "this is the program's output")]

use crate::harness::Measured;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// Lines of each log that are shown.
const LOG_LINES: usize = 15;
const LONGEST_LINE: usize = 400;

/// What has passed and failed so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    /// Prints how a scenario ended; its logs lie in `folder`.
    pub fn ended(&mut self, name: &str, took: Duration, ended: Result<Measured>, folder: &Path) {
        let seconds = took.as_secs_f64();
        match ended {
            Ok(measured) => {
                self.passed += 1;
                println!("✓ {name:<18} {seconds:>6.1} s  {measured}");
            }
            Err(error) => {
                self.failed += 1;
                println!("✗ {name:<18} {seconds:>6.1} s  {error:#}");
                show_logs(folder);
            }
        }
    }

    /// Notes that the run itself came to grief.
    pub fn broken(&mut self, why: &str) {
        self.failed += 1;
        println!("✗ {why}");
    }

    /// Counts what has been printed elsewhere.
    pub fn counted(&mut self, passed: bool) {
        if passed { self.passed += 1 } else { self.failed += 1 }
    }

    /// "PASSED FAILED".
    pub fn counts(&self) -> String {
        format!("{} {}\n", self.passed, self.failed)
    }

    /// Whether something ran and nothing failed.
    pub fn all_passed(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

fn show_logs(folder: &Path) {
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for path in files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
    {
        let Ok(text) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        println!("    ── the last lines of {} ──", path.display());
        for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
            println!("    {}", line.chars().take(LONGEST_LINE).collect::<String>());
        }
    }
}
