//! The content cache: what the `content` topic says, by content id, and how far in that topic it has come.

use crate::position::{Offset, Partition, Positions};
use crate::transform::Content;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
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

/// What is known, and in which order it was learnt.
#[derive(Debug, Default)]
struct Contents {
    known: HashMap<Uuid, (u64, Known)>,
    /// By number, counted from 1: a content that changes moves to the end.
    learnt: BTreeMap<u64, Uuid>,
    last: u64,
}

impl Contents {
    fn forget(&mut self, id: &Uuid) {
        if let Some((number, _)) = self.known.remove(id) {
            self.learnt.remove(&number);
        }
    }

    fn learn(&mut self, id: Uuid, known: Known) {
        self.forget(&id);
        self.last += 1;
        self.learnt.insert(self.last, id);
        self.known.insert(id, (self.last, known));
    }
}

/// Filled by the feed alone, read by every lane that wants to know of contents.
#[derive(Debug)]
pub struct Cache {
    contents: RwLock<Contents>,
    /// How far the feed has come: everything before these positions is in `contents`.
    reached: watch::Sender<Positions>,
    /// How often everything was forgotten: what was known to be sure before then is sure no longer.
    generation: AtomicU64,
    /// How many changes were taken in: what was learnt before the last one may hold no longer.
    changes: AtomicU64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            contents: RwLock::default(),
            reached: watch::Sender::new(Positions::new()),
            generation: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }
}

impl Cache {
    /// What is known of a content.
    pub fn get(&self, id: &Uuid) -> Option<Known> {
        self.read().known.get(id).map(|(_, known)| known.clone())
    }

    /// What was learnt after number `seen`, the oldest first, at most `limit` of it: number, id and content. From 0 on
    /// that is all that is known. Numbers grow for as long as the process lives.
    pub fn learnt_after(&self, seen: u64, limit: usize) -> Vec<(u64, Uuid, Arc<Content>)> {
        let contents = self.read();
        let later = contents.learnt.range(seen.saturating_add(1)..).take(limit);
        let content = |(number, id): (&u64, &Uuid)| {
            let (_, known) = contents.known.get(id)?;
            Some((*number, *id, Arc::clone(&known.content)))
        };
        later.filter_map(content).collect()
    }

    /// Takes in a change: the content as it is now, or `None` where it was deleted.
    pub fn apply(&self, id: Uuid, known: Option<Known>) {
        match known {
            Some(known) => self.write().learn(id, known),
            None => self.write().forget(&id),
        }
        // Behind the change, and before it is said that the cache has come so far.
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How many changes were taken in.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Forgets everything: it is read again from the beginning.
    pub fn clear(&self) {
        // In this order: whoever sees the new generation sees as well that nothing has been reached in it.
        self.reached.send_replace(Positions::new());
        self.generation.fetch_add(1, Ordering::AcqRel);
        let mut contents = self.write();
        contents.known.clear();
        contents.learnt.clear();
        drop(contents);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever everything is forgotten.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How many contents are known.
    pub fn len(&self) -> usize {
        self.read().known.len()
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

    /// A content of that version.
    fn known(version: u64) -> Known {
        let content = Content { version: Some(version), ..Content::default() };
        Known { content: Arc::new(content), tx_id: None }
    }

    #[test]
    fn what_is_learnt_is_told_once_the_oldest_first() {
        let cache = Cache::default();
        let told = |seen, limit| {
            let learnt = cache.learnt_after(seen, limit);
            let last = learnt.last().map_or(seen, |(number, ..)| *number);
            let versions: Vec<_> = learnt.iter().filter_map(|(.., content)| content.version).collect();
            (last, versions)
        };
        let ids: Vec<_> = (0..3).map(Uuid::from_u128).collect();
        for (id, version) in [(0, 10), (1, 11), (2, 12), (0, 13)] {
            cache.apply(ids[id], Some(known(version)));
        }
        assert_eq!(told(0, 2), (3, vec![11, 12]), "what was overtaken is not told");
        assert_eq!(told(3, 2), (4, vec![13]));
        assert_eq!(told(4, 2), (4, vec![]));
        cache.apply(ids[1], None);
        cache.clear();
        cache.apply(ids[2], Some(known(12)));
        assert_eq!(told(4, 2), (5, vec![12]), "numbers go on after everything was forgotten");
    }

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
