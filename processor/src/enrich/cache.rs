//! The content cache: what the `content` topic says, by content id, and how far in that topic it has come.

use crate::position::{Offset, Partition, Positions};
use crate::transform::Content;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use uuid::Uuid;

/// A content as the feed knows it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The content.
    pub content: Arc<Content>,
    /// The lower 32 bits of the id of the transaction that made it so, where that is known.
    pub tx_id: Option<u32>,
}

/// Filled by the feed alone, read by every enriching lane.
#[derive(Debug)]
pub struct Cache {
    contents: RwLock<HashMap<Uuid, Known>>,
    /// How far the feed has come: everything before these positions is in `contents`.
    reached: watch::Sender<Positions>,
    /// How often everything was forgotten: what was known to be sure before then is sure no longer.
    generation: AtomicU64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            contents: RwLock::default(),
            reached: watch::Sender::new(Positions::new()),
            generation: AtomicU64::new(0),
        }
    }
}

impl Cache {
    /// What is known of a content.
    pub fn get(&self, id: &Uuid) -> Option<Known> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Takes in a change: the content as it is now, or `None` where it was deleted.
    pub fn apply(&self, id: Uuid, known: Option<Known>) {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(known) => contents.insert(id, known),
            None => contents.remove(&id),
        };
    }

    /// Forgets everything: it is read again from the beginning.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.reached.send_replace(Positions::new());
        self.contents.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Changes whenever everything is forgotten.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How many contents are known.
    pub fn len(&self) -> usize {
        self.contents.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says that everything before `at` in `partition` has been taken in.
    pub fn advance(&self, partition: Partition, at: Offset) {
        self.reached.send_if_modified(|reached| {
            let before = reached.insert(partition, at);
            before != Some(at)
        });
    }

    /// Whether everything before `wanted` has been taken in.
    pub fn has_reached(&self, wanted: &Positions) -> bool {
        covers(&self.reached.borrow(), wanted)
    }

    /// Waits until everything before `wanted` has been taken in.
    pub async fn reach(&self, wanted: &Positions) {
        let mut reached = self.reached.subscribe();
        // The sender lives as long as `self`.
        let _ = reached.wait_for(|reached| covers(reached, wanted)).await;
    }
}

fn covers(reached: &Positions, wanted: &Positions) -> bool {
    wanted
        .iter()
        .all(|(partition, at)| *at == 0 || reached.get(partition).is_some_and(|reached| reached >= at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fence_opens_when_every_partition_is_there() {
        let cache = Cache::default();
        let wanted: Positions = [(0, 5), (1, 0), (2, 3)].into();
        assert!(cache.has_reached(&[(1, 0)].into()), "an empty partition holds nothing back");
        cache.advance(0, 5);
        assert!(!cache.has_reached(&wanted));
        cache.advance(2, 4);
        cache.reach(&wanted).await;
    }
}
