//! `deltafan verify`: under live traffic all agrees; then the sinks are tampered with in seven ways, each is named and nothing
//! else is; and when it is undone all agrees again. A lane that is behind can't be compared; content newer than its event is
//! no difference.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Plan, Window};
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use std::time::Duration;

const LOAD: Flow = Flow { rate: 300, copy_rows: 400, copy_every: Duration::from_secs(2) };
const ROWS: i64 = 2500;
/// Rows that come in before the first comparison.
const FIRST: i64 = 800;
const ENDED: Duration = Duration::from_secs(120);
/// Some rows are corrected and some are deleted while all flows.
const CHANGES: &str = "UPDATE engagement_events SET duration_ms = duration_ms + 7 WHERE id % 5 = 0; \
     UPDATE engagement_events SET content_id = (SELECT id FROM content ORDER BY id LIMIT 1) WHERE id % 11 = 0; \
     DELETE FROM engagement_events WHERE id % 7 = 0";
const AGREE: i32 = 0;
const DIFFER: i32 = 1;
const UNCOMPARED: i32 = 3;

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    for (key, by) in [("types", By::ContentType), ("devices", By::Device)] {
        plan.windows.push(Window { key: format!("{}:{key}", bench.name), length: "1h", by });
    }
    let folder = bench.folder.join("events");
    std::fs::create_dir(&folder)?;
    plan.files = Some(folder);
    let mut processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();
    live(bench, &plan, &mut measured).await?;

    // Nobody repairs the leaderboards meanwhile.
    let status = processor.process.terminate(ENDED).await?;
    check::equal("exit status of the processor", status.code(), Some(0))?;
    let store = Connection::open(bench.folder.join("receiver.db"))?;
    let tampered = Tampered::begin(bench, &plan, &store).await?;
    let report = verify(bench, &plan, &[], DIFFER).await?;
    tampered.is_named(&report)?;
    tampered.undo(bench, &plan, &store).await?;
    let after = verify(bench, &plan, &[], AGREE).await?;
    check::at_least("events compared", checked(&after, "webhook")?, 2000)?;
    measured.add(format!("7 of 7 ways to tamper named in {} events", checked(&after, "webhook")?));

    let newer = behind(bench, &plan).await?;
    processor.process.start_again()?;
    processor.admin.ready().await?;
    let report = verify(bench, &plan, &[], AGREE).await?;
    check::equal("events with newer content", figure(&report, "webhook", "newer_content")?, newer)?;
    measured.add(format!("{newer} with newer content"));
    Ok(measured)
}

/// All agrees while rows come in, change and go.
async fn live(bench: &Bench, plan: &Plan, measured: &mut Measured) -> Result<()> {
    let mut load = Load::start(bench, LOAD).await?;
    wait::until("rows come in", COMPLETE, async || {
        let rows = bench.db.count_events().await?;
        Ok(seen_if(rows >= FIRST, || format!("{rows} are there")))
    })
    .await?;
    bench.db.run(CHANGES).await?;
    let before: i64 = bench.db.value("SELECT max(id) FROM engagement_events", &[]).await?;
    let report = verify(bench, plan, &[], AGREE).await?;
    ensure!(load.runs(), "the load has ended by itself before the comparison did");
    let now: i64 = bench.db.value("SELECT max(id) FROM engagement_events", &[]).await?;
    check::at_least("rows that came during the comparison", now - before, 1)?;
    let rows = checked(&report, "topic engagement_events")?;
    measured.add(format!("{rows} rows agree while {} come in", now - before));
    bench.db.run(CHANGES).await?;
    load.finish(ROWS).await?;
    bench.no_lag(plan).await
}

