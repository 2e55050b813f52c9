//! The neutral receiver as a process of its own, and what it has counted.

use crate::cost::Watched;
use crate::processor::Running;
use anyhow::{Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What needs a moment takes no longer.
const PATIENCE: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_millis(10);

/// One that runs until this is dropped.
pub struct Neutral {
    /// The process.
    pub watched: Watched,
    listen: String,
    /// One for all questions: a new one for each would read the system's certificates a hundred times a second, and take a fifth of a core
    /// from what is measured.
    http: reqwest::Client,
    _running: Running,
}

impl Neutral {
    /// Starts one that listens on this host and port and finds the id of each event behind `before_id`.
    ///
    /// # Errors
    /// It can't be started, or does not answer.
    pub async fn start(listen: &str, before_id: &str) -> Result<Self> {
        let program = std::env::current_exe()?;
        let child =
            Command::new(program).args(["receive", "--listen", listen, "--before-id", before_id]).spawn()?;
        let watched = Watched { name: "receiver", pid: child.id() };
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let neutral = Self { watched, listen: listen.to_owned(), http, _running: Running::new(child) };
        let began = Instant::now();
        while neutral.posted().await.is_err() {
            ensure!(began.elapsed() < PATIENCE, "the receiver does not answer");
            sleep(ASK).await;
        }
        Ok(neutral)
    }

    /// How many events were posted.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn posted(&self) -> Result<usize> {
        self.ask("count").await
    }

    /// How many distinct ids they had.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn distinct(&self) -> Result<usize> {
        self.ask("distinct").await
    }

    async fn ask(&self, what: &str) -> Result<usize> {
        let url = format!("http://{}/{what}", self.listen);
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?.parse()?)
    }
}
