//! librdkafka's properties: which are passed on, and which are refused because a guarantee rests on them.

use super::{
    describe::{Describe, Outline},
    secret::{Secret, SecretText},
    section::Section,
};

/// Properties for librdkafka, in the order of the file. Values are kept as secrets: passwords and keys are among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, Secret)>);

impl Properties {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl Describe for Properties {
    fn describe(&self, out: &mut Outline) {
        if self.0.is_empty() {
            return out.value("{}");
        }
        out.group(|out| self.0.iter().for_each(|(name, value)| out.entry(name, value)));
    }
}

/// What Deltafan sets itself, and why nobody else may.
const REFUSED: [(&str, &str); 29] = [
    ("acks", "a dead letter is durable before the position passes it"),
    ("request.required.acks", "a dead letter is durable before the position passes it"),
    ("auto.commit.enable", "a position is committed only after its effects are durable"),
    ("auto.commit.interval.ms", "a position is committed only after its effects are durable"),
    (
        "auto.offset.reset",
        "a lane never jumps silently; `start` of the pipeline says where a new lane begins",
    ),
    ("bootstrap.servers", "`kafka.brokers` names the brokers"),
    ("allow.auto.create.topics", "a topic that is missing is waited for"),
    ("check.crcs", "a record damaged on the way is to be noticed"),
    ("enable.auto.commit", "a position is committed only after its effects are durable"),
    ("enable.auto.offset.store", "a position is committed only after its effects are durable"),
    ("enable.idempotence", "a dead letter that is sent again must not be doubled"),
    ("enable.partition.eof", "the lane needs to know when it has read to the end"),
    ("group.id", "the group of a lane is `deltafan.<pipeline>.<sink>`"),
    ("group.instance.id", "a static member would keep its partitions after it has died"),
    ("group.protocol", "the hand-over of partitions is written for the classic protocol"),
    ("group.remote.assignor", "the hand-over of partitions is written for the classic protocol"),
    ("isolation.level", "records of an aborted transaction are no changes of the database"),
    ("max.in.flight", "the order of dead letters rests on it"),
    ("max.in.flight.requests.per.connection", "the order of dead letters rests on it"),
    ("max.poll.interval.ms", "an instance that hangs must lose its partitions in time"),
    ("metadata.broker.list", "`kafka.brokers` names the brokers"),
    ("offset.store.method", "positions are kept in the group, nowhere else"),
    ("partition.assignment.strategy", "with `cooperative-sticky`, commits reach partitions no longer owned"),
    ("session.timeout.ms", "an instance that is killed must lose its partitions in time"),
    ("client.id", "it names the lane and the worker, so that the broker's figures can be told apart"),
    ("queued.min.messages", "what is read ahead is bounded by lane, not by client"),
    ("queued.max.messages.kbytes", "what is read ahead is bounded by lane, not by client"),
    ("transactional.id", "two lanes with one id would fence each other"),
    ("heartbeat.interval.ms", "the hand-over of partitions rests on it"),
];

fn refused(property: &str) -> Option<&'static str> {
    REFUSED.iter().find_map(|(name, why)| (*name == property).then_some(*why))
}

impl Section<'_> {
    pub(super) fn kafka_properties(&self, key: &'static str, doc: &str) -> Option<Properties> {
        self.passed_on(key, doc, &SecretText, refused).map(Properties)
    }
}
