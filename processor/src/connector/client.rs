//! Kafka Connect's REST interface, the two calls that are needed.

use super::status::{Seen, parse};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use std::time::Duration;

/// Connect answers within milliseconds, or it is busy with a rebalance.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Room for the stack traces of a connector and its tasks; of what is longer nothing is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Which connector is watched, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address of Connect's REST interface.
    pub url: String,
    /// The connector's name, of characters that need no encoding in an address.
    pub connector: String,
}

/// Asks one Connect for one connector.
pub(super) struct Client {
    http: reqwest::Client,
    /// The connector's address.
    connector: String,
}

impl Client {
    /// # Errors
    /// The HTTP client can't be set up.
    pub(super) fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy();
        if settings.url.starts_with("http://") {
            // A machine without any roots can't even ask in clear without this.
            http = http.tls_certs_only([]);
        }
        let connector = format!("{}/connectors/{}", settings.url.trim_end_matches('/'), settings.connector);
        Ok(Self { http: http.build()?, connector })
    }

    /// How the connector is.
    pub(super) async fn look(&self) -> Seen {
        match self.status().await {
            Ok(seen) => seen,
            // The URL that reqwest would print may hold a password.
            Err(error) => unknown(format!("Kafka Connect does not answer: {}", cause(&error.without_url()))),
        }
    }

    async fn status(&self) -> Result<Seen, reqwest::Error> {
        let response = self.http.get(format!("{}/status", self.connector)).send().await?;
        match response.status() {
            StatusCode::OK => Ok(match read(response).await? {
                Some(body) => parse(&body),
                None => unknown(format!("its status has more than {MAX_ANSWER_BYTES} bytes")),
            }),
            StatusCode::NOT_FOUND => Ok(unknown(
                "Kafka Connect has no such connector; register it (stack/stack connector), or name the right one \
                 (`connect.connector`)"
                    .to_owned(),
            )),
            other => Ok(unknown(format!("Kafka Connect answers {other}"))),
        }
    }

    /// Restarts what of the connector has failed.
    ///
    /// # Errors
    /// What was answered instead.
    pub(super) async fn restart(&self) -> Result<(), String> {
        let url = format!("{}/restart?includeTasks=true&onlyFailed=true", self.connector);
        match self.http.post(url).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("Kafka Connect answers {}", response.status())),
            Err(error) => Err(format!("Kafka Connect does not answer: {}", cause(&error.without_url()))),
        }
    }
}

fn unknown(why: String) -> Seen {
    Seen::Unknown { why }
}

/// The innermost cause, which names what is wrong; the outer ones say that a request failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The body, or none where it is too long.
async fn read(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
