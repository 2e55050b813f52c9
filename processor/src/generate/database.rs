//! Postgres: contents, ids and batches. A thin shell; what is written is decided elsewhere.
//!
//! Rows get ids that were taken from the table's sequence before. So a batch whose answer was lost can be written again: a
//! row that is there is left alone, an update sets the same values once more, a delete finds nothing.

use super::batch::{Batch, Inserts, Updates};
use super::contents::{Content, Made};
use super::error::{GenerateError, Trouble, address};
use super::options::MOST_CONTENTS;
use crate::postgres::explain;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use uuid::Uuid;

/// How Postgres knows us, where the address does not say otherwise.
const APPLICATION: &str = "deltafan generate";
/// An answer that takes longer does not come: a batch takes milliseconds.
const ANSWER: Duration = Duration::from_secs(20);
/// Who has not greeted by then may not know how to: Postgres takes milliseconds.
const GREETING: Duration = Duration::from_secs(5);
/// How long Postgres may be away: a restart with recovery takes seconds.
const AWAY: Duration = Duration::from_secs(120);
/// The pauses between attempts grow from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// Contents of one statement.
const CONTENTS_AT_ONCE: usize = 5_000;

const RESERVE: &str =
    "SELECT nextval(pg_get_serial_sequence('engagement_events', 'id')) FROM generate_series(1, $1::int)";
const INSERT: &str = "INSERT INTO engagement_events \
        (id, content_id, user_id, event_type, event_ts, duration_ms, device) \
     SELECT id, content_id, user_id, event_type, now() - late_ms * interval '1 millisecond', duration_ms, device \
     FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::text[]) \
        AS new (id, content_id, user_id, event_type, late_ms, duration_ms, device) \
     ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE engagement_events AS old SET content_id = new.content_id, \
        event_type = new.event_type, duration_ms = new.duration_ms \
     FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::int[]) \
        AS new (id, content_id, event_type, duration_ms) WHERE old.id = new.id";
const DELETE: &str = "DELETE FROM engagement_events WHERE id = ANY ($1::bigint[])";
const CONTENTS: &str = "SELECT id, length_seconds FROM content ORDER BY id LIMIT $1";
const SOME_CONTENTS: &str = "SELECT id, length_seconds FROM content WHERE id = ANY ($1::uuid[])";
const MAKE_CONTENTS: &str = "INSERT INTO content (id, slug, title, content_type, length_seconds) \
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[]) ON CONFLICT DO NOTHING";

type Columns<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A database that is connected to when it is needed.
pub(super) struct Database {
    config: Config,
    session: Option<Session>,
}

struct Session {
    client: Client,
    reserve: Statement,
    insert: Statement,
    update: Statement,
    delete: Statement,
}

/// What has become of a batch, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing of it is in the table.
    Absent,
    /// All of it is.
    Committed,
    /// The answer to its commit was lost.
    InDoubt,
}

/// What is told of a database that is away.
pub(super) enum Note {
    Away(String),
    Back,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(cause) => write!(f, "postgres does not take a batch: {cause}; trying again …"),
            Self::Back => write!(f, "postgres takes batches again"),
        }
    }
}

