//! A leaderboard against its source: what the table says at one moment, brought to where the window stands. Pure.
//!
//! The window stands at a position of the log, the table at a snapshot, and neither waits for the other. The records
//! say what lies between: what the snapshot sees and the window does not have yet, and the other way round.

use super::beginning::Late;
use super::finding::{Kind, Tally};
use crate::decode::row::EngagementRow;
use crate::decode::timestamp::Timestamp;
use crate::position::{Offset, Partition, Positions};
use crate::sink::redis_window::{Base, By, Reading};
use crate::transform::Transformed;
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds by member.
pub(super) type Sums = BTreeMap<String, i64>;

/// A score is the double nearest to so many thousandths: further off than this it is another one.
const SCORE_TOLERANCE_S: f64 = 0.000_01;

/// What lies between the snapshot and the window.
#[derive(Debug)]
pub(super) struct Between {
    /// The first and the last second that count.
    seconds: (i64, i64),
    by: By,
    /// Of each partition, the first offset that the window does not have.
    positions: Positions,
    /// Records that became dead letters of the window's lane.
    set_aside: BTreeSet<(Partition, Offset)>,
    /// What the window was made from: it has that wherever it stands.
    base: Option<Base>,
    sums: Sums,
    /// Those of the log's transactions that have lower ids than its beginning.
    pub late: Late,
    /// How many of these the snapshot sees.
    pub aside: u64,
}

impl Between {
    pub(super) fn new(reading: &Reading, by: By, positions: Positions) -> Self {
        let seconds = (reading.clock_s.saturating_sub(reading.length_s), reading.clock_s);
        let base = reading.base.clone();
        Self {
            seconds,
            by,
            positions,
            set_aside: BTreeSet::new(),
            base,
            sums: Sums::new(),
            late: Late::default(),
            aside: 0,
        }
    }

    /// Names the records that the window does not have though it has passed them.
    pub(super) fn without(&mut self, set_aside: BTreeSet<(Partition, Offset)>) {
        self.set_aside = set_aside;
    }

    /// When the life of the database began that the window is of, in microseconds since 1970; 0 where nothing is known of that.
    pub(super) fn life_us(&self) -> i64 {
        self.base.as_ref().map_or(0, Base::since_us)
    }

    /// The first and the last second that count, since 1970.
    pub(super) fn seconds(&self) -> (i64, i64) {
        self.seconds
    }

    /// Takes in a record; `is_seen` says whether the snapshot sees it.
    pub(super) fn take(&mut self, place: (Partition, Offset), change: &Transformed<'_>, is_seen: bool) {
        self.late.take(change.source.tx_id);
        let has_passed = self.positions.get(&place.0).is_some_and(|position| place.1 < *position);
        let source = &change.source;
        // Of what came before the database was set back the table and the window have the same: what was not set back.
        if self.base.as_ref().is_some_and(|base| base.is_before(source.committed_us)) {
            return;
        }
        let in_base = self.base.as_ref().is_some_and(|base| base.holds(source.lsn, source.tx_id));
        let is_aside = self.set_aside.contains(&place) && !in_base;
        self.aside += u64::from(is_seen && is_aside);
        // What both have, or neither, is no difference.
        let sign = match (is_seen, (has_passed && !is_aside) || in_base) {
            (true, false) => -1,
            (false, true) => 1,
            _ => return,
        };
        for (row, sign) in [(&change.before, -sign), (&change.after, sign)] {
            let Some((member, ms)) = row.as_ref().and_then(|row| self.contribution(row)) else { continue };
            let sum = self.sums.entry(member).or_default();
            *sum = sum.saturating_add(sign * ms);
        }
    }

    fn contribution(&self, row: &EngagementRow<'_>) -> Option<(String, i64)> {
        let ms = row.duration_ms.filter(|ms| *ms > 0)?;
        let Some(Timestamp::At { secs, .. }) = row.event_ts else { return None };
        let (first, last) = self.seconds;
        let member = match self.by {
            By::Content | By::ContentType => row.content_id?.to_string(),
            By::Device => row.device()?.into_owned(),
        };
        (first <= secs && secs <= last).then_some((member, ms))
    }

    /// What the window must hold, given what the table says.
    pub(super) fn expected(&self, table: &Sums) -> Sums {
        let mut expected = table.clone();
        for (member, ms) in &self.sums {
            let sum = expected.entry(member.clone()).or_default();
            *sum = sum.saturating_add(*ms);
        }
        expected.retain(|_, ms| *ms != 0);
        expected
    }
}

