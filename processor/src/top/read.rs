//! Asking Redis what is on the leaderboards, as any client would.

use super::boards::Server;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};
use std::time::Duration;

/// A server that takes longer is away: an answer takes less than a millisecond.
const ANSWER: Duration = Duration::from_secs(2);

const ADDRESS: &str = "correct host and port in the sink's `url`";

/// Members with their seconds, the highest first; or why there are none to be had.
pub(super) type Reading = Result<Vec<(String, f64)>, Away>;

/// Why a leaderboard can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) cause: String,
    /// Whether somebody must act; else it may pass.
    pub(super) needs_action: bool,
}

impl Away {
    /// `is_known`: Redis has answered at this address.
    fn of(error: &redis::RedisError, is_known: bool) -> Self {
        use redis::ErrorKind::{Parse, RESP3NotSupported, UnexpectedReturnType};
        let cause = error.to_string();
        if matches!(error.kind(), Parse | RESP3NotSupported | UnexpectedReturnType) {
            let cause = format!("what answers there does not speak like Redis: {ADDRESS}");
            return Self { cause, needs_action: true };
        }
        let denied = ["NOAUTH", "WRONGPASS", "NOPERM", "AUTH"].iter().any(|code| cause.contains(code));
        if denied || error.kind() == redis::ErrorKind::AuthenticationFailed {
            let cause = format!("{cause}; correct user and password in the sink's `url`");
            return Self { cause, needs_action: true };
        }
        if cause.contains("WRONGTYPE") {
            let cause = "the key holds no sorted set: somebody else writes it".to_owned();
            return Self { cause, needs_action: true };
        }
        if !is_known && error.is_connection_dropped() && !error.is_connection_refusal() {
            let cause = format!(
                "the connection ends without an answer ({cause}): what listens there may be no Redis; {ADDRESS}"
            );
            return Self { cause, needs_action: false };
        }
        if error.is_timeout() {
            return Self::silent(is_known);
        }
        if error.is_io_error() {
            return Self {
                cause: format!("redis can't be reached ({cause}): see whether it runs"),
                needs_action: false,
            };
        }
        Self { cause, needs_action: false }
    }

    fn silent(is_known: bool) -> Self {
        let mut cause = format!("redis gives no answer within {} s", ANSWER.as_secs());
        if !is_known {
            cause += ": what listens there, if anything does, may be no Redis; ";
            cause += ADDRESS;
        }
        Self { cause, needs_action: false }
    }
}

/// One server, connected to when it is asked.
pub(super) struct Source {
    server: Server,
    connection: Option<MultiplexedConnection>,
    /// Whether it has ever answered.
    is_known: bool,
}

impl Source {
    pub(super) fn new(server: Server) -> Self {
        Self { server, connection: None, is_known: false }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// What is on each board, `count` members at most.
    pub(super) async fn read(&mut self, count: usize) -> Vec<Reading> {
        match tokio::time::timeout(ANSWER, self.ask(count)).await {
            Ok(Ok(answers)) => {
                answers.into_iter().map(|answer| answer.map_err(|e| Away::of(&e, true))).collect()
            }
            Ok(Err(error)) => self.all(&Away::of(&error, self.is_known)),
            Err(_) => self.all(&Away::silent(self.is_known)),
        }
    }

    fn all(&self, away: &Away) -> Vec<Reading> {
        self.server.boards.iter().map(|_| Err(away.clone())).collect()
    }

    async fn ask(&mut self, count: usize) -> RedisResult<Vec<RedisResult<Vec<(String, f64)>>>> {
        // Only a connection with which nothing went wrong is kept, also where the caller gives up waiting.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER));
                let client = Client::open(self.server.url.as_str())?;
                client.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        let mut calls = redis::pipe();
        calls.ignore_errors();
        for board in &self.server.boards {
            calls.cmd("ZREVRANGE").arg(&board.key).arg(0).arg(count.saturating_sub(1)).arg("WITHSCORES");
        }
        let answers: Vec<RedisResult<Value>> = calls.query_async(&mut connection).await?;
        (self.connection, self.is_known) = (Some(connection), true);
        let members = |answer: RedisResult<Value>| Ok(redis::from_redis_value(answer?)?);
        Ok(answers.into_iter().map(members).collect())
    }
}
