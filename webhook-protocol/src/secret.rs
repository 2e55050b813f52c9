//! A signing secret: `whsec_` and base64 of 24 to 64 bytes. Once parsed, nothing prints it.

use std::{fmt, str::FromStr};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// What every secret begins with, so that scanners for leaked secrets recognise it.
const PREFIX: &str = "whsec_";
/// The least that Standard Webhooks allows: 192 bits.
const MIN_BYTES: usize = 24;
/// The most that Standard Webhooks allows: 512 bits, one block of SHA-256.
const MAX_BYTES: usize = 64;
/// Secrets are pasted by people, with and without the `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no secret. Never holds the text itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The list holds no secret at all.
    #[error("no webhook secret is given; make one with: {MAKE_ONE}")]
    Missing,
    /// The prefix `whsec_` is missing.
    #[error("the webhook secret does not begin with \"{PREFIX}\"; make one with: {MAKE_ONE}")]
    Prefix,
    /// What follows the prefix is no base64.
    #[error(
        "the webhook secret is not base64 after \"{PREFIX}\"; copy it whole, or make one with: {MAKE_ONE}"
    )]
    Base64,
    /// The key is shorter or longer than Standard Webhooks allows.
    #[error(
        "the webhook secret holds {0} bytes, allowed are {MIN_BYTES} to {MAX_BYTES}; make one with: {MAKE_ONE}"
    )]
    Length(usize),
    /// One secret of a list is bad.
    #[error("webhook secret number {position} of the list is bad")]
    InList {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: Box<SecretError>,
    },
}

/// The remedy of every error above.
const MAKE_ONE: &str = "echo \"whsec_$(openssl rand -base64 32)\"";

/// A key to sign or verify with. Its `Debug` and `Display` are `whsec_[redacted]`.
#[derive(Clone)]
pub struct Secret {
    /// Keyed once; cloned for each message, which saves hashing the key again.
    mac: Hmac<Sha256>,
}

impl Secret {
    /// Reads one or more secrets separated by commas or white space (key rotation: the newest first).
    ///
    /// # Errors
    /// When there is none, or one of them is bad; its place in the list is named, its text is not.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, SecretError> {
        let words: Vec<&str> = text.split(is_separator).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Err(SecretError::Missing),
            [only] => Ok(vec![only.parse()?]),
            several => several.iter().enumerate().map(|(i, word)| parse_nth(i + 1, word)).collect(),
        }
    }

    /// HMAC-SHA256 over the parts as if they were one text.
    pub(crate) fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

fn is_separator(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

fn parse_nth(position: usize, word: &str) -> Result<Secret, SecretError> {
    word.parse().map_err(|source| SecretError::InList { position, source: Box::new(source) })
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let key = BASE64.decode(encoded).map_err(|_| SecretError::Base64)?;
        let length = SecretError::Length(key.len());
        if !(MIN_BYTES..=MAX_BYTES).contains(&key.len()) {
            return Err(length);
        }
        let mac = Hmac::new_from_slice(&key).map_err(|_| length)?;
        Ok(Self { mac })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}[redacted]")
    }
}
