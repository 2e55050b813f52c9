//! The rows of `content`, each asked for once.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::HashMap;
use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

/// What an event is enriched with.
#[derive(Debug)]
pub(super) struct Content {
    /// JSON fields, with a comma before each.
    pub fields: String,
    pub length_seconds: Option<i32>,
}

pub(super) struct Contents {
    client: Client,
    query: Statement,
    runtime: Handle,
    known: HashMap<Uuid, Content>,
}

impl Contents {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("postgres")?;
        tokio::spawn(connection);
        let query =
            client.prepare("SELECT content_type, title, length_seconds FROM content WHERE id = $1").await?;
        Ok(Self { client, query, runtime: Handle::current(), known: HashMap::new() })
    }

    pub(super) fn of(&mut self, id: &str) -> Result<&Content> {
        let id = Uuid::try_parse(id)?;
        if !self.known.contains_key(&id) {
            let content = self.runtime.block_on(self.ask(id))?;
            self.known.insert(id, content);
        }
        self.known.get(&id).context("just inserted")
    }

    async fn ask(&self, id: Uuid) -> Result<Content> {
        let row = self.client.query_one(&self.query, &[&id]).await?;
        let (kind, title): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let length_seconds: Option<i32> = row.try_get(2)?;
        let fields = format!(
            ",\"content_type\":{},\"content_title\":{},\"length_seconds\":{}",
            Value::from(kind),
            Value::from(title),
            Value::from(length_seconds)
        );
        Ok(Content { fields, length_seconds })
    }
}
