//! The comparison of lists against a naive model: what was done to a receiver, and nothing else, is what is found.

use super::beginning::Beginning;
use super::contents::Enriched;
use super::finding::{Kind, Tally};
use super::history::{Kept, Lane, Lists, Logged, TableRow};
use super::print::{Print, Values};
use crate::decode::Op;
use crate::position::Positions;
use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What somebody does to the events of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tampering {
    Nothing,
    /// An event is taken away.
    Removed,
    /// An event is there again, under another id.
    DoubledUnderAnotherId,
    /// An event is there again, under its own.
    Doubled,
    /// A column of an event is changed.
    Changed,
    /// A column that only Kafka knows is changed.
    FurtherChanged,
    /// An event is made up.
    Invented,
}

/// A row's life, and what was done to it.
#[derive(Debug, Clone)]
struct Life {
    /// Updates after the insert.
    updates: usize,
    is_deleted: bool,
    /// How many of its changes the snapshot does not see: the last ones.
    unseen: usize,
    /// How many of those the receiver has already.
    ahead: usize,
    tampering: Tampering,
    /// Which of the changes that the snapshot sees it is done to.
    at: usize,
    /// Whether its records are no longer in Kafka.
    is_old: bool,
}

fn life() -> impl Strategy<Value = Life> {
    use Tampering::*;
    let tampering = prop_oneof![4 => Just(Nothing), 1 => Just(Removed), 1 => Just(DoubledUnderAnotherId), 1 => Just(Doubled),
            1 => Just(Changed), 1 => Just(FurtherChanged), 1 => Just(Invented)];
    let life = (0usize..4, any::<bool>(), 0usize..3, 0usize..3, tampering, any::<usize>(), any::<bool>());
    life.prop_map(|(updates, is_deleted, unseen, ahead, tampering, at, is_old)| {
        let changes = 1 + updates + usize::from(is_deleted);
        let unseen = if is_old { 0 } else { unseen.min(changes) };
        let seen = changes - unseen;
        Life {
            updates,
            is_deleted,
            unseen,
            ahead: ahead.min(unseen),
            // What nobody has seen yet nobody can have tampered with.
            tampering: if seen == 0 && tampering != Invented { Nothing } else { tampering },
            at: at.checked_rem(seen).unwrap_or_default(),
            is_old,
        }
    })
}

const OLDEST_TX: u32 = 1000;
const OLDEST_US: i64 = 1_000_000;

fn print(id: i64, version: usize) -> Print {
    Values { id, duration_ms: i64::try_from(version).ok(), ..Values::default() }.print()
}

fn event(id: i64, number: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(id).expect("small") * 1000 + u128::try_from(number).expect("small"))
}

/// The lists of one life; numbers of a receiver's order are given later.
fn live(id: i64, life: &Life, lists: &mut Lists, kept: &mut Vec<Kept>) {
    let changes = 1 + life.updates + usize::from(life.is_deleted);
    let seen = changes - life.unseen;
    let op = |number| match number {
        0 => Op::Create,
        number if life.is_deleted && number + 1 == changes => Op::Delete,
        _ => Op::Update,
    };
    // A delete shows the row as it last was.
    let version = |number| if op(number) == Op::Delete { number - 1 } else { number };
    let step = id * 10;
    if seen > 0 && op(seen - 1) != Op::Delete {
        let tx_id = if life.is_old { OLDEST_TX - 1 } else { OLDEST_TX + 1 };
        lists.table.push(TableRow { id, tx_id, print: print(id, version(seen - 1)) });
    }
    for number in 0..changes {
        let at = step + i64::try_from(number).expect("small");
        let committed_us = if life.is_old { at } else { OLDEST_US + at };
        let (event, print) = (event(id, number), print(id, version(number)));
        if !life.is_old {
            lists.log.push(Logged {
                id,
                partition: i32::try_from(id % 4).expect("small"),
                offset: at,
                lsn: u64::try_from(at).expect("positive"),
                event,
                op: op(number),
                print,
                others: Some(7),
                is_seen: number < seen,
                is_former: false,
                in_range: true,
                is_refused: false,
            });
        }
        if number < seen + life.ahead {
            let op = Some(op(number));
            let (enriched, is_computed, in_range) = (Enriched::AsOf, true, true);
            kept.push(Kept {
                id,
                seq: 0,
                event,
                op,
                print,
                others: 7,
                in_range,
                committed_us,
                enriched,
                is_computed,
            });
        }
    }
}