/// A row comes while nobody delivers it, and its content changes: how many events have newer content then.
async fn behind(bench: &Bench, plan: &Plan) -> Result<u64> {
    let content = bench.db.insert_content("e2e-verify", "video", Some(100)).await?;
    let insert = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
         VALUES ($1::text::uuid, uuid_generate_v4(), 'play', 5000)";
    bench.db.execute(insert, &[&content]).await?;
    // A lane that has not passed the mark can't be compared; a leaderboard is, where it stands.
    let report = verify(bench, plan, &["--wait", "3s"], UNCOMPARED).await?;
    for sink in ["webhook", "files"] {
        let why = of(&report, sink)?.get("failed").and_then(Value::as_str).unwrap_or_default();
        check::contains(format!("why {sink} is not compared"), why, "has not passed the mark")?;
    }
    check::at_least("members compared", checked(&report, &format!("redis {}", plan.key()?))?, 1)?;
    // Two commits within ten milliseconds count as one moment.
    wait::until("the event is a while old", COMPLETE, async || {
        let sql = "SELECT max(event_ts) < now() - interval '100 ms' FROM engagement_events";
        Ok(seen_if(bench.db.value(sql, &[]).await?, || "it is not".to_owned()))
    })
    .await?;
    let sql = "UPDATE content SET length_seconds = 200 WHERE slug = 'e2e-verify'";
    check::equal("contents changed", bench.db.execute(sql, &[]).await?, 1)?;
    Ok(1)
}

/// What was done, by what must be named: comparison, kind, and a part of the text.
struct Tampered {
    named: Vec<(String, &'static str, String)>,
    /// How the receiver's store is as it was.
    undo: Vec<String>,
    member: String,
    score: f64,
}

impl Tampered {
    /// Tampers with four events of the receiver, two members of a leaderboard, and one line of the files.
    async fn begin(bench: &Bench, plan: &Plan, store: &Connection) -> Result<Self> {
        let board = format!("redis {}", plan.key()?);
        let mut tampered = Self { named: Vec::new(), undo: Vec::new(), member: String::new(), score: 0.0 };
        store.execute_batch("CREATE TABLE saved AS SELECT * FROM events WHERE false")?;
        let rows = bench
            .db
            .rows("SELECT id FROM engagement_events WHERE device = 'copy' AND id % 35 = 1 AND id % 11 > 0 ORDER BY id LIMIT 4", &[])
            .await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let [removed, doubled, changed, enriched] = ids.as_slice() else { anyhow::bail!("too few rows") };
        for (kind, id) in
            [("missing", removed), ("doubled", doubled), ("different", changed), ("different", enriched)]
        {
            let save =
                format!("INSERT INTO saved SELECT * FROM events WHERE json_extract(body, '$.id') = {id}");
            check::equal(format!("events of row {id}"), store.execute(&save, [])?, 1)?;
            tampered.named.push(("webhook".to_owned(), kind, format!("row {id}:")));
        }
        let of =
            |id: &i64| format!("WHERE seq = (SELECT seq FROM saved WHERE json_extract(body, '$.id') = {id})");
        let last = "(SELECT max(seq) + 1000000 FROM events)";
        for statement in [
            format!("DELETE FROM events {}", of(removed)),
            format!(
                "INSERT INTO events SELECT {last}, event_id, received_at, committed_at, op, event_type, content_type, content_id, \
                 device, replace(body, json_extract(body, '$.event_id'), '{}') FROM saved {}",
                uuid::Uuid::from_u128(rand::random()),
                of(doubled)
            ),
            format!(
                "UPDATE events SET body = replace(body, '\"event_type\":\"play\"', '\"event_type\":\"click\"') {}",
                of(changed)
            ),
            format!(
                "UPDATE events SET body = replace(body, '\"content_title\":\"', '\"content_title\":\"x') {}",
                of(enriched)
            ),
        ] {
            check::equal(format!("events touched by {statement}"), store.execute(&statement, [])?, 1)?;
        }
        tampered.undo = vec![
            "DELETE FROM events WHERE seq IN (SELECT seq FROM saved) OR seq > (SELECT max(seq) FROM ids)"
                .to_owned(),
            "INSERT INTO events SELECT * FROM saved".to_owned(),
        ];
        let members = bench.redis.board(plan.key()?).await?;
        let mut members = members.keys();
        let (off, gone) = (members.next().context("no member")?, members.next().context("one member")?);
        let mut redis = bench.redis.connect().await?;
        bench.redis.run(&["ZINCRBY", plan.key()?, "0.001", off]).await?;
        tampered.score = redis::cmd("ZSCORE").arg(plan.key()?).arg(gone).query_async(&mut redis).await?;
        bench.redis.run(&["ZREM", plan.key()?, gone]).await?;
        tampered.named.push((board.clone(), "different", format!("{off}:")));
        tampered.named.push((board, "missing", format!("{gone}:")));
        tampered.member = gone.clone();
        let line = tampered.cut_line(bench)?;
        tampered.named.push(("files".to_owned(), "different", format!("row {line}:")));
        Ok(tampered)
    }

