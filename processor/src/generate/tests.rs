//! The sequence of changes against what was asked for, and against itself cut into other batches.

use super::batch::{Batch, MOST};
use super::changes::{Change, Changes};
use super::contents::{Content, id_of};
use super::options::{Load, Share, Shares};
use super::plan::Plan;
use super::zipf::Zipf;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::time::Duration;
use uuid::Uuid;

const CONTENTS: usize = 50;

fn contents() -> Vec<Content> {
    let content = |number| {
        let length_seconds = (number % 5 != 0).then(|| 100 + i32::try_from(number).unwrap());
        Content { id: id_of(0, "content of a test", number), length_seconds }
    };
    (0..CONTENTS as u64).map(content).collect()
}

fn share(part: f64) -> Share {
    part.to_string().parse().unwrap()
}

fn shares(null: f64, late: f64, update: f64, delete: f64) -> Shares {
    Shares::new(share(null), share(late), share(update), share(delete)).unwrap()
}

fn changes(seed: u64, exponent: f64, shares: Shares) -> Changes {
    let popularity = Zipf::new(NonZeroUsize::new(CONTENTS).unwrap(), exponent);
    Changes::new(seed, contents(), popularity, shares, None)
}

/// `count` changes, the rows numbered from 1.
fn sequence(changes: &mut Changes, count: usize) -> Vec<Change> {
    let mut fresh = 1;
    let mut next = || {
        let change = changes.next(fresh).unwrap();
        fresh += i64::from(matches!(change, Change::Insert(_)));
        change
    };
    (0..count).map(|_| next()).collect()
}

fn load(seed: u64, rate: f64, shares: Shares) -> Load {
    Load {
        rate: rate.to_string().parse().unwrap(),
        duration: None,
        rows: None,
        seed,
        contents: None,
        exponent: "1".parse().unwrap(),
        device: None,
        shares,
    }
}

