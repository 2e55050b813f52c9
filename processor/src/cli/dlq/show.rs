//! Dead letters as text and as JSON. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deltafan::decode::timestamp::format_micros;
use deltafan::dlq::{Known, Letter, State, Whole};
use serde_json::{Value, json};
use std::fmt::Write;

/// As much of an id as nearly always tells one letter from all others.
const SHORT_ID: usize = 12;
/// A reason in a table.
const REASON_CHARS: usize = 80;
/// A value shown as text; --value prints all of it.
const VALUE_CHARS: usize = 4000;

/// A line for each letter.
pub(super) fn table(letters: &[Known]) -> String {
    let mut rows =
        vec![["ID", "STATE", "SINK", "STAGE", "CLASS", "TRIED", "LAST", "REASON"].map(str::to_owned)];
    rows.extend(letters.iter().map(|known| {
        let letter = &known.kept.letter;
        [
            short(&letter.id).to_owned(),
            known.state.name().to_owned(),
            letter.sink.clone(),
            letter.stage.clone(),
            letter.class.clone(),
            letter.attempts.to_string(),
            time(letter.last_ms),
            line(&letter.reason, REASON_CHARS),
        ]
    }));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// What is known of a letter without its bytes.
pub(super) fn summary(known: &Known) -> Value {
    let Letter { origin, .. } = &known.kept.letter;
    let letter = &known.kept.letter;
    json!({
        "id": letter.id,
        "state": known.state.name(),
        "replayed_at": match known.state { State::Replayed { at_ms } => Value::from(time(at_ms)), _ => Value::Null },
        "pipeline": letter.pipeline,
        "sink": letter.sink,
        "stage": letter.stage,
        "class": letter.class,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "replays": letter.replay,
        "edited": letter.edited,
        "first_failed_at": time(letter.first_ms),
        "last_failed_at": time(letter.last_ms),
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "value_bytes": known.kept.value_bytes,
        "lies_at": { "partition": known.kept.place.partition, "offset": known.kept.place.offset },
    })
}

/// A letter with its bytes: in base64, and as text where they are text.
pub(super) fn whole_json(known: &Known, whole: &Whole) -> Value {
    let mut shown = summary(known);
    let bytes = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => json!({ "base64": STANDARD.encode(bytes), "text": std::str::from_utf8(bytes).ok() }),
        None => Value::Null,
    };
    let headers = whole.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| json!({ "name": String::from_utf8_lossy(name), "value": bytes(value) }))
        .collect();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("key".to_owned(), bytes(&whole.key));
        shown.insert("headers".to_owned(), Value::from(headers));
        shown.insert("value".to_owned(), bytes(&whole.value));
    }
    shown
}

/// A letter with its bytes, for people.
pub(super) fn whole(known: &Known, whole: &Whole) -> String {
    let letter = &known.kept.letter;
    let origin = &letter.origin;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:9}{value}");
    };
    row("id", &letter.id);
    let state = match known.state {
        State::Replayed { at_ms } => format!("replayed at {}", time(at_ms)),
        state => state.name().to_owned(),
    };
    row("state", &state);
    row("sink", &format!("{}/{}", letter.pipeline, letter.sink));
    row(
        "failed",
        &format!("at stage {}, class {}: {}", letter.stage, letter.class, line(&letter.reason, usize::MAX)),
    );
    let replays = match letter.replay {
        0 => String::new(),
        replays => format!(", replayed {replays} times before that"),
    };
    let (first, last) = (time(letter.first_ms), time(letter.last_ms));
    row("tried", &format!("{} times, from {first} to {last}{replays}", letter.attempts));
    row("from", &format!("{} {}:{}", origin.topic, origin.partition, origin.offset));
    if letter.edited {
        row("edited", "its value is not the one that lay there");
    }
    row("key", &shown(whole.key.as_deref(), VALUE_CHARS));
    for (name, value) in &whole.headers {
        let name = line(&String::from_utf8_lossy(name), usize::MAX);
        row("header", &format!("{name} = {}", shown(value.as_deref(), VALUE_CHARS)));
    }
    row("value", &shown(whole.value.as_deref(), VALUE_CHARS));
    text.trim_end().to_owned()
}

/// Bytes for a terminal: as text where they are text, else how many they are.
fn shown(bytes: Option<&[u8]>, most_chars: usize) -> String {
    let Some(bytes) = bytes else { return "none".to_owned() };
    match std::str::from_utf8(bytes) {
        Ok("") => "empty".to_owned(),
        Ok(text) => line(text, most_chars),
        Err(_) => {
            let head: String = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
            format!("{} bytes that are no text, beginning with {head} (hexadecimal)", bytes.len())
        }
    }
}

/// Text on one line: nothing in it moves a cursor.
fn line(text: &str, most_chars: usize) -> String {
    let mut line: String =
        text.chars().take(most_chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most_chars).is_some() {
        line.push('…');
    }
    line
}

pub(super) fn time(ms: i64) -> String {
    format_micros(ms.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_record_moves_the_cursor() {
        assert_eq!(line("a\x1b[2Jb\nc", 9), "a [2Jb c");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(shown(Some(&[0xff, 0]), 9), "2 bytes that are no text, beginning with ff00 (hexadecimal)");
        assert_eq!((shown(None, 9), shown(Some(b""), 9)), ("none".to_owned(), "empty".to_owned()));
    }
}
