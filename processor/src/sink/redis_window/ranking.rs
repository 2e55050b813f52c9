//! What a leaderboard ranks: contents, types of content or devices; and who knows the types.

use crate::transform::Content;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// What the members of a leaderboard are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Contents, by their ids: of rows that have one.
    #[default]
    Content,
    /// Types of content: of rows whose content has one, as it is now.
    ContentType,
    /// Devices, as the rows name them: of rows that name one.
    Device,
}

impl By {
    /// Its name, in the configuration and in Redis.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::ContentType => "content_type",
            Self::Device => "device",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Knows contents, and so their types, without waiting: what it does not know yet it learns.
pub trait Contents: Send + Sync {
    /// A content, where it is known.
    fn get(&self, id: Uuid) -> Option<Arc<Content>>;

    /// What was learnt after `seen`, the oldest first, at most `limit` of it; after 0 that is all that is known.
    fn learnt_after(&self, seen: u64, limit: usize) -> Vec<Learnt>;
}

/// A content as it was learnt.
#[derive(Debug, Clone)]
pub struct Learnt {
    /// Grows with each thing learnt: what to go on after.
    pub seen: u64,
    /// The id of the content.
    pub id: Uuid,
    /// The content.
    pub content: Arc<Content>,
}

/// Knows none: for leaderboards that need none.
pub(super) struct Nothing;

impl Contents for Nothing {
    fn get(&self, _: Uuid) -> Option<Arc<Content>> {
        None
    }

    fn learnt_after(&self, _: u64, _: usize) -> Vec<Learnt> {
        Vec::new()
    }
}
