//! What a dead letter says of itself, as the headers that stand behind the record's own. Pure.
//!
//! They come in two conventions: Kafka Connect's (`__connect.errors.*`), which tools know, and ours (`deltafan.*`), which says
//! all. A record on the replay topic bears the same headers: they address it, and say what it was.

use crate::position::{LogId, Offset, Partition};
use sha2::{Digest, Sha256};

/// A record's headers: names and values, in order; names may repeat.
pub type Headers<'a> = [(&'a [u8], Option<&'a [u8]>)];

/// A reason may quote the record. It stands twice in the headers, and the letter has to fit its topic.
const REASON_MOST_BYTES: usize = 2048;

/// The first of our headers: what stands before its last occurrence is the record's own.
const FIRST: &str = "__connect.errors.topic";
const PARTITION: &str = "__connect.errors.partition";
const OFFSET: &str = "__connect.errors.offset";
const LOG: &str = "deltafan.log";
const ID: &str = "deltafan.id";
const PIPELINE: &str = "deltafan.pipeline";
const SINK: &str = "deltafan.sink";
const STAGE: &str = "deltafan.stage";
const CLASS: &str = "deltafan.class";
const REASON: &str = "deltafan.reason";
const ATTEMPTS: &str = "deltafan.attempts";
const FIRST_MS: &str = "deltafan.first_failed_at_ms";
const LAST_MS: &str = "deltafan.last_failed_at_ms";
const REPLAY: &str = "deltafan.replay";
const EDITED: &str = "deltafan.edited";

/// Where a record lay that became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The log that bore its name, `cluster/topic-id`.
    pub log: String,
    /// The partition.
    pub partition: Partition,
    /// The offset there.
    pub offset: Offset,
}

/// What a dead letter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The same whoever writes it, and however often.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The sink that it could not be delivered to.
    pub sink: String,
    /// Where on its journey it failed: `decode`, `enrich`, `transform`, `encode` or `sink`.
    pub stage: String,
    /// The kind of error, one word.
    pub class: String,
    /// What is wrong.
    pub reason: String,
    /// How often it was tried, over all replays.
    pub attempts: u64,
    /// When it first failed, in milliseconds since 1970.
    pub first_ms: i64,
    /// When it last failed, in milliseconds since 1970.
    pub last_ms: i64,
    /// How often it had been replayed before it failed; on the replay topic, which replay it is.
    pub replay: u32,
    /// Whether its value is no longer the one that lay in the topic.
    pub edited: bool,
    /// Where it lay.
    pub origin: Origin,
}

