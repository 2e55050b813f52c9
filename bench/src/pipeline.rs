//! The pipeline under test: its two ends and its database.

use anyhow::{Context, Result, bail};
use clap::Args;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The leaderboard that is watched.
const LEADERBOARD: &str = "engagement:10min";
/// Nothing that works takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where everything is, as `stack/stack env` tells it.
#[derive(Debug, Args)]
pub struct Addresses {
    /// The database, as its owner.
    #[arg(long, env = "POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: String,
    /// Redis.
    #[arg(long, env = "REDIS_URL")]
    pub redis_url: String,
    /// Kafka.
    #[arg(long, env = "KAFKA_BROKERS")]
    pub kafka_brokers: String,
    /// The receiver's host and port.
    #[arg(long, env = "WEBHOOK_LISTEN")]
    pub webhook_listen: String,
}

impl Addresses {
    /// A connection to the database.
    ///
    /// # Errors
    /// It is not there.
    pub async fn database(&self) -> Result<Client> {
        let (database, connection) =
            tokio_postgres::connect(&self.postgres_url, NoTls).await.context("postgres")?;
        tokio::spawn(connection);
        Ok(database)
    }
}

/// Connections, and the content whose rows are measured.
pub struct Pipeline {
    /// The database.
    pub database: Client,
    /// A content that nobody else engages with.
    pub content: Uuid,
    redis: MultiplexedConnection,
    http: reqwest::Client,
    receiver: String,
}

impl Pipeline {
    /// Connects to everything and makes a content.
    ///
    /// # Errors
    /// Something is not there.
    pub async fn connect(addresses: &Addresses) -> Result<Self> {
        let database = addresses.database().await?;
        let redis_client = redis::Client::open(addresses.redis_url.as_str())?;
        let redis = redis_client.get_multiplexed_async_connection().await.context("redis")?;
        let content = database
            .query_one(
                "INSERT INTO content (id, slug, title, content_type, length_seconds, publish_ts) VALUES \
                 (uuid_generate_v4(), 'bench-' || uuid_generate_v4(), 'Benchmark', 'video', 600, now()) RETURNING id",
                &[],
            )
            .await?
            .get(0);
        let receiver = format!("http://{}", addresses.webhook_listen);
        Ok(Self { database, content, redis, http: reqwest::Client::new(), receiver })
    }

    /// The content's score, 0 where it has none. Rows of one second each make it a count.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn score(&self) -> Result<f64> {
        let score: Option<f64> = self.redis.clone().zscore(LEADERBOARD, self.content.to_string()).await?;
        Ok(score.unwrap_or_default())
    }

    /// The content's score as a count of rows.
    ///
    /// # Errors
    /// Redis does not answer.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of some thousand")]
    pub async fn visible(&self) -> Result<u64> {
        Ok(self.score().await?.round() as u64)
    }

    /// The receiver's `/stats`.
    ///
    /// # Errors
    /// The receiver does not answer.
    pub async fn stats(&self) -> Result<Value> {
        let answer = self.http.get(format!("{}/stats", self.receiver)).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// How many events the receiver has stored.
    ///
    /// # Errors
    /// The receiver does not answer.
    pub async fn stored(&self) -> Result<u64> {
        self.stats()
            .await?
            .get("total_events")
            .and_then(Value::as_u64)
            .context("the receiver tells no total_events")
    }

    /// Deletes the rows and the content, and waits until the leaderboard no longer shows it.
    ///
    /// # Errors
    /// Something does not answer, or the rows are not taken back.
    pub async fn take_back(&self) -> Result<()> {
        self.database
            .execute("DELETE FROM engagement_events WHERE content_id = $1", &[&self.content])
            .await?;
        let began = Instant::now();
        while self.score().await? > 0.0 {
            if began.elapsed() > PATIENCE {
                bail!("the leaderboard still shows rows that were deleted");
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.database.execute("DELETE FROM content WHERE id = $1", &[&self.content]).await?;
        Ok(())
    }
}

/// Waits until `reached` says so; how long it took since `began`.
///
/// # Errors
/// It fails, or takes more than a minute.
pub async fn until(began: Instant, mut reached: impl AsyncFnMut() -> Result<bool>) -> Result<Duration> {
    while !reached().await? {
        if began.elapsed() > PATIENCE {
            bail!("not there after {PATIENCE:?}");
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(began.elapsed())
}

/// Prints a line.
///
/// # Errors
/// Nobody takes it.
pub fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(Into::into)
}

/// The value below which `share` (0 to 1) of the sorted values lie.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index within a list of some thousand"
)]
pub fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |value| value.as_secs_f64() * 1000.0)
}
