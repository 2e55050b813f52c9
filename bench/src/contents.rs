//! The contents that events are enriched with: rows of the real table, and in a topic of their own, as Debezium would put them there.
//! So nothing depends on whether Connect runs: for figures that need a quiet machine it does not. Nor on what was measured before: a
//! processor reads a topic of contents from its beginning.

use crate::topic;
use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::Client;
use uuid::Uuid;

/// A real message of the topic.
const MESSAGES: &str = include_str!("../../processor/tests/fixtures/json/content.jsonl");
const PATIENCE: Duration = Duration::from_secs(30);

/// Contents that were made.
#[derive(Debug)]
pub struct Contents {
    /// Their ids; the first is to be the most popular.
    pub ids: Vec<Uuid>,
    /// Where their changes lie.
    pub topic: String,
}

/// Makes `count` contents. Where that fails, nothing stays.
///
/// # Errors
/// The database or Kafka refuses.
pub async fn make(database: &Client, brokers: &str, count: u32) -> Result<Contents> {
    let topic = format!("bench.contents-{:08x}", rand::random::<u32>());
    topic::make(brokers, &topic, 1).await?;
    let mut contents = Contents { ids: Vec::new(), topic };
    if let Err(error) = fill(database, brokers, count, &mut contents).await {
        // The first error is the one that says why.
        let _ = take_back(database, brokers, &contents).await;
        return Err(error);
    }
    Ok(contents)
}

async fn fill(database: &Client, brokers: &str, count: u32, contents: &mut Contents) -> Result<()> {
    let rows = database
        .query(
            "INSERT INTO content (id, slug, title, content_type, length_seconds, publish_ts) \
             SELECT uuid_generate_v4(), 'bench-' || uuid_generate_v4(), 'Content ' || n, \
             (ARRAY['podcast', 'newsletter', 'video'])[1 + n % 3], 60 + n % 3000, now() \
             FROM generate_series(1, $1) n RETURNING id, title, content_type, length_seconds",
            &[&i32::try_from(count)?],
        )
        .await?;
    let line = MESSAGES.lines().next().context("no message")?;
    let message: Value = serde_json::from_str(line)?;
    let mut value: Value =
        serde_json::from_str(message.get("value").and_then(Value::as_str).context("no value")?)?;
    contents.ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut records = Vec::new();
    for (id, row) in contents.ids.iter().zip(&rows) {
        let after = value.get_mut("after").context("the message is no insert")?;
        *after.get_mut("id").context("no id")? = json!(id);
        *after.get_mut("title").context("no title")? = json!(row.try_get::<_, String>(1)?);
        *after.get_mut("content_type").context("no type")? = json!(row.try_get::<_, String>(2)?);
        *after.get_mut("length_seconds").context("no length")? = json!(row.try_get::<_, i32>(3)?);
        records.push((*id, value.to_string()));
    }
    write(brokers, &contents.topic, &records).await
}

/// Puts contents into their topic.
async fn write(brokers: &str, topic: &str, records: &[(Uuid, String)]) -> Result<()> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .create()?;
    let mut sent = Vec::new();
    for (id, value) in records {
        let key = json!({ "id": id }).to_string();
        let record = FutureRecord::to(topic).key(&key).payload(value);
        sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    for sent in sent {
        tokio::time::timeout(PATIENCE, sent).await??.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// A transaction that the database knows, by the lower half of its id: events can't come from one that never was.
///
/// # Errors
/// The database refuses.
pub async fn transaction(database: &Client) -> Result<u32> {
    let row = database.query_one("SELECT pg_current_xact_id()::text::bigint & 4294967295", &[]).await?;
    Ok(u32::try_from(row.try_get::<_, i64>(0)?)?)
}

/// Deletes them and their topic.
///
/// # Errors
/// The database or Kafka refuses.
pub async fn take_back(database: &Client, brokers: &str, contents: &Contents) -> Result<()> {
    let rows = database.execute("DELETE FROM content WHERE id = ANY($1)", &[&contents.ids]).await;
    topic::delete(brokers, &contents.topic).await?;
    rows?;
    Ok(())
}
