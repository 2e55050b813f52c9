//! The HTTP side: one signed POST, and an answer of bounded size.

use super::super::SinkError;
use super::config::{Settings, SettingsError};
use super::error::{parse_retry_after, unanswered};
use super::target::{PublicOnly, Target};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webhook_protocol::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, sign};

const USER_AGENT: &str = concat!("deltafan/", env!("CARGO_PKG_VERSION"));
/// The longest a connection may take to be made; a receiver further away than this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than the minute after which load balancers cut it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is read of an answer that is no acceptance: enough for its first words.
const FAILURE_BYTES: usize = 4096;

/// Posts to one receiver.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    target: Target,
    secrets: Vec<Secret>,
    timeout: Duration,
}

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status.
    pub status: StatusCode,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// Whether the body went on beyond the bound.
    pub cut: bool,
}

impl Client {
    /// A client with a connection pool of its own.
    ///
    /// # Errors
    /// The HTTP client can't be set up.
    pub(super) fn new(settings: Settings) -> Result<Self, SettingsError> {
        let mut http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            // A proxy would resolve the name itself, past the check of private targets.
            .no_proxy()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1);
        if !settings.url.is_secure() {
            // Without this the roots of the system are read all the same, and a machine without any can't even post
            // in clear.
            http = http.tls_certs_only([]);
        }
        if !settings.allow_private_targets {
            http = http.dns_resolver(Arc::new(PublicOnly));
        }
        let http = http.build().map_err(SettingsError::Client)?;
        Ok(Self { http, target: settings.url, secrets: settings.secrets, timeout: settings.timeout })
    }

    /// Where it posts to.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Signs and posts `body` under the name `id`. Of an accepted answer's body at most `answer_bytes` are read.
    ///
    /// # Errors
    /// There was no answer, or an acceptance broke off.
    pub(super) async fn post(&self, id: &str, body: Bytes, answer_bytes: usize) -> Result<Reply, SinkError> {
        let unanswered = |error| unanswered(&self.target, self.timeout, error);
        let now_s = unix_seconds();
        let response = self
            .http
            .post(self.target.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_ID, id)
            .header(HEADER_TIMESTAMP, now_s)
            .header(HEADER_SIGNATURE, sign(&self.secrets, id, now_s, &body))
            .body(body)
            .send()
            .await
            .map_err(unanswered)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, unix_seconds()));
        let most = if status.is_success() { answer_bytes } else { FAILURE_BYTES };
        let (body, cut) = match read(response, most).await {
            Ok(read) => read,
            // The list of rejected events may be in what is missing: nothing is known until it is sent again.
            Err(error) if status.is_success() => return Err(unanswered(error)),
            // The status says it all; its body would have been for people.
            Err(_) => (Vec::new(), true),
        };
        Ok(Reply { status, retry_after, body, cut })
    }
}

/// The body up to `most` bytes, and whether there was more.
async fn read(mut response: Response, most: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = most.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

/// The clock of this machine, taken anew for each try: receivers refuse old signatures.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
