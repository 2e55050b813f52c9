//! The order in which changes come, and what is counted of them. Pure.
//!
//! A window counts a change once as long as its log holds it once. Where the log holds it again (a stretch was written twice,
//! Connect has lost its offsets), and where the database has begun another life, the order of the source breaks
//! ([`Place::breaks`]). Then nothing of the write is counted, and the window is made anew from the table, which has each row
//! once. From there on what the table had is known by its transaction, wherever it comes once more, and breaks nothing.

use super::encode::Stamp;
use super::past::Base;
use crate::decode::{Break, Place};
use crate::position::{LogId, Offset, Partition};
use std::fmt::{self, Write};
use webhook_protocol::format_instant;

/// So many records that share a place are known one by one: more than the rows that a COPY puts on a page of 32 KiB.
const MAX_MARKS: usize = 1200;

/// How far a window has followed the order of the source in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Place and commit time (microseconds since 1970) of the last change that was counted.
    last: Option<(Place, i64)>,
    /// The changes that were counted at that place.
    marks: Vec<u64>,
    /// Whether the log has passed what the window was made from.
    over: bool,
}

/// What a window knows besides, to judge changes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'k> {
    /// The log that the changes come from.
    pub log: &'k LogId,
    /// Whether it is the source's own: what is delivered again from the dead letters has no order.
    pub is_ordered: bool,
    /// What the window was made from, where that was the table.
    pub base: Option<&'k Base>,
    /// Breaks among what was committed up to here (microseconds since 1970) are known of: the table could not be asked.
    pub doubted_us: i64,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is counted.
    Counts,
    /// The window has it already.
    Known,
    /// It breaks the order: nothing that follows can be trusted.
    Breaks(Replay),
}

/// What the order of the source says has happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// What was committed earlier comes behind what was committed later: a stretch was written again.
    WrittenAgain,
    /// What was committed later has an earlier place: the database was set back, and lives another life.
    SetBack,
    /// The connector has begun anew, without its offsets.
    BegunAnew,
}

impl Sign {
    /// One word, for the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrittenAgain => "written_again",
            Self::SetBack => "set_back",
            Self::BegunAnew => "begun_anew",
        }
    }
}

/// A break in the order of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// What it is a sign of.
    pub sign: Sign,
    /// Where the change lies that breaks the order.
    pub partition: Partition,
    /// See `partition`.
    pub offset: Offset,
    place: Place,
    committed_us: i64,
    /// What it comes behind: a place, or else a snapshot of the table; and when that was.
    reached: (Option<Place>, i64),
}

/// Whether one time of a commit (microseconds since 1970) is surely later than another: those of concurrent transactions may be in
/// another order than their commits, and clocks are set right.
fn is_later(one_us: i64, other_us: i64) -> bool {
    /// More than a backend takes from the time that it notes to its commit, and more than a clock is slewed by.
    const SLACK_US: i64 = 1_000_000;
    one_us > other_us.saturating_add(SLACK_US)
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.sign {
            Sign::WrittenAgain => "changes come again that were there before",
            Sign::SetBack => "the database was set back to an earlier time, or is another one",
            Sign::BegunAnew => {
                "the connector has begun anew without its offsets, and may have left out or repeat some changes"
            }
        };
        let at = |place: Place, us| {
            format!(
                "LSN {:X}/{:X}, committed at {}",
                place.lsn >> 32,
                place.lsn & 0xffff_ffff,
                format_instant(us)
            )
        };
        let now = at(self.place, self.committed_us);
        let before = match self.reached {
            (Some(place), us) => at(place, us),
            (None, us) => format!("what the database said at {}", format_instant(us)),
        };
        write!(
            f,
            "source replayed: {what}: offset {} of partition {} has {now}, behind {before}",
            self.offset, self.partition
        )
    }
}

impl Replay {
    fn of(stamp: &Stamp, place: Place, sign: Sign, reached: (Option<Place>, i64)) -> Self {
        let Stamp { partition, offset, committed_us, .. } = *stamp;
        Self { sign, partition, offset, place, committed_us, reached }
    }

    /// Whatever was committed before this and is not in the table belongs to a life of the database that is over. 0 where
    /// nothing can be said of that.
    pub(super) fn since_us(&self) -> i64 {
        if is_later(self.committed_us, self.reached.1) { self.committed_us } else { 0 }
    }
}

