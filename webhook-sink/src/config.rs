//! What the environment says, turned into values that cannot be wrong.

use std::{env, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use thiserror::Error;
use webhook_protocol::{Secret, SecretError};

use crate::{
    quantity,
    retention::{ContradictionError, Retention},
};

/// The environment variable of the secrets. It is no option: command lines are seen by everybody on the machine.
const SECRET: &str = "WEBHOOK_SECRET";

/// Receives signed webhooks and stores each event once.
///
/// The secrets come from the environment only: `WEBHOOK_SECRET` holds one or more, separated by commas or spaces, each
/// `whsec_` and base64 of 24 to 64 bytes. A request is believed when any of them signed it.
#[derive(Debug, Parser)]
#[command(name = "webhook-sink", version)]
struct Arguments {
    /// Address and port to listen on.
    #[arg(long, env = "WEBHOOK_LISTEN", default_value = "127.0.0.1:5001", value_parser = address)]
    listen: SocketAddr,
    /// The database file; made where there is none.
    #[arg(long, env = "WEBHOOK_STORE", default_value = "webhook-sink.db")]
    store: PathBuf,
    /// How long events are kept, like 7d, 36h, 90m or 30s. Their ids outlive them.
    #[arg(long, env = "WEBHOOK_KEEP_EVENTS", default_value = "7d", value_name = "AGE", value_parser = quantity::age)]
    keep_events: Duration,
    /// How many bytes of events are kept, like 500MiB or 4GiB; the oldest go first.
    #[arg(long, env = "WEBHOOK_KEEP_BYTES", default_value = "4GiB", value_name = "SIZE", value_parser = quantity::size)]
    keep_bytes: u64,
    /// How long an event that comes again is known by its id, however often: longer than any topic keeps its record.
    /// About 60 bytes of disk for each event.
    #[arg(long, env = "WEBHOOK_KEEP_IDS", default_value = "60d", value_name = "AGE", value_parser = quantity::age)]
    keep_ids: Duration,
    /// How log lines are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The database file.
    pub store: PathBuf,
    /// How long it keeps what.
    pub retention: Retention,
    /// Any of them may have signed a request.
    pub secrets: Vec<Secret>,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An option or its variable; also asked-for help, which is no error to the user.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The secrets.
    #[error("{SECRET} is not usable")]
    Secret(#[source] SecretError),
    /// The bounds of the store.
    #[error(transparent)]
    Retention(#[from] ContradictionError),
}

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_env() -> Result<Self, ConfigError> {
        let secrets = env::var_os(SECRET).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(env::args_os(), &secrets)
    }

    fn parse(arguments: impl IntoIterator<Item = OsString>, secrets: &str) -> Result<Self, ConfigError> {
        let Arguments { listen, store, keep_events, keep_bytes, keep_ids, log_format } =
            Arguments::try_parse_from(arguments)?;
        let retention = Retention::new(keep_events, keep_bytes, keep_ids)?;
        let secrets = Secret::parse_list(secrets).map_err(ConfigError::Secret)?;
        Ok(Self { listen, store, retention, secrets, log_format })
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write an IP address with its port, like 127.0.0.1:5001 or 0.0.0.0:5001 (no name)")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_defaults_are_those_of_the_bounds() {
        let config = Config::parse(["webhook-sink".into()], SECRET).unwrap();
        assert_eq!(config.retention, Retention::default());
    }
}
