//! What one POST carries: the JSON of its events in one piece of memory, and where each one ends.

use super::super::event::encode;
use super::super::{Batch, Event, Refusal};
use uuid::Uuid;
use webhook_protocol::{BODY_PREFIX, BODY_SUFFIX, webhook_id};

/// Events of one POST.
#[derive(Debug, Clone)]
pub struct Events {
    max_events: usize,
    max_body_bytes: usize,
    /// The events' JSON, with a comma between two.
    json: Vec<u8>,
    /// The events in order.
    marks: Vec<Mark>,
}

/// One event within the batch.
#[derive(Debug, Clone, Copy)]
struct Mark {
    id: Uuid,
    /// Where its JSON ends.
    end: usize,
}

impl Events {
    /// An empty batch that is full at either limit.
    #[must_use]
    pub fn new(max_events: usize, max_body_bytes: usize) -> Self {
        Self { max_events, max_body_bytes, json: Vec::new(), marks: Vec::new() }
    }

    /// The body to post; the same bytes whenever this batch is sent.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        [BODY_PREFIX.as_bytes(), &self.json, BODY_SUFFIX.as_bytes()].concat()
    }

    /// The `webhook-id`: the same whenever the same events are sent in the same order.
    pub(super) fn name(&self) -> String {
        webhook_id(self.ids().map(IdText::of))
    }

    /// The events' ids, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.marks.iter().map(|mark| mark.id)
    }

    fn body_bytes(&self) -> usize {
        BODY_PREFIX.len() + self.json.len() + BODY_SUFFIX.len()
    }
}

impl Batch for Events {
    fn push(&mut self, event: &Event<'_>) -> Result<(), Refusal> {
        let before = self.json.len();
        if before > 0 {
            self.json.push(b',');
        }
        let id = encode(&mut self.json, event).inspect_err(|_| self.json.truncate(before))?;
        self.marks.push(Mark { id, end: self.json.len() });
        Ok(())
    }

    /// Also where one more event of the mean size would not fit: so bodies stay below the limit as long as events are
    /// alike.
    fn is_full(&self) -> bool {
        let bytes = self.body_bytes();
        let mean = self.json.len().checked_div(self.marks.len()).unwrap_or(0);
        self.marks.len() >= self.max_events || bytes.saturating_add(mean) > self.max_body_bytes
    }

    fn len(&self) -> usize {
        self.marks.len()
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::new(self.max_events, self.max_body_bytes);
        let keep = at.min(self.marks.len());
        let end = keep.checked_sub(1).and_then(|last| self.marks.get(last)).map_or(0, |mark| mark.end);
        // Nothing is kept before the first event; otherwise a comma stands between the two halves.
        let start = if keep == 0 { 0 } else { end.saturating_add(1).min(self.json.len()) };
        rest.json = self.json.split_off(start);
        self.json.truncate(end);
        rest.marks = self.marks.split_off(keep);
        for mark in &mut rest.marks {
            mark.end = mark.end.saturating_sub(start);
        }
        rest
    }
}

/// The text of an event id, on the stack.
struct IdText([u8; 36]);

impl IdText {
    fn of(id: Uuid) -> Self {
        let mut text = [0; 36];
        id.as_hyphenated().encode_lower(&mut text);
        Self(text)
    }
}

impl AsRef<str> for IdText {
    fn as_ref(&self) -> &str {
        // Always hexadecimal digits and hyphens.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
