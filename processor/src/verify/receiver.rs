//! The events that a receiver holds, newest first, page by page: what the reference receiver answers at `/events`.

use super::VerifyError;
use reqwest::Url;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::task::JoinHandle;
use webhook_protocol::{Batch, parse_instant};

/// Events of one page: the most that a receiver gives.
const PAGE: usize = 10_000;
/// A page is cut by the receiver at 64 MiB, give or take its last event.
const MAX_PAGE_BYTES: usize = 100 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A receiver that can be asked.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    http: reqwest::Client,
    hook: Url,
}

/// What `/stats` says, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Stats {
    total_events: i64,
    kept_events: i64,
}

/// Where an event stands.
#[derive(Deserialize)]
struct Place<'a> {
    seq: i64,
    #[serde(borrow)]
    received_at: Option<std::borrow::Cow<'a, str>>,
}

impl Receiver {
    /// The receiver whose webhook is `url`.
    pub(super) fn new(url: &str) -> Result<Self, VerifyError> {
        let failed =
            |error: String| VerifyError::Act(format!("the receiver's address can't be used: {error}"));
        let hook = Url::parse(url).map_err(|error| failed(error.to_string()))?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        // Without this a machine without any roots of trust can't even ask in clear.
        let http = if hook.scheme() == "http" { http.tls_certs_only([]) } else { http };
        let http = http.build().map_err(|error| failed(error.to_string()))?;
        Ok(Self { http, hook })
    }

    /// Whether it has deleted events.
    pub(super) async fn has_pruned(&self) -> Result<bool, VerifyError> {
        let body = self.get("stats").await?;
        let stats: Stats = serde_json::from_slice(&body).map_err(|error| self.foreign("stats", &error))?;
        Ok(stats.kept_events < stats.total_events)
    }

    /// Hands its events to `take`, newest first, from the one before `before` on, or from the newest; ends behind the page
    /// whose last event was received before `until_us`. Answers where to go on, where there may be more.
    pub(super) async fn read(
        &self,
        before: Option<i64>,
        until_us: i64,
        mut take: impl FnMut(&str),
    ) -> Result<Option<i64>, VerifyError> {
        let mut next = Some(self.ask(before));
        while let Some(asked) = next.take() {
            let page = asked.await.map_err(|_| VerifyError::Away("stopping".to_owned()))??;
            let page: Batch<'_> =
                serde_json::from_slice(&page).map_err(|error| self.foreign("events", &error))?;
            let Some(last) = page.events.last() else { return Ok(None) };
            let place = self.place(last)?;
            let received_us = place.received_at.as_deref().and_then(parse_instant);
            let is_enough = received_us.is_some_and(|us| us < until_us);
            // The next page comes while this one is looked at.
            next = (!is_enough).then(|| self.ask(Some(place.seq)));
            page.events.iter().for_each(|event| take(event.get()));
            if is_enough {
                return Ok(Some(place.seq));
            }
        }
        Ok(None)
    }

    fn place<'e>(&self, event: &'e RawValue) -> Result<Place<'e>, VerifyError> {
        serde_json::from_str(event.get()).map_err(|error| self.foreign("events", &error))
    }

    fn ask(&self, before: Option<i64>) -> JoinHandle<Result<Vec<u8>, VerifyError>> {
        let this = self.clone();
        let before = before.map_or(String::new(), |seq| format!("&before_seq={seq}"));
        tokio::spawn(async move { this.get(&format!("events?limit={PAGE}{before}")).await })
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, VerifyError> {
        let url = self.hook.join(path).map_err(|error| self.foreign(path, &error))?;
        let away = |error: reqwest::Error| {
            let error = error.without_url();
            VerifyError::Away(format!(
                "the receiver at {} can't be asked for its events: {error}; see whether it runs",
                self.address()
            ))
        };
        let mut answer = self.http.get(url).send().await.map_err(away)?;
        if !answer.status().is_success() {
            return Err(self.foreign(path, &format!("it answers {}", answer.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_PAGE_BYTES {
                return Err(self.foreign(path, &"an answer without end"));
            }
        }
        Ok(body)
    }

    /// Host and port, without credentials.
    fn address(&self) -> String {
        let port = self.hook.port_or_known_default().map_or(String::new(), |port| format!(":{port}"));
        format!("{}{port}", self.hook.host_str().unwrap_or_default())
    }

    fn foreign(&self, path: &str, what: &dyn std::fmt::Display) -> VerifyError {
        let path = path.split('?').next().unwrap_or_default();
        VerifyError::Away(format!(
            "the receiver at {} does not tell what it holds (GET /{path}: {what}); only one that answers as webhook-sink does can be \
             compared: leave this one out by --sink",
            self.address()
        ))
    }
}
