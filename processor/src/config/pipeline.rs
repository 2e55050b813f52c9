//! A pipeline: which topic is read, how its records are enriched and transformed, and which sinks get them.

use std::time::Duration;

use super::{
    collections::Named,
    kinds::DurationIn,
    names::{Name, Topic, TopicKind},
    section::Section,
    settings::{settings, words},
    sink::{By, Sink, SinkType},
    yaml::Node,
};

const FENCE_TIMEOUT: DurationIn = DurationIn {
    min: Duration::from_millis(1),
    max: Duration::from_secs(5),
    why: "a shorter one never succeeds; a longer one delays events that the database could answer for",
};

settings! {
    /// The changes of one topic on their way to some sinks. Each sink gets a lane of its own.
    pub struct Pipeline {
        /// The topic that Debezium writes.
        pub topic: Topic = required(&TopicKind),
        /// The topic for records that cannot be delivered, with their original bytes and the reason.
        pub dead_letters: Topic = required(&TopicKind),
        /// Where a lane that never ran begins: `earliest` (the oldest record) or `latest` (what comes from now on).
        pub start: Start = optional(&Start::KIND, "earliest"),
        /// The content that events are enriched with. Sinks that send whole events need it.
        pub content: Option<Content> = section_if_given(Content::read),
        /// What is computed from a record.
        pub transform: Transform = required(&Transform::KIND),
        /// The sinks, each under a name.
        pub sinks: Named<Sink> = named(Sink::read),
    }
}

settings! {
    /// The feed of content, and what happens to an event whose content is not in it.
    pub struct Content {
        /// The compacted topic with the rows of `content`.
        pub topic: Topic = required(&TopicKind),
        /// An event of content that does not exist: `nulls` (sent without its fields) or `dead_letter`.
        pub unknown: UnknownContent = optional(&UnknownContent::KIND, "nulls"),
        /// How long a batch waits for the feed to catch up with it before Postgres is asked.
        pub fence_timeout: Duration = optional(&FENCE_TIMEOUT, "20ms"),
    }
}

words! {
    /// Where a lane that never ran begins.
    Start {
        /// At the oldest record that Kafka keeps.
        Earliest = "earliest",
        /// At what comes from now on.
        Latest = "latest",
    }
}

words! {
    /// What becomes of an event whose content does not exist.
    UnknownContent {
        /// Its fields of content are null.
        Nulls = "nulls",
        /// It is a dead letter.
        DeadLetter = "dead_letter",
    }
}

words! {
    /// What is computed from a record.
    Transform {
        /// `engagement_seconds` and `engagement_pct`, from duration and length.
        Engagement = "engagement",
    }
}

/// The consumer group of the lane of a pipeline to a sink.
#[must_use]
pub fn group(pipeline: &Name, sink: &Name) -> String {
    format!("deltafan.{pipeline}.{sink}")
}

impl Pipeline {
    /// The topic through which dead letters are delivered again: its lanes read it beside the other.
    #[must_use]
    pub fn replay_topic(&self) -> String {
        replay_topic(&self.topic)
    }

    /// Reads a pipeline, and checks what no single key can tell.
    pub(super) fn checked(section: &Section<'_>) -> Option<Self> {
        let pipeline = Self::read(section);
        refuse_topic_twice(section);
        demand_content(section);
        pipeline
    }
}

fn replay_topic(topic: &Topic) -> String {
    format!("{topic}.replay")
}

/// Dead letters written to a topic that is read would come back for ever.
fn refuse_topic_twice(section: &Section<'_>) {
    let dead_letters = section.peek("dead_letters", &TopicKind);
    let content = section.entry("content").and_then(|entry| entry.node.child("topic"));
    let content_topic = content.and_then(|node| section.reader.peek(node, &TopicKind));
    let read = [("topic", section.peek("topic", &TopicKind)), ("content.topic", content_topic.clone())];
    let replays = section.peek("topic", &TopicKind).map(|topic| replay_topic(&topic));
    if replays.is_some() && replays == dead_letters.as_ref().map(Topic::to_string) {
        let what =
            "is the topic through which dead letters are delivered again: they would come back for ever";
        let remedy = "name a topic of its own, as `<topic>.dlq`";
        section.report(section.place_of("dead_letters"), &section.child("dead_letters"), what, remedy);
    }
    for (key, topic) in &read {
        if topic.is_some() && *topic == dead_letters {
            let what = format!("is the topic that `{key}` reads: dead letters would come back for ever");
            let remedy = "name a topic of its own, as `<topic>.dlq`";
            section.report(section.place_of("dead_letters"), &section.child("dead_letters"), &what, remedy);
        }
    }
    if let (Some(node), true) =
        (content, content_topic.is_some() && content_topic == section.peek("topic", &TopicKind))
    {
        let path = section.child("content.topic");
        section.report(
            node.place,
            &path,
            "is the topic of the events",
            "name the topic with the rows of `content`",
        );
    }
}

/// Whole events hold fields of their content, and a leaderboard by content type needs the types; a lane that has none
/// would send nulls, or show nothing, and look healthy.
fn demand_content(section: &Section<'_>) {
    if section.has("content") {
        return;
    }
    let need = section.children("sinks").iter().find_map(|sink| {
        let kind = sink.node.child("type").and_then(|node| section.reader.peek(node, &SinkType::KIND))?;
        let by = |window: &Node| window.child("by").and_then(|node| section.reader.peek(node, &By::KIND));
        match kind {
            SinkType::Webhook | SinkType::File => {
                Some(format!("the {kind} sink `{}` sends events enriched with it", sink.key))
            }
            SinkType::Discard => None,
            SinkType::RedisWindow => {
                let windows = sink.node.child("windows").map(Node::items).unwrap_or_default();
                windows
                    .iter()
                    .any(|window| by(window) == Some(By::ContentType))
                    .then(|| format!("a leaderboard of the sink `{}` is by content type", sink.key))
            }
        }
    });
    if let Some(need) = need {
        let remedy = "add `content:` with `topic:`, the topic with the rows of `content`";
        section.report(section.place, &section.child("content"), &format!("is missing: {need}"), remedy);
    }
}
