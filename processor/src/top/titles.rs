//! The titles of contents, from Postgres: each is asked for once.

use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

/// A look-up takes milliseconds; leaderboards are shown without titles rather than late.
const ANSWER: Duration = Duration::from_secs(2);
/// Where it failed, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// So many titles are remembered, some MB; then all are forgotten and asked for anew.
const MOST: usize = 20_000;

const QUERY: &str = "SELECT id, title FROM content WHERE id = ANY ($1::uuid[])";

/// What is known.
pub(super) struct Titles {
    config: Option<Config>,
    client: Option<Client>,
    /// None for a content that is not there.
    known: HashMap<Uuid, Option<String>>,
    failed: Option<(Instant, String)>,
}

impl Titles {
    /// Asks the database at `url`.
    pub(super) fn new(url: &str) -> Self {
        let parsed: Result<Config, _> = url.parse();
        let failed = parsed.as_ref().err().map(|error| (Instant::now(), error.to_string()));
        let config = parsed.ok().map(|mut config| {
            config.application_name("deltafan top").connect_timeout(ANSWER);
            config
        });
        Self { config, client: None, known: HashMap::new(), failed }
    }

    /// The title of a member that is the id of a content, as far as it is known.
    pub(super) fn of(&self, member: &str) -> Option<&str> {
        self.known.get(&Uuid::try_parse(member).ok()?)?.as_deref()
    }

    /// Why titles are missing, where they are.
    pub(super) fn trouble(&self) -> Option<String> {
        self.failed.as_ref().map(|(_, cause)| format!("no titles: postgres can't be asked: {cause}"))
    }

    /// Asks for those of `members` that are ids and not known yet.
    pub(super) async fn learn<'a>(&mut self, members: impl Iterator<Item = &'a str>) {
        if self.known.len() > MOST {
            self.known.clear();
        }
        let ids = members.filter_map(|member| Uuid::try_parse(member).ok());
        let mut unknown: Vec<Uuid> = ids.filter(|id| !self.known.contains_key(id)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() || self.failed.as_ref().is_some_and(|(at, _)| at.elapsed() < AGAIN) {
            return;
        }
        // One that can't be read was told when it was.
        let Some(config) = self.config.clone() else { return };
        let answer = timeout(ANSWER, self.ask(&config, &unknown)).await;
        self.failed = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(crate::postgres::explain(&error)),
            Err(_) => Some(format!("no answer within {} s", ANSWER.as_secs())),
        }
        .map(|cause| (Instant::now(), cause));
        if self.failed.is_some() {
            self.client = None;
        }
    }

    async fn ask(&mut self, config: &Config, ids: &[Uuid]) -> Result<(), tokio_postgres::Error> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                // Its end is seen by the next query.
                tokio::spawn(connection);
                client
            }
        };
        let rows = client.query(QUERY, &[&ids]).await?;
        self.client = Some(client);
        self.known.extend(ids.iter().map(|id| (*id, None)));
        for row in rows {
            self.known.insert(row.try_get(0)?, Some(row.try_get(1)?));
        }
        Ok(())
    }
}
