//! Waiting for a condition with a deadline. Nothing here sleeps and hopes.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Pause between two looks: small beside what is waited for, large beside what a look costs.
const PAUSE: Duration = Duration::from_millis(25);

/// What a look found.
#[derive(Debug)]
pub enum Look<T> {
    /// The condition holds.
    Seen(T),
    /// Not yet; how it is instead.
    NotYet(String),
}

/// `Seen` where the condition holds, else how it is instead.
pub fn seen_if(holds: bool, instead: impl FnOnce() -> String) -> Look<()> {
    if holds { Look::Seen(()) } else { Look::NotYet(instead()) }
}

/// Looks until the condition holds. An error of a look (a server that is just being killed) counts as not yet.
pub async fn until<T>(what: &str, within: Duration, look: impl AsyncFnMut() -> Result<Look<T>>) -> Result<T> {
    until_every(PAUSE, what, within, look).await
}

/// [`until`] with another pause between two looks.
pub async fn until_every<T>(
    pause: Duration,
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Look<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let instead = match tokio::time::timeout(within, look()).await {
            Ok(Ok(Look::Seen(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(instead))) => instead,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "a look took too long".to_owned(),
        };
        if Instant::now() >= deadline {
            bail!("not within {:.1} s: {what}; it is: {instead}", within.as_secs_f64());
        }
        tokio::time::sleep(pause).await;
    }
}
