//! Random histories against a naive model: several workers that know nothing of each other write the same log to three
//! windows, again and again, from wherever they happen to stand, while time passes, ticks do little at a time, and
//! things are removed by hand. Whatever happens, a window holds each record below its position exactly once.

mod check;
mod history;
mod world;

use super::*;
use crate::position::{Held, Span};
use history::{Step, logs, step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use world::World;

const WINDOWS: [(&str, u64, By); 3] =
    [("short", 4, By::Content), ("{long}", 25, By::Content), ("types", 20, By::ContentType)];
const PREFIXES: [&str; 3] = ["{short}:", "{long}:", "{types}:"];
/// The types that contents have and change to.
const TYPES: [Option<&str>; 4] = [None, Some("a"), Some("b"), Some("c")];
const CONTENTS: u64 = 12;
const PARTITIONS: [Partition; 3] = [0, 1, 2];
const START: i64 = 1_000_000;
/// Keys without which a window is lost.
const COMPANIONS: [&str; 7] = ["meta", "positions", "totals", "buckets", "groups", "sums", "untold"];

/// Packs are merged soon, and what is merged is large soon.
static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    Scripts::with(&[EDITED_CLOCK, ("MOST_PACKS = 32", "MOST_PACKS = 3"), ("MERGED = 700", "MERGED = 4")])
});

fn lane(settings: &Settings, budget: u32) -> (RedisWindow, Ticker) {
    lane_with(settings, budget, &SCRIPTS)
}

async fn history(server: &Server, logs: Vec<Vec<Record>>, steps: Vec<Step>) -> BTreeMap<&'static str, usize> {
    let mut world = World::new(server, logs).await;
    for step in steps {
        if matches!(&step, Step::Lose { key: 3, .. }) {
            world.count("lost buckets");
        }
        let settled = matches!(step, Step::Settle);
        world.step(step).await;
        for window in 0..WINDOWS.len() {
            world.check_invariants(window).await;
            if settled {
                world.check_against_model(window).await;
            }
        }
    }
    world.check_empty().await;
    world.happened
}

#[test]
fn any_history_leaves_each_record_in_the_windows_once() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    };
    let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
    let seen = std::cell::RefCell::new(&mut happened);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&(any::<u64>(), prop::collection::vec(step(), 1..60)), |(seed, steps)| {
        for (what, times) in runtime.block_on(history(&server, logs(seed), steps)) {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    result.expect("every history");
    for what in
        ["durable", "behind", "behind, told where", "compared", "compared something", "compared types"]
    {
        assert!(happened.contains_key(what), "`{what}` never happened: {happened:?}");
    }
}
