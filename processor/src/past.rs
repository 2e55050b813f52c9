//! The past of a pipeline: how far its topic reaches back, and what its table says of the rows before. For leaderboards that
//! have to be made anew where Kafka no longer has all that belongs into them.

use crate::position::{LogId, Positions};
use crate::postgres::explain;
use crate::sink::redis_window::{Base, By, Cells, MAX_MEMBERS, Member, Past, PastError, Rows, Telling};
use crate::source::client::Cluster;
use crate::source::topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

/// How long a broker may take for one answer, and Postgres to take a connection.
const ANSWER: Duration = Duration::from_secs(5);
/// The log is begun where it stood so long before the snapshot: a commit is in the WAL, and so may be in Kafka, a moment before
/// snapshots see it. What they had seen is left out, so that it costs nothing but the reading.
const BEFORE_MS: i64 = 60_000;
/// Pieces of the table that wait for Redis.
const WAITING: usize = 4;

/// The one place where the snapshot and the WAL are asked for together: the place is taken when the snapshot is there.
const SNAPSHOT: &str = "SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
/// A sum of a million rows takes a second or two.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '5min'; \
     SET LOCAL cursor_tuple_fraction = 1";

/// The topic of a pipeline and its table.
pub struct TopicAndTable {
    topic: Arc<str>,
    asker: Arc<BaseConsumer>,
    database: Config,
}

impl TopicAndTable {
    /// Of `topic`, whose table is in `database`. Asks nobody yet.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn new(cluster: &Cluster, topic: &str, mut database: Config) -> Result<Self, KafkaError> {
        database.application_name("deltafan").connect_timeout(ANSWER);
        Ok(Self { topic: topic.into(), asker: Arc::new(topic::asker(cluster, "deltafan.past")?), database })
    }

    /// Asks Kafka, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer, &str) -> Result<T, PastError> + Send + 'static,
    ) -> Result<T, PastError> {
        let (asker, topic) = (Arc::clone(&self.asker), Arc::clone(&self.topic));
        let asked = tokio::task::spawn_blocking(move || question(&asker, &topic)).await;
        asked.unwrap_or_else(|_| Err(PastError::Away("stopping".to_owned())))
    }
}

impl Past for TopicAndTable {
    fn reaches_back(&self, to_s: i64) -> Telling<'_, bool> {
        Box::pin(self.ask(move |asker, topic| reaches_back(asker, topic, to_s)))
    }

    fn rows(&self, by: By, from_s: i64) -> Telling<'_, Rows> {
        Box::pin(async move {
            let (log, starts) = self.ask(starts).await?;
            let (client, base) = snapshot(&self.database, &log).await?;
            let declared = client.batch_execute(&sums(by, from_s)).await;
            declared.map_err(|error| refused(&error))?;
            let (sender, pieces) = mpsc::channel(WAITING);
            tokio::spawn(async move {
                if let Err(error) = read(&client, by, &sender).await {
                    // Nobody waits for it where the window was lost again.
                    let _ = sender.send(Err(refused(&error))).await;
                }
            });
            Ok(Rows { base, log, starts, pieces })
        })
    }
}

fn away(topic: &str, error: &KafkaError) -> PastError {
    PastError::Away(format!("kafka does not say what topic `{topic}` still has: {error}"))
}

fn described(asker: &BaseConsumer, topic: &str) -> Result<topic::Topic, PastError> {
    let found = topic::describe(asker, topic).map_err(|error| away(topic, &error))?;
    found.ok_or_else(|| PastError::Away(format!("topic `{topic}` does not exist")))
}

