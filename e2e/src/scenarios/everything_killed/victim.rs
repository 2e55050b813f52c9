//! What is killed, how, and how it is started again.

use super::Scene;
use crate::harness::wait::{self, seen_if};
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// A part of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Processor,
    Receiver,
    Redis,
    Postgres,
    Kafka,
    Connect,
}

/// What a system that is started again may take until it answers.
const START: Duration = Duration::from_secs(60);

impl Victim {
    pub const ALL: [Self; 6] =
        [Self::Processor, Self::Receiver, Self::Redis, Self::Postgres, Self::Kafka, Self::Connect];

    /// As the stack calls it; none for the two that a scenario runs by itself.
    fn part(self) -> Option<&'static str> {
        match self {
            Self::Processor | Self::Receiver => None,
            Self::Redis => Some("redis"),
            Self::Postgres => Some("postgres"),
            Self::Kafka => Some("kafka"),
            Self::Connect => Some("kafka-connect"),
        }
    }

    /// Kills it with SIGKILL, and makes sure that it is dead.
    pub async fn kill(self, scene: &mut Scene<'_>) -> Result<()> {
        match (self, self.part()) {
            (Self::Receiver, _) => scene.receiver.process.kill(),
            (_, None) => scene.processor.process.kill(),
            (_, Some(part)) => scene.bench.stack.kill(part).await,
        }
    }

    /// Starts it, and what it takes along when it dies: a task of Connect that has failed is restarted.
    pub async fn start_again(self, scene: &mut Scene<'_>) -> Result<()> {
        match (self, self.part()) {
            (Self::Receiver, _) => {
                scene.receiver.process.start_again()?;
                scene.receiver.answers().await
            }
            (_, None) => scene.processor.process.start_again(),
            (_, Some(part)) => {
                scene.bench.stack.run(&["start", part]).await?;
                if self == Self::Kafka {
                    was_fenced(scene.bench.stack.state())?;
                }
                if self != Self::Redis {
                    scene.bench.stack.run(&["connector"]).await?;
                }
                wait::until("postgres answers", START, async || {
                    let one: i32 = scene.bench.db.value("SELECT 1", &[]).await?;
                    Ok(seen_if(one == 1, String::new))
                })
                .await
            }
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part().unwrap_or(match self {
            Self::Receiver => "receiver",
            _ => "processor",
        }))
    }
}

/// The broker that was killed led nothing any more when it was started: else it can leave a transaction hanging
/// (docs/adr/0110). What the fencing said is gone afterwards, so that the next one has to say it again.
fn was_fenced(state: &Path) -> Result<()> {
    let log = state.join("kafka/fencing.log");
    let said = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    ensure!(said.contains("Fencing broker 1"), "{} names no broker that was fenced", log.display());
    std::fs::remove_file(&log).with_context(|| log.display().to_string())
}
