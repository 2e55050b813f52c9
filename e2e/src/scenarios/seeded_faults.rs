//! A few of the seeded runs with faults; `./test_pipeline.sh --seeds A..B` runs as many as one likes.

use crate::faults::plan::Plan;
use crate::faults::{self, Outcome};
use crate::harness::{Bench, Measured};
use anyhow::{Result, ensure};

/// One and three instances, and faults of all kinds but those that take long.
const SEEDS: [u64; 3] = [2, 4, 10];

pub async fn run(bench: &Bench) -> Result<Measured> {
    let mut measured = Measured::default();
    for seed in SEEDS {
        let (name, plan) = (format!("seed-{seed}"), Plan::of(seed));
        let own = Bench::new(&bench.stack, bench.folder.join(&name), &name).await?;
        let Outcome { fired, exact, failed, took, .. } = faults::run(&own, &plan).await;
        ensure!(
            failed.is_none() && exact.is_well(),
            "seed {seed}: {} {:?}; again: ./test_pipeline.sh --seeds {seed}\n{plan}",
            failed.unwrap_or_default(),
            exact
        );
        measured.add(format!(
            "seed {seed}: {fired} faults, {} records once, {:.0} s",
            exact.records,
            took.as_secs_f64()
        ));
    }
    Ok(measured)
}
