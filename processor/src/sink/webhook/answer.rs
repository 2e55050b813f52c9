//! The body of a 2xx answer: which events the receiver will never take.

use super::super::Batch;
use super::encode::Events;
use super::error::printable;
use std::collections::{BTreeMap, HashMap};
use tracing::warn;
use uuid::Uuid;
use webhook_protocol::{Answer, Rejected};

/// The room for the frame of an answer.
const FRAME_BYTES: usize = 64 * 1024;
/// The room for one rejected event: its id, and a reason of some lines.
const EVENT_BYTES: usize = 1024;

/// The longest answer to a batch of `events` that is read.
pub(super) fn most_bytes(events: usize) -> usize {
    FRAME_BYTES.saturating_add(events.saturating_mul(EVENT_BYTES))
}

/// The rejected events among `batch`, by place, with the reason. A body that is no answer of the protocol (empty,
/// text, some other JSON) rejects nothing: the status has accepted all.
pub(super) fn rejected(body: &[u8], batch: &Events) -> Vec<(usize, String)> {
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Vec::new();
    };
    if answer.rejected.is_empty() {
        return Vec::new();
    }
    let by_id = places_by_id(batch);
    let mut rejected = BTreeMap::new();
    for event in answer.rejected {
        let places = places(&event, &by_id, batch.len());
        if places.is_empty() {
            let event_id = printable(&event.event_id);
            warn!(event_id, index = event.index, "the receiver rejects an event that was not sent: ignored");
        }
        let reason = reason(&event);
        rejected.extend(places.into_iter().map(|place| (place, reason.clone())));
    }
    rejected.into_iter().collect()
}

/// Where each event stands; at several places where it was read twice.
fn places_by_id(batch: &Events) -> HashMap<Uuid, Vec<usize>> {
    let mut places: HashMap<Uuid, Vec<usize>> = HashMap::with_capacity(batch.len());
    for (place, id) in batch.ids().enumerate() {
        places.entry(id).or_default().push(place);
    }
    places
}

/// Where the rejected event stands: by its id, or, where the receiver could read none, by its place.
fn places(event: &Rejected, by_id: &HashMap<Uuid, Vec<usize>>, events: usize) -> Vec<usize> {
    match Uuid::try_parse(&event.event_id) {
        Ok(id) => by_id.get(&id).cloned().unwrap_or_default(),
        Err(_) if event.event_id.is_empty() => {
            event.index.filter(|index| *index < events).into_iter().collect()
        }
        Err(_) => Vec::new(),
    }
}

fn reason(event: &Rejected) -> String {
    match printable(&event.reason) {
        reason if reason.is_empty() => "rejected by the receiver, which gave no reason".to_owned(),
        reason => format!("rejected by the receiver: {reason}"),
    }
}
