//! What is seen while it reads: a line on a terminal that says how far it is, and nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often the line moves.
const TICK: Duration = Duration::from_millis(200);
/// Things between two looks.
const EACH: u64 = 4096;

/// A line on standard error.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shown where standard error is a terminal.
    #[must_use]
    pub fn new(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.green} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says what is being done.
    pub(super) fn step(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Counts one more; now and then says how many `what` there are.
    pub(super) fn count(&self, counted: &mut u64, what: &str) {
        *counted += 1;
        if counted.is_multiple_of(EACH) {
            self.0.set_message(format!("{what}: {counted}"));
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
