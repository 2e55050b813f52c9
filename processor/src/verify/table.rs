//! The source, as one snapshot of Postgres sees it.

use super::VerifyError;
use super::board::{Sums, Types};
use super::history::TableRow;
use super::print::Values;
use crate::decode::Source;
use crate::decode::timestamp::Timestamp;
use crate::enrich::snapshot::Snapshot;
use crate::postgres::explain;
use crate::sink::redis_window::By;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};
use uuid::Uuid;
use webhook_protocol::format_instant;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Seconds from 1970 to 2000, where Postgres counts from.
const EPOCH_S: i64 = 946_684_800;
const US_PER_S: i64 = 1_000_000;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const POSITION: &str = "SELECT pg_current_snapshot()::text, pg_current_wal_lsn()::text";
const ROWS: &str = "SELECT id::bigint, xmin::text::bigint, content_id, user_id, event_type::text, event_ts, duration_ms::bigint, \
     device::text, raw_payload::text FROM engagement_events";
/// Rows of one answer: some MB.
const FETCH: &str = "FETCH FORWARD 20000 FROM deltafan_rows";
const CONTENTS: &str = "SELECT id, content_type::text, title::text, length_seconds::bigint FROM content";
/// Any prefix but that of the heartbeats is passed on by Debezium; the topic is `<topic.prefix>.message`.
const MARK: &str = "SELECT pg_logical_emit_message(true, $1, '')::text";

/// The rows whose time lies from the first instant up to the second, in microseconds since 1970; without the second, all
/// that come later, `infinity` included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub since_us: i64,
    pub until_us: Option<i64>,
}

impl Range {
    /// Whether a time lies in it.
    pub(super) fn holds(&self, ts: Option<Timestamp>) -> bool {
        let at = |us: i64| Timestamp::At {
            secs: us.div_euclid(US_PER_S),
            micros: u32::try_from(us.rem_euclid(US_PER_S)).unwrap_or_default(),
        };
        ts.is_some_and(|ts| at(self.since_us) <= ts && self.until_us.is_none_or(|until| ts < at(until)))
    }

    /// The same for Postgres. The text is our own, so it may stand in a statement.
    fn condition(&self) -> String {
        let since = format_instant(self.since_us);
        let until = self.until_us.map(|us| format!(" AND event_ts < '{}'", format_instant(us)));
        format!("event_ts >= '{since}'{}", until.unwrap_or_default())
    }
}

/// Where the source stands.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub snapshot: Snapshot,
    /// As Postgres writes it.
    pub snapshot_text: String,
    /// Just after the snapshot was taken.
    pub lsn: String,
    /// When the present life of the database began, in microseconds since 1970: it was set back then. 0 where nothing is known of that.
    pub life_us: i64,
}

impl Stand {
    /// Whether a change is over: the snapshot sees its transaction, or it was made before the database's present life began, in
    /// which its transaction's number may belong to another one.
    pub(super) fn sees(&self, source: &Source<'_>) -> bool {
        // One without a transaction was read from the table long before.
        self.is_former(source) || source.tx_id.is_none_or(|tx_id| self.snapshot.sees(tx_id))
    }

    /// Whether a change was made before the database's present life began.
    pub(super) fn is_former(&self, source: &Source<'_>) -> bool {
        source.committed_us < self.life_us
    }
}

impl Stand {
    /// The place in the WAL, in bytes.
    pub(super) fn lsn_bytes(&self) -> u64 {
        let parts = self.lsn.split_once('/').and_then(|(high, low)| {
            Some((u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?))
        });
        parts.map_or(u64::MAX, |(high, low)| (high << 32) | low)
    }
}

/// A transaction that sees one state of the tables, for as long as it lives.
pub(super) struct Table {
    client: Client,
    config: Config,
}

