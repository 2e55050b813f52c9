//! What can go wrong with the database, told from each other by what helps: waiting, or somebody who acts.

use crate::postgres::explain;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

/// Why generating ended before it was done.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The address can't be read.
    #[error(
        "the address of the database can't be used: {0}; write postgres://user:password@host:port/database"
    )]
    Address(String),
    /// Postgres says no, and goes on saying so until somebody acts.
    #[error("postgres at {address} refuses: {what}; {remedy}")]
    Refused {
        /// Host and port.
        address: String,
        /// What it says.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Postgres can't be reached, or was away for too long.
    #[error(
        "postgres at {address} can't be reached: {cause}; see whether it runs (./quick_start.sh status), and check host \
         and port"
    )]
    Away {
        /// Host and port.
        address: String,
        /// What was seen.
        cause: String,
    },
    /// There is nothing to engage with.
    #[error("the table `content` is empty; give --contents 50 to make some, or insert your own")]
    NoContent,
    /// Contents that were to be made are not there.
    #[error("{0} of the contents could not be made: others have their slugs; take another --seed")]
    Taken(usize),
}

impl GenerateError {
    /// Whether it stays so until somebody acts.
    #[must_use]
    pub fn needs_action(&self) -> bool {
        !matches!(self, Self::Away { .. })
    }
}

/// What one attempt met.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{}", explain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("no greeting within {} s: what listens there, if anything does, may be no Postgres", .0.as_secs())]
    Ungreeted(Duration),
    #[error("{}: what listens there may be no Postgres", explain(.0))]
    Stranger(tokio_postgres::Error),
    #[error("{}", explain(.0))]
    Unusable(tokio_postgres::Error),
    #[error("{there} of {new} new rows have ids that rows of the table have already: its sequence is behind")]
    IdsTaken { there: u64, new: u64 },
    #[error("the column engagement_events.id has no sequence")]
    NoSequence,
}

/// The kinds of an error that show themselves where something else than Postgres answers. They have no names outside of
/// their crate, only these texts.
const STRANGE: [&str; 4] = [
    "error communicating with the server",
    "unexpected message from server",
    "error parsing response from server",
    "connection closed",
];
const UNUSABLE: &str = "invalid configuration";

impl Trouble {
    /// What an attempt to connect met.
    pub(super) fn of_connect(error: tokio_postgres::Error) -> Self {
        let kind = error.to_string();
        if kind == UNUSABLE {
            Self::Unusable(error)
        } else if STRANGE.contains(&kind.as_str()) {
            Self::Stranger(error)
        } else {
            Self::Postgres(error)
        }
    }

    /// Whether it may pass by itself.
    pub(super) fn passes(&self) -> bool {
        let error = match self {
            // A proxy before a Postgres that is starting behaves like a stranger.
            Self::Silent(_) | Self::Ungreeted(_) | Self::Stranger(_) => return true,
            Self::NoSequence | Self::Unusable(_) | Self::IdsTaken { .. } => return false,
            Self::Postgres(error) => error,
        };
        let Some(state) = error.code() else { return is_of_the_connection(error) };
        // Classes 08 (connection), 40 (deadlock), 57P (shutting down, starting up); too many connections.
        let code = state.code();
        code.starts_with("08") || code.starts_with("40") || code.starts_with("57P") || code == "53300"
    }

    /// As it is told when it does not pass, or has not.
    pub(super) fn into_error(self, address: String) -> GenerateError {
        if self.passes() {
            return GenerateError::Away { address, cause: self.to_string() };
        }
        if let Self::Unusable(error) = &self {
            return GenerateError::Address(explain(error));
        }
        let remedy = self.remedy();
        GenerateError::Refused { address, what: self.to_string(), remedy }
    }

    fn remedy(&self) -> &'static str {
        const BEHIND: &str = "set it to the last one: SELECT setval(pg_get_serial_sequence('engagement_events', 'id'), \
             max(id)) FROM engagement_events";
        const TABLES: &str = "make the tables with init.sql, as ./quick_start.sh does";
        let error = match self {
            Self::Postgres(error) => error,
            Self::IdsTaken { .. } => return BEHIND,
            _ => return TABLES,
        };
        if explain(error).contains("TLS") {
            return "TLS is not spoken here: leave `sslmode` out of the address, and reach it over a trusted network";
        }
        match error.code().map_or("", SqlState::code) {
            "28P01" | "28000" => {
                "correct user and password in POSTGRES_URL or --database-url (./deltafan takes those of ./quick_start.sh)"
            }
            "3D000" => "name a database that is there, or make this one: ./quick_start.sh does",
            "42P01" | "42703" | "42P10" => TABLES,
            "42501" => {
                "take the tables' owner, or grant SELECT, INSERT, UPDATE and DELETE on engagement_events, USAGE on its \
                 sequence, and SELECT and INSERT on content"
            }
            "23503" => "somebody has deleted a content that was in use: start again",
            "23514" | "42804" | "23505" => "the tables differ from init.sql: make a database of it",
            "25006" => "this is a standby: name the primary",
            "53100" => "its disk is full: free some space",
            _ => "its log says more",
        }
    }
}

/// Without a code the error is our own: the connection's, or one of how we ask.
fn is_of_the_connection(error: &tokio_postgres::Error) -> bool {
    let is_io = |cause: &(dyn std::error::Error + 'static)| cause.is::<std::io::Error>();
    error.is_closed() || std::error::Error::source(error).is_some_and(is_io) || {
        // A connect that took too long has its own kind, which can't be asked for.
        error.to_string().contains("timeout")
    }
}

/// Host and port, without credentials.
pub(super) fn address(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432))
}
