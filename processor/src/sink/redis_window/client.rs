//! A connection to Redis: made when needed, checked, dropped after an error; and the running of scripts on it.

use super::config::Settings;
use super::error::{from_redis, paused};
use super::script::Script;
use crate::sink::SinkError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};
use std::time::{Duration, Instant};

/// The oldest version whose scripts do all that is needed.
const OLDEST_MAJOR: u32 = 6;

/// One connection, for one caller at a time.
pub(super) struct Client {
    settings: Settings,
    address: String,
    connection: Option<MultiplexedConnection>,
    connected: Instant,
    /// The server of the last connection, by the id of its process; none where it does not say.
    server: Option<String>,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            address: settings.address(),
            connection: None,
            connected: Instant::now(),
            server: None,
        }
    }

    /// The server that answered last, by the id of its process; none where it does not say.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Has the next call connect anew where the connection is older than that: one that is kept for ever leads to the
    /// server that it was made to, also when another one has taken its address since.
    pub(super) fn renew(&mut self, older_than: Duration) {
        if self.connected.elapsed() >= older_than {
            self.connection = None;
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Runs a script once for each of `calls`, in one round trip, and gives the answers in that order: none where one of
    /// them is a refusal.
    pub(super) async fn run(&mut self, script: &Script, calls: Vec<Cmd>) -> Result<Vec<Value>, SinkError> {
        self.run_each(script, calls).await?.into_iter().collect()
    }

    /// The same, and gives the answers also where some of them are refusals; where all are, it gives the first.
    pub(super) async fn run_each(
        &mut self,
        script: &Script,
        calls: Vec<Cmd>,
    ) -> Result<Vec<Result<Value, SinkError>>, SinkError> {
        // Only a connection with which nothing went wrong is kept, also where the caller gives up waiting.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let told = |error| from_redis("run a script", &self.address, error);
        let answers = run(&mut connection, script, calls).await.map_err(told)?;
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.map_err(told)).collect();
        if answers.iter().all(Result::is_err) {
            return answers.into_iter().map(|answer| answer.map(Ok)).collect();
        }
        self.connection = Some(connection);
        Ok(answers)
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, SinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.response_timeout));
        let connection = self.settings.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(|error| from_redis("connect", &self.address, error))?;
        let info: RedisResult<String> = redis::cmd("INFO").query_async(&mut connection).await;
        match info {
            Ok(info) => {
                self.check(&info)?;
                self.server = value_of(&info, "run_id").map(str::to_owned);
            }
            // A user without the right to ask is one of a managed service, which looks after itself.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => self.server = None,
            Err(error) => return Err(from_redis("ask for INFO", &self.address, error)),
        }
        self.connected = Instant::now();
        Ok(connection)
    }

    /// Whether this Redis can keep a window without losing parts of it.
    fn check(&self, info: &str) -> Result<(), SinkError> {
        let version = value_of(info, "redis_version").unwrap_or_default();
        let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
        if major.is_some_and(|major| major < OLDEST_MAJOR) {
            let problem = format!("it is version {version}");
            return Err(paused(&self.address, problem, "use Redis 6.0 or later"));
        }
        let policy = value_of(info, "maxmemory_policy").unwrap_or("noeviction");
        let limited = value_of(info, "maxmemory").is_some_and(|bytes| bytes != "0");
        if limited && policy != "noeviction" {
            let problem =
                format!("its maxmemory-policy is {policy}: it would drop parts of the window unasked");
            return Err(paused(&self.address, problem, "set maxmemory-policy to noeviction"));
        }
        Ok(())
    }

    /// Whether Redis keeps its data over a restart: none where it does not say.
    pub(super) async fn persists(&mut self) -> Option<bool> {
        let connection = self.connection.as_mut()?;
        let info: RedisResult<String> = redis::cmd("INFO").arg("persistence").query_async(connection).await;
        if value_of(&info.ok()?, "aof_enabled")? == "1" {
            return Some(true);
        }
        let save: RedisResult<(String, String)> =
            redis::cmd("CONFIG").arg("GET").arg("save").query_async(connection).await;
        Some(!save.ok()?.1.is_empty())
    }
}

/// A line `name:value` of INFO.
fn value_of<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn is_unknown_script(answer: &RedisResult<Value>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    answer.as_ref().is_err_and(|error| error.kind() == unknown)
}

async fn run(
    connection: &mut MultiplexedConnection,
    script: &Script,
    calls: Vec<Cmd>,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let pipeline = pipeline_of(calls);
    let mut answers = send(&pipeline, connection).await?;
    if answers.iter().any(is_unknown_script) {
        redis::cmd("SCRIPT").arg("LOAD").arg(&script.code).exec_async(connection).await?;
        let again = pipeline.cmd_iter().zip(&answers).filter(|(_, answer)| is_unknown_script(answer));
        let again = pipeline_of(again.map(|(call, _)| call.clone()).collect());
        let mut second = send(&again, connection).await?.into_iter();
        for answer in answers.iter_mut().filter(|answer| is_unknown_script(answer)) {
            if let Some(given) = second.next() {
                *answer = given;
            }
        }
    }
    Ok(answers)
}

fn pipeline_of(calls: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    pipeline.ignore_errors();
    for call in calls {
        pipeline.add_command(call);
    }
    pipeline
}

async fn send(
    pipeline: &Pipeline,
    connection: &mut MultiplexedConnection,
) -> RedisResult<Vec<RedisResult<Value>>> {
    pipeline.query_async(connection).await
}
