//! What is to be shown: readings become ranks, titles and changes. Pure.

use super::boards::Board;
use super::read::Reading;
use serde::Serialize;
use std::collections::HashMap;

/// All leaderboards at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct View {
    /// Milliseconds since 1970.
    pub(super) at_unix_ms: u64,
    pub(super) boards: Vec<BoardView>,
    /// What else there is to say.
    pub(super) notes: Vec<String>,
    /// Whether there is a next look.
    #[serde(skip)]
    pub(super) is_live: bool,
}

/// One leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct BoardView {
    pub(super) pipeline: String,
    pub(super) sink: String,
    /// Host and port of Redis.
    pub(super) redis: String,
    pub(super) key: String,
    #[serde(skip)]
    pub(super) length: String,
    pub(super) length_seconds: u32,
    pub(super) state: State,
    /// Why it is unreadable.
    pub(super) error: Option<String>,
    pub(super) entries: Vec<Entry>,
    /// Whether somebody must act before it can be read.
    #[serde(skip)]
    pub(super) needs_action: bool,
}

/// How a leaderboard was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    /// The key is not there: nothing counts in its window.
    Empty,
    Unreadable,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Entry {
    /// From 1.
    pub(super) rank: usize,
    pub(super) member: String,
    /// None where the member is no content, or one whose title is not known.
    pub(super) title: Option<String>,
    pub(super) seconds: f64,
    /// Since the reading before; none where there was none, or it was not on the board then.
    pub(super) change: Option<f64>,
    /// Whether there was a reading before, and it was not on the board.
    pub(super) new: bool,
}

/// What was read before, to tell the changes.
#[derive(Debug, Default)]
pub(super) struct Before(HashMap<(String, String), HashMap<String, f64>>);

impl Before {
    /// One board as it is now; remembers it.
    pub(super) fn board(
        &mut self,
        redis: &str,
        board: &Board,
        reading: Reading,
        title: impl Fn(&str) -> Option<String>,
    ) -> BoardView {
        let Board { pipeline, sink, key, length, length_seconds } = board.clone();
        let (members, error) = match reading {
            Ok(members) => (Some(members), None),
            Err(away) => (None, Some(away)),
        };
        let entries = members.map(|members| self.entries(redis, &key, members, title));
        let state = match &entries {
            None => State::Unreadable,
            Some(entries) if entries.is_empty() => State::Empty,
            Some(_) => State::Ok,
        };
        let needs_action = error.as_ref().is_some_and(|away| away.needs_action);
        BoardView {
            pipeline,
            sink,
            redis: redis.to_owned(),
            key,
            length,
            length_seconds,
            state,
            error: error.map(|away| away.cause),
            entries: entries.unwrap_or_default(),
            needs_action,
        }
    }

    fn entries(
        &mut self,
        redis: &str,
        key: &str,
        members: Vec<(String, f64)>,
        title: impl Fn(&str) -> Option<String>,
    ) -> Vec<Entry> {
        let now: HashMap<_, _> = members.iter().cloned().collect();
        let before = self.0.insert((redis.to_owned(), key.to_owned()), now);
        let entry = |(rank, (member, seconds)): (usize, (String, f64))| {
            let was = before.as_ref().and_then(|before| before.get(&member));
            Entry {
                rank,
                title: title(&member),
                seconds: in_ms(seconds),
                change: was.map(|was| in_ms(seconds - was)),
                new: before.is_some() && was.is_none(),
                member,
            }
        };
        (1..).zip(members).map(entry).collect()
    }
}

/// Redis prints 8.001 as 8.0009999999999994: sums are whole milliseconds.
fn in_ms(seconds: f64) -> f64 {
    // Adding zero makes a negative zero a plain one.
    (seconds * 1000.0).round() / 1000.0 + 0.0
}
