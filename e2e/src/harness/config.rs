//! The configuration of a processor, written per scenario.

use super::stack::Stack;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A window of a leaderboard: the key and, as in the file, the length and what is ranked.
#[derive(Debug, Clone)]
pub struct Window {
    /// The sorted set.
    pub key: String,
    /// `3s`, `10min`, `1h`.
    pub length: &'static str,
    /// What its members are.
    pub by: By,
}

/// What the members of a leaderboard are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Contents.
    Content,
    /// Types of content.
    ContentType,
    /// Devices.
    Device,
}

impl By {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::ContentType => "content_type",
            Self::Device => "device",
        }
    }
}

/// What a processor is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline; with the sink it names the consumer groups.
    pub pipeline: String,
    /// The topic that is read.
    pub topic: String,
    /// Leaderboards.
    pub windows: Vec<Window>,
    /// Workers of each lane.
    pub workers: usize,
    /// Where Redis is.
    pub redis_url: String,
    /// Where Postgres is, as in the file: may be a variable of the environment.
    pub postgres_url: String,
    /// Where batches are posted to.
    pub webhook_url: String,
    /// The signing secret.
    pub secret: String,
    /// How long a batch waits for the feed of contents.
    pub fence_timeout: &'static str,
    /// How long the receiver may take to answer.
    pub webhook_timeout: &'static str,
    /// So many events in a row may the receiver condemn.
    pub max_condemned: usize,
    /// So many events per second is the receiver sent.
    pub max_rate: &'static str,
    /// Where a further sink, `files`, writes to; no such sink where there is none.
    pub files: Option<PathBuf>,
    /// Where the Connect is whose connector it watches, as by default; it watches none where there is none, so that a task that
    /// has failed stays so.
    pub connect_url: Option<String>,
}

/// The sinks of every plan, as they are named in configuration, groups and metrics.
pub const SINKS: [&str; 2] = ["redis", "webhook"];

impl Plan {
    /// A pipeline with one window of an hour, so that nothing leaves meanwhile.
    pub fn new(stack: &Stack, pipeline: &str, receiver: &str) -> Result<Self> {
        Ok(Self {
            pipeline: pipeline.to_owned(),
            topic: "engagement_events".to_owned(),
            windows: vec![Window { key: format!("{pipeline}:1h"), length: "1h", by: By::Content }],
            workers: 2,
            redis_url: stack.get("REDIS_URL")?.to_owned(),
            postgres_url: "${PROCESSOR_DATABASE_URL}".to_owned(),
            webhook_url: format!("http://{receiver}/webhook"),
            secret: stack.get("WEBHOOK_SECRET")?.to_owned(),
            fence_timeout: "20ms",
            webhook_timeout: "10s",
            max_condemned: 100,
            max_rate: "none",
            files: None,
            connect_url: Some(stack.get("CONNECT_URL")?.to_owned()),
        })
    }

    /// The consumer group of a lane.
    pub fn group(&self, sink: &str) -> String {
        format!("deltafan.{}.{sink}", self.pipeline)
    }

    /// The key of the first window.
    pub fn key(&self) -> Result<&str> {
        self.windows.first().map(|window| window.key.as_str()).context("the plan has no window")
    }

    /// The file's text, for an instance whose admin port is at `admin`.
    pub fn yaml(&self, stack: &Stack, admin: &str) -> Result<String> {
        let windows: Vec<_> = self
            .windows
            .iter()
            .map(|Window { key, length, by }| {
                format!("          - {{key: \"{key}\", length: {length}, by: {}}}", by.as_str())
            })
            .collect();
        let files = |folder: &PathBuf| {
            let (workers, folder) = (self.workers, folder.display());
            format!("      files: {{type: file, workers: {workers}, path: \"{folder}\", max_file: 1MiB}}\n")
        };
        let connect = |url: &String| format!("connect: {{url: \"{url}\"}}\n");
        Ok(format!(
            "{connect}kafka:
  brokers: {brokers}
postgres:
  url: {postgres_url}
admin:
  listen: {admin}
log:
  level: info
pipelines:
  {pipeline}:
    topic: {topic}
    dead_letters: engagement_events.dlq
    content:
      topic: content
      fence_timeout: {fence_timeout}
    transform: engagement
    sinks:
      redis:
        type: redis_window
        workers: {workers}
        url: {redis_url}
        windows:
{windows}
      webhook:
        type: webhook
        workers: {workers}
        max_condemned: {max_condemned}
        max_rate: {max_rate}
        url: {webhook_url}
        secrets: [\"{secret}\"]
        allow_private_targets: true
        timeout: {webhook_timeout}
{files}",
            connect = self.connect_url.as_ref().map(connect).unwrap_or_default(),
            brokers = stack.get("KAFKA_BROKERS")?,
            pipeline = self.pipeline,
            topic = self.topic,
            workers = self.workers,
            redis_url = self.redis_url,
            postgres_url = self.postgres_url,
            windows = windows.join("\n"),
            webhook_url = self.webhook_url,
            webhook_timeout = self.webhook_timeout,
            max_condemned = self.max_condemned,
            max_rate = self.max_rate,
            secret = self.secret,
            fence_timeout = self.fence_timeout,
            files = self.files.as_ref().map(files).unwrap_or_default(),
        ))
    }

    /// Writes the file for the instance `name` into `folder`.
    pub fn write(&self, stack: &Stack, folder: &Path, name: &str, admin: &str) -> Result<PathBuf> {
        let path = folder.join(format!("{name}.yaml"));
        std::fs::write(&path, self.yaml(stack, admin)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
