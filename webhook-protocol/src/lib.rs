//! The wire contract between the webhook sink and a receiver: who sent it (Standard Webhooks 1.0.0 signatures), what
//! is in it (a batch of events), and what the receiver answers.
//!
//! Both sides depend on this crate, so that neither can drift from the other. It does no I/O, reads no clock and
//! knows neither HTTP library nor database: headers are strings, bodies are bytes, times are passed in.
//!
//! A sender builds the body, names it by [`webhook_id`] and signs it by [`sign`]; a receiver checks it with a
//! [`Verifier`], reads it as a [`Batch`] and answers an [`Answer`].

mod batch;
mod instant;
mod secret;
mod signature;

pub use batch::{
    Answer, BODY_PREFIX, BODY_SUFFIX, Batch, MAX_BODY_BYTES, MAX_EVENTS, MAX_TITLE_CHARS, OPS, Rejected,
    fields, webhook_id,
};
pub use instant::{format_instant, instant_text, parse_instant};
pub use secret::{Secret, SecretError};
pub use signature::{
    DEFAULT_TOLERANCE_S, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, SignatureError, SignedHeaders,
    Verifier, sign,
};
