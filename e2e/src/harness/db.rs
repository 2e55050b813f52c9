//! Postgres, as the owner of the database.

use anyhow::{Context, Result, bail};
use futures_util::SinkExt;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

/// A connection, made anew after Postgres was away.
pub struct Db {
    url: String,
    client: Mutex<Arc<Client>>,
}

/// Arguments of a statement.
pub type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Db {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        Ok(Self { url: url.to_owned(), client: Mutex::new(Arc::new(connect(url).await?)) })
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        if client.is_closed() {
            *client = Arc::new(connect(&self.url).await?);
        }
        Ok(Arc::clone(&client))
    }

    /// Runs statements without arguments and without an answer.
    pub async fn run(&self, sql: &str) -> Result<()> {
        self.client().await?.batch_execute(sql).await.with_context(|| shortened(sql))
    }

    /// Runs one statement; how many rows it touched.
    pub async fn execute(&self, sql: &str, arguments: Arguments<'_>) -> Result<u64> {
        self.client().await?.execute(sql, arguments).await.with_context(|| shortened(sql))
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &str, arguments: Arguments<'_>) -> Result<Vec<tokio_postgres::Row>> {
        self.client().await?.query(sql, arguments).await.with_context(|| shortened(sql))
    }

    /// The only value of a query.
    pub async fn value<T>(&self, sql: &str, arguments: Arguments<'_>) -> Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.client().await?.query_one(sql, arguments).await.with_context(|| shortened(sql))?;
        row.try_get(0).with_context(|| shortened(sql))
    }

    /// The first column of a query, as texts.
    pub async fn texts(&self, sql: &str, arguments: Arguments<'_>) -> Result<Vec<String>> {
        let rows = self.rows(sql, arguments).await?;
        rows.iter().map(|row| row.try_get(0).with_context(|| shortened(sql))).collect()
    }

    /// `COPY … FROM STDIN` with lines in Postgres' text format; how many rows came in.
    pub async fn copy(&self, statement: &str, lines: String) -> Result<u64> {
        let client = self.client().await?;
        let sink = client.copy_in(statement).await.with_context(|| shortened(statement))?;
        let mut sink = pin!(sink);
        sink.send(std::io::Cursor::new(lines.into_bytes())).await.with_context(|| shortened(statement))?;
        sink.finish().await.with_context(|| shortened(statement))
    }

    /// Rows of `engagement_events`.
    pub async fn count_events(&self) -> Result<i64> {
        self.value("SELECT count(*) FROM engagement_events", &[]).await
    }

    /// Inserts a content and gives its id.
    pub async fn insert_content(
        &self,
        slug: &str,
        kind: &str,
        length_seconds: Option<i32>,
    ) -> Result<String> {
        if !slug.starts_with(CONTENT_PREFIX) {
            bail!("the slug {slug} does not begin with {CONTENT_PREFIX}, so nobody would take it away again");
        }
        self.value(
            "INSERT INTO content (slug, title, content_type, length_seconds) VALUES ($1, $1, $2, $3) RETURNING id::text",
            &[&slug, &kind, &length_seconds],
        )
        .await
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("cannot connect to Postgres")?;
    tokio::spawn(connection);
    client.batch_execute("SET client_min_messages = warning").await?;
    Ok(client)
}

/// What the slugs of our contents begin with, so that they can be told from others.
pub const CONTENT_PREFIX: &str = "e2e-";

/// The beginning of a statement, to say where an error came from.
fn shortened(sql: &str) -> String {
    const LONGEST: usize = 90;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
