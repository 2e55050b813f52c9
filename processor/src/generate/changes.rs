//! The endless sequence of changes: rows that come, rows that are corrected, rows that go. Pure: the same seed, contents
//! and options give the same sequence, whatever ids the rows get and however it is cut into batches.

use super::contents::{Content, id_of};
use super::options::Shares;
use super::zipf::Zipf;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use uuid::Uuid;

/// Only the last rows are changed and deleted, as in life; what is remembered of them stays small.
const RECENT: usize = 10_000;
/// Who engages: so many that each comes again and again.
const USERS: u64 = 5_000;
/// A late row is older than its arrival by a second to this: some still count in a window of ten minutes.
const LATEST_MS: i32 = 15 * 60 * 1000;
/// What a content without a length is engaged with for, at most.
const WITHOUT_LENGTH_S: i32 = 600;
/// The longest duration, so that a strange length in the table can't overflow the column.
const LONGEST_S: i32 = 24 * 3600;
/// The part of the corrections that move a row to another content.
const MOVED: f64 = 0.125;

const PLAY: &str = "play";
const PAUSE: &str = "pause";
const FINISH: &str = "finish";
const CLICK: &str = "click";
/// A click has no duration by rights: rows without one are clicks first.
const CLICKS: f64 = 0.12;
/// The other types by their parts among themselves.
const KINDS: [(&str, f64); 3] = [(PLAY, 0.55), (PAUSE, 0.25), (FINISH, 0.20)];
const DEVICES: [(&str, f64); 6] =
    [("ios", 0.32), ("android", 0.28), ("web", 0.22), ("tv", 0.10), ("smart-speaker", 0.05), ("car", 0.03)];

/// What happens to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Insert(Row),
    Update(Correction),
    /// The row with this id goes.
    Delete(i64),
}

/// A row of `engagement_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) content: Uuid,
    pub(super) user: Uuid,
    pub(super) kind: &'static str,
    /// How much older than its arrival it says it is.
    pub(super) late_ms: i32,
    pub(super) duration_ms: Option<i32>,
    pub(super) device: String,
}

/// What a row is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Correction {
    pub(super) id: i64,
    pub(super) content: Uuid,
    pub(super) kind: &'static str,
    pub(super) duration_ms: Option<i32>,
}

/// The sequence.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    random: Xoshiro256PlusPlus,
    seed: u64,
    contents: Vec<Content>,
    popularity: Zipf,
    shares: Shares,
    device: Option<String>,
    /// Rows that are there, by id and content, the oldest first.
    recent: VecDeque<(i64, Content)>,
}

impl Changes {
    /// `contents` are those of `popularity`, the most popular first.
    pub(super) fn new(
        seed: u64,
        contents: Vec<Content>,
        popularity: Zipf,
        shares: Shares,
        device: Option<String>,
    ) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { random, seed, contents, popularity, shares, device, recent: VecDeque::new() }
    }

    /// The next change; a row that comes gets the id `fresh`. None where there is no content.
    pub(super) fn next(&mut self, fresh: i64) -> Option<Change> {
        let fate = self.draw();
        if fate < self.shares.delete()
            && let Some(index) = self.a_recent_one()
            && let Some((id, _)) = self.recent.remove(index)
        {
            return Some(Change::Delete(id));
        }
        if fate < self.shares.delete() + self.shares.update()
            && let Some(index) = self.a_recent_one()
        {
            return self.correction(index).map(Change::Update);
        }
        self.row(fresh).map(Change::Insert)
    }

    fn row(&mut self, id: i64) -> Option<Row> {
        let content = self.content()?;
        let number = self.random.random_range(0..USERS);
        let kind = self.kind();
        let duration_ms = self.duration(kind, content);
        let late = self.draw() < self.shares.late();
        let late_ms = if late { self.random.random_range(1000..=LATEST_MS) } else { 0 };
        let drawn = one_of(&DEVICES, self.draw());
        let device = self.device.clone().unwrap_or_else(|| drawn.to_owned());
        self.recent.push_back((id, content));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let user = id_of(self.seed, "user", number);
        Some(Row { id, content: content.id, user, kind, late_ms, duration_ms, device })
    }

    fn correction(&mut self, index: usize) -> Option<Correction> {
        let moved = if self.draw() < MOVED { self.content() } else { None };
        let (id, content) = self.recent.get_mut(index)?;
        if let Some(moved) = moved {
            *content = moved;
        }
        let (id, content) = (*id, *content);
        let kind = self.kind();
        Some(Correction { id, content: content.id, kind, duration_ms: self.duration(kind, content) })
    }

    fn draw(&mut self) -> f64 {
        self.random.random()
    }

    fn content(&mut self) -> Option<Content> {
        let rank = self.popularity.rank(self.random.random());
        self.contents.get(rank).copied()
    }

    fn a_recent_one(&mut self) -> Option<usize> {
        (!self.recent.is_empty()).then(|| self.random.random_range(0..self.recent.len()))
    }

    fn kind(&mut self) -> &'static str {
        if self.draw() < CLICKS { CLICK } else { one_of(&KINDS, self.draw()) }
    }

    /// Of all rows the share of those without a duration is as it was told; clicks come first among them.
    fn duration(&mut self, kind: &'static str, content: Content) -> Option<i32> {
        let null = self.shares.null();
        let without = if kind == CLICK {
            (null / CLICKS).min(1.0)
        } else {
            ((null - CLICKS) / (1.0 - CLICKS)).max(0.0)
        };
        let (is_without, part) = (self.draw() < without, self.draw());
        let length_s = content.length_seconds.unwrap_or(WITHOUT_LENGTH_S).clamp(1, LONGEST_S);
        (!is_without).then(|| of_length(kind, length_s, part))
    }
}

/// How long an engagement of a kind takes with a content of so many seconds, in milliseconds.
#[allow(clippy::cast_possible_truncation, reason = "at most a day in milliseconds")]
fn of_length(kind: &str, length_s: i32, draw: f64) -> i32 {
    let length_ms = f64::from(length_s) * 1000.0;
    let ms = match kind {
        FINISH => length_ms * (0.9 + 0.1 * draw),
        CLICK => 200.0 + 2800.0 * draw,
        PAUSE => length_ms * (0.05 + 0.85 * draw),
        _ => length_ms * 0.6 * draw,
    };
    ms as i32
}

/// The thing whose part of the whole holds `draw`, a number from 0 to just below 1.
fn one_of(things: &[(&'static str, f64)], draw: f64) -> &'static str {
    let mut left = draw;
    let found = things.iter().find(|(_, part)| {
        left -= part;
        left < 0.0
    });
    found.or(things.last()).map_or("", |(thing, _)| thing)
}