/// Whether nothing was ever deleted, or in each partition there is a record from before.
fn reaches_back(asker: &BaseConsumer, topic: &str, to_s: i64) -> Result<bool, PastError> {
    let failed = |error: KafkaError| away(topic, &error);
    let partitions = topic::partitions(&described(asker, topic)?);
    let at = topic::offsets_at(asker, topic, partitions.clone(), to_s.saturating_mul(1000), ANSWER);
    let at = at.map_err(failed)?;
    for partition in partitions {
        let (low, _) = asker.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
        if low > 0 && at.get(&partition).is_none_or(|first| *first <= low) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The log, and where each partition stood a while ago.
fn starts(asker: &BaseConsumer, topic: &str) -> Result<(LogId, Positions), PastError> {
    let failed = |error: KafkaError| away(topic, &error);
    let described = described(asker, topic)?;
    let partitions = topic::partitions(&described);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_sub(BEFORE_MS);
    let mut starts = Positions::new();
    for partition in partitions.clone() {
        // Asked first: what comes meanwhile lies behind it.
        let (low, high) = asker.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
        starts.insert(partition, high.max(low));
    }
    let at = topic::offsets_at(asker, topic, partitions, since_ms, ANSWER).map_err(failed)?;
    for (partition, offset) in at {
        starts.entry(partition).and_modify(|start| *start = offset.min(*start));
    }
    Ok((described.log, starts))
}

/// A transaction that sees one state of the table, and what that is.
async fn snapshot(database: &Config, log: &LogId) -> Result<(Client, Base), PastError> {
    let failed = |error: tokio_postgres::Error| refused(&error);
    let (client, connection) = database.connect(NoTls).await.map_err(failed)?;
    // Its end is seen by the next query.
    tokio::spawn(connection);
    client.batch_execute(BEGIN).await.map_err(failed)?;
    let row = client.query_one(SNAPSHOT, &[]).await.map_err(failed)?;
    let text: String = row.try_get(0).map_err(failed)?;
    let lsn: i64 = row.try_get(1).map_err(failed)?;
    let taken_us: i64 = row.try_get(2).map_err(failed)?;
    let said = format!("postgres answered `{text}` as its snapshot");
    let base = Base::new(log.clone(), lsn.try_into().unwrap_or_default(), text);
    Ok((client, base.ok_or(PastError::Away(said))?.taken(taken_us)))
}

/// Declares what a leaderboard sums, as a cursor.
fn sums(by: By, from_s: i64) -> String {
    let member = match by {
        By::Content | By::ContentType => "content_id",
        By::Device => "device::text",
    };
    format!(
        "DECLARE deltafan_sums NO SCROLL CURSOR FOR \
         SELECT floor(extract(epoch FROM event_ts))::bigint, sum(duration_ms)::bigint, {member} FROM engagement_events \
         WHERE event_ts >= to_timestamp({from_s}) AND event_ts < 'infinity' AND duration_ms > 0 AND {member} IS NOT NULL \
         GROUP BY 1, 3 ORDER BY 1"
    )
}

/// Sends what the rows add, piece by piece.
async fn read(
    client: &Client,
    by: By,
    pieces: &mpsc::Sender<Result<Cells, PastError>>,
) -> Result<(), tokio_postgres::Error> {
    let fetch = client.prepare(&format!("FETCH FORWARD {MAX_MEMBERS} FROM deltafan_sums")).await?;
    loop {
        let mut cells = Cells::new();
        for row in client.query(&fetch, &[]).await? {
            let member = match by {
                By::Content | By::ContentType => Member::Content(row.try_get::<_, Uuid>(2)?),
                By::Device => Member::Device(row.try_get::<_, &str>(2)?.into()),
            };
            cells.insert((row.try_get(0)?, member), row.try_get(1)?);
        }
        // The empty one is told as well: it says that this is all.
        let is_last = cells.is_empty();
        if pieces.send(Ok(cells)).await.is_err() || is_last {
            return Ok(());
        }
    }
}

fn refused(error: &tokio_postgres::Error) -> PastError {
    let what = explain(error);
    let remedy = match error.code() {
        Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => {
            "as the table's owner: GRANT SELECT ON engagement_events TO the user of `postgres.url`"
        }
        Some(state) if *state == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            "`postgres.url` must name the primary"
        }
        Some(state) if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(state) => {
            "correct the database in `postgres.url`, or make the table as init.sql does"
        }
        Some(state)
            if [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INVALID_CATALOG_NAME,
            ]
            .contains(state) =>
        {
            "correct user, password and database in `postgres.url`"
        }
        _ => {
            let what = format!("postgres: {what}; see whether it runs, and check `postgres.url`");
            return PastError::Away(what);
        }
    };
    PastError::Refused(format!("postgres: {what}; {remedy}"))
}
