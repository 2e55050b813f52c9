//! Names in other systems: pipelines and sinks (consumer groups), Kafka topics and brokers, Redis keys, folders.

use std::{fmt, num::NonZeroU16, path::Path};

use super::{
    collections::NonEmpty,
    kinds::{Fault, Kind},
};

/// Two names and the prefix make a consumer group, and a metric's label: both stay readable.
const MAX_NAME_CHARS: usize = 64;
/// Kafka's own limit: a topic is a folder on the broker's disk.
const MAX_TOPIC_CHARS: usize = 249;
/// Far above any sensible key; the companion keys repeat it.
const MAX_KEY_BYTES: usize = 512;

macro_rules! text_type {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The name of a pipeline or sink: `[a-z0-9_-]`, 1 to 64 characters. The consumer group of a lane is
    /// `deltafan.<pipeline>.<sink>`.
    Name
}
text_type! {
    /// The name of a Kafka topic, legal by Kafka's rules.
    Topic
}
text_type! {
    /// The name of a connector, of characters that need no encoding in an address.
    Connector
}
text_type! {
    /// A Redis key: not empty, without white space and braces (the companion keys put it into braces, as their hash tag).
    RedisKey
}

text_type! {
    /// A folder: an absolute path.
    Folder
}

pub(super) struct NameKind;

impl Kind for NameKind {
    type Value = Name;

    fn name(&self) -> String {
        format!("a name of 1 to {MAX_NAME_CHARS} of the characters a-z 0-9 _ -")
    }

    fn parse(&self, text: &str) -> Result<Name, Fault> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if text.is_empty() || text.len() > MAX_NAME_CHARS || !text.chars().all(legal) {
            let remedy = format!("use {}: it becomes part of a consumer group", self.name());
            return Err(Fault::new("is not allowed", remedy));
        }
        Ok(Name(text.to_owned()))
    }
}

pub(super) struct TopicKind;

impl Kind for TopicKind {
    type Value = Topic;

    fn name(&self) -> String {
        format!("the name of a Kafka topic: 1 to {MAX_TOPIC_CHARS} of the characters a-z A-Z 0-9 . _ -")
    }

    fn parse(&self, text: &str) -> Result<Topic, Fault> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let reserved = matches!(text, "" | "." | "..");
        if reserved || text.len() > MAX_TOPIC_CHARS || !text.chars().all(legal) {
            return Err(Fault::new("is no legal topic name", format!("write {}", self.name())));
        }
        Ok(Topic(text.to_owned()))
    }
}

pub(super) struct ConnectorKind;

impl Kind for ConnectorKind {
    type Value = Connector;

    fn name(&self) -> String {
        format!("the name of a connector: 1 to {MAX_TOPIC_CHARS} of the characters a-z A-Z 0-9 . _ -")
    }

    fn parse(&self, text: &str) -> Result<Connector, Fault> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let reserved = matches!(text, "" | "." | "..");
        if reserved || text.len() > MAX_TOPIC_CHARS || !text.chars().all(legal) {
            return Err(Fault::new("is no name that can be watched", format!("write {}", self.name())));
        }
        Ok(Connector(text.to_owned()))
    }
}

pub(super) struct RedisKeyKind;

impl Kind for RedisKeyKind {
    type Value = RedisKey;

    fn name(&self) -> String {
        "a Redis key, as engagement:10min".to_owned()
    }

    fn parse(&self, text: &str) -> Result<RedisKey, Fault> {
        let illegal = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '{' | '}');
        if text.is_empty() || text.len() > MAX_KEY_BYTES || text.contains(illegal) {
            let remedy = format!(
                "write 1 to {MAX_KEY_BYTES} bytes without white space and braces: the companion keys put the key into braces"
            );
            return Err(Fault::new("is no usable Redis key", remedy));
        }
        Ok(RedisKey(text.to_owned()))
    }
}

pub(super) struct FolderKind;

impl Kind for FolderKind {
    type Value = Folder;

    fn name(&self) -> String {
        "the absolute path of a folder, as /var/lib/deltafan/events".to_owned()
    }

    fn parse(&self, text: &str) -> Result<Folder, Fault> {
        if !Path::new(text).is_absolute() || text.contains(char::is_control) {
            let remedy = format!("write {}: where the program was started must not matter", self.name());
            return Err(Fault::new("is no absolute path", remedy));
        }
        Ok(Folder(text.to_owned()))
    }
}

/// Kafka's bootstrap servers, at least one: `host:port`, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brokers(NonEmpty<(String, NonZeroU16)>);

impl Brokers {
    /// Hosts with their ports.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16)> {
        self.0.iter().map(|(host, port)| (host.as_str(), port.get()))
    }
}

/// As librdkafka's `bootstrap.servers` wants it.
impl fmt::Display for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (host, port)) in self.0.iter().enumerate() {
            let separator = if i > 0 { "," } else { "" };
            write!(f, "{separator}{host}:{port}")?;
        }
        Ok(())
    }
}

pub(super) struct BrokersKind;

impl Kind for BrokersKind {
    type Value = Brokers;

    fn name(&self) -> String {
        "Kafka's bootstrap servers, as host:9092 or one:9092,two:9092".to_owned()
    }

    fn parse(&self, text: &str) -> Result<Brokers, Fault> {
        let broker = |part: &str| {
            let (host, port) = part.trim().rsplit_once(':')?;
            Some((is_host(host).then(|| host.to_owned())?, port.parse().ok()?))
        };
        let brokers: Option<Vec<_>> = text.split(',').map(broker).collect();
        let fault = || Fault::new("names no brokers", format!("write {}", self.name()));
        brokers.and_then(NonEmpty::new).map(Brokers).ok_or_else(fault)
    }
}

/// A host name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty() && host.len() <= 253 && host.chars().all(legal)
}
