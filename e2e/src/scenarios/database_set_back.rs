//! The database is put back to an earlier time, from a cold copy, while the connector's offset stands beyond the end of its log. It is
//! named by the connector and by the processor; nothing of what the table has then is missing or there twice, and the leaderboards
//! forget what is gone. The receiver keeps what happened in the life that is over.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Window};
use crate::harness::db::Db;
use crate::harness::load::{COPY, Flow, Load, lines};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Plan, Receiver, check, effects};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LOAD: Flow = Flow { rate: 300, copy_rows: 200, copy_every: Duration::from_secs(1) };
/// Rows of the life that the copy is of.
const BEFORE: i64 = 1000;
/// Rows that come after the copy, and are gone with it: so many that the log is long behind when the connector comes back.
const GONE: i64 = 3000;
/// Rows that are inserted before the connector is back.
const AT_ONCE: u32 = 100;
/// Rows that come in later.
const AFTER: i64 = 1000;
const COMMAND: Duration = Duration::from_secs(60);
/// As the connector and the processor say it.
const CONNECTOR_SAYS: &str = "The database was set back to an earlier time";
const PROCESSOR_SAYS: &str = "source replayed: ";

/// A row as it came to be: its key is used again in the next life, its time is not.
type Row = (i64, String);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.windows.push(Window { key: format!("{}:devices", bench.name), length: "1h", by: By::Device });
    let mut processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();

    let began: String = bench.db.value("SELECT pg_current_wal_lsn()::text", &[]).await?;
    let kept = Load::start(bench, LOAD).await?.finish(BEFORE).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    confirmed(bench, &began).await?;
    let data = PathBuf::from(bench.db.value::<String>("SHOW data_directory", &[]).await?);
    let copy = data.with_extension("copy");
    bench.stack.run(&["stop", "postgres"]).await?;
    put(&data, &copy)?;
    bench.stack.run(&["start", "postgres"]).await?;

    Load::start(bench, LOAD).await?.finish(kept + GONE).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    let mut happened = rows(&bench.db).await?;
    let said = told(bench)?;

    bench.stack.kill("postgres").await?;
    put(&copy, &data)?;
    bench.stack.run(&["start", "postgres"]).await?;
    check::equal("rows of the copy", bench.db.count_events().await?, kept)?;
    let contents = bench.db.texts("SELECT id::text FROM content ORDER BY id", &[]).await?;
    bench.db.copy(COPY, lines(&contents, AT_ONCE, "at-once")).await?;
    wait::until("the connector says that the database was set back", COMPLETE, async || {
        let now = told(bench)?;
        Ok(seen_if(now > said, || "nothing is said".to_owned()))
    })
    .await?;
    let table = Load::start(bench, LOAD).await?.finish(kept + AFTER).await?;
    let present = rows(&bench.db).await?;
    let gone = happened.difference(&present).count();
    check::at_least("rows that are gone", i64::try_from(gone)?, GONE)?;
    happened.extend(present);
    happened_once(bench, &plan, &receiver, &happened).await?;
    let log = std::fs::read_to_string(bench.folder.join("deltafan.log"))?;
    ensure!(log.contains(PROCESSOR_SAYS), "the processor does not say that the source was replayed");
    measured.add(format!("{gone} rows gone, {table} in the table, {} at the receiver", happened.len()));
    let reused = happened.len() - distinct(&happened);
    verify(bench, gone - reused, &mut measured).await?;
    ensure!(processor.process.runs(), "the processor has ended");
    std::fs::remove_dir_all(&copy)?;
    Ok(measured)
}

/// Copies a folder, with its owners, over what there is.
fn put(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}