/// The type of each content, as the table has it; an empty one is none.
pub(super) type Types = BTreeMap<String, String>;

/// A content that is counted as another type than it has, with that type.
pub(super) type Mistold = BTreeMap<String, String>;

/// The contents that the window counts as another type than the table says, as far as it could know: a type with a version
/// behind `lsn`, where the snapshot was taken, is newer than the table's.
pub(super) fn mistold(reading: &Reading, types: &Types, lsn: u64) -> Mistold {
    let told = reading.groups.iter().filter(|(_, (version, _))| *version <= lsn);
    let wrong = told.filter(|(content, (_, told))| types.get(*content).is_some_and(|is| is != told));
    wrong.map(|(content, (_, told))| (content.clone(), told.clone())).collect()
}

/// Compares a window with what it must hold, and what clients see with both.
pub(super) fn compare(reading: &Reading, by: By, expected: &Sums, tally: &mut Tally) {
    tally.checked += count(expected.len());
    let mut named = BTreeSet::new();
    for member in union(expected, &reading.totals) {
        let (wanted, has) = (get(expected, member), get(&reading.totals, member));
        if wanted != has {
            named.insert(member.clone());
            let shown = reading.public.get(member).filter(|_| by != By::ContentType);
            let shown = shown.map_or(String::new(), |score| format!(", and shows {score}"));
            tally.find(
                kind(wanted, has),
                format!("{member}: {} by the table, it holds {}{shown}", s(wanted), s(has)),
            );
        }
    }
    let shown = if by == By::ContentType { by_type(reading, tally) } else { reading.stands.clone() };
    let wanted = shown.values().filter(|ms| **ms > 0).count();
    if reading.public.is_empty() && wanted > 0 {
        let what = format!(
            "the sorted set itself, with {wanted} members: nobody keeps it; see whether its lane runs"
        );
        tally.find(Kind::Missing, what);
        return;
    }
    for member in union_f(&shown, &reading.public) {
        let wanted = get(&shown, member).max(0);
        let score = reading.public.get(member).copied();
        if agrees(wanted, score) || named.contains(member) {
            continue;
        }
        let has = score.map_or("nothing".to_owned(), |score| score.to_string());
        let kind = match (wanted > 0, score) {
            (true, None) => Kind::Missing,
            (false, _) => Kind::Extra,
            (true, Some(_)) => Kind::Different,
        };
        tally.find(kind, format!("{member}: its score must be {}, it shows {has}", s(wanted)));
    }
}

/// The sums by type as they must be, by the types that the window was told.
fn by_type(reading: &Reading, tally: &mut Tally) -> Sums {
    let mut sums = Sums::new();
    for (content, ms) in &reading.stands {
        match reading.groups.get(content) {
            Some((_, told)) if told.is_empty() => {}
            Some((_, told)) => *sums.entry(told.clone()).or_default() += ms,
            // It counts as soon as its type is known.
            None => tally.unchecked += 1,
        }
    }
    sums.retain(|_, ms| *ms != 0);
    for name in union(&sums, &reading.sums) {
        let (wanted, has) = (get(&sums, name), get(&reading.sums, name));
        if wanted != has {
            tally.find(
                kind(wanted, has),
                format!("{name}: its contents sum up to {}, it holds {}", s(wanted), s(has)),
            );
        }
    }
    sums
}

fn agrees(wanted_ms: i64, score: Option<f64>) -> bool {
    match score {
        None => wanted_ms <= 0,
        // Exact below 2^53 ms; beyond, the text is as near as a double gets.
        Some(score) => {
            let wanted: f64 = s(wanted_ms).parse().unwrap_or(f64::NAN);
            wanted_ms > 0 && (score - wanted).abs() < SCORE_TOLERANCE_S
        }
    }
}

fn kind(wanted: i64, has: i64) -> Kind {
    match (wanted, has) {
        (_, 0) => Kind::Missing,
        (0, _) => Kind::Extra,
        _ => Kind::Different,
    }
}

fn get(sums: &Sums, member: &str) -> i64 {
    sums.get(member).copied().unwrap_or_default()
}

fn union<'a>(one: &'a Sums, other: &'a Sums) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

