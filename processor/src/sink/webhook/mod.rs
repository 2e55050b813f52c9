//! The webhook sink: signed POSTs of JSON batches, by Standard Webhooks 1.0.0.
//!
//! Keeps no position: the receiver stores each event once, by its id, so a batch that is sent again changes nothing.
//! The wire contract is the crate `webhook-protocol`; here are the batch, the POST and what follows from its answer.

mod answer;
mod client;
mod config;
mod encode;
mod error;
mod target;
#[cfg(test)]
mod tests;

use super::{Batch, Class, Sink, SinkError, Write, Written};
use crate::position::{Held, LogId, Partition};
use client::Client;
pub use config::{Settings, SettingsError};
pub use encode::Events;
use error::{Outcome, answered, classify};
pub use target::{PrivateTarget, Target, TargetError};

/// A webhook sink, of one worker of one lane.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    max_events: usize,
    max_body_bytes: usize,
}

impl Webhook {
    /// Makes a sink; connects only when there is something to post.
    ///
    /// # Errors
    /// Settings that can't work.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let (max_events, max_body_bytes) = (settings.max_events, settings.max_body_bytes);
        Ok(Self { client: Client::new(settings)?, max_events, max_body_bytes })
    }
}

impl Sink for Webhook {
    type Batch = Events;

    const WANTS_CONTENT: bool = true;

    fn batch(&self) -> Events {
        Events::new(self.max_events, self.max_body_bytes)
    }

    async fn positions(&mut self, _log: &LogId, _partitions: &[Partition]) -> Result<Held, SinkError> {
        Ok(Held::NotKept)
    }

    async fn write(&mut self, write: Write<'_, Events>) -> Result<Written, SinkError> {
        let batch = write.batch;
        if batch.is_empty() {
            return Ok(Written::Durable { rejected: Vec::new() });
        }
        let answer_bytes = answer::most_bytes(batch.len());
        let reply = self.client.post(&batch.name(), batch.body(), answer_bytes).await?;
        match classify(reply.status.as_u16(), reply.retry_after) {
            // What it rejects may stand in the part that was not read; a page of text rejects nothing.
            Outcome::Accepted if reply.cut && reply.body.trim_ascii_start().starts_with(b"{") => {
                let message =
                    format!("{} answered more than {} bytes", self.client.target(), reply.body.len());
                let remedy = Some("let the receiver answer with less: a rejected event's reason is a line");
                Err(SinkError { class: Class::Pause, message, remedy, source: None })
            }
            Outcome::Accepted => Ok(Written::Durable { rejected: answer::rejected(&reply.body, batch) }),
            Outcome::Failed { class, remedy } => {
                Err(answered(self.client.target(), reply.status.as_u16(), &reply.body, class, remedy))
            }
        }
    }
}
