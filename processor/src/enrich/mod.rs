//! Enrich: the content of an event, at least as new as the event.
//!
//! The [`cache`] is fed by the `content` topic itself ([`feed`]). It is known to be new enough by the *fence*: one
//! connector appends changes in WAL order, and before the transaction commits that makes them visible. So once the cache has
//! reached the high watermark that the `content` topic had after a batch of events was fetched, it knows every change of
//! a content that committed before any of those events, and those that an event's own transaction made before it. Where the fence is not reached in time, or the content is
//! unknown, Postgres is asked ([`lookup`]), and an answer counts only if its snapshot sees the event's transaction.
//!
//! Nothing is ever enriched with nulls because a question failed: then the lane waits.

pub mod cache;
pub mod feed;
pub mod fence;
pub mod lookup;
pub mod recent;
pub mod snapshot;

use crate::transform::Content;
use cache::Cache;
use fence::Fence;
use lookup::{Lookup, LookupError};
use recent::Recent;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What a lane asks for contents; shared by all lanes of a pipeline.
#[derive(Debug)]
pub struct Enricher {
    cache: Arc<Cache>,
    fence: Fence,
    lookup: Lookup,
    fence_timeout: Duration,
}

/// Whether the cache is known to be as new as every event of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is: the fence was reached, in this generation of the cache.
    Sure(u64),
    /// It may not be: each content has to be asked for.
    Unsure,
}

impl Enricher {
    /// Puts the parts together. `fence_timeout` is how long a batch waits for the feed before it asks Postgres.
    pub fn new(cache: Arc<Cache>, fence: Fence, lookup: Lookup, fence_timeout: Duration) -> Self {
        Self { cache, fence, lookup, fence_timeout }
    }

    /// To be called once after a batch of events was fetched.
    pub async fn freshness(&self) -> Freshness {
        let generation = self.cache.generation();
        let reached = async {
            match self.fence.watermarks().await {
                Some(watermarks) => {
                    self.cache.reach(&watermarks).await;
                    Freshness::Sure(generation)
                }
                None => Freshness::Unsure,
            }
        };
        tokio::time::timeout(self.fence_timeout, reached).await.unwrap_or(Freshness::Unsure)
    }

    /// To be called before a batch of events, once its freshness is known: what `recent` holds afterwards is as new as the cache.
    pub fn begin(&self, recent: &mut Recent) {
        recent.begin(self.cache.changes());
    }

    /// The content, where the cache has it and is new enough: almost always, and without a wait.
    pub fn known(&self, id: Uuid, freshness: Freshness) -> Option<Arc<Content>> {
        let Freshness::Sure(generation) = freshness else { return None };
        let known = self.cache.get(&id)?;
        // Looked at after the entry: a cache that is being filled anew holds old versions for a while.
        (generation == self.cache.generation()).then_some(known.content)
    }

    /// The same for a batch of events of one freshness, which `recent` is for: most of them are of few contents.
    pub fn recent<'r>(
        &self,
        id: Uuid,
        freshness: Freshness,
        recent: &'r mut Recent,
    ) -> Option<&'r Arc<Content>> {
        // Where the cache may be behind, so may be what it said before.
        let Freshness::Sure(generation) = freshness else { return None };
        if generation != self.cache.generation() {
            return None;
        }
        recent.get(id, || self.known(id, freshness))
    }

    /// The content of an event of transaction `tx_id`, or `None` where there is no such content.
    ///
    /// # Errors
    /// Postgres had to be asked and could not: to be asked again.
    pub async fn content(
        &self,
        id: Uuid,
        tx_id: Option<u32>,
        freshness: Freshness,
    ) -> Result<Option<Arc<Content>>, LookupError> {
        if let Some(content) = self.known(id, freshness) {
            return Ok(Some(content));
        }
        // Before the question: a change that comes while it is under way may be older than the answer.
        let known = self.cache.get(&id);
        let answer = self.lookup.content(id, tx_id).await?;
        match known {
            // The feed has a change that this answer has not seen yet: the feed's is the newer one.
            Some(known) if known.tx_id.is_some_and(|tx_id| !answer.snapshot.sees(tx_id)) => {
                Ok(Some(known.content))
            }
            _ => Ok(answer.content),
        }
    }
}
