//! What Postgres says, for people.

use std::error::Error;

/// An error on one line: what the server said, or the error with its causes; by itself it says no more than "db error".
#[must_use]
pub fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
