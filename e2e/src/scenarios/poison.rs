//! Poison in the topic, put there by hand: its bytes come back identical from the dead letters, one per lane, also after a
//! kill -9 while one lane has yet to come to it, and the flow goes on.

use crate::harness::bench::COMPLETE;
use crate::harness::config::SINKS;
use crate::harness::kafka::{DEAD_LETTERS, EVENTS, Record};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

const LARGE_BYTES: usize = 5 * 1024 * 1024;
/// Rows before, between and behind the poison.
const ROWS: i64 = 50;
/// What our headers begin with; all before them is the record's own.
const OURS: [&str; 2] = ["deltafan.", "__connect.errors."];

pub async fn run(bench: &Bench) -> Result<Measured> {
    let mut receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let mut processor = bench.processor(&plan).await?;
    rows(bench, ROWS).await?;
    bench.receiver_holds(&receiver, ROWS).await?;

    let poison = poison(bench).await?;
    let (first, second) = poison.split_at(poison.len() / 2);
    // A dead receiver keeps the webhook's lane in front of the poison, which the other lane buries.
    receiver.process.kill()?;
    rows(bench, ROWS).await?;
    processor.admin.lane_is(&plan.pipeline, "webhook", "sink", "retrying").await?;
    put(bench, first).await?;
    wait::until("there is a dead letter", COMPLETE, async || {
        Ok(seen_if(!letters(bench).await?.is_empty(), || "there is none".to_owned()))
    })
    .await?;
    processor.process.kill()?;
    let buried = letters(bench).await?.len();
    check::at_most("dead letters at the kill", buried, first.len() * SINKS.len() - 1)?;
    receiver.process.start_again()?;
    receiver.answers().await?;
    put(bench, second).await?;
    rows(bench, ROWS).await?;
    processor.process.start_again()?;
    rows(bench, ROWS).await?;

    let wanted = poison.len() * SINKS.len();
    wait::until("every poisoned record is a dead letter of each lane", COMPLETE, async || {
        let found = letters(bench).await?.len();
        Ok(seen_if(found >= wanted, || format!("{found} of {wanted}")))
    })
    .await?;
    let letters = letters(bench).await?;
    check::equal("dead letters by id", letters.len(), wanted)?;
    for sink in SINKS {
        let of_lane: Vec<_> =
            letters.iter().filter(|((_, lane), _)| lane == sink).map(|(_, letter)| letter).collect();
        let missing = poison.iter().filter(|record| !of_lane.contains(record)).map(shown);
        check::no_differences(
            format!("poison that lane {sink} did not keep byte for byte"),
            &missing.collect::<Vec<_>>(),
        )?;
        check::equal(format!("dead letters of lane {sink}"), of_lane.len(), poison.len())?;
    }
    let mut measured = Measured::default();
    measured.add(format!(
        "{} poisoned records identical in {wanted} dead letters, {buried} of them before the kill",
        poison.len()
    ));
    bench.complete(&plan, &receiver, &mut measured).await?;
    ensure!(processor.process.runs(), "the processor has ended");
    Ok(measured)
}

async fn rows(bench: &Bench, count: i64) -> Result<()> {
    let sql = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
               SELECT (SELECT id FROM content ORDER BY id LIMIT 1), uuid_generate_v4(), 'play', n::int \
               FROM generate_series(1, $1::bigint) AS n";
    bench.db.execute(sql, &[&count]).await?;
    Ok(())
}

async fn put(bench: &Bench, records: &[Record]) -> Result<()> {
    for (record, partition) in records.iter().zip((0..4).cycle()) {
        bench.kafka.produce(EVENTS, partition, std::slice::from_ref(record)).await?;
    }
    Ok(())
}

