//! What the environment says, turned into values that cannot be wrong.

use std::{env, ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use thiserror::Error;
use webhook_protocol::{Secret, SecretError};

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
    #[arg(long, env = "WEBHOOK_LISTEN", default_value = "127.0.0.1:5001")]
    listen: SocketAddr,
    /// The database file; made where there is none.
    #[arg(long, env = "WEBHOOK_STORE", default_value = "webhook-sink.db")]
    store: PathBuf,
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
        let Arguments { listen, store, log_format } = Arguments::try_parse_from(arguments)?;
        let secrets = Secret::parse_list(secrets).map_err(ConfigError::Secret)?;
        Ok(Self { listen, store, secrets, log_format })
    }
}
