//! Seeded runs: a pipeline under load, faults that a seed names, and in the end the same exact comparison whatever happened.
//!
//! [`plan`] says what happens (pure), [`world`] is what it happens to, [`strike`] does it and asserts that it was done, [`exact`]
//! compares. [`results`] keeps what came of each seed, so that several ranges make one table.

mod exact;
mod load;
mod moments;
pub mod plan;
pub mod results;
mod run;
mod servers;
mod strike;
mod world;

pub use run::{Outcome, run};
pub use world::World;

use crate::harness::{Bench, Stack};
use anyhow::{Context, Result};
use plan::Plan;
use results::Results;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Seeds from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    last: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let (first, last) = text
            .split_once("..")
            .map_or((number(text), number(text)), |(first, last)| (number(first), number(last)));
        match (first, last) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("give a seed, as 17, or the first and the last of some, as 1..200".to_owned()),
        }
    }
}

/// The runs of some seeds, taken one by one by as many stacks as there are.
pub struct Runs<'a> {
    seeds: Seeds,
    taken: AtomicU64,
    folder: &'a Path,
    results: Mutex<Results>,
}

impl<'a> Runs<'a> {
    /// Runs whose folders go into `folder`, and whose results are added to the file `results`.
    pub fn new(seeds: Seeds, folder: &'a Path, results: PathBuf) -> Result<Self> {
        Ok(Self { seeds, taken: AtomicU64::new(0), folder, results: Mutex::new(Results::open(results)?) })
    }

    /// Runs on `stack` until every seed has been taken.
    pub async fn on_stack(&self, stack: &Arc<Stack>) -> Result<()> {
        while let Some(seed) = self.next() {
            let (name, plan) = (format!("seed-{seed}"), Plan::of(seed));
            let bench = Bench::new(stack, self.folder.join(&name), &name).await;
            let bench = bench.with_context(|| format!("the stack can't be made ready for {name}"))?;
            let outcome = run(&bench, &plan).await;
            self.results.lock().unwrap_or_else(PoisonError::into_inner).add(&plan, outcome, &bench.folder)?;
        }
        Ok(())
    }

    fn next(&self) -> Option<u64> {
        let seed = self.seeds.first.checked_add(self.taken.fetch_add(1, Ordering::Relaxed))?;
        (seed <= self.seeds.last).then_some(seed)
    }

    /// Prints the sums of all that the file holds; of each of these runs whether it went well.
    pub fn finish(self) -> Vec<bool> {
        let results = self.results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.print();
        results.added()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_from_one_to_another() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| (seeds.first, seeds.last));
        assert_eq!(seeds("17"), Ok((17, 17)));
        assert_eq!(seeds("1..200"), Ok((1, 200)));
        for wrong in ["", "..", "3..", "5..4", "a..b", "-1"] {
            seeds(wrong).unwrap_err();
        }
    }
}