/// A table that batches are written to, by id: content, type, duration.
type Table = BTreeMap<i64, (Uuid, &'static str, Option<i32>)>;

fn apply(table: &mut Table, batch: &Batch) {
    let rows = &batch.inserts;
    for (i, id) in rows.id.iter().enumerate() {
        table.insert(*id, (rows.content[i], rows.kind[i], rows.duration_ms[i]));
    }
    let rows = &batch.updates;
    for (i, id) in rows.id.iter().enumerate() {
        let new = (rows.content[i], rows.kind[i], rows.duration_ms[i]);
        assert!(table.insert(*id, new).is_some(), "row {id} is not there to be updated");
    }
    for id in &batch.deletes {
        assert!(table.remove(id).is_some(), "row {id} is not there to be deleted");
    }
}

/// The table and the number of changes after a load whose batches begin at these times, in ms.
fn table_after(mut plan: Plan, times_ms: &[u64], ids_at_once: i64) -> (Table, usize) {
    let (mut table, mut ids, mut fresh, mut count) = (Table::new(), VecDeque::new(), 1, 0);
    for now in times_ms.iter().copied().map(Duration::from_millis) {
        while plan.next_at().is_some_and(|at| at <= now) {
            if ids.is_empty() {
                ids.extend(fresh..fresh + ids_at_once);
                fresh += ids_at_once;
            }
            let mut batch = Batch::default();
            plan.fill(now, &mut ids, &mut batch);
            assert!(batch.len() <= MOST);
            count += batch.len();
            apply(&mut table, &batch);
        }
    }
    (table, count)
}

/// Shares of updates and deletes that go together.
fn changed() -> impl Strategy<Value = (f64, f64)> {
    (0.0f64..=0.8, 0.0f64..=0.44).prop_map(|(update, part)| (update, (1.0 - update) * part))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shares_hold(seed: u64, null in 0.0f64..=1.0, late in 0.0f64..=1.0, (update, delete) in changed()) {
        const COUNT: usize = 20_000;
        // Before the first rows there is nothing to update or delete. Beside that six deviations of so many draws.
        const FIRST: f64 = 60.0;
        let close = |hits: usize, of: usize, share: f64| (hits as f64 / of as f64 - share).abs() < 3.0 / (of as f64).sqrt() + FIRST / of as f64;
        let all = sequence(&mut changes(seed, 1.0, shares(null, late, update, delete)), COUNT);
        let mut rows = Vec::new();
        let (mut updated, mut deleted) = (0, 0);
        for change in &all {
            match change {
                Change::Insert(row) => rows.push(row),
                Change::Update(_) => updated += 1,
                Change::Delete(_) => deleted += 1,
            }
        }
        prop_assert!(close(updated, COUNT, update), "{updated} updates");
        prop_assert!(close(deleted, COUNT, delete), "{deleted} deletes");
        let without = rows.iter().filter(|row| row.duration_ms.is_none()).count();
        prop_assert!(close(without, rows.len(), null), "{without} without a duration");
        let after = rows.iter().filter(|row| row.late_ms > 0).count();
        prop_assert!(close(after, rows.len(), late), "{after} are late");
        prop_assert!(rows.iter().all(|row| (0..=900_000).contains(&row.late_ms)));
    }

    #[test]
    fn every_type_and_device_comes_and_durations_fit_their_content(seed: u64) {
        let all = sequence(&mut changes(seed, 0.5, shares(0.12, 0.0, 0.0, 0.0)), 2_000);
        let lengths: HashMap<_, _> = contents().iter().map(|content| (content.id, content.length_seconds)).collect();
        let (mut kinds, mut devices) = (HashSet::new(), HashSet::new());
        for change in &all {
            let Change::Insert(row) = change else { panic!("{change:?}") };
            kinds.insert(row.kind);
            devices.insert(row.device.as_str());
            let most = lengths[&row.content].map_or(600, |length| length.max(3)) * 1000;
            prop_assert!(row.duration_ms.is_none_or(|ms| (0..=most).contains(&ms)), "{row:?}");
        }
        prop_assert_eq!(kinds.len(), 4);
        prop_assert_eq!(devices.len(), 6);
    }

    #[test]
    fn contents_are_as_popular_as_their_ranks_say(seed: u64, exponent in 0.0f64..2.0) {
        const COUNT: usize = 20_000;
        let all = sequence(&mut changes(seed, exponent, shares(0.0, 0.0, 0.0, 0.0)), COUNT);
        let mut hits: HashMap<Uuid, usize> = HashMap::new();
        for change in &all {
            let Change::Insert(row) = change else { panic!("{change:?}") };
            *hits.entry(row.content).or_default() += 1;
        }
        let weights: Vec<f64> = (1..=CONTENTS).map(|rank| (rank as f64).powf(-exponent)).collect();
        let total: f64 = weights.iter().sum();
        for (content, weight) in contents().iter().zip(weights) {
            let expected = COUNT as f64 * weight / total;
            let hit = hits.get(&content.id).copied().unwrap_or_default() as f64;
            prop_assert!((hit - expected).abs() <= 7.0 * expected.sqrt() + 2.0, "{hit} hits, expected {expected}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_changes(seed: u64) {
        let new = |seed| sequence(&mut changes(seed, 1.0, shares(0.2, 0.1, 0.2, 0.1)), 500);
        prop_assert_eq!(new(seed), new(seed));
        prop_assert_ne!(new(seed), new(seed.wrapping_add(1)));
    }

    /// Batches may be cut anywhere, and nothing but rows that are there is changed.
    #[test]
    fn the_table_does_not_depend_on_the_batches(
        seed: u64,
        mut times in proptest::collection::vec(0u64..5_000, 0..40),
        ids in 1i64..300,
    ) {
        let load = load(seed, 400.0, shares(0.1, 0.1, 0.3, 0.2));
        let plan = Plan::new(&load, contents()).unwrap();
        times.sort_unstable();
        times.push(5_000);
        let (table, count) = table_after(plan.clone(), &times, ids);
        let (at_once, count_at_once) = table_after(plan, &[5_000], 10_000);
        prop_assert_eq!(count, count_at_once);
        prop_assert_eq!(table.values().collect::<Vec<_>>(), at_once.values().collect::<Vec<_>>());
    }

    #[test]
    fn a_load_ends_at_its_rows_or_its_duration(seed: u64, rows in 1u64..500, duration_ms in 1u64..3_000) {
        let mut load = load(seed, 300.0, shares(0.1, 0.0, 0.1, 0.0));
        load.rows = Some(rows);
        let mut plan = Plan::new(&load, contents()).unwrap();
        let (mut ids, mut inserted) = ((1..=1_000).collect(), 0);
        while plan.next_at().is_some() {
            let mut batch = Batch::default();
            plan.fill(Duration::MAX, &mut ids, &mut batch);
            inserted += batch.inserts.id.len();
        }
        prop_assert_eq!(inserted as u64, rows);

        load.rows = None;
        load.duration = Some(format!("{duration_ms}ms").parse().unwrap());
        let mut plan = Plan::new(&load, contents()).unwrap();
        let end = Duration::from_millis(duration_ms);
        while let Some(at) = plan.next_at() {
            prop_assert!(at < end);
            plan.fill(at, &mut ids, &mut Batch::default());
            ids.extend(1..=2);
        }
    }
}

/// Another release gives the same rows, or says so in its notes: whoever compares two runs relies on it.
#[test]
fn the_sequence_is_this_one() {
    let all = sequence(&mut changes(1, 1.0, shares(0.12, 0.1, 0.2, 0.1)), 2_000);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in format!("{all:?}").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    assert_eq!(hash, 17_951_845_396_516_609_755);
}

#[test]
fn without_content_there_is_no_plan() {
    assert!(Plan::new(&load(1, 1.0, shares(0.0, 0.0, 0.0, 0.0)), Vec::new()).is_none());
}
