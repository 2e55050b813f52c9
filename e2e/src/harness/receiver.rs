//! The receiver: a process of its own with a store of its own, and what it says over HTTP.

use super::process::{Process, Recipe};
use super::wait::{self, Look};
use anyhow::{Context, Result, bail};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// The largest page that `/events` gives.
const PAGE: usize = 10_000;
const START: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(30);

/// A receiver that somebody runs.
#[derive(Debug, Clone)]
pub struct Remote {
    base: String,
    http: reqwest::Client,
}

/// What `/stats` answers, as far as it is checked.
#[derive(Debug, Deserialize)]
pub struct Stats {
    /// Events stored.
    pub total_events: i64,
    /// Events that came again.
    pub duplicates: i64,
    /// Events refused for good.
    pub rejected: i64,
    /// Requests not believed.
    pub invalid_signatures: i64,
    /// From commit to stored, of the last minute; absent where nothing came.
    pub latency_ms: Option<Percentiles>,
}

/// Latencies in milliseconds.
#[derive(Debug, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred.
    pub p99: f64,
}

/// A stored event.
#[derive(Debug)]
pub struct Event {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Its id.
    pub event_id: String,
    /// `c`, `u`, `d` or `r`.
    pub op: String,
    /// The row's key.
    pub id: i64,
    /// The whole event as it came.
    pub json: String,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Named {
    seq: i64,
    event_id: String,
    op: String,
    id: i64,
}

impl Remote {
    /// The receiver at `base`, like `http://127.0.0.1:5001`.
    pub fn new(base: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { base: base.to_owned(), http })
    }

    /// What `path` answers, which must be a success.
    pub async fn get(&self, path: &str) -> Result<String> {
        let (status, text) = self.ask(path).await?;
        if !status.is_success() {
            bail!("{path} answers {status}: {text}");
        }
        Ok(text)
    }

    /// What `path` answers, with whatever status.
    pub async fn ask(&self, path: &str) -> Result<(StatusCode, String)> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// `/stats`.
    pub async fn stats(&self) -> Result<Stats> {
        serde_json::from_str(&self.get("/stats").await?).context("/stats")
    }

    /// One page of `/events` under further conditions (`device=…&`), newest first.
    pub async fn page(&self, conditions: &str) -> Result<Vec<Event>> {
        let text = self.get(&format!("/events?{conditions}limit={PAGE}")).await?;
        let page: Page = serde_json::from_str(&text).context("/events")?;
        page.events.into_iter().map(|event| read(&event)).collect()
    }

    /// All stored events, in the order of arrival.
    pub async fn events(&self) -> Result<Vec<Event>> {
        let mut all = Vec::new();
        let mut conditions = String::new();
        loop {
            let page = self.page(&conditions).await?;
            let Some(last) = page.last() else { break };
            conditions = format!("before_seq={}&", last.seq);
            all.extend(page);
        }
        all.reverse();
        Ok(all)
    }
}

fn read(event: &RawValue) -> Result<Event> {
    let Named { seq, event_id, op, id } = serde_json::from_str(event.get())
        .with_context(|| format!("an event without seq, event_id, op or id: {}", event.get()))?;
    Ok(Event { seq, event_id, op, id, json: event.get().to_owned() })
}

/// A receiver that the scenario runs.
#[derive(Debug)]
pub struct Receiver {
    /// Its process.
    pub process: Process,
    /// How to ask it.
    pub remote: Remote,
    /// `host:port`.
    pub address: String,
}

impl Receiver {
    /// Starts one that listens on `address`, and waits until it answers.
    pub async fn start(recipe: Recipe, address: &str) -> Result<Self> {
        let remote = Remote::new(&format!("http://{address}"))?;
        let receiver = Self { process: recipe.start()?, remote, address: address.to_owned() };
        receiver.answers().await?;
        Ok(receiver)
    }

    /// Waits until it answers.
    pub async fn answers(&self) -> Result<()> {
        wait::until("the receiver answers", START, async || {
            self.remote.get("/health").await?;
            Ok(Look::Seen(()))
        })
        .await
    }
}
