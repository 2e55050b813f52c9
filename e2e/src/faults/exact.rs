//! The end of a run: whatever happened to the table is once in each sink, and `deltafan verify` says so too.

use crate::harness::bench::COMPLETE;
use crate::harness::changes::{self, Change};
use crate::harness::{Bench, Plan, Receiver, effects};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const VERIFIED: Duration = Duration::from_secs(90);

/// What came of what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exact {
    /// Changes that happened.
    pub records: i64,
    /// Changes that are not at the receiver, and members of leaderboards with too little.
    pub lost: i64,
    /// Changes that are there too often, and members with too much.
    pub doubled: i64,
    /// Repeats that the receiver refused.
    pub repeats: i64,
    /// What `deltafan verify` finds missing, doubled, different or too much.
    pub verify: i64,
    /// What is wrong, in words; empty where nothing is.
    pub wrong: Vec<String>,
}

/// Compares what happened with both sinks, once they are complete and no lane is behind; or after a while as they are.
pub async fn exact(bench: &Bench, plan: &Plan, receiver: &Receiver, happened: Vec<Change>) -> Result<Exact> {
    let mut exact = Exact { records: i64::try_from(happened.len())?, ..Exact::default() };
    // What comes slowly still comes: only where nothing comes any more something is missing.
    loop {
        let before = receiver.remote.stats().await?.total_events;
        let seen = bench.receiver_holds(receiver, exact.records).await;
        if seen.is_ok() || receiver.remote.stats().await?.total_events == before {
            exact.note(seen.map(drop));
            break;
        }
    }
    for window in &plan.windows {
        let equals = effects::board_equals_sql(
            &bench.db,
            &bench.redis,
            (&window.key, window.by),
            "1 hour",
            if exact.wrong.is_empty() { COMPLETE } else { Duration::ZERO },
        );
        exact.note(equals.await.map(drop));
    }
    if exact.wrong.is_empty() {
        exact.note(bench.no_lag(plan).await);
    }
    // Again, now that nothing can come any more: an effect too many may have come last.
    for window in &plan.windows {
        let by_sql = effects::board_by_sql(&bench.db, "1 hour", window.by).await?;
        let actual = bench.redis.board(&window.key).await?;
        ensure!(!actual.is_empty(), "{} has no member: nothing is compared", window.key);
        let less =
            by_sql.iter().filter(|(member, ms)| actual.get(*member).is_none_or(|has| has < ms)).count();
        let more =
            actual.iter().filter(|(member, ms)| by_sql.get(*member).is_none_or(|due| due < ms)).count();
        exact.lost += i64::try_from(less)?;
        exact.doubled += i64::try_from(more)?;
        let differences = effects::board_differences(&actual, &by_sql);
        exact.wrong.extend(differences.first().map(|first| format!("{}: {first}", window.key)));
    }
    let arrived = changes::arrived(receiver.remote.events().await?)?;
    for (change, missing) in changes::differences(happened, arrived) {
        exact.lost += missing.max(0);
        exact.doubled += (-missing).max(0);
        exact.wrong.push(format!("{change:?} is missing {missing} times"));
    }
    exact.repeats = receiver.remote.stats().await?.duplicates;
    Ok(exact)
}

impl Exact {
    /// Whether all is there once.
    pub fn is_well(&self) -> bool {
        self.wrong.is_empty() && self.lost + self.doubled + self.verify == 0
    }

    fn note(&mut self, seen: Result<()>) {
        if let Err(error) = seen {
            self.wrong.push(format!("{error:#}"));
        }
    }

    /// Has `deltafan verify` compare as well.
    pub async fn verify(&mut self, bench: &Bench, plan: &Plan) -> Result<()> {
        let config = plan.write(&bench.stack, &bench.folder, "verify", &bench.stack.free_address()?)?;
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let words = ["verify", "--json", "--config", config];
        let (ended, said) = bench.deltafan("verify", &words).run(VERIFIED).await?;
        let last = said.lines().last().context("verify says nothing")?;
        let report: Value = serde_json::from_str(last).with_context(|| format!("verify says {last:?}"))?;
        let compared = report.pointer("/pipelines/0/compared").and_then(Value::as_array);
        for one in compared.context("verify has compared nothing")? {
            let of = |name: &str| one.get(name).and_then(Value::as_i64).unwrap_or_default();
            let wrong = ["missing", "doubled", "different", "extra"].map(of).iter().sum::<i64>();
            ensure!(one.get("failed").is_none_or(Value::is_null), "verify could not compare all: {one}");
            if wrong > 0 {
                self.verify += wrong;
                self.wrong.push(format!("verify: {one}"));
            }
        }
        if self.verify == 0 {
            ensure!(ended.success(), "verify names nothing and ends with {ended}: {last}");
        }
        Ok(())
    }
}