async fn rows(db: &Db) -> Result<BTreeSet<Row>> {
    let sql = r#"SELECT id, to_char(event_ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM engagement_events"#;
    let rows = db.rows(sql, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Waits until the slot stands behind a place, also on the disk that is copied: Postgres 15 writes down what is confirmed only when the
/// place from which it would read again moves, and that moves by checkpoints. What the slot sends again comes to a receiver that is new, and
/// knows no rows of before.
async fn confirmed(bench: &Bench, place: &str) -> Result<()> {
    let sql = "SELECT coalesce(bool_and(restart_lsn >= $1::text::pg_lsn), false) FROM pg_replication_slots";
    wait::until("the slot stands behind what was before", COMPLETE, async || {
        bench.db.run("CHECKPOINT").await?;
        let is_behind: bool = bench.db.value(sql, &[&place]).await?;
        Ok(seen_if(is_behind, || format!("not behind {place}")))
    })
    .await
}

/// How often the connector has said it.
fn told(bench: &Bench) -> Result<usize> {
    let log = bench.stack.state().join("logs/kafka-connect.log");
    Ok(std::fs::read_to_string(&log)
        .with_context(|| format!("cannot read {}", log.display()))?
        .matches(CONNECTOR_SAYS)
        .count())
}

/// Waits until the receiver has each row of both lives, once and nothing else, and the leaderboards are those of the table.
async fn happened_once(
    bench: &Bench,
    plan: &Plan,
    receiver: &Receiver,
    happened: &BTreeSet<Row>,
) -> Result<()> {
    #[derive(Deserialize)]
    struct Body {
        event_ts: String,
    }
    bench.receiver_holds(receiver, i64::try_from(happened.len())?).await?;
    for Window { key, by, .. } in &plan.windows {
        effects::board_equals_sql(&bench.db, &bench.redis, (key.as_str(), *by), "1 hour", COMPLETE).await?;
    }
    bench.no_lag(plan).await?;
    // Again, now that nothing can come any more.
    for Window { key, by, .. } in &plan.windows {
        let expected = effects::board_by_sql(&bench.db, "1 hour", *by).await?;
        let actual = bench.redis.board(key).await?;
        check::no_differences("Redis and SQL", &effects::board_differences(&actual, &expected))?;
    }
    let events = receiver.remote.events().await?;
    let mut arrived = BTreeSet::new();
    for event in &events {
        let body: Body = serde_json::from_str(&event.json).context("an event")?;
        ensure!(event.op == "c", "an event that is no insert: {}", event.json);
        ensure!(arrived.insert((event.id, body.event_ts)), "a row is there twice: {}", event.json);
    }
    let missing = happened.difference(&arrived).map(|row| format!("{row:?} is not at the receiver"));
    let strange = arrived.difference(happened).map(|row| format!("{row:?} never was in the table"));
    check::no_differences("rows and events", &missing.chain(strange).collect::<Vec<_>>())
}

/// How many keys there are: some were used in both lives.
fn distinct(rows: &BTreeSet<Row>) -> usize {
    rows.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len()
}

/// Rows that the topic alone has are named as what they are, and nothing else is.
async fn verify(bench: &Bench, gone: usize, measured: &mut Measured) -> Result<()> {
    let config = bench.folder.join("deltafan.yaml");
    let config = config.to_str().context("the folder's name is no UTF-8")?;
    let words = ["verify", "--json", "--limit", "1", "--config", config];
    let (status, said) = bench.deltafan("verify", &words).run(COMMAND).await?;
    ensure!(!status.success(), "verify names nothing: {said}");
    let last = said.lines().last().context("verify says nothing")?;
    let report: Value = serde_json::from_str(last).with_context(|| format!("verify says {last:?}"))?;
    let compared = report.pointer("/pipelines/0/compared").and_then(Value::as_array);
    let mut extra = 0;
    for one in compared.context("verify has compared nothing")? {
        let of = |name: &str| one.get(name).and_then(Value::as_u64).unwrap_or_default();
        ensure!(of("missing") + of("doubled") + of("different") == 0, "verify finds what is not so: {one}");
        extra += of("extra");
    }
    check::equal("rows that verify calls extra", extra, u64::try_from(gone)?)?;
    ensure!(last.contains("the database was set back since"), "verify does not say why: {last}");
    measured.add(format!("verify names {extra} of the former life, and nothing else"));
    Ok(())
}