impl Reached {
    /// Judges the next change of the partition.
    pub(super) fn judge(&mut self, stamp: &Stamp, known: Known<'_>) -> Fate {
        let in_base = known.base.filter(|_| !self.over);
        if in_base.is_some_and(|base| base.is_before(stamp.committed_us)) {
            return Fate::Known;
        }
        let place = stamp.place.filter(|_| known.is_ordered);
        if let Some(base) = in_base.filter(|base| base.holds(stamp.lsn, stamp.tx_id)) {
            let set_back = place.and_then(|place| self.set_back(place, stamp, base));
            return set_back.map_or(Fate::Known, Fate::Breaks);
        }
        let over = self.over || in_base.is_some_and(|base| base.ends_with(known.log, stamp.lsn));
        let Some(place) = place else {
            self.over = over;
            return Fate::Counts;
        };
        let broken = self.last.and_then(|reached| Some((self.broken(place, stamp)?, reached)));
        let Some((broken, reached)) = broken else {
            self.follow(place, stamp, over);
            return Fate::Counts;
        };
        let held = known.base.filter(|base| base.holds(stamp.lsn, stamp.tx_id));
        if held.is_some_and(|base| self.set_back(place, stamp, base).is_none()) {
            return Fate::Known;
        }
        if stamp.committed_us <= known.doubted_us {
            return Fate::Counts;
        }
        let sign = match broken {
            Break::Anew => Sign::BegunAnew,
            Break::Back if is_later(stamp.committed_us, reached.1) => Sign::SetBack,
            Break::Back => Sign::WrittenAgain,
        };
        Fate::Breaks(Replay::of(stamp, place, sign, (Some(reached.0), reached.1)))
    }

    /// Whether the order breaks at a change. Of those that share the place reached, each comes once.
    fn broken(&self, place: Place, stamp: &Stamp) -> Option<Break> {
        let (reached, _) = self.last?;
        let again = place == reached && self.marks.contains(&stamp.mark);
        place.breaks(reached).or(again.then_some(Break::Back))
    }

    /// Whether a change that the base has by its transaction is another one of the same place and number, of a later life of the
    /// database: it was committed after the base was taken, or after what has a later place.
    fn set_back(&self, place: Place, stamp: &Stamp, base: &Base) -> Option<Replay> {
        let replay = |before| Replay::of(stamp, place, Sign::SetBack, before);
        if base.taken_us() > 0 && is_later(stamp.committed_us, base.taken_us()) {
            return Some(replay((None, base.taken_us())));
        }
        let (reached, reached_us) = self.last?;
        let is_back = self.broken(place, stamp).is_some() && is_later(stamp.committed_us, reached_us);
        is_back.then(|| replay((Some(reached), reached_us)))
    }

    fn follow(&mut self, place: Place, stamp: &Stamp, over: bool) {
        if self.last.is_none_or(|(reached, _)| reached != place) {
            self.marks.clear();
        }
        if self.marks.len() < MAX_MARKS {
            self.marks.push(stamp.mark);
        }
        self.last = Some((place, stamp.committed_us));
        self.over = over;
    }

    /// As a window keeps it: `over commit lsn time mark…`, with `-` for what there is none of.
    pub(super) fn to_text(&self) -> String {
        let mut text = u8::from(self.over).to_string();
        if let Some((Place { committed, lsn }, us)) = self.last {
            let committed = committed.map_or_else(|| "-".to_owned(), |committed| committed.to_string());
            // Writing to a string can't fail.
            let _ = write!(text, " {committed} {lsn} {us}");
        }
        for mark in &self.marks {
            let _ = write!(text, " {mark:x}");
        }
        text
    }