impl Database {
    /// Connects.
    pub(super) async fn connect(url: &str) -> Result<Self, GenerateError> {
        let mut config = parsed(url)?;
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION);
        }
        let mut database = Self { config, session: None };
        database.session = Some(database.in_time(Session::open(&database.config)).await?);
        Ok(database)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, GenerateError> {
        let done = timeout(ANSWER, work).await.unwrap_or(Err(Trouble::Silent(ANSWER)));
        done.map_err(|trouble| trouble.into_error(address(&self.config)))
    }

    fn client(&self) -> Result<&Client, GenerateError> {
        let session = self.session.as_ref().map(|session| &session.client);
        session.ok_or_else(|| GenerateError::Away {
            address: address(&self.config),
            cause: "the connection is lost".to_owned(),
        })
    }

    /// The contents that are there, in the order of their ids.
    pub(super) async fn contents(&self) -> Result<Vec<Content>, GenerateError> {
        let client = self.client()?;
        self.in_time(async {
            let rows = client.query(CONTENTS, &[&i64::from(MOST_CONTENTS)]).await?;
            Ok(rows.iter().map(content).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Makes the contents that are not there yet, and gives all of them as the table has them.
    pub(super) async fn make_contents(&self, wanted: &[Made]) -> Result<Vec<Content>, GenerateError> {
        let client = self.client()?;
        let mut contents = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(CONTENTS_AT_ONCE) {
            contents.extend(self.in_time(make(client, some)).await?);
        }
        match wanted.len() - contents.len() {
            0 => Ok(contents),
            missing => Err(GenerateError::Taken(missing)),
        }
    }

    /// Writes the batch and takes `ids` ids. Goes on trying while Postgres is away, up to a bound, and says so to `tell`.
    /// `fate`, in the beginning [`Fate::Absent`], is right also where this fails or is dropped.
    pub(super) async fn write(
        &mut self,
        batch: &Batch,
        ids: i32,
        fate: &mut Fate,
        tell: &mut (dyn FnMut(Note) + Send),
    ) -> Result<Vec<i64>, GenerateError> {
        let [mut pause, longest] = PAUSES;
        let mut away: Option<Instant> = None;
        loop {
            let trouble = match self.attempt(batch, ids, fate).await {
                Ok(ids) => {
                    if away.is_some() {
                        tell(Note::Back);
                    }
                    return Ok(ids);
                }
                Err(trouble) => trouble,
            };
            self.session = None;
            if !trouble.passes() {
                return Err(trouble.into_error(address(&self.config)));
            }
            let since = *away.get_or_insert_with(|| {
                tell(Note::Away(trouble.to_string()));
                Instant::now()
            });
            if since.elapsed() > AWAY {
                return Err(trouble.into_error(address(&self.config)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn attempt(&mut self, batch: &Batch, ids: i32, fate: &mut Fate) -> Result<Vec<i64>, Trouble> {
        let work = async {
            let session = match &mut self.session {
                Some(session) => session,
                none => none.insert(Session::open(&self.config).await?),
            };
            if !batch.is_empty() && *fate != Fate::Committed {
                session.write(batch, fate).await?;
            }
            session.reserve(ids).await
        };
        timeout(ANSWER, work).await.unwrap_or(Err(Trouble::Silent(ANSWER)))
    }
}

impl Session {
    async fn open(config: &Config) -> Result<Self, Trouble> {
        let greeted = timeout(GREETING, config.connect(NoTls)).await;
        let (client, connection) =
            greeted.map_err(|_| Trouble::Ungreeted(GREETING))?.map_err(Trouble::of_connect)?;
        // Its end is seen by the next statement.
        tokio::spawn(connection);
        Ok(Self {
            reserve: client.prepare(RESERVE).await?,
            insert: client.prepare(INSERT).await?,
            update: client.prepare(UPDATE).await?,
            delete: client.prepare(DELETE).await?,
            client,
        })
    }

    async fn reserve(&self, ids: i32) -> Result<Vec<i64>, Trouble> {
        if ids == 0 {
            return Ok(Vec::new());
        }
        let rows = self.client.query(&self.reserve, &[&ids]).await?;
        rows.iter().map(|row| row.try_get::<_, Option<i64>>(0)?.ok_or(Trouble::NoSequence)).collect()
    }

    /// All or nothing.
    async fn write(&mut self, batch: &Batch, fate: &mut Fate) -> Result<(), Trouble> {
        let is_first = *fate == Fate::Absent;
        let Batch { inserts, updates, deletes, .. } = batch;
        let transaction = self.client.transaction().await?;
        if !inserts.id.is_empty() {
            let Inserts { id, content, user, kind, late_ms, duration_ms, device } = inserts;
            let columns: Columns<'_> = &[id, content, user, kind, late_ms, duration_ms, device];
            let (came, new) = (transaction.execute(&self.insert, columns).await?, count(id.len()));
            // A row that is there though none of ours can be is somebody else's, and would be updated and deleted as ours.
            if is_first && came < new {
                return Err(Trouble::IdsTaken { there: new.saturating_sub(came), new });
            }
        }
        if !updates.id.is_empty() {
            let Updates { id, content, kind, duration_ms } = updates;
            let columns: Columns<'_> = &[id, content, kind, duration_ms];
            transaction.execute(&self.update, columns).await?;
        }
        if !deletes.is_empty() {
            transaction.execute(&self.delete, &[deletes]).await?;
        }
        *fate = Fate::InDoubt;
        let committed = transaction.commit().await.map_err(Trouble::from);
        *fate = match &committed {
            Ok(()) => Fate::Committed,
            Err(trouble) if is_first && !trouble.passes() => Fate::Absent,
            Err(_) => Fate::InDoubt,
        };
        committed
    }
}

fn parsed(url: &str) -> Result<Config, GenerateError> {
    let config = url.parse::<Config>();
    let is_split = match &config {
        // What stands behind the first `@` is the host, also where it is the rest of a password: it must not be told.
        Ok(config) => address(config).contains('@'),
        Err(_) => url.matches('@').count() > 1,
    };
    if is_split {
        let what = "it has more than one `@`: write %40 for each of the password";
        return Err(GenerateError::Address(what.to_owned()));
    }
    config.map_err(|error| GenerateError::Address(explain(&error)))
}

async fn make(client: &Client, wanted: &[Made]) -> Result<Vec<Content>, Trouble> {
    let id: Vec<Uuid> = wanted.iter().map(|made| made.id).collect();
    let slug: Vec<&str> = wanted.iter().map(|made| made.slug.as_str()).collect();
    let title: Vec<&str> = wanted.iter().map(|made| made.title.as_str()).collect();
    let content_type: Vec<&str> = wanted.iter().map(|made| made.content_type).collect();
    let length_seconds: Vec<Option<i32>> = wanted.iter().map(|made| made.length_seconds).collect();
    client.execute(MAKE_CONTENTS, &[&id, &slug, &title, &content_type, &length_seconds]).await?;
    let rows = client.query(SOME_CONTENTS, &[&id]).await?;
    let there: Vec<Content> = rows.iter().map(content).collect::<Result<_, _>>()?;
    let there: HashMap<Uuid, Content> = there.into_iter().map(|content| (content.id, content)).collect();
    Ok(id.iter().filter_map(|id| there.get(id).copied()).collect())
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn content(row: &Row) -> Result<Content, tokio_postgres::Error> {
    Ok(Content { id: row.try_get(0)?, length_seconds: row.try_get(1)? })
}
