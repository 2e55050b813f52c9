//! What a worker has just asked the cache for: the next event of the same content need not take the lock, hash the id and count a
//! reference that other workers count as well.

use crate::transform::Content;
use std::sync::Arc;
use uuid::Uuid;

/// A power of two: an id has one place in it.
const PLACES: usize = 4096;

/// The contents that were asked for last, each at the place that its id gives it, as long as no content has changed.
#[derive(Debug, Default)]
pub struct Recent {
    /// How many changes the cache had taken in when the first of them was asked for.
    changes: u64,
    places: Vec<Option<(Uuid, Arc<Content>)>>,
}

impl Recent {
    /// To be called before a batch of events, once the cache is known to be as new as they are, with the number of changes that it
    /// has taken in by then.
    pub fn begin(&mut self, changes: u64) {
        if self.changes != changes {
            self.changes = changes;
            self.places.clear();
        }
    }

    /// The content of this id, by what is remembered or else by `ask`, whose answer is remembered.
    pub fn get(&mut self, id: Uuid, ask: impl FnOnce() -> Option<Arc<Content>>) -> Option<&Arc<Content>> {
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        let (high, low) = id.as_u64_pair();
        // Ids made at random differ in every bit, those counted by hand in the lowest.
        let index = usize::try_from((high ^ low) % PLACES as u64).unwrap_or_default();
        let place = self.places.get_mut(index)?;
        if place.as_ref().is_none_or(|(held, _)| *held != id) {
            *place = Some((id, ask()?));
        }
        place.as_ref().map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Whatever is asked for in whatever order, the answer is what the cache said last before its changes were counted, and
        /// nobody's else.
        #[test]
        fn answers_as_the_cache_does(
            steps in prop::collection::vec((0u128..40, prop::option::of(0u64..9)), 1..200)
        ) {
            let (mut recent, mut cache, mut changes) = (Recent::default(), HashMap::new(), 0);
            for (number, change) in steps {
                // Ids that share places, and ids that don't.
                let id = Uuid::from_u128(number * (PLACES as u128 / 8));
                if let Some(version) = change {
                    changes += 1;
                    cache.insert(id, version);
                    continue;
                }
                recent.begin(changes);
                let ask = || {
                    let version = cache.get(&id).copied();
                    version.map(|version| Arc::new(Content { version: Some(version), ..Content::default() }))
                };
                let got = recent.get(id, ask).and_then(|content| content.version);
                prop_assert_eq!(got, cache.get(&id).copied());
            }
        }
    }

    #[test]
    fn what_is_remembered_is_not_asked_for() {
        let mut recent = Recent::default();
        let id = Uuid::from_u128(7);
        recent.begin(1);
        assert_eq!(recent.get(id, || None), None);
        assert!(recent.get(id, || Some(Arc::default())).is_some(), "that there is none is not remembered");
        assert!(recent.get(id, || unreachable!("it is remembered")).is_some());
        recent.begin(1);
        assert!(recent.get(id, || unreachable!("nothing has changed")).is_some());
        recent.begin(2);
        assert_eq!(recent.get(id, || None), None);
    }
}
