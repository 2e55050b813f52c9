//! Kafka in trouble: what passes is said and waited out, a refusal ends the reader.

use super::{ASK_AGAIN, Reader};
use crate::health::State;
use crate::source::topic;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::thread;
use std::time::{Duration, Instant};

/// A topic that need not be there is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why a reader can't go on: nothing that waiting mends.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The broker refuses us.
    #[error("kafka refuses access to {what}: {error}; {remedy}")]
    Refused {
        /// The topic or group.
        what: String,
        /// What it says.
        error: KafkaError,
        /// What to do.
        remedy: &'static str,
    },
    /// librdkafka does not take a property.
    #[error("kafka client: {0}; check `kafka.properties`")]
    Client(KafkaError),
}

impl Reader {
    /// Waits until the topic is there.
    pub(super) fn await_topic(&mut self) -> Result<(), SourceError> {
        while !self.handoff.is_stopping() {
            let mut pause = ASK_AGAIN;
            match topic::describe(&self.consumer, &self.reading.topic) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if self.reading.is_optional => {
                    let why = self.topic_is_missing();
                    self.health.set(State::Absent { why });
                    self.health.set_kafka(None);
                    pause = LOOK_AGAIN;
                }
                Ok(None) => self.waits(self.topic_is_missing()),
                Err(error) => self.broker_error(error)?,
            }
            // Polled on, so that what librdkafka has to say is heard.
            self.serve_group()?;
            thread::park_timeout(pause);
        }
        Ok(())
    }

    /// After trouble: asks from time to time whether Kafka and the topic are there again.
    pub(super) fn look_for_kafka(&mut self) {
        if self.kafka_missing.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.kafka_missing = Some(Instant::now() + ASK_AGAIN);
        let trouble = match topic::describe(&self.consumer, &self.reading.topic) {
            Ok(Some(_)) => None,
            Ok(None) => Some(self.topic_is_missing()),
            Err(error) => Some(self.explain(&error)),
        };
        if trouble.is_none() {
            self.kafka_missing = None;
        }
        let well = trouble.is_none();
        if self.health.set_kafka(trouble) && well {
            tracing::info!(group = self.reading.group, "kafka is well again");
        }
    }

    pub(super) fn topic_is_missing(&self) -> String {
        format!(
            "topic `{}` does not exist; waiting for it: check its name, or make it (stack/stack topics makes those of the \
             stack)",
            self.reading.topic
        )
    }

    /// Says what the reader waits for; logged when it is new.
    pub(super) fn waits(&self, why: String) {
        if self.health.set(State::Waiting { why: why.clone() }) {
            tracing::warn!(group = self.reading.group, "{why}");
        }
    }

    /// What librdkafka reports: passing trouble is said and waited out, a refusal ends the reader.
    pub(super) fn broker_error(&mut self, error: KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode as Code;
        let refused = |what: String, error, remedy| Err(SourceError::Refused { what, error, remedy });
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed) => refused(
                format!("topic `{}`", self.reading.topic),
                error,
                "grant this user READ and DESCRIBE on it",
            ),
            Some(Code::GroupAuthorizationFailed) => refused(
                format!("consumer group `{}`", self.reading.group),
                error,
                "grant this user READ on it",
            ),
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => refused(
                "the cluster".to_owned(),
                error,
                "check user, password and mechanism in `kafka.properties`",
            ),
            _ => {
                self.kafka_missing.get_or_insert(Instant::now() + ASK_AGAIN);
                let why = self.explain(&error);
                if self.health.set_kafka(Some(why.clone())) {
                    tracing::warn!(group = self.reading.group, "kafka is in trouble: {why}");
                }
                Ok(())
            }
        }
    }

    /// A passing error; where nobody answers, with the addresses that were tried and what to do.
    fn explain(&self, error: &KafkaError) -> String {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(
                Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve,
            ) => format!(
                "no broker at {} answers ({error}); see whether kafka runs there, and check `kafka.brokers`",
                self.brokers
            ),
            _ => error.to_string(),
        }
    }
}
