//! Standard Webhooks 1.0.0, symmetric signatures: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.

use base64::{Engine, prelude::BASE64_STANDARD};
use thiserror::Error;

use crate::Secret;

/// Names the message; the same when it is sent again.
pub const HEADER_ID: &str = "webhook-id";
/// When this attempt was made, in Unix seconds.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// One signature per key, separated by spaces.
pub const HEADER_SIGNATURE: &str = "webhook-signature";
/// How far the sender's clock may be from the receiver's, either way, in seconds: what the specification's libraries use.
pub const DEFAULT_TOLERANCE_S: u64 = 300;

/// The scheme of a symmetric signature; others in the header are passed over.
const SCHEME: &str = "v1,";

/// Signs a message with every secret: the value of the header `webhook-signature`.
#[must_use]
pub fn sign(secrets: &[Secret], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let timestamp = timestamp_s.to_string();
    let mut header = String::new();
    for secret in secrets {
        if !header.is_empty() {
            header.push(' ');
        }
        header.push_str(SCHEME);
        BASE64_STANDARD.encode_string(digest(secret, id, &timestamp, body), &mut header);
    }
    header
}

/// The three headers of a request as they came; `None` where one is absent or no text.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignedHeaders<'a> {
    /// `webhook-id`.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`.
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`.
    pub signature: Option<&'a str>,
}

/// Why a message is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// A header is absent, empty or no text.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// The time stamp is no number of Unix seconds.
    #[error("the header {HEADER_TIMESTAMP} is not a time in Unix seconds")]
    BadTimestamp,
    /// Older than tolerated: a replay, or a clock that is behind.
    #[error("the message is {age_s} s old, more than the {tolerance_s} s allowed; check both clocks")]
    TooOld {
        /// Age of the message, in seconds.
        age_s: u64,
        /// What is allowed, in seconds.
        tolerance_s: u64,
    },
    /// Further in the future than tolerated: a clock that is ahead.
    #[error(
        "the message is dated {ahead_s} s ahead, more than the {tolerance_s} s allowed; check both clocks"
    )]
    TooNew {
        /// How far in the future, in seconds.
        ahead_s: u64,
        /// What is allowed, in seconds.
        tolerance_s: u64,
    },
    /// No signature in the header was made with one of the secrets over this message.
    #[error(
        "no signature matches; check that sender and receiver share a secret and that nothing changes the body"
    )]
    NoMatch,
}

/// Believes a message that is signed with any of its secrets and is recent.
#[derive(Debug, Clone)]
pub struct Verifier {
    secrets: Vec<Secret>,
    tolerance_s: u64,
}

impl Verifier {
    /// A verifier with the default tolerance of five minutes. Without a secret it believes nothing.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets, tolerance_s: DEFAULT_TOLERANCE_S }
    }

    /// Allows the sender's clock to differ by this much, either way.
    #[must_use]
    pub fn with_tolerance_s(self, tolerance_s: u64) -> Self {
        Self { tolerance_s, ..self }
    }

    /// Checks one message; `now_s` is the receiver's clock in Unix seconds.
    ///
    /// # Errors
    /// See [`SignatureError`]; the cheap reasons come first, so that a stale flood costs no hashing.
    pub fn verify(&self, headers: SignedHeaders<'_>, body: &[u8], now_s: u64) -> Result<(), SignatureError> {
        let id = present(headers.id, HEADER_ID)?;
        let timestamp = present(headers.timestamp, HEADER_TIMESTAMP)?;
        let signatures = present(headers.signature, HEADER_SIGNATURE)?;
        self.check_age(parse_seconds(timestamp)?, now_s)?;
        let candidates: Vec<Vec<u8>> = signatures.split(' ').filter_map(decode).collect();
        let matches = |secret| {
            let expected = digest(secret, id, timestamp, body);
            candidates.iter().any(|candidate| equal_in_constant_time(candidate, &expected))
        };
        if !candidates.is_empty() && self.secrets.iter().any(matches) {
            Ok(())
        } else {
            Err(SignatureError::NoMatch)
        }
    }

    fn check_age(&self, sent_s: u64, now_s: u64) -> Result<(), SignatureError> {
        let tolerance_s = self.tolerance_s;
        let age_s = now_s.saturating_sub(sent_s);
        let ahead_s = sent_s.saturating_sub(now_s);
        if age_s > tolerance_s {
            return Err(SignatureError::TooOld { age_s, tolerance_s });
        }
        if ahead_s > tolerance_s {
            return Err(SignatureError::TooNew { ahead_s, tolerance_s });
        }
        Ok(())
    }
}

fn present<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, SignatureError> {
    value.filter(|text| !text.is_empty()).ok_or(SignatureError::MissingHeader(name))
}

/// Digits only: `+1` and ` 1` would be other texts under the signature than the number they stand for.
fn parse_seconds(text: &str) -> Result<u64, SignatureError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SignatureError::BadTimestamp);
    }
    text.parse().map_err(|_| SignatureError::BadTimestamp)
}

fn decode(signature: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(signature.strip_prefix(SCHEME)?).ok()
}

fn digest(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    secret.hmac(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
}

/// Looks at every byte whatever the first ones say; only the length, which is no secret, ends it early.
fn equal_in_constant_time(candidate: &[u8], expected: &[u8; 32]) -> bool {
    if candidate.len() != expected.len() {
        return false;
    }
    let difference = candidate.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}
