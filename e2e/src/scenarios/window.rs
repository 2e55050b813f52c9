//! Two windows of a few seconds: they take in what is due and empty by themselves, without traffic, by Redis' own clock.

use crate::harness::config::{By, Plan, Window};
use crate::harness::redis::{self, Board};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// The lengths of both windows, in the file and in microseconds.
const WINDOWS: [(&str, i64); 2] = [("3s", 3_000_000), ("6s", 6_000_000)];
/// The bound that the design states: a contribution leaves between its window's end and this much later.
const LATE_US: i64 = 1_200_000;
/// Buckets are a second wide: a row that is due later enters with its second.
const EARLY_US: i64 = 1_000_000;
/// Rows that are due only after a while, and rows that are older than both windows.
const AHEAD_US: i64 = 2_500_000;
const OLD: &str = "10 seconds";
const PAUSE: Duration = Duration::from_millis(10);
/// Far longer than everything takes: the latest row, the longest window, the bound.
const OBSERVED: Duration = Duration::from_secs(60);

/// When a content was in a window, by Redis' clock in microseconds: the looks on both sides of each edge.
#[derive(Debug, Clone, Copy)]
struct Stay {
    last_absent: Option<i64>,
    first_seen: i64,
    last_seen: i64,
    first_gone: Option<i64>,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.windows = WINDOWS
        .iter()
        .map(|(length, _)| Window { key: format!("{}:{length}", bench.name), length, by: By::Content })
        .collect();
    let _processor = bench.processor(&plan).await?;

    let now_row = insert(bench, "now", "clock_timestamp()").await?;
    let ahead = format!("clock_timestamp() + interval '{AHEAD_US} microseconds'");
    let ahead_row = insert(bench, "ahead", &ahead).await?;
    let old_row = insert(bench, "old", &format!("clock_timestamp() - interval '{OLD}'")).await?;
    // From here on there is no traffic.
    let stays = observe(bench, &plan, 2).await?;
    // The old row was not late, it was refused.
    bench.no_lag(&plan).await?;

    let mut measured = Measured::default();
    for ((length, length_us), stays) in WINDOWS.iter().zip(&stays) {
        ensure!(
            !stays.contains_key(&old_row.content),
            "a row that was older than {OLD} was seen in the window of {length}"
        );
        for (name, row) in [("now", &now_row), ("ahead", &ahead_row)] {
            let stay = stays
                .get(&row.content)
                .with_context(|| format!("the row dated {name} was never in the window of {length}"))?;
            let left = stay
                .first_gone
                .with_context(|| format!("the row dated {name} never left the window of {length}"))?;
            let what = |event: &str| {
                format!("µs from event_ts of the row dated {name} until it {event} the window of {length}")
            };
            // Of the two looks around an edge, the one that makes it certain: the edge lies somewhere between them.
            check::at_least(what("was first seen in"), stay.first_seen - row.at_us, -EARLY_US)?;
            if name == "ahead" {
                let absent = stay.last_absent.unwrap_or(row.at_us);
                check::at_most(what("was last missing in"), absent - row.at_us, LATE_US)?;
                measured.add(format!(
                    "{length}: row due later in at {:+} ms",
                    (stay.first_seen - row.at_us) / 1000
                ));
            }
            check::at_least(what("was gone from"), left - row.at_us, *length_us)?;
            check::at_most(what("was last seen in"), stay.last_seen - row.at_us, length_us + LATE_US)?;
            measured.add(format!(
                "{length}: {name} left {} ms after its end",
                (left - row.at_us - length_us) / 1000
            ));
        }
    }
    Ok(measured)
}

/// A row of a content of its own, and its `event_ts`.
struct Row {
    content: String,
    at_us: i64,
}

async fn insert(bench: &Bench, name: &str, event_ts: &str) -> Result<Row> {
    let content = bench.db.insert_content(&format!("e2e-{}-{name}", bench.name), "video", Some(60)).await?;
    let sql = format!(
        "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, event_ts) \
         VALUES ($1::text::uuid, uuid_generate_v4(), 'play', 1000, {event_ts}) \
         RETURNING (extract(epoch FROM event_ts) * 1000000)::bigint"
    );
    let at_us = bench.db.value(&sql, &[&content]).await?;
    Ok(Row { content, at_us })
}

/// Looks at both windows until `rows` contents have been in each and both are empty: the stays of each content in each
/// window.
async fn observe(bench: &Bench, plan: &Plan, rows: usize) -> Result<Vec<BTreeMap<String, Stay>>> {
    let keys: Vec<_> = plan.windows.iter().map(|window| window.key.as_str()).collect();
    let mut stays = vec![BTreeMap::new(); keys.len()];
    let mut last_look = None;
    let mut connection = bench.redis.connect().await?;
    wait::until_every(PAUSE, "both windows are empty again", OBSERVED, async || {
        let (now_us, boards) = redis::boards_at(&mut connection, &keys).await?;
        for (stays, board) in stays.iter_mut().zip(&boards) {
            note(stays, board, now_us, last_look);
        }
        last_look = Some(now_us);
        let over = boards.iter().all(Board::is_empty) && stays.iter().all(|stays| stays.len() >= rows);
        Ok(seen_if(over, || format!("{boards:?}")))
    })
    .await?;
    Ok(stays)
}

fn note(stays: &mut BTreeMap<String, Stay>, board: &Board, now_us: i64, last_absent: Option<i64>) {
    for member in board.keys() {
        let new = Stay { last_absent, first_seen: now_us, last_seen: now_us, first_gone: None };
        let stay = stays.entry(member.clone()).or_insert(new);
        stay.last_seen = now_us;
        stay.first_gone = None;
    }
    for (_, stay) in stays.iter_mut().filter(|(member, _)| !board.contains_key(*member)) {
        stay.first_gone.get_or_insert(now_us);
    }
}
