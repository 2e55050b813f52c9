//! Asking Postgres for a content that the feed does not know, or not surely enough.
//!
//! One query per content however many records wait for it. An answer is kept for a moment together with its snapshot, and
//! serves every event whose transaction that snapshot sees: so a remembered "there is none" can't be older than the event.

use super::snapshot::Snapshot;
use crate::metrics::CONTENT_LOOKUPS;
use crate::postgres::explain;
use crate::transform::{Content, shown};
use metrics::counter;
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

/// Answers are remembered for so long ...
const REMEMBERED: Duration = Duration::from_secs(10);
/// ... and so many of them: about 30 MB.
const REMEMBERED_MOST: u64 = 100_000;
/// Pause before asking again when the answer came before the event's transaction was visible: the commit is in the
/// WAL, and the server is about to say so.
const NOT_YET_VISIBLE: Duration = Duration::from_millis(1);

/// One statement, so one snapshot.
const QUERY: &str = "SELECT pg_current_snapshot()::text, c.id IS NOT NULL, c.content_type::text, \
    c.length_seconds::bigint, c.title::text FROM (SELECT $1::uuid AS id) AS wanted LEFT JOIN content AS c ON c.id = wanted.id";

/// What Postgres said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The content, if there is one.
    pub content: Option<Arc<Content>>,
    /// What the answer has seen.
    pub snapshot: Snapshot,
}

/// Why Postgres could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// No connection, or the query failed.
    #[error("postgres can't be asked for a content: {}; {}", explain(.0), remedy(.0))]
    Postgres(Arc<tokio_postgres::Error>),
    /// It took too long.
    #[error(
        "postgres did not answer within {0:?}; see whether postgres runs and is not overloaded (`postgres.url`)"
    )]
    Timeout(Duration),
    /// It answered something else.
    #[error("postgres answered `{0}` as its snapshot")]
    Snapshot(String),
    /// The event's transaction is not there.
    #[error(
        "postgres does not see transaction {0}, which made the event: is this another database, or one restored to an \
         earlier time?"
    )]
    NotVisible(u32),
    /// The process is coming to its end.
    #[error("stopping")]
    Stopping,
}

/// What a person can do about an error of Postgres.
fn remedy(error: &tokio_postgres::Error) -> &'static str {
    use tokio_postgres::error::SqlState;
    let Some(state) = error.code() else { return "see whether postgres runs, and check `postgres.url`" };
    match *state {
        SqlState::INVALID_PASSWORD
        | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | SqlState::INVALID_CATALOG_NAME => "check `postgres.url`: user, password and database",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "as the table's owner: GRANT SELECT ON content TO the user of `postgres.url`"
        }
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => {
            "make the table as init.sql does, or correct the database in `postgres.url`"
        }
        _ => "see the message, and the log of postgres",
    }
}

/// The answers of the last moments, and how to get more.
#[derive(Debug)]
pub struct Lookup {
    database: Arc<Database>,
    answers: Cache<Uuid, Answer>,
    runtime: Handle,
}

/// A connection that is made when it is needed.
#[derive(Debug)]
struct Database {
    config: Config,
    timeout: Duration,
    client: Mutex<Option<Arc<Client>>>,
}

impl Lookup {
    /// Asks the database of `config` (the primary: a replica may lag behind the WAL), and waits for an answer at most
    /// `timeout`. The connection lives on `runtime`, which no lane's work keeps busy.
    pub fn new(mut config: Config, timeout: Duration, runtime: Handle) -> Self {
        config.application_name("deltafan").connect_timeout(timeout);
        let answers = Cache::builder().max_capacity(REMEMBERED_MOST).time_to_live(REMEMBERED).build();
        Self { database: Arc::new(Database { config, timeout, client: Mutex::default() }), answers, runtime }
    }

    /// The content as of a moment at which the transaction `tx_id`, where there is one, was visible.
    ///
    /// # Errors
    /// Postgres can't be asked.
    pub async fn content(&self, id: Uuid, tx_id: Option<u32>) -> Result<Answer, LookupError> {
        let began = Instant::now();
        let mut unseen = 0;
        while began.elapsed() < self.database.timeout {
            let answer =
                self.answers.try_get_with(id, self.ask(id)).await.map_err(|error| (*error).clone())?;
            let Some(tx_id) = tx_id.filter(|tx_id| !answer.snapshot.sees(*tx_id)) else { return Ok(answer) };
            unseen = tx_id;
            self.answers.invalidate(&id).await;
            tokio::time::sleep(NOT_YET_VISIBLE).await;
        }
        Err(LookupError::NotVisible(unseen))
    }

    async fn ask(&self, id: Uuid) -> Result<Answer, LookupError> {
        let database = Arc::clone(&self.database);
        let asked = self.runtime.spawn(async move { database.ask(id).await }).await;
        asked.unwrap_or(Err(LookupError::Stopping))
    }
}

impl Database {
    async fn ask(&self, id: Uuid) -> Result<Answer, LookupError> {
        let asked = tokio::time::timeout(self.timeout, self.query(id)).await;
        let answer = asked.unwrap_or(Err(LookupError::Timeout(self.timeout)));
        let outcome = match &answer {
            Ok(Answer { content: Some(_), .. }) => "found",
            Ok(_) => "absent",
            Err(_) => "failed",
        };
        counter!(CONTENT_LOOKUPS, "outcome" => outcome).increment(1);
        if answer.is_err() {
            self.client.lock().await.take();
        }
        answer
    }

    async fn query(&self, id: Uuid) -> Result<Answer, LookupError> {
        let failed = |error| LookupError::Postgres(Arc::new(error));
        let client = self.connected().await.map_err(failed)?;
        let row = client.query_one(QUERY, &[&id]).await.map_err(failed)?;
        let text: String = row.try_get(0).map_err(failed)?;
        let snapshot = Snapshot::parse(&text).ok_or(LookupError::Snapshot(text))?;
        let exists: bool = row.try_get(1).map_err(failed)?;
        let content_type: Option<String> = row.try_get(2).map_err(failed)?;
        let length_seconds = row.try_get(3).map_err(failed)?;
        let title: Option<String> = row.try_get(4).map_err(failed)?;
        let content_type = content_type.map(String::into_boxed_str);
        let title = title.map(String::into_boxed_str).map(shown);
        let content =
            exists.then(|| Arc::new(Content { content_type, title, length_seconds, ..Content::default() }));
        Ok(Answer { content, snapshot })
    }

    async fn connected(&self) -> Result<Arc<Client>, tokio_postgres::Error> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection for content look-ups ended");
            }
        });
        let client = Arc::new(client);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }
}
