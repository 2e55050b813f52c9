//! Redis, as a client that knows nothing but sorted sets.

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than Redis ever takes for what we ask.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How far a score may lie from a whole millisecond: its text has 17 digits.
const TOLERANCE_MS: f64 = 0.01;

/// Scores in milliseconds, by member.
pub type Board = BTreeMap<String, i64>;

/// A Redis server. Each call connects anew, so that a server that was killed meanwhile is no trouble.
#[derive(Debug, Clone)]
pub struct Redis(redis::Client);

impl Redis {
    /// Opens no connection yet.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self(redis::Client::open(url).context("not the address of a Redis")?))
    }

    /// A connection for many commands.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let connecting = self.0.get_multiplexed_async_connection();
        tokio::time::timeout(TIMEOUT, connecting)
            .await
            .context("Redis does not answer")?
            .context("cannot reach Redis")
    }

    /// Runs a command whose answer is of no interest.
    pub async fn run(&self, words: &[&str]) -> Result<()> {
        let mut connection = self.connect().await?;
        command(words).query_async::<()>(&mut connection).await.with_context(|| words.join(" "))
    }

    /// Runs a command that answers a whole number.
    pub async fn number(&self, words: &[&str]) -> Result<i64> {
        let mut connection = self.connect().await?;
        command(words).query_async(&mut connection).await.with_context(|| words.join(" "))
    }

    /// The whole numbers of a hash, by name; none where there is no such hash.
    pub async fn numbers_by_name(&self, key: &str) -> Result<BTreeMap<String, i64>> {
        let mut connection = self.connect().await?;
        command(&["HGETALL", key])
            .query_async(&mut connection)
            .await
            .with_context(|| format!("HGETALL {key}"))
    }

    /// The whole leaderboard at `key`.
    pub async fn board(&self, key: &str) -> Result<Board> {
        let mut connection = self.connect().await?;
        board(&mut connection, key).await
    }
}

/// The leaderboard at `key` over a connection that is there.
pub async fn board(connection: &mut MultiplexedConnection, key: &str) -> Result<Board> {
    whole(command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]).query_async(connection).await.context("ZRANGE")?)
}

/// The leaderboards at `keys` and the clock of Redis in microseconds, all at one instant, over a connection that is there.
pub async fn boards_at(connection: &mut MultiplexedConnection, keys: &[&str]) -> Result<(i64, Vec<Board>)> {
    let mut together = redis::pipe();
    together.atomic().cmd("TIME");
    for key in keys {
        together.cmd("ZRANGE").arg(*key).arg(0).arg(-1).arg("WITHSCORES");
    }
    let answers: Vec<redis::Value> = together.query_async(connection).await.context("TIME and ZRANGE")?;
    let mut answers = answers.into_iter();
    let time = answers.next().context("no answer to TIME")?;
    let (seconds, micros): (i64, i64) = redis::from_redis_value(time).context("TIME")?;
    let boards = answers.map(|answer| whole(redis::from_redis_value(answer)?)).collect::<Result<_>>()?;
    Ok((seconds * 1_000_000 + micros, boards))
}

/// A member's score in milliseconds over a connection that is there.
pub async fn score(connection: &mut MultiplexedConnection, key: &str, member: &str) -> Result<Option<i64>> {
    let score: Option<f64> =
        command(&["ZSCORE", key, member]).query_async(connection).await.context("ZSCORE")?;
    score.map(|score| whole_ms(member, score)).transpose()
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

fn whole(pairs: Vec<(String, f64)>) -> Result<Board> {
    pairs.into_iter().map(|(member, score)| Ok((member.clone(), whole_ms(&member, score)?))).collect()
}

/// Seconds as whole milliseconds. Anything between two milliseconds is an error: durations are milliseconds.
fn whole_ms(member: &str, score: f64) -> Result<i64> {
    let ms = (score * 1000.0).round();
    anyhow::ensure!(
        (score * 1000.0 - ms).abs() < TOLERANCE_MS,
        "the score {score} of {member} is no whole millisecond"
    );
    // Through its text, because that cannot truncate.
    format!("{ms:.0}").parse().context("a score beyond all numbers")
}