impl Table {
    /// Opens the transaction.
    pub(super) async fn open(url: &str) -> Result<(Self, Stand), VerifyError> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            VerifyError::Act(format!("`postgres.url` can't be used: {error}"))
        })?;
        config.application_name("deltafan verify").connect_timeout(CONNECT);
        let client = connect(&config).await?;
        client.batch_execute(BEGIN).await.map_err(failed)?;
        let row = client.query_one(POSITION, &[]).await.map_err(failed)?;
        let text: String = row.try_get(0).map_err(failed)?;
        let snapshot = Snapshot::parse(&text)
            .ok_or_else(|| VerifyError::Away(format!("postgres answered `{text}` as its snapshot")))?;
        let lsn = row.try_get(1).map_err(failed)?;
        Ok((Self { client, config }, Stand { snapshot, snapshot_text: text, lsn, life_us: 0 }))
    }

    /// Writes the mark behind all that the snapshot sees; answers where it stands in the WAL.
    pub(super) async fn mark(&self, prefix: &str) -> Result<String, VerifyError> {
        let client = connect(&self.config).await?;
        let row = client.query_one(MARK, &[&prefix]).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    /// The rows of a range, in no order; `take` gets each.
    pub(super) async fn rows(
        &self,
        range: &Range,
        mut take: impl FnMut(TableRow),
    ) -> Result<(), VerifyError> {
        // Postgres plans a cursor for its first rows, and all are wanted.
        let declare = format!(
            "SET LOCAL cursor_tuple_fraction = 1; DECLARE deltafan_rows NO SCROLL CURSOR FOR {ROWS} WHERE {}",
            range.condition()
        );
        self.client.batch_execute(&declare).await.map_err(failed)?;
        let fetch = self.client.prepare(FETCH).await.map_err(failed)?;
        loop {
            let rows = self.client.query(&fetch, &[]).await.map_err(failed)?;
            if rows.is_empty() {
                return self.client.batch_execute("CLOSE deltafan_rows").await.map_err(failed);
            }
            for row in &rows {
                take(table_row(row).map_err(failed)?);
            }
        }
    }

    /// The sums of a leaderboard over whole seconds, both included; without rows of a transaction before `first`, which
    /// the log never had, but with those of `late` ones.
    pub(super) async fn sums(
        &self,
        by: By,
        (from, to): (i64, i64),
        (first, late): (Option<u32>, Vec<i64>),
    ) -> Result<Sums, VerifyError> {
        let member = match by {
            By::Content | By::ContentType => "content_id::text",
            By::Device => "device::text",
        };
        // Ids of transactions go round: what lies less than half a round below is older.
        let known = first.map(|first| {
            format!(
                "AND (xmin::text::bigint = ANY($3) OR \
                 xmin::text::bigint > 2 AND ((xmin::text::bigint - {first}) & 4294967295) < 2147483648)"
            )
        });
        let sql = format!(
            "SELECT {member}, sum(duration_ms)::bigint FROM engagement_events \
             WHERE event_ts >= to_timestamp($1::bigint) AND event_ts < to_timestamp($2::bigint + 1) \
             AND duration_ms > 0 AND {member} IS NOT NULL {} GROUP BY 1",
            known.unwrap_or_default()
        );
        let mut given: Vec<&(dyn ToSql + Sync)> = vec![&from, &to];
        if first.is_some() {
            given.push(&late);
        }
        let rows = self.client.query(&sql, &given).await.map_err(failed)?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, _>>()
            .map_err(failed)
    }

    /// Every content: id, type, title and length.
    pub(super) async fn contents(&self) -> Result<Vec<ContentRow>, VerifyError> {
        let rows = self.client.query(CONTENTS, &[]).await.map_err(failed)?;
        let content = |row: &Row| {
            Ok(ContentRow {
                id: row.try_get(0)?,
                content_type: row.try_get(1)?,
                title: row.try_get(2)?,
                length_seconds: row.try_get(3)?,
            })
        };
        rows.iter().map(content).collect::<Result<_, _>>().map_err(failed)
    }
}

/// A row of `content`.
#[derive(Debug, Clone)]
pub(super) struct ContentRow {
    pub id: Uuid,
    pub content_type: Option<String>,
    pub title: Option<String>,
    pub length_seconds: Option<i64>,
}

/// The types of contents by id.
pub(super) fn types(contents: &[ContentRow]) -> Types {
    let of =
        |content: &ContentRow| (content.id.to_string(), content.content_type.clone().unwrap_or_default());
    contents.iter().map(of).collect()
}

async fn connect(config: &Config) -> Result<Client, VerifyError> {
    let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
    // Its end is seen by the next query.
    tokio::spawn(connection);
    Ok(client)
}

fn failed(error: tokio_postgres::Error) -> VerifyError {
    let what = explain(&error);
    match error.code().map(|code| code.code()) {
        Some("42P01" | "42703") => VerifyError::Act(format!(
            "postgres: {what}; verify compares the tables of init.sql: correct the database in `postgres.url`, or add what is missing"
        )),
        Some("42501") => VerifyError::Act(format!(
            "postgres: {what}; as the tables' owner: GRANT SELECT ON content, engagement_events TO the user of `postgres.url`"
        )),
        Some("28P01" | "28000" | "3D000") => VerifyError::Act(format!(
            "postgres: {what}; correct user, password and database in `postgres.url`"
        )),
        _ => VerifyError::Away(format!("postgres: {what}; see whether it runs, and check `postgres.url`")),
    }
}

fn table_row(row: &Row) -> Result<TableRow, tokio_postgres::Error> {
    let id = row.try_get(0)?;
    let tx_id: i64 = row.try_get(1)?;
    let values = Values {
        id,
        content_id: row.try_get(2)?,
        user_id: row.try_get(3)?,
        event_type: row.try_get(4)?,
        event_ts: row.try_get::<_, Option<Instant>>(5)?.map(|Instant(ts)| ts),
        duration_ms: row.try_get(6)?,
        device: row.try_get(7)?,
        raw_payload: row.try_get(8)?,
    };
    Ok(TableRow { id, tx_id: u32::try_from(tx_id).unwrap_or_default(), print: values.print() })
}

/// A `timestamptz` with all its range.
struct Instant(Timestamp);

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let us = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(match us {
            i64::MAX => Timestamp::Infinity,
            i64::MIN => Timestamp::NegativeInfinity,
            us => Timestamp::At {
                secs: us.div_euclid(US_PER_S) + EPOCH_S,
                micros: u32::try_from(us.rem_euclid(US_PER_S))?,
            },
        }))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}
