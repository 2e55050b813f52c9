//! From a record of the log, or an event of a receiver, to what is compared of it. Pure.

use super::contents::{Contents, Said, Version};
use super::history::{Kept, Logged};
use super::print::{Image, hash, text};
use super::table::{ContentRow, Range, Stand};
use crate::decode::{Change, Op};
use crate::position::{Offset, Partition};
use crate::transform::{Engagement, Transformed, shown};
use serde::Deserialize;
use uuid::Uuid;
use webhook_protocol::{fields, parse_instant};

/// What is compared of a change in the log.
pub(super) fn logged(
    (partition, offset): (Partition, Offset),
    change: &Transformed<'_>,
    stand: &Stand,
    range: &Range,
) -> Option<Logged> {
    let row = change.row()?;
    let image = Image::parse(row.json).ok()?;
    Some(Logged {
        id: row.id,
        partition,
        offset,
        lsn: change.source.lsn,
        event: change.event_id()?,
        op: change.op,
        print: image.print,
        // Columns that are named like computed fields travel under other names: those are not compared.
        others: if row.clashes { None } else { Some(image.others) },
        is_seen: stand.sees(&change.source),
        is_former: stand.is_former(&change.source),
        in_range: range.holds(row.event_ts),
        is_refused: row.duration_ms.is_some_and(|ms| ms < 0),
    })
}

/// What is compared of an event that a receiver holds; `seq` is its place where it does not say itself.
///
/// # Errors
/// It is no event of ours; says why.
pub(super) fn kept(json: &str, seq: i64, contents: &Contents, range: &Range) -> Result<Kept, String> {
    let image = Image::parse(json).map_err(|error| error.to_string())?;
    let words = |name: &str| text(image.computed(name)).flatten();
    let event =
        words(fields::EVENT_ID).and_then(|id| Uuid::try_parse(&id).ok()).ok_or("its event_id is no UUID")?;
    let committed = words(fields::COMMITTED_AT).and_then(|at| parse_instant(&at));
    let committed_us = committed.ok_or("its committed_at is no instant")?;
    let id = image.id.ok_or("its id is no number")?;
    let length_seconds = image.computed(fields::LENGTH_SECONDS);
    let engagement = Engagement::of(image.duration_ms, length_seconds.parse().ok());
    let shown =
        |value: Option<crate::transform::Decimal>| value.map_or("null".to_owned(), |value| value.to_string());
    let is_computed = image.computed(fields::ENGAGEMENT_SECONDS) == shown(engagement.seconds)
        && image.computed(fields::ENGAGEMENT_PCT) == shown(engagement.pct);
    let (content_type, title) = (words(fields::CONTENT_TYPE), words(fields::CONTENT_TITLE));
    let said = Said {
        version: image.computed(fields::CONTENT_VERSION).parse().ok(),
        values: values(content_type.as_deref(), title.as_deref(), length_seconds.parse().ok()),
        committed_us,
    };
    Ok(Kept {
        id,
        seq: image.seq.unwrap_or(seq),
        event,
        op: words(fields::OP).and_then(|op| op_of(&op)),
        print: image.print,
        others: image.others,
        in_range: range.holds(image.event_ts),
        committed_us,
        enriched: contents.judge(image.content_id, said),
        is_computed,
    })
}

fn op_of(letter: &str) -> Option<Op> {
    [Op::Create, Op::Read, Op::Update, Op::Delete].into_iter().find(|op| op.letter() == letter)
}

/// The hash of what an event says of its content; none where it says nothing.
fn values(content_type: Option<&str>, title: Option<&str>, length_seconds: Option<i64>) -> Option<u32> {
    let says = content_type.is_some() || title.is_some() || length_seconds.is_some();
    says.then(|| hash(&(content_type, title, length_seconds)))
}

/// A row of `content` in its topic, as far as events say it.
#[derive(Deserialize)]
struct ContentImage {
    id: Uuid,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    title: Option<Box<str>>,
    #[serde(default)]
    length_seconds: Option<i64>,
}

/// Takes in a change of a content.
pub(super) fn learn(change: &Change<'_>, contents: &mut Contents) {
    let source = &change.source;
    let version = |values| Version { lsn: Some(source.lsn), committed_us: source.committed_us, values };
    let Some(image) = change.after.as_ref().or(change.before.as_ref()) else { return };
    // What can't be read leaves the content unknown, as it does for the lanes.
    let Ok(row) = serde_json::from_str::<ContentImage>(image.json) else { return };
    let title = row.title.map(shown);
    let is = values(row.content_type.as_deref(), title.as_deref(), row.length_seconds);
    match change.op {
        Op::Read => contents.add_read(row.id, version(is)),
        Op::Delete => contents.add(row.id, version(None)),
        Op::Create | Op::Update => contents.add(row.id, version(is)),
    }
}

/// Takes in what the table says, where the topic does not.
pub(super) fn learn_row(row: &ContentRow, contents: &mut Contents) {
    let title = row.title.as_deref().map(|title| shown(title.into()));
    let is = values(row.content_type.as_deref(), title.as_deref(), row.length_seconds);
    contents.add_unknown(row.id, Version { lsn: None, committed_us: i64::MAX, values: is });
}
