//! One pipeline: the snapshot, the mark, the log up to it, and then each sink.

use super::contents::Contents;
use super::event::{learn, learn_row};
use super::finding::Tally;
use super::gather::Gathered;
use super::log::Log;
use super::report::{Compared, PipelineReport};
use super::sinks::Events;
use super::table::{ContentRow, Range, Table};
use super::{Options, Progress, VerifyError};
use crate::config::{Config, Pipeline, Target};
use crate::decode::{Decoded, decode};
use crate::position::Positions;
use crate::source::client::Cluster;
use rdkafka::message::Message;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use uuid::Uuid;
use webhook_protocol::format_instant;

/// Records are read from so long before the range on: a row may be dated a little ahead of its commit.
pub(super) const SLACK_US: i64 = 60_000_000;

/// A pipeline that is being verified.
pub(super) struct Verification<'a> {
    pub config: &'a Config,
    pub name: &'a str,
    pub pipeline: &'a Pipeline,
    pub options: &'a Options,
    pub progress: &'a Progress,
    pub cluster: Cluster,
    pub range: Range,
}

impl<'a> Verification<'a> {
    pub(super) fn new(
        config: &'a Config,
        name: &'a str,
        pipeline: &'a Pipeline,
        options: &'a Options,
        progress: &'a Progress,
    ) -> Self {
        let cluster = crate::app::cluster(config);
        let range = Range { since_us: options.since_us, until_us: options.until_us };
        Self { config, name, pipeline, options, progress, cluster, range }
    }

    /// Compares the topic, and each sink that `enabled` says yes to.
    pub(super) async fn run(
        &self,
        enabled: &dyn Fn(&str, bool) -> bool,
    ) -> Result<PipelineReport, VerifyError> {
        let log = self.log(&self.pipeline.topic.to_string()).await?;
        let sinks = || self.pipeline.sinks.iter().filter(|(name, sink)| enabled(name.as_str(), sink.enabled));
        let mut compared = Vec::new();
        let mut boards = Vec::new();
        for (name, sink) in sinks() {
            if let Target::RedisWindow(redis) = &sink.target {
                match self.read_boards(name.as_str(), redis, &log).await {
                    Ok(read) => boards.extend(read),
                    Err(why) => compared.push(self.uncompared(name.as_str(), why)),
                }
            }
        }
        let (table, stand) = Table::open(self.config.postgres.url.expose()).await?;
        self.wait_for_mark(&table).await?;
        let mut gathered = self.gather(&table, stand, &log, &mut boards).await?;
        let mut topic = Tally::new(self.options.limit);
        self.compare_log(&log, &mut gathered, &mut topic).await?;
        let contents = table.contents().await?;
        for board in &boards {
            compared.push(self.compare_board(&table, board, &contents, &gathered).await?);
        }
        let known = self.contents(&contents).await?;
        for (name, sink) in sinks() {
            let Some(events) = Events::of(&sink.target)? else { continue };
            let done = self.compare_events(name.as_str(), &events, &log, &mut gathered, &known).await;
            compared.push(done.unwrap_or_else(|why| self.uncompared(name.as_str(), why)));
        }
        let what = format!("topic {}", log.name);
        compared.insert(0, Compared { what, failed: None, offsets: Positions::new(), tally: topic });
        Ok(self.report(gathered, log.name, compared))
    }

    fn report(&self, gathered: Gathered, topic: String, compared: Vec<Compared>) -> PipelineReport {
        PipelineReport {
            pipeline: self.name.to_owned(),
            since: format_instant(self.range.since_us),
            until: self.range.until_us.map(format_instant),
            lsn: gathered.stand.lsn,
            snapshot: gathered.stand.snapshot_text,
            topic,
            offsets: gathered.ends,
            compared,
        }
    }

    fn uncompared(&self, sink: &str, why: VerifyError) -> Compared {
        let tally = Tally::new(self.options.limit);
        Compared { what: sink.to_owned(), failed: Some(why.to_string()), offsets: Positions::new(), tally }
    }

    pub(super) async fn log(&self, name: &str) -> Result<Log, VerifyError> {
        let (cluster, topic) = (self.cluster.clone(), name.to_owned());
        let found = blocking(move || Log::open(&cluster, &topic)).await?;
        found.ok_or_else(|| {
            VerifyError::Act(format!("there is no topic `{name}`; correct the configuration, or make it"))
        })
    }

    /// Writes the mark and waits until it is in Kafka: then all that the snapshot sees is there as well.
    async fn wait_for_mark(&self, table: &Table) -> Result<(), VerifyError> {
        let name = &self.options.messages;
        let (cluster, topic) = (self.cluster.clone(), name.clone());
        let messages = blocking(move || Log::open(&cluster, &topic)).await?.ok_or_else(|| {
            VerifyError::Act(format!(
                "there is no topic `{name}`, to which Debezium passes logical messages on (`<topic.prefix>.message`); make it, or \
                 name it by --messages-topic"
            ))
        })?;
        self.progress.step(format!("waiting for the mark in topic {name}"));
        let asked = messages.clone();
        let (_, mut from) = blocking(move || asked.ends()).await?;
        let prefix = format!("deltafan.verify.{}", Uuid::new_v4());
        table.mark(&prefix).await?;
        let began = Instant::now();
        while began.elapsed() < self.options.wait {
            let (log, since, wanted) = (messages.clone(), from.clone(), prefix.clone());
            let look = move || {
                let (_, ends) = log.ends()?;
                let mut found = false;
                log.read(&since, &ends, |message| {
                    let value = message.payload().unwrap_or_default();
                    found |= value.windows(wanted.len()).any(|part| part == wanted.as_bytes());
                    !found
                })?;
                Ok((found, ends))
            };
            let (found, ends) = blocking(look).await?;
            if found {
                return Ok(());
            }
            from = ends;
            tokio::time::sleep(LOOK).await;
        }
        Err(VerifyError::Away(format!(
            "the mark did not come to topic `{name}` within {} s: Debezium is behind or away; see whether the connector runs and how far \
             its slot is, or wait longer by --wait",
            self.options.wait.as_secs()
        )))
    }

    /// Every version of every content that is known.
    async fn contents(&self, rows: &[ContentRow]) -> Result<Contents, VerifyError> {
        let mut contents = Contents::default();
        if let Some(content) = &self.pipeline.content {
            self.progress.step("reading contents");
            let log = self.log(&content.topic.to_string()).await?;
            contents = blocking(move || {
                let (lows, ends) = log.ends()?;
                log.read(&lows, &ends, |message| {
                    if let Ok(Decoded::Change(change)) = decode(message.payload()) {
                        learn(&change, &mut contents);
                    }
                    true
                })?;
                Ok(contents)
            })
            .await?;
        }
        rows.iter().for_each(|row| learn_row(row, &mut contents));
        Ok(contents)
    }
}

/// Pause between two looks at something that is waited for.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Runs what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VerifyError> + Send + 'static,
) -> Result<T, VerifyError> {
    spawn_blocking(work).await.map_err(|_| VerifyError::Away("stopping".to_owned()))?
}
