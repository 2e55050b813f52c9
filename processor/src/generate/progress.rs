//! What is seen while it runs: a bar on a terminal, now and then a line elsewhere.

use super::options::Load;
use super::summary::Summary;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::time::Duration;

/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(10);
/// How often the bar moves while nothing comes.
const TICK: Duration = Duration::from_millis(200);

/// Where progress is shown: on standard error, so that standard output holds the result alone.
#[derive(Debug)]
pub enum Progress {
    /// A bar that is drawn in place.
    Bar(ProgressBar),
    /// Lines, each some seconds after the last.
    Lines {
        /// When the next line is due, counted from the start.
        next: Duration,
    },
}

impl Progress {
    /// A bar where standard error is a terminal, else lines.
    #[must_use]
    pub fn new(load: &Load, is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::Lines { next: LINES };
        }
        let length = match (load.rows, load.duration) {
            (Some(rows), _) => Some(rows),
            (None, Some(length)) => Some(millis(length.duration())),
            (None, None) => None,
        };
        let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if length.is_some() {
            "{bar:24.green/dim} {percent:>3} % {wide_msg}"
        } else {
            "{spinner:.green} {wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(TICK);
        Self::Bar(bar)
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, load: &Load, done: &Summary, elapsed: Duration) {
        match self {
            Self::Bar(bar) => {
                if load.rows.is_some() {
                    bar.set_position(done.inserted);
                } else if load.duration.is_some() {
                    bar.set_position(millis(elapsed));
                }
                bar.set_message(done.to_string());
            }
            Self::Lines { next } => {
                if elapsed >= *next {
                    *next = elapsed + LINES;
                    write_line(&done.to_string());
                }
            }
        }
    }

    /// Says something that stays.
    pub(super) fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.println(text),
            Self::Lines { .. } => write_line(text),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn write_line(text: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