    /// Reads [`to_text`](Self::to_text); what is not there or can't be read has reached nothing.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let over = words.next() == Some("1");
        let mut last = || {
            let committed = match words.next()? {
                "-" => None,
                committed => Some(committed.parse().ok()?),
            };
            let place = Place { committed, lsn: words.next()?.parse().ok()? };
            Some((place, words.next()?.parse().ok()?))
        };
        let last = last();
        let marks = words.map_while(|mark| u64::from_str_radix(mark, 16).ok()).take(MAX_MARKS).collect();
        Self { last, marks, over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn stamp(committed: Option<u64>, lsn: u64, tx_id: u32, at_s: i64, mark: u64) -> Stamp {
        let place = Some(Place { committed, lsn });
        Stamp {
            partition: 1,
            offset: 7,
            lsn,
            tx_id: Some(tx_id),
            place,
            mark,
            committed_us: at_s * SECOND_US,
        }
    }

    fn judge(reached: &mut Reached, stamp: &Stamp, base: Option<&Base>, doubted_us: i64) -> Fate {
        let log = LogId::new("cluster", "topic");
        reached.judge(stamp, Known { log: &log, is_ordered: true, base, doubted_us })
    }

    fn sign(fate: Fate) -> Option<Sign> {
        if let Fate::Breaks(replay) = fate { Some(replay.sign) } else { None }
    }

    fn reached(stamps: &[Stamp]) -> Reached {
        let mut reached = Reached::default();
        for stamp in stamps {
            assert_eq!(judge(&mut reached, stamp, None, 0), Fate::Counts);
        }
        reached
    }

    #[test]
    fn what_shares_a_place_comes_once_each() {
        let copied = [stamp(Some(9), 20, 1, 5, 4), stamp(Some(9), 20, 1, 5, 8), stamp(Some(9), 20, 1, 5, 12)];
        let mut reached = reached(&copied);
        assert_eq!(Reached::parse(&reached.to_text()), reached, "and Redis keeps that");
        for stamp in &copied {
            assert_eq!(sign(judge(&mut reached, stamp, None, 0)), Some(Sign::WrittenAgain));
        }
        assert_eq!(judge(&mut reached, &stamp(Some(9), 20, 1, 5, 16), None, 0), Fate::Counts);
        assert_eq!(judge(&mut reached, &stamp(Some(9), 21, 1, 5, 4), None, 0), Fate::Counts, "elsewhere");
    }

    #[test]
    fn what_has_happened_is_told_apart() {
        let first = [stamp(Some(50), 60, 4, 100, 1)];
        let told = |next| sign(judge(&mut reached(&first), &next, None, 0));
        assert_eq!(
            told(stamp(Some(70), 55, 5, 101, 1)),
            None,
            "places of concurrent transactions interleave"
        );
        assert_eq!(told(stamp(Some(40), 45, 3, 99, 1)), Some(Sign::WrittenAgain));
        assert_eq!(told(stamp(Some(40), 45, 3, 102, 1)), Some(Sign::SetBack));
        assert_eq!(told(stamp(None, 900, 9, 102, 1)), Some(Sign::BegunAnew));
        assert_eq!(
            judge(&mut reached(&first), &stamp(Some(40), 45, 3, 99, 1), None, 99 * SECOND_US),
            Fate::Counts,
            "known of"
        );
    }

    #[test]
    fn what_the_table_had_breaks_nothing_wherever_it_comes_again() {
        let base = Base::new(LogId::new("cluster", "topic"), 100, "10:10:".to_owned()).expect("a snapshot");
        let base = base.taken(50 * SECOND_US).since(20 * SECOND_US);
        let mut reached = Reached::default();
        let mut judged = |stamp: Stamp| judge(&mut reached, &stamp, Some(&base), 0);
        assert_eq!(judged(stamp(Some(80), 90, 9, 30, 1)), Fate::Known);
        assert_eq!(judged(stamp(Some(80), 120, 12, 19, 1)), Fate::Known, "of a life that is over");
        assert_eq!(sign(judged(stamp(Some(80), 90, 9, 60, 1))), Some(Sign::SetBack), "of a later life");
        assert_eq!(judged(stamp(Some(95), 99, 11, 49, 1)), Fate::Counts, "it still ran");
        assert_eq!(judged(stamp(Some(80), 90, 9, 30, 1)), Fate::Known);
        assert_eq!(judged(stamp(Some(110), 120, 12, 51, 1)), Fate::Counts);
        assert_eq!(judged(stamp(Some(80), 90, 9, 30, 1)), Fate::Known, "also when the log has passed it");
        assert_eq!(
            sign(judged(stamp(Some(95), 99, 11, 49, 1))),
            Some(Sign::WrittenAgain),
            "the log alone had it"
        );
        assert_eq!(sign(judged(stamp(Some(80), 90, 9, 60, 1))), Some(Sign::SetBack));
    }

    #[test]
    fn a_replay_names_what_and_where() {
        let mut reached = reached(&[stamp(Some(50), 0x1_0000_0060, 4, 100, 1)]);
        let Fate::Breaks(replay) = judge(&mut reached, &stamp(Some(40), 0x45, 3, 99, 1), None, 0) else {
            panic!("it breaks")
        };
        assert_eq!(
            replay.to_string(),
            "source replayed: changes come again that were there before: offset 7 of partition 1 has LSN 0/45, committed at \
             1970-01-01T00:01:39.000000Z, behind LSN 1/60, committed at 1970-01-01T00:01:40.000000Z"
        );
    }
}
