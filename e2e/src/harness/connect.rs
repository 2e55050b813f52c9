//! Kafka Connect, by its REST interface, and our connector in it.

use super::stack::Stack;
use super::wait::{self, seen_if};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Connect of a stack.
pub struct Connect {
    connector: String,
    http: reqwest::Client,
}

/// What a connector and its task are doing.
#[derive(Debug, Deserialize)]
pub struct Status {
    connector: Part,
    tasks: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    state: String,
    trace: Option<String>,
}

/// Connect answers while it validates a connector against the database.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What Connect may take to end a task.
const CHANGED: Duration = Duration::from_secs(60);

impl Status {
    /// `RUNNING`, `FAILED` …: the task's, and where there is none the connector's.
    pub fn state(&self) -> &str {
        &self.tasks.first().unwrap_or(&self.connector).state
    }

    /// Why the task has failed.
    pub fn trace(&self) -> Option<&str> {
        self.tasks.first().and_then(|task| task.trace.as_deref())
    }
}

impl Connect {
    /// Asks nothing yet.
    pub fn new(stack: &Stack) -> Result<Self> {
        let url = stack.get("CONNECT_URL")?;
        let connector = format!("{url}/connectors/engagement-events-connector");
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { connector, http })
    }

    /// The connector's status.
    pub async fn status(&self) -> Result<Status> {
        let answer = self.http.get(format!("{}/status", self.connector)).send().await?.error_for_status()?;
        answer.json().await.context("Connect's answer is no status")
    }

    /// Changes some of the connector's settings; Connect restarts its task some time after.
    pub async fn set(&self, settings: &[(&str, &str)]) -> Result<()> {
        let url = format!("{}/config", self.connector);
        let answer = self.http.get(&url).send().await?.error_for_status()?;
        let mut config: BTreeMap<String, String> =
            answer.json().await.context("Connect's answer is no configuration")?;
        for (name, value) in settings {
            config.insert((*name).to_owned(), (*value).to_owned());
        }
        let answer = self.http.put(&url).json(&config).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "Connect answers {status}: {}", answer.text().await?);
        Ok(())
    }

    /// Stops the connector: its task ends, its offsets and its slot stay.
    pub async fn stop(&self) -> Result<()> {
        self.http.put(format!("{}/stop", self.connector)).send().await?.error_for_status()?;
        wait::until("the connector is stopped", CHANGED, async || {
            let state = self.status().await?;
            let stopped = state.tasks.is_empty() && state.connector.state == "STOPPED";
            Ok(seen_if(stopped, || state.state().to_owned()))
        })
        .await
    }

    /// Takes the offsets away from a connector that is stopped.
    pub async fn forget_offsets(&self) -> Result<()> {
        let answer = self.http.delete(format!("{}/offsets", self.connector)).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "Connect answers {status}: {}", answer.text().await?);
        Ok(())
    }

    /// Starts it again.
    pub async fn resume(&self) -> Result<()> {
        self.http.put(format!("{}/resume", self.connector)).send().await?.error_for_status()?;
        Ok(())
    }

    /// Starts the task again where it has failed. Connect may not answer just now; then it is asked again later.
    pub async fn restart_failed(&self) -> Result<()> {
        if self.status().await.is_ok_and(|status| status.state() == "FAILED") {
            let restart = format!("{}/restart?includeTasks=true&onlyFailed=true", self.connector);
            self.http.post(restart).send().await?;
        }
        Ok(())
    }
}
