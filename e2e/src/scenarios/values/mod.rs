//! A table of inserts, updates and deletes; every effect in Redis and at the receiver is compared, value by value, with
//! what SQL computes from histories that triggers keep.

mod cases;

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Window};
use crate::harness::kafka::DEAD_LETTERS;
use crate::harness::receiver::Event;
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check, effects};
use anyhow::Result;
use std::collections::BTreeSet;

const HISTORY: &str = include_str!("history.sql");
const COMPARE: &str = include_str!("compare.sql");
/// Away with the histories and their triggers.
const FORGET: &str = "DROP SCHEMA IF EXISTS e2e CASCADE";

/// Random pairs of a duration and a length: contents, and events of each.
const PAIR_CONTENTS: i32 = 500;
const PAIR_EVENTS: i32 = 20;
/// The third of the lengths that are multiples of 20 have a tie at every odd multiple of a twentieth of their length.
const PAIRS: [&str; 2] = [
    "INSERT INTO content (slug, title, content_type, length_seconds) \
     SELECT 'e2e-pair-' || n, 'pair', 'video', CASE n % 3 WHEN 0 THEN 20 * (1 + floor(random() * 300)) \
         WHEN 1 THEN 1 + floor(random() * 30) ELSE 1 + floor(random() * 100000) END FROM generate_series(1, $1::int) AS n",
    "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device) \
     SELECT c.id, uuid_generate_v4(), 'play', CASE WHEN c.length_seconds % 20 = 0 \
         THEN c.length_seconds / 20 * (2 * floor(random() * 1000) + 1) ELSE floor(random() * 10000000) END, 'pair' \
     FROM content AS c, generate_series(1, $1::int) WHERE starts_with(c.slug, 'e2e-pair-')",
];
const TIES: &str = "SELECT count(*) FROM engagement_events AS e JOIN content AS c ON c.id = e.content_id \
     WHERE e.device = 'pair' AND (e.duration_ms::numeric * 10 / c.length_seconds) % 1 = 0.5";
/// Pairs that end in a tie, at least.
const LEAST_TIES: i64 = 3000;

/// Events written to the table of received ones by one statement.
const PAGE: usize = 2000;

pub async fn run(bench: &Bench) -> Result<Measured> {
    let ended = values(bench).await;
    bench.db.run(FORGET).await?;
    ended
}

async fn values(bench: &Bench) -> Result<Measured> {
    let db = &bench.db;
    db.run(HISTORY).await?;
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    for (name, by) in [("contents", By::Content), ("types", By::ContentType), ("devices", By::Device)] {
        plan.windows.push(Window { key: format!("{}:24h:{name}", bench.name), length: "24h", by });
    }
    let _processor = bench.processor(&plan).await?;

    cases::run(bench).await?;
    db.execute(PAIRS[0], &[&PAIR_CONTENTS]).await?;
    db.execute(PAIRS[1], &[&PAIR_EVENTS]).await?;
    let ties: i64 = db.value(TIES, &[]).await?;
    check::at_least("pairs that end in a tie", ties, LEAST_TIES)?;

    let expected: i64 = db.value("SELECT count(*) FROM e2e.changes WHERE NOT is_negative", &[]).await?;
    let negative: i64 = db.value("SELECT count(*) FROM e2e.changes WHERE is_negative", &[]).await?;
    let arrived = bench.receiver_holds(&receiver, expected).await;
    if arrived.is_ok() {
        bench.no_lag(&plan).await?;
    }
    let events = receiver.remote.events().await?;
    keep(bench, &events).await?;
    check::no_differences("events at the receiver", &db.texts(COMPARE, &[]).await?)?;
    arrived?;

    let mut measured = Measured::default();
    for Window { key, length, by } in &plan.windows {
        let interval = if *length == "1h" { "1 hour" } else { "24 hours" };
        let (members, ms) =
            effects::board_equals_sql(db, &bench.redis, (key, *by), interval, COMPLETE).await?;
        let by = by.as_str();
        measured.add(format!("{length} by {by}: {members} members, {}.{:03} s", ms / 1000, ms % 1000));
    }
    dead_letters(bench, negative).await?;
    let looked_up: i64 = db
        .value("SELECT count(*) FROM e2e.received WHERE body ->> 'content_version' IS NULL AND body ->> 'content_id' IS NOT NULL", &[])
        .await?;
    measured.add(format!(
        "{} cases, {expected} changes equal SQL ({looked_up} contents asked for)",
        cases::count()
    ));
    measured.add(format!("{negative} negative ones in the dead letters"));
    measured.add(format!("{} pairs, {ties} ties", PAIR_CONTENTS * PAIR_EVENTS));
    Ok(measured)
}

/// Puts what came beside what happened.
async fn keep(bench: &Bench, events: &[Event]) -> Result<()> {
    for page in events.chunks(PAGE) {
        let seqs: Vec<i64> = page.iter().map(|event| event.seq).collect();
        let bodies: Vec<&str> = page.iter().map(|event| event.json.as_str()).collect();
        bench
            .db
            .execute(
                "INSERT INTO e2e.received SELECT seq, body ->> 'event_id', body ->> 'op', (body ->> 'id')::bigint, body \
                 FROM (SELECT seq, body::jsonb FROM unnest($1::bigint[], $2::text[]) AS event(seq, body)) AS event",
                &[&seqs, &bodies],
            )
            .await?;
    }
    Ok(())
}

/// Negative durations are dead letters of the webhook's lane, and of no other.
async fn dead_letters(bench: &Bench, expected: i64) -> Result<()> {
    wait::until("the dead letters are there", COMPLETE, async || {
        let found = letters(bench).await?.len();
        Ok(seen_if(found >= usize::try_from(expected)?, || format!("{found} of {expected}")))
    })
    .await?;
    let letters = letters(bench).await?;
    let other: Vec<_> =
        letters.iter().filter(|(_, sink)| sink != "webhook").map(|letter| format!("{letter:?}")).collect();
    check::no_differences("dead letters of other lanes", &other)?;
    check::equal("dead letters", i64::try_from(letters.len())?, expected)
}

/// Id and sink of each dead letter of this scenario.
async fn letters(bench: &Bench) -> Result<BTreeSet<(String, String)>> {
    let records = bench.kafka.records(DEAD_LETTERS, bench.letters_from.clone()).await?;
    let ours = records.iter().filter(|record| record.header("deltafan.pipeline") == Some(&bench.name));
    let read =
        |name, record: &crate::harness::kafka::Record| record.header(name).unwrap_or_default().to_owned();
    Ok(ours.map(|record| (read("deltafan.id", record), read("deltafan.sink", record))).collect())
}