    /// Changes an event in the files; the row that it is of.
    fn cut_line(&mut self, bench: &Bench) -> Result<i64> {
        let path = first_file(bench)?;
        let text = std::fs::read_to_string(&path)?;
        let line =
            text.lines().find(|line| line.contains("\"device\":\"copy\"")).context("no line of a COPY")?;
        let event: Value = serde_json::from_str(line)?;
        // Of the same length, so that the manifest still counts right.
        std::fs::write(&path, text.replacen("\"device\":\"copy\"", "\"device\":\"copx\"", 1))?;
        event.get("id").and_then(Value::as_i64).context("no id")
    }

    /// Each is named, and nothing else is.
    fn is_named(&self, report: &Value) -> Result<()> {
        for what in compared(report)? {
            let name = what.get("what").and_then(Value::as_str).context("no name")?;
            let found = what.get("differences").and_then(Value::as_array).context("no differences")?;
            let wanted: Vec<_> = self.named.iter().filter(|(of, ..)| of == name).collect();
            check::equal(format!("differences of {name} ({found:?})"), found.len(), wanted.len())?;
            for (_, kind, part) in wanted {
                let is_it = |found: &&Value| {
                    found.get("kind").and_then(Value::as_str) == Some(kind)
                        && found
                            .get("what")
                            .and_then(Value::as_str)
                            .is_some_and(|what| what.starts_with(part.as_str()))
                };
                ensure!(found.iter().any(|found| is_it(&found)), "{name}: no {kind} `{part}` in {found:?}");
            }
        }
        Ok(())
    }

    async fn undo(&self, bench: &Bench, plan: &Plan, store: &Connection) -> Result<()> {
        for statement in &self.undo {
            check::at_least("events put back", store.execute(statement, [])?, 1)?;
        }
        let path = first_file(bench)?;
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, text.replacen("\"device\":\"copx\"", "\"device\":\"copy\"", 1))?;
        let off = self.named.iter().find(|(of, kind, _)| of.starts_with("redis") && *kind == "different");
        let off = off.map(|(_, _, member)| member.trim_end_matches(':')).context("nothing is off")?;
        let board = bench.redis.board(plan.key()?).await?;
        let ms = board.get(off).context("it is gone")? - 1;
        // To the double that it was, whatever adding up would give.
        bench.redis.run(&["ZADD", plan.key()?, &format!("{}.{:03}", ms / 1000, ms % 1000), off]).await?;
        bench.redis.run(&["ZADD", plan.key()?, &self.score.to_string(), &self.member]).await
    }
}

fn first_file(bench: &Bench) -> Result<std::path::PathBuf> {
    let entries = std::fs::read_dir(bench.folder.join("events"))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.display().to_string().contains(".jsonl"));
    paths.sort();
    paths.into_iter().next().context("there are no files")
}

/// Runs it; the report. Its exit status must be `status`.
async fn verify(bench: &Bench, plan: &Plan, further: &[&str], status: i32) -> Result<Value> {
    let admin = bench.stack.free_address()?;
    let config = plan.write(&bench.stack, &bench.folder, "verify", &admin)?;
    let config = config.to_str().context("the folder's name is no UTF-8")?;
    let arguments = [&["verify", "--json", "--config", config], further].concat();
    let (ended, said) = bench.deltafan("verify", &arguments).run(ENDED).await?;
    check::equal(format!("exit status of verify ({said})"), ended.code(), Some(status))?;
    let last = said.lines().last().context("verify says nothing")?;
    serde_json::from_str(last).with_context(|| format!("verify says {last:?}"))
}

fn compared(report: &Value) -> Result<&Vec<Value>> {
    report.pointer("/pipelines/0/compared").and_then(Value::as_array).context("nothing was compared")
}

fn of<'r>(report: &'r Value, what: &str) -> Result<&'r Value> {
    let is_it = |one: &&Value| one.get("what").and_then(Value::as_str) == Some(what);
    compared(report)?.iter().find(is_it).with_context(|| format!("{what} was not compared: {report}"))
}

fn figure(report: &Value, what: &str, name: &str) -> Result<u64> {
    of(report, what)?.get(name).and_then(Value::as_u64).with_context(|| format!("no {name} of {what}"))
}

fn checked(report: &Value, what: &str) -> Result<u64> {
    figure(report, what, "checked")
}