fn union_f<'a>(one: &'a Sums, other: &'a BTreeMap<String, f64>) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Milliseconds as seconds, exact.
fn s(ms: i64) -> String {
    crate::transform::Decimal { units: ms, places: 3 }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Op, Source};
    use crate::position::LogId;
    use proptest::prelude::*;
    use std::borrow::Cow;
    use uuid::Uuid;

    const CLOCK_S: i64 = 1000;
    const LENGTH_S: i64 = 10;

    /// A row image: content, second and milliseconds.
    type Row = (u128, i64, i64);

    fn row((content, secs, ms): Row) -> EngagementRow<'static> {
        EngagementRow {
            json: "{}",
            id: 1,
            content_id: (content > 0).then(|| Uuid::from_u128(content)),
            event_ts: Some(Timestamp::At { secs, micros: 5 }),
            duration_ms: Some(ms),
            device: None,
            clashes: false,
            has_event_ts: true,
        }
    }

    fn change(lsn: u64, before: Option<Row>, after: Option<Row>) -> Transformed<'static> {
        let text = Cow::Borrowed("x");
        let (tx_id, committed_us) = (Some(1), 1);
        let source = Source {
            db: text.clone(),
            schema: text.clone(),
            table: text,
            lsn,
            tx_id,
            place: None,
            committed_us,
        };
        let (before, after) = (before.map(row), after.map(row));
        Transformed { op: Op::Update, source, before, after }
    }

    fn naive(rows: impl Iterator<Item = Row>) -> Sums {
        let mut sums = Sums::new();
        for (content, secs, ms) in rows {
            if content > 0 && ms > 0 && (CLOCK_S - LENGTH_S..=CLOCK_S).contains(&secs) {
                *sums.entry(Uuid::from_u128(content).to_string()).or_default() += ms;
            }
        }
        sums
    }

    fn window(totals: &Sums) -> Reading {
        let public = totals.iter().filter(|(_, ms)| **ms > 0);
        let mut reading = Reading::default();
        (reading.clock_s, reading.length_s) = (CLOCK_S, LENGTH_S);
        (reading.totals, reading.stands) = (totals.clone(), totals.clone());
        let seconds = |ms: &i64| s(*ms).parse().expect("a number");
        reading.public = public.map(|(member, ms)| (member.clone(), seconds(ms))).collect();
        reading
    }

    fn found(reading: &Reading, expected: &Sums) -> Vec<(Kind, String)> {
        let mut tally = Tally::new(100);
        compare(reading, By::Content, expected, &mut tally);
        let member = |what: &str| what.split(':').next().unwrap_or_default().to_owned();
        tally.differences.iter().map(|finding| (finding.kind, member(&finding.what))).collect()
    }

    /// One row after another changes and goes; the window stands somewhere, and the table sees any of the changes.
    #[derive(Debug, Clone)]
    struct Step {
        before: Option<Row>,
        after: Option<Row>,
        is_seen: bool,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let row = (0u128..4, CLOCK_S - LENGTH_S - 2..CLOCK_S + 3, -2i64..5000);
        let life = proptest::collection::vec((row, any::<bool>()), 1..5);
        proptest::collection::vec(life, 0..20).prop_map(|lives| {
            let mut steps = Vec::new();
            for life in lives {
                let (mut before, mut is_seen) = (None, true);
                let last = life.len();
                for (at, (after, also)) in life.into_iter().enumerate() {
                    // What is not seen is followed by what is not seen: changes of one row wait for each other.
                    is_seen = is_seen && also;
                    let after = (at == 0 || at + 1 < last).then_some(after);
                    steps.push(Step { before, after, is_seen });
                    before = after;
                    if before.is_none() {
                        break;
                    }
                }
            }
            steps
        })
    }

    proptest! {
        #[test]
        fn wherever_the_window_stands_it_agrees_and_each_tampering_is_named(
            steps in steps(), [at, aside, based] in any::<[prop::sample::Index; 3]>(), off in -3i64..4,
        ) {
            let position = at.index(steps.len() + 1);
            let offset = |number: usize| i64::try_from(number).expect("small");
            // Changes are applied in the order of the log; a table sees whole rows, a window whole records.
            let net = |takes: &dyn Fn(usize, &Step) -> bool| {
                let mut sums = Sums::new();
                for (_, step) in steps.iter().enumerate().filter(|(number, step)| takes(*number, step)) {
                    for (member, ms) in naive(step.after.into_iter()) {
                        *sums.entry(member).or_default() += ms;
                    }
                    for (member, ms) in naive(step.before.into_iter()) {
                        *sums.entry(member).or_default() -= ms;
                    }
                }
                sums.retain(|_, ms| *ms != 0);
                sums
            };
            let aside = aside.index(steps.len() + 1);
            let table = net(&|_, step| step.is_seen);
            // What lies before that is in the table that the window was made from, wherever it stands.
            let based = based.index(steps.len() + 1);
            let totals = net(&|number, _| number < based || (number < position && number != aside));
            let mut reading = window(&totals);
            reading.base = Base::new(LogId::new("c", "t"), 1, "10:10:".to_owned());
            let mut between = Between::new(&reading, By::Content, Positions::from([(0, offset(position))]));
            between.without(BTreeSet::from([(0, offset(aside))]));
            for (number, step) in steps.iter().enumerate() {
                let lsn = if number < based { 1 } else { 2 };
                between.take((0, offset(number)), &change(lsn, step.before, step.after), step.is_seen);
            }
            let expected = between.expected(&table);
            prop_assert_eq!(&expected, &totals);
            prop_assert_eq!(found(&reading, &expected), vec![]);

            let Some(member) = totals.iter().find(|(_, ms)| **ms > 10).map(|(member, _)| member.clone()) else {
                return Ok(());
            };
            let mut tampered = reading.clone();
            if off != 0 {
                *tampered.public.get_mut(&member).expect("shown") += f64::from(i32::try_from(off).expect("small")) / 1000.0;
                prop_assert_eq!(found(&tampered, &expected), vec![(Kind::Different, member.clone())]);
            }
            if tampered.public.len() > 1 {
                tampered.public.remove(&member);
                prop_assert_eq!(found(&tampered, &expected), vec![(Kind::Missing, member.clone())]);
            }
            tampered.public.clear();
            prop_assert_eq!(found(&tampered, &expected).len(), 1, "the set itself");
            let mut tampered = reading.clone();
            tampered.public.insert("nobody".to_owned(), 1.0);
            prop_assert_eq!(found(&tampered, &expected), vec![(Kind::Extra, "nobody".to_owned())]);
            let mut sums = totals.clone();
            *sums.get_mut(&member).expect("there") += 1;
            prop_assert_eq!(found(&window(&sums), &expected), vec![(Kind::Different, member.clone())], "both are off");
            sums.remove(&member);
            prop_assert_eq!(found(&window(&sums), &expected), vec![(Kind::Missing, member)], "it is nowhere");
        }
    }

    #[test]
    fn types_are_summed_as_they_were_told_and_a_wrong_one_is_named() {
        let sums =
            |list: &[(&str, i64)]| list.iter().map(|(name, ms)| ((*name).to_owned(), *ms)).collect::<Sums>();
        let totals = sums(&[("a", 1000), ("b", 200), ("c", 30), ("d", 4)]);
        let told = [("a", (5, "video")), ("b", (6, "video")), ("c", (7, ""))];
        let mut reading = window(&totals);
        reading.groups =
            told.iter().map(|(id, (v, kind))| ((*id).to_owned(), (*v, (*kind).to_owned()))).collect();
        reading.sums = sums(&[("video", 1200)]);
        reading.public = [("video".to_owned(), 1.2)].into();
        let look = |reading: &Reading| {
            let mut tally = Tally::new(9);
            compare(reading, By::ContentType, &totals, &mut tally);
            tally
        };
        assert_eq!(
            (look(&reading).wrong(), look(&reading).unchecked),
            (0, 1),
            "nobody told the type of d yet"
        );
        reading.sums = sums(&[("video", 1201)]);
        assert_eq!(look(&reading).different, 1);
        let types = [("a", "video"), ("b", "podcast"), ("c", "video")];
        let types = types.map(|(id, kind)| (id.to_owned(), kind.to_owned())).into();
        let wrong = |lsn| mistold(&reading, &types, lsn).into_keys().collect::<Vec<_>>();
        assert_eq!(wrong(100), ["b", "c"]);
        assert_eq!(wrong(6), ["b"], "what was told of c is newer than the table");
    }

    #[test]
    fn what_came_before_the_database_was_set_back_is_no_difference() {
        let mut reading = window(&Sums::new());
        let base = Base::new(LogId::new("c", "t"), 1, "10:10:".to_owned());
        reading.base = base.map(|base| base.taken(9).since(2));
        let mut between = Between::new(&reading, By::Content, Positions::from([(0, 1)]));
        // A number that neither the table's snapshot nor the window's has seen, of the life that is over.
        between.take((0, 0), &change(2, None, Some((1, CLOCK_S, 5))), false);
        assert_eq!(between.expected(&Sums::new()), Sums::new());
        assert_eq!(between.life_us(), 2);
    }
}
