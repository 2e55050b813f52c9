//! The contents that most events came of in the last minutes.

use std::collections::{HashMap, VecDeque};

use super::US_PER_S;
use crate::store::Key;

/// What it looks back on: the current minute and the nine before.
const MINUTES: i64 = 10;
const US_PER_MINUTE: i64 = 60 * US_PER_S;
/// Contents told apart in a minute. A popular one comes early in it, so it is among them; others are left out.
const MAX_CONTENTS: usize = 2_000;

/// What came of one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Events.
    pub events: u64,
    /// Its title, as it was last told.
    pub title: Option<String>,
    /// Its type.
    pub content_type: Option<String>,
}

/// A content with its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Which.
    pub content_id: Key,
    /// What came of it.
    pub seen: Seen,
}

/// Events by content, minute by minute.
#[derive(Debug, Default)]
pub struct Top {
    /// Minute since the epoch and its contents; at most [`MINUTES`].
    minutes: VecDeque<(i64, HashMap<Key, Seen>)>,
}

impl Top {
    /// Counts what was stored now.
    pub fn add(&mut self, contents: HashMap<Key, Seen>, now_us: i64) {
        let minute = now_us.div_euclid(US_PER_MINUTE);
        self.minutes.retain(|(at, _)| (minute - MINUTES + 1..=minute).contains(at));
        if self.minutes.back().is_none_or(|(at, _)| *at != minute) {
            self.minutes.push_back((minute, HashMap::new()));
        }
        let Some((_, current)) = self.minutes.back_mut() else { return };
        for (content_id, seen) in contents {
            let full = current.len() >= MAX_CONTENTS;
            match current.get_mut(&content_id) {
                Some(known) => known.add(seen),
                None if full => {}
                None => drop(current.insert(content_id, seen)),
            }
        }
    }

    /// The first `most`, those with most events first.
    #[must_use]
    pub fn leaders(&self, most: usize, now_us: i64) -> Vec<Leader> {
        let minute = now_us.div_euclid(US_PER_MINUTE);
        let mut events: HashMap<&Key, u64> = HashMap::new();
        let recent = || self.minutes.iter().filter(|(at, _)| (minute - MINUTES + 1..=minute).contains(at));
        for (content_id, seen) in recent().flat_map(|(_, contents)| contents) {
            *events.entry(content_id).or_default() += seen.events;
        }
        let mut order: Vec<(&Key, u64)> = events.into_iter().collect();
        // By id among equals, so that the page does not flicker.
        order.sort_unstable_by(|(id, events), (other_id, other)| other.cmp(events).then(id.cmp(other_id)));
        let newest = |content_id: &Key| recent().rev().find_map(|(_, contents)| contents.get(content_id));
        let leader = |(content_id, events): (&Key, u64)| {
            let seen = Seen { events, ..newest(content_id)?.clone() };
            Some(Leader { content_id: content_id.clone(), seen })
        };
        order.into_iter().take(most).filter_map(leader).collect()
    }
}

impl Seen {
    /// Counts more of the same content; what is said of it last is right.
    pub fn add(&mut self, more: Self) {
        self.events += more.events;
        self.title = more.title.or(self.title.take());
        self.content_type = more.content_type.or(self.content_type.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(events: u64, title: &str) -> Seen {
        Seen { events, title: Some(title.to_owned()), content_type: None }
    }

    fn one(id: &str, events: u64, title: &str) -> HashMap<Key, Seen> {
        HashMap::from([(Key::from_text(id), seen(events, title))])
    }

    fn told(top: &Top, now_us: i64) -> Vec<(String, u64, String)> {
        let tell = |leader: Leader| {
            (leader.content_id.to_string(), leader.seen.events, leader.seen.title.unwrap_or_default())
        };
        top.leaders(3, now_us).into_iter().map(tell).collect()
    }

    #[test]
    fn the_most_come_first_under_their_newest_title_and_leave_after_ten_minutes() {
        let mut top = Top::default();
        top.add(one("a", 5, "Old"), 0);
        top.add(one("b", 7, "B"), US_PER_MINUTE);
        top.add(one("a", 3, "New"), 9 * US_PER_MINUTE);
        let line = |id: &str, events, title: &str| (id.to_owned(), events, title.to_owned());
        assert_eq!(told(&top, 9 * US_PER_MINUTE), [line("a", 8, "New"), line("b", 7, "B")]);
        assert_eq!(told(&top, 10 * US_PER_MINUTE), [line("b", 7, "B"), line("a", 3, "New")]);
        assert_eq!(told(&top, 30 * US_PER_MINUTE), []);
        top.add(one("c", 1, "C"), 30 * US_PER_MINUTE);
        assert_eq!(top.minutes.len(), 1);
        top.add(one("d", 1, "D"), 20 * US_PER_MINUTE);
        assert_eq!(told(&top, 20 * US_PER_MINUTE), [line("d", 1, "D")], "the clock was set back");
    }

    #[test]
    fn it_is_bounded_and_the_popular_stay() {
        let mut top = Top::default();
        for n in 0..MAX_CONTENTS * 3 {
            top.add(one(&format!("{n:06}"), 1, "rare"), 0);
            top.add(one("000000", 1, "popular"), 0);
        }
        assert_eq!(top.minutes.iter().map(|(_, contents)| contents.len()).sum::<usize>(), MAX_CONTENTS);
        let leaders = told(&top, 0);
        assert_eq!(leaders.len(), 3);
        assert_eq!(leaders.first().map(|(id, events, _)| (id.as_str(), *events)), Some(("000000", 6_001)));
    }
}
