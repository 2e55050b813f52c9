//! What a webhook sink is told: where to post, how to sign, how much at once.

use super::target::{Target, TargetError};
use std::time::Duration;
use webhook_protocol::Secret;

/// Settings of one webhook sink.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where batches are posted to.
    pub url: Target,
    /// The secrets to sign with, the newest first. All of them sign, so that a receiver may know either while they are
    /// being rotated.
    pub secrets: Vec<Secret>,
    /// How long one POST may take in all, from the connection to the end of the answer.
    pub timeout: Duration,
    /// The most events in one body.
    pub max_events: usize,
    /// The size of a body that is aimed at, in bytes. An event that is larger by itself goes alone.
    pub max_body_bytes: usize,
    /// Whether the URL may lead into private networks or to this machine.
    pub allow_private_targets: bool,
}

impl Settings {
    /// Settings with every default: 10 s, 1,000 events, 1 MiB, no private targets.
    pub fn new(url: Target, secrets: Vec<Secret>) -> Self {
        Self {
            url,
            secrets,
            timeout: Duration::from_secs(10),
            max_events: 1000,
            max_body_bytes: 1024 * 1024,
            allow_private_targets: false,
        }
    }

    /// Checks what no single value shows by itself.
    ///
    /// # Errors
    /// The first setting that can't work.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.secrets.is_empty() {
            return Err(SettingsError::NoSecret);
        }
        for (name, is_zero) in [
            ("timeout", self.timeout.is_zero()),
            ("max_events", self.max_events == 0),
            ("max_body_bytes", self.max_body_bytes == 0),
        ] {
            if is_zero {
                return Err(SettingsError::Zero(name));
            }
        }
        for (name, value, most) in [
            ("max_events", self.max_events, webhook_protocol::MAX_EVENTS),
            ("max_body_bytes", self.max_body_bytes, webhook_protocol::MAX_BODY_BYTES),
        ] {
            if value > most {
                return Err(SettingsError::TooMuch { name, value, most });
            }
        }
        Ok(self.url.check(self.allow_private_targets)?)
    }
}

/// Why a webhook sink can't be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nothing to sign with.
    #[error("no secret to sign with: set at least one")]
    NoSecret,
    /// A limit of nothing lets nothing through.
    #[error("`{0}` is zero: nothing could be delivered")]
    Zero(&'static str),
    /// More than the protocol lets a receiver refuse.
    #[error("`{name}` is {value}: receivers need take no more than {most}")]
    TooMuch {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The largest one.
        most: usize,
    },
    /// The URL.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The HTTP client could not be set up; with https, for want of the system's root certificates.
    #[error("the HTTP client can't be set up; where the URL is https, install the package ca-certificates")]
    Client(#[source] reqwest::Error),
}
