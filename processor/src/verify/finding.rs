//! What a comparison found. Pure.

use serde::Serialize;
use std::fmt;

/// How something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It should be there and is not.
    Missing,
    /// It is there more than once.
    Doubled,
    /// It is there with other values.
    Different,
    /// It is there and should not be.
    Extra,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Different => "different",
            Self::Extra => "extra",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How.
    pub kind: Kind,
    /// What, by its id, and what is there instead.
    pub what: String,
}

/// What one comparison came to: all is counted, the first ones are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rows, events or members that were compared.
    pub checked: u64,
    /// Things that are missing.
    pub missing: u64,
    /// Things that are there more than once.
    pub doubled: u64,
    /// Things with other values.
    pub different: u64,
    /// Things that should not be there.
    pub extra: u64,
    /// Events enriched with content that is newer than they are: right, and no difference.
    pub newer_content: u64,
    /// Events that were set aside as dead letters.
    pub set_aside: u64,
    /// What can't be told: older than what the topic or the sink still has, or than the lane.
    pub unchecked: u64,
    /// The first things that are wrong.
    pub differences: Vec<Finding>,
    /// How many are named.
    #[serde(skip)]
    limit: usize,
}

impl Tally {
    /// Nothing yet; names `limit` things.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) fn find(&mut self, kind: Kind, what: impl Into<String>) {
        *match kind {
            Kind::Missing => &mut self.missing,
            Kind::Doubled => &mut self.doubled,
            Kind::Different => &mut self.different,
            Kind::Extra => &mut self.extra,
        } += 1;
        if self.differences.len() < self.limit {
            self.differences.push(Finding { kind, what: what.into() });
        }
    }

    /// How many things are wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.missing + self.doubled + self.different + self.extra
    }
}
