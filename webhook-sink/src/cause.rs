//! An error in one line, with its chain of causes: for log lines and the terminal.

use std::error::Error;

/// The error, then each cause after a colon.
#[must_use]
pub fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