/// Does it to the events of a row, which are the last ones.
fn tamper(id: i64, life: &Life, from: usize, kept: &mut Vec<Kept>) {
    let at = from + life.at;
    match life.tampering {
        Tampering::Nothing => {}
        Tampering::Removed => drop(kept.remove(at)),
        Tampering::Doubled => kept.push(kept[at]),
        Tampering::DoubledUnderAnotherId => kept.push(Kept { event: event(id, 900), ..kept[at] }),
        Tampering::Changed => kept[at].print = print(id, 800),
        Tampering::FurtherChanged => kept[at].others = 8,
        Tampering::Invented => {
            let committed_us = OLDEST_US + 900;
            let (op, print) = (Some(Op::Update), print(id, 700));
            let (enriched, is_computed, in_range) = (Enriched::AsOf, true, true);
            let event = event(id, 901);
            kept.push(Kept {
                id,
                seq: 0,
                event,
                op,
                print,
                others: 7,
                in_range,
                committed_us,
                enriched,
                is_computed,
            });
        }
    }
}

/// What must be found of a life; none where anything may be.
fn expected(life: &Life) -> Vec<Kind> {
    let seen = 1 + life.updates + usize::from(life.is_deleted) - life.unseen;
    let is_last = life.at + 1 == seen;
    match (life.tampering, life.is_old) {
        (Tampering::Nothing, _) => vec![],
        (Tampering::Invented, _) => vec![Kind::Extra],
        (Tampering::Doubled | Tampering::DoubledUnderAnotherId, _) => vec![Kind::Doubled],
        (Tampering::Removed, false) => vec![Kind::Missing],
        (Tampering::Changed | Tampering::FurtherChanged, false) => vec![Kind::Different],
        // Of what Kafka no longer has, the state that remains is compared with the table.
        (Tampering::FurtherChanged, true) => vec![],
        (Tampering::Changed, true) => {
            if is_last && !life.is_deleted {
                vec![Kind::Different]
            } else {
                vec![]
            }
        }
        (Tampering::Removed, true) if !is_last || seen == 1 => vec![],
        (Tampering::Removed, true) => vec![if life.is_deleted { Kind::Extra } else { Kind::Different }],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_done_is_found_and_nothing_else(lives in proptest::collection::vec(life(), 1..30)) {
        let (mut lists, mut kept, mut wanted) = (Lists::default(), Vec::new(), Vec::new());
        for (id, life) in (1..).zip(&lives) {
            let from = kept.len();
            live(id, life, &mut lists, &mut kept);
            tamper(id, life, from, &mut kept);
            wanted.extend(expected(life).into_iter().map(|kind| (id, kind)));
        }
        for (seq, kept) in (1..).zip(&mut kept) {
            kept.seq = seq;
        }
        kept.sort_by_key(|kept| (kept.id, kept.seq));
        lists.log.reverse();
        lists.sort();
        let beginning = Beginning { tx_id: Some(OLDEST_TX), is_cut: true, committed_us: OLDEST_US };
        let mut tally = Tally::new(1000);
        prop_assert_eq!(lists.compare_log(beginning, &mut tally), Vec::<i64>::new());
        prop_assert_eq!(tally.wrong(), 0, "{:?}", &tally.differences);
        let mut tally = Tally::new(1000);
        let missing = lists.compare_kept(&kept, beginning, &Lane::default(), &mut tally);
        let row = |what: &str| what.strip_prefix("row ")?.split(':').next()?.parse::<i64>().ok();
        let found: Vec<_> = tally.differences.iter().map(|f| (row(&f.what).expect("a row"), f.kind)).collect();
        prop_assert_eq!(&found, &wanted, "{:?}", &tally.differences);
        let missed: Vec<_> = wanted.iter().filter(|(_, kind)| *kind == Kind::Missing).map(|(id, _)| *id).collect();
        prop_assert_eq!(missing, missed);
    }

    /// Whatever is missing from the log is told apart from what is older than the log.
    #[test]
    fn rows_that_never_came_are_missing_unless_they_are_older(
        rows in proptest::collection::btree_map(1i64..200, (any::<bool>(), any::<bool>()), 1..40),
    ) {
        let mut lists = Lists::default();
        let mut wanted = Vec::new();
        for (id, (is_old, is_there)) in &rows {
            let life = Life { updates: 0, is_deleted: false, unseen: 0, ahead: 0, tampering: Tampering::Nothing, at: 0, is_old: false };
            live(*id, &life, &mut lists, &mut Vec::new());
            if !is_there {
                lists.log.pop();
                let last = lists.table.last_mut().expect("a row");
                last.tx_id = if *is_old { OLDEST_TX - 1 } else { OLDEST_TX };
                wanted.extend((!is_old).then_some(*id));
            }
        }
        lists.sort();
        let mut tally = Tally::new(1000);
        let beginning = Beginning { tx_id: Some(OLDEST_TX), is_cut: false, committed_us: OLDEST_US };
        let missing = lists.compare_log(beginning, &mut tally);
        prop_assert_eq!(tally.missing, u64::try_from(missing.len()).expect("small"));
        prop_assert_eq!(missing, wanted);
    }
}

#[test]
fn a_stretch_that_was_written_twice_has_happened_once() {
    let (mut lists, mut kept) = (Lists::default(), Vec::new());
    let life = Life {
        updates: 2,
        is_deleted: false,
        unseen: 0,
        ahead: 0,
        tampering: Tampering::Nothing,
        at: 0,
        is_old: false,
    };
    live(1, &life, &mut lists, &mut kept);
    let again: Vec<_> = lists.log.iter().take(2).map(|c| Logged { offset: c.offset + 100, ..*c }).collect();
    lists.log.extend(again);
    lists.sort();
    let mut tally = Tally::new(10);
    lists.compare_log(Beginning::default(), &mut tally);
    lists.compare_kept(&kept, Beginning::default(), &Lane::default(), &mut tally);
    assert_eq!((tally.wrong(), tally.checked), (0, 4), "{:?}", tally.differences);
}

#[test]
fn dead_letters_and_what_came_before_a_lane_began_are_no_difference() {
    let mut lists = Lists::default();
    for id in 1..=8 {
        let life = Life {
            updates: 0,
            is_deleted: false,
            unseen: 0,
            ahead: 0,
            tampering: Tampering::Nothing,
            at: 0,
            is_old: false,
        };
        live(id, &life, &mut lists, &mut Vec::new());
    }
    lists.sort();
    // Offsets are ten times the id, partitions the id modulo 4.
    lists.log[0].is_refused = true;
    let lane = Lane {
        set_aside: BTreeSet::from([(2, 20)]),
        begins: Positions::from([(0, 50), (3, 30)]),
        ..Lane::default()
    };
    let mut tally = Tally::new(10);
    let missing = lists.compare_kept(&[], Beginning::default(), &lane, &mut tally);
    assert_eq!(
        (tally.set_aside, tally.unchecked),
        (2, 1),
        "1 and 2 are dead letters, 4 came before the lane"
    );
    assert_eq!(missing, [3, 5, 6, 7, 8]);
}

/// A database that was set back: a key is used again by a row of the new life, which stands before the former one in the WAL, and
/// another row is gone.
#[test]
fn what_a_database_had_before_it_was_set_back_is_extra_and_nothing_else_is_wrong() {
    let logged = |id, offset, lsn, is_former| Logged {
        id,
        partition: 0,
        offset,
        lsn,
        event: event(id, usize::from(is_former)),
        op: Op::Create,
        print: print(id, usize::from(is_former)),
        others: None,
        is_seen: true,
        is_former,
        in_range: true,
        is_refused: false,
    };
    let mut lists = Lists {
        table: vec![TableRow { id: 1, tx_id: OLDEST_TX + 1, print: print(1, 0) }],
        log: vec![logged(1, 0, 900, true), logged(2, 1, 950, true), logged(1, 2, 800, false)],
    };
    lists.sort();
    let beginning = Beginning { tx_id: Some(OLDEST_TX), is_cut: false, committed_us: 0 };
    let mut tally = Tally::new(10);
    lists.compare_log(beginning, &mut tally);
    let found: Vec<_> = tally.differences.iter().map(|found| (found.kind, found.what.as_str())).collect();
    let gone = "row 2: not in the table, and its last change (insert at 0/1) is no delete; the database was set back since";
    assert_eq!(found, [(Kind::Extra, gone)]);
}