/// The same for the same record of the same lane, whoever writes it again; another one for a topic made again.
pub fn id(pipeline: &str, sink: &str, log: &LogId, partition: Partition, offset: Offset) -> String {
    let place = format!("{pipeline}/{sink}/{log}/{partition}/{offset}");
    let digest = Sha256::digest(place.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Letter {
    /// The headers to put behind the record's own.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let reason = clipped(&self.reason);
        vec![
            (FIRST, self.origin.topic.clone()),
            (PARTITION, self.origin.partition.to_string()),
            (OFFSET, self.origin.offset.to_string()),
            ("__connect.errors.connector.name", format!("{}/{}", self.pipeline, self.sink)),
            ("__connect.errors.task.id", "0".to_owned()),
            ("__connect.errors.stage", connect_stage(&self.stage).to_owned()),
            ("__connect.errors.class.name", format!("deltafan.{}", self.stage)),
            ("__connect.errors.exception.class.name", format!("deltafan.{}", self.class)),
            ("__connect.errors.exception.message", reason.to_owned()),
            (ID, self.id.clone()),
            (PIPELINE, self.pipeline.clone()),
            (SINK, self.sink.clone()),
            (STAGE, self.stage.clone()),
            (CLASS, self.class.clone()),
            (REASON, reason.to_owned()),
            (ATTEMPTS, self.attempts.to_string()),
            (FIRST_MS, self.first_ms.to_string()),
            (LAST_MS, self.last_ms.to_string()),
            (REPLAY, self.replay.to_string()),
            (EDITED, self.edited.to_string()),
            (LOG, self.origin.log.clone()),
        ]
    }

    /// Reads what a record says of itself, and how many headers before that are the record's own. `None` where it is no
    /// dead letter of ours.
    pub fn read(headers: &Headers<'_>) -> Option<(Self, usize)> {
        let own = headers.iter().rposition(|(name, _)| *name == FIRST.as_bytes())?;
        let ours = headers.get(own..).unwrap_or_default();
        let text = |wanted: &str| {
            let (_, value) = ours.iter().find(|(name, _)| *name == wanted.as_bytes())?;
            String::from_utf8((*value)?.to_vec()).ok()
        };
        let number = |wanted| text(wanted)?.parse::<i64>().ok();
        let letter = Self {
            id: text(ID)?,
            pipeline: text(PIPELINE)?,
            sink: text(SINK)?,
            stage: text(STAGE)?,
            class: text(CLASS)?,
            reason: text(REASON)?,
            attempts: text(ATTEMPTS)?.parse().ok()?,
            first_ms: number(FIRST_MS)?,
            last_ms: number(LAST_MS)?,
            replay: text(REPLAY)?.parse().ok()?,
            edited: text(EDITED)? == "true",
            origin: Origin {
                topic: text(FIRST)?,
                log: text(LOG)?,
                partition: text(PARTITION)?.parse().ok()?,
                offset: number(OFFSET)?,
            },
        };
        Some((letter, own))
    }
}

/// The nearest of the stages that Kafka Connect knows.
fn connect_stage(stage: &str) -> &'static str {
    match stage {
        "decode" => "VALUE_CONVERTER",
        "enrich" | "transform" => "TRANSFORMATION",
        _ => "TASK_PUT",
    }
}

fn clipped(text: &str) -> &str {
    let mut end = text.len().min(REASON_MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letter() -> impl Strategy<Value = Letter> {
        let words = ("[a-z]{1,5}", "[a-z]{1,5}", "[a-z]{0,5}", ".{0,20}");
        let numbers = (any::<u64>(), any::<i64>(), any::<i64>(), any::<u32>(), any::<bool>());
        (words, numbers, 0i32..9, any::<i64>()).prop_map(|(words, numbers, partition, offset)| {
            let (pipeline, sink, class, reason) = words;
            let (attempts, first_ms, last_ms, replay, edited) = numbers;
            let log = LogId::new("cluster", "topic");
            let id = id(&pipeline, &sink, &log, partition, offset);
            let origin = Origin { topic: "events".to_owned(), log: log.to_string(), partition, offset };
            let stage = "sink".to_owned();
            Letter {
                id,
                pipeline,
                sink,
                stage,
                class,
                reason,
                attempts,
                first_ms,
                last_ms,
                replay,
                edited,
                origin,
            }
        })
    }

    type Own = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    /// Among a record's own headers anything may stand, also what looks like ours.
    fn own() -> impl Strategy<Value = Own> {
        let name = prop_oneof![Just(FIRST.to_owned()), Just(ID.to_owned()), ".{0,5}"];
        prop::collection::vec((name.prop_map(String::into_bytes), any::<Option<Vec<u8>>>()), 0..5)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whatever_headers_the_record_has(letter in letter(), own in own()) {
            let added = letter.headers();
            let mut headers: Vec<_> = own.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
            headers.extend(added.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))));
            prop_assert_eq!(Letter::read(&headers), Some((letter, own.len())));
        }

        #[test]
        fn other_records_are_no_letters(own in own()) {
            let headers: Vec<_> = own.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
            prop_assert_eq!(Letter::read(&headers), None);
        }
    }

    #[test]
    fn a_reason_that_quotes_a_whole_record_is_cut_between_characters() {
        let long = "ü".repeat(5_000_000);
        assert!(clipped(&long).len() <= REASON_MOST_BYTES && !clipped(&long).is_empty());
        assert_eq!(clipped("short"), "short");
    }
}
