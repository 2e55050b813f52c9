//! The processor under test, with lanes of its own on a topic of its own.

use crate::cost::Watched;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program of ours that ends when this is dropped.
pub struct Running(Child);

impl Running {
    /// Takes over one that was started.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it is to do. A lane that is not wanted has no address.
#[derive(Debug, Clone, Copy)]
pub struct Lanes<'a> {
    /// The pipeline's name, and the leaderboard's key.
    pub name: &'a str,
    /// What it reads.
    pub topic: &'a str,
    /// Where contents are.
    pub contents_topic: &'a str,
    /// Kafka.
    pub brokers: &'a str,
    /// Where the leaderboard is.
    pub redis_url: Option<&'a String>,
    /// Host and port of the receiver.
    pub receiver: Option<&'a String>,
    /// Workers in each lane.
    pub workers: u32,
    /// How far back the leaderboard reaches.
    pub window: &'a str,
    /// How many further lanes decode everything and keep nothing.
    pub discards: u32,
}

impl Lanes<'_> {
    /// Starts a processor; its configuration and its log lie in the system's temporary folder, under the pipeline's name.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run(&self, deltafan: &Path) -> Result<(Running, Watched)> {
        let folder = std::env::temp_dir();
        let (config, log) =
            (folder.join(format!("{}.yaml", self.name)), folder.join(format!("{}.log", self.name)));
        std::fs::write(&config, self.config())?;
        let log = File::create(&log)?;
        let child = Command::new(deltafan)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the processor can't be started")?;
        let watched = Watched { name: "processor", pid: child.id() };
        Ok((Running(child), watched))
    }

    fn config(&self) -> String {
        let Self { name, topic, contents_topic, brokers, redis_url, receiver, workers, window, discards } =
            self;
        let mut config = format!(
            "kafka: {{brokers: \"{brokers}\"}}\n\
             postgres: {{url: \"${{PROCESSOR_DATABASE_URL}}\"}}\n\
             admin: {{listen: \"127.0.0.1:0\"}}\n\
             log: {{level: warn}}\n\
             pipelines:\n  {name}:\n    topic: {topic}\n    dead_letters: engagement_events.dlq\n    \
             content: {{topic: {contents_topic}}}\n    transform: engagement\n    sinks:\n"
        );
        if let Some(redis_url) = redis_url {
            config += &format!(
                "      redis: {{type: redis_window, workers: {workers}, url: \"{redis_url}\", \
                 windows: [{{key: \"{name}\", length: {window}}}]}}\n"
            );
        }
        if let Some(receiver) = receiver {
            config += &format!(
                "      webhook: {{type: webhook, workers: {workers}, url: \"http://{receiver}/webhook\", \
                 secrets: [\"${{WEBHOOK_SECRET}}\"], allow_private_targets: true}}\n"
            );
        }
        for number in 1..=*discards {
            config += &format!("      discard{number}: {{type: discard, workers: {workers}}}\n");
        }
        config
    }
}
