//! What inputs are thrown at.

mod config;
mod decode;
mod receiver;
mod signature;

use anyhow::Result;
use rand::rngs::StdRng;

/// How an input fared.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// It came past the first parse: it was JSON, YAML, a complete set of headers.
    pub parsed: bool,
    /// It was taken for good.
    pub accepted: bool,
}

/// A reader of what strangers write.
pub trait Target {
    /// Makes an input.
    fn make(&mut self, random: &mut StdRng) -> Vec<u8>;

    /// Gives it to the reader.
    ///
    /// # Errors
    /// The reader has broken a promise.
    fn throw(&mut self, input: &[u8]) -> Result<Outcome>;
}

type Make = fn() -> Result<Box<dyn Target>>;

/// All of them, by name.
pub const TARGETS: [(&str, Make); 4] = [
    ("decode", || Ok(Box::new(decode::Decode::new()?))),
    ("config", || Ok(Box::new(config::Configuration))),
    ("signature", || Ok(Box::new(signature::Signature::new()?))),
    ("receiver", || Ok(Box::new(receiver::Endpoint::new()?))),
];
