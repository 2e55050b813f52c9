//! The fence: while a transaction is open that changes contents, the topic does not tell whether the cache is new enough.
//! Then the database is asked; otherwise the cache is believed.

use crate::harness::kafka::{CONTENT, Record};
use crate::harness::wait::{self, Look};
use crate::harness::{Bench, Measured, Receiver, check};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::time::Duration;

/// The content's length as the topic tells it, and as the database knows it.
const BY_TOPIC: i32 = 100;
const BY_DATABASE: i32 = 400;
/// Long, so that a busy machine does not miss the fence.
const FENCE_TIMEOUT: &str = "2s";
const ARRIVAL: Duration = Duration::from_secs(30);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.fence_timeout = FENCE_TIMEOUT;
    let _processor = bench.processor(&plan).await?;
    let content = bench.db.insert_content("e2e-open-transaction", "video", Some(BY_TOPIC)).await?;
    check::equal("the length at first", length(bench, &receiver, &content, "first").await?, BY_TOPIC)?;

    // From here on database and topic tell different lengths, so that it shows which of them was asked.
    bench.db.run("ALTER PUBLICATION deltafan DROP TABLE content").await?;
    let update = "UPDATE content SET length_seconds = $1 WHERE id::text = $2";
    let updated = bench.db.execute(update, &[&BY_DATABASE, &content]).await;
    bench.db.run("ALTER PUBLICATION deltafan ADD TABLE content").await?;
    check::equal("contents updated", updated?, 1)?;
    check::equal(
        "the length while nothing is open",
        length(bench, &receiver, &content, "before").await?,
        BY_TOPIC,
    )?;

    let key = Some(format!("{{\"id\":\"{}\"}}", uuid::Uuid::new_v4()).into_bytes());
    let record = Record { key, value: None, headers: Vec::new(), written_ms: None };
    let transaction = bench.kafka.open_transaction(CONTENT, record).await?;
    let meanwhile = length(bench, &receiver, &content, "meanwhile").await;
    // First of all: an open one would stand in the way of the scenarios that follow.
    transaction.abort().await?;
    check::equal("the length while a transaction is open", meanwhile?, BY_DATABASE)?;
    check::equal("the length afterwards", length(bench, &receiver, &content, "after").await?, BY_TOPIC)?;
    let mut measured = Measured::default();
    measured.add("asked the database while a transaction was open, and only then");
    Ok(measured)
}

/// Inserts an event of `device`; the content's length that it reaches the receiver with.
async fn length(bench: &Bench, receiver: &Receiver, content: &str, device: &str) -> Result<i32> {
    #[derive(Deserialize)]
    struct Enriched {
        length_seconds: Option<i32>,
    }
    let sql = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device) \
               SELECT id, uuid_generate_v4(), 'play', 1000, $1 FROM content WHERE id::text = $2";
    check::equal("rows inserted", bench.db.execute(sql, &[&device, &content]).await?, 1)?;
    let event = wait::until(&format!("event {device} arrives"), ARRIVAL, async || {
        Ok(match receiver.remote.page(&format!("device={device}&")).await?.pop() {
            Some(event) => Look::Seen(event.json),
            None => Look::NotYet("it is not there".to_owned()),
        })
    })
    .await?;
    let enriched: Enriched = serde_json::from_str(&event).with_context(|| event.clone())?;
    enriched.length_seconds.with_context(|| format!("not enriched: {event}"))
}