/// All kinds of poison, some of them made from a real record.
async fn poison(bench: &Bench) -> Result<Vec<Record>> {
    let starts = bench.kafka.ends(EVENTS).await?.into_keys().map(|partition| (partition, 0)).collect();
    let real = bench.kafka.records(EVENTS, starts).await?;
    let real = real.iter().find_map(|record| record.value.clone());
    let real = String::from_utf8(real.unwrap_or_default())?;
    ensure!(
        real.contains("\"op\":\"c\"") && real.contains("\"id\":"),
        "not a change to make poison of: {real}"
    );
    let (half, _) = real.split_at(real.len() / 2);
    let noise: Vec<u8> = (0..LARGE_BYTES).map(|_| rand::random()).collect();
    let large_text = format!("{{\"op\":\"c\",\"after\":\"{}\"}}", "x".repeat(LARGE_BYTES));
    let values: Vec<Vec<u8>> = vec![
        b"this is no JSON".to_vec(),
        half.as_bytes().to_vec(),
        real.replacen("\"id\":", "\"id\":\"text\",\"was\":", 1)
            .replace("\"duration_ms\":", "\"duration_ms\":[],\"was_ms\":")
            .into(),
        real.replace("\"content_id\":\"", "\"content_id\":\"no-uuid-").into(),
        real.replace("\"event_ts\":\"", "\"event_ts\":\"yesterday-").into(),
        real.replacen("\"op\":\"c\"", "\"op\":\"x\"", 1).into(),
        b"[1, 2, 3]".to_vec(),
        b"42".to_vec(),
        b"{}".to_vec(),
        Vec::new(),
        vec![0xff, 0xfe, 0x00, 0x80],
        noise,
        large_text.into_bytes(),
        "[".repeat(100_000).into_bytes(),
    ];
    let record = |(number, value): (usize, Vec<u8>)| Record {
        // Binary, empty and missing keys and headers have to come through as well.
        key: match number % 3 {
            0 => None,
            1 => Some(format!("poison-{number}").into_bytes()),
            _ => Some(vec![0, 0xff, 10]),
        },
        value: Some(value),
        headers: vec![
            ("number".to_owned(), Some(number.to_string().into_bytes())),
            ("binary".to_owned(), Some(vec![0, 1, 0xff])),
            ("empty".to_owned(), Some(Vec::new())),
            ("null".to_owned(), None),
            ("number".to_owned(), Some(b"again".to_vec())),
        ],
        written_ms: None,
    };
    Ok(values.into_iter().enumerate().map(record).collect())
}

/// This scenario's dead letters by id and sink, as the records that they were. Of one that was written twice, because the
/// first answer was lost, both must be the same.
async fn letters(bench: &Bench) -> Result<BTreeMap<(String, String), Record>> {
    let mut letters = BTreeMap::new();
    for record in bench.kafka.records(DEAD_LETTERS, bench.letters_from.clone()).await? {
        if record.header("deltafan.pipeline") != Some(&bench.name) {
            continue;
        }
        let read = |name| record.header(name).unwrap_or_default().to_owned();
        let id = (read("deltafan.id"), read("deltafan.sink"));
        ensure!(!id.0.is_empty(), "a dead letter without deltafan.id: {}", shown(&record));
        ensure!(
            !read("deltafan.reason").is_empty(),
            "a dead letter without deltafan.reason: {}",
            shown(&record)
        );
        let Record { key, value, mut headers, .. } = record;
        headers.retain(|(name, _)| !OURS.iter().any(|prefix| name.starts_with(prefix)));
        let original = Record { key, value, headers, written_ms: None };
        if let Some(earlier) = letters.insert(id, original.clone()) {
            check::equal("a dead letter that was written twice", earlier == original, true)?;
        }
    }
    Ok(letters)
}

fn shown(record: &Record) -> String {
    let value = record.value.as_ref();
    let head: Vec<u8> = value.into_iter().flatten().take(60).copied().collect();
    format!(
        "{} bytes ({:?}), headers {:?}",
        value.map_or(0, Vec::len),
        String::from_utf8_lossy(&head),
        record.headers
    )
}
