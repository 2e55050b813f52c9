//! Who is compared, and how each is started.

use super::Options;
use crate::cost::Watched;
use crate::pipeline::Addresses;
use crate::processor::{Lanes, Running};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

/// The processor's workers in each lane.
const WORKERS: u32 = 2;
/// Long enough for every record of the topic.
const WINDOW: &str = "1h";

/// Records that Redpanda Connect has under way, all partitions together: it fetches nothing for up to a second once each partition
/// has reached its part, so this has to last for a second; each costs a few KB of memory.
const UNDER_WAY: i32 = 65_536;

/// A program that drains a topic into both sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Contender {
    Deltafan,
    /// The same again: what two measurements of one program differ by.
    DeltafanAgain,
    RedpandaConnect,
    RedpandaConnectTuned,
    KafkaStreams,
    /// One thread without any guarantee, both sinks.
    BareLoop,
    /// Two threads without any guarantee, a sink each.
    BareLanes,
}

/// A contender's process.
pub(super) struct Program {
    pub watched: Watched,
    pub running: Running,
    commands: Option<ChildStdin>,
}

/// What is to be drained, where to.
pub(super) struct Task<'a> {
    pub addresses: &'a Addresses,
    pub options: &'a Options,
    pub topic: &'a str,
    pub contents_topic: &'a str,
    /// The group's name, and what the leaderboard's keys begin with.
    pub name: &'a str,
}

impl Contender {
    /// In the order of the first run.
    pub(super) const ALL: [Self; 7] = [
        Self::Deltafan,
        Self::RedpandaConnect,
        Self::RedpandaConnectTuned,
        Self::KafkaStreams,
        Self::BareLoop,
        Self::BareLanes,
        Self::DeltafanAgain,
    ];

    /// As it is called in raw results.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Deltafan => "deltafan",
            Self::DeltafanAgain => "deltafan-again",
            Self::RedpandaConnect => "redpanda-connect",
            Self::RedpandaConnectTuned => "redpanda-connect-tuned",
            Self::KafkaStreams => "kafka-streams",
            Self::BareLoop => "bare-loop",
            Self::BareLanes => "bare-lanes",
        }
    }

    /// Whether it is the processor that this project is about.
    pub(super) const fn is_deltafan(self) -> bool {
        matches!(self, Self::Deltafan | Self::DeltafanAgain)
    }
}

impl Task<'_> {
    /// Starts the contender.
    pub(super) fn start(&self, contender: Contender) -> Result<Program> {
        match contender {
            Contender::Deltafan | Contender::DeltafanAgain => self.deltafan(),
            Contender::RedpandaConnect => self.spawn(self.redpanda_connect("as-written.yaml")?),
            Contender::RedpandaConnectTuned => {
                let mut command = self.redpanda_connect("tuned.yaml")?;
                command.env("GOGC", "400");
                self.spawn(command)
            }
            Contender::KafkaStreams => {
                let mut program = self.spawn(self.kafka_streams()?)?;
                self.goes_on(&mut program)?;
                Ok(program)
            }
            Contender::BareLoop => self.spawn(self.bare(1)?),
            Contender::BareLanes => self.spawn(self.bare(2)?),
        }
    }

    /// Tells Kafka Streams what to drain next.
    pub(super) fn goes_on(&self, program: &mut Program) -> Result<()> {
        let commands = program.commands.as_mut().context("it takes no commands")?;
        writeln!(commands, "{} {} {}", self.topic, self.name, self.name)?;
        Ok(())
    }

    fn deltafan(&self) -> Result<Program> {
        let lanes = Lanes {
            name: self.name,
            topic: self.topic,
            contents_topic: self.contents_topic,
            brokers: &self.addresses.kafka_brokers,
            redis_url: Some(&self.addresses.redis_url),
            receiver: Some(&self.options.receiver),
            workers: WORKERS,
            window: WINDOW,
            discards: 0,
        };
        let (running, watched) = lanes.run(&self.options.deltafan)?;
        Ok(Program { watched, commands: None, running })
    }

    fn redpanda_connect(&self, config: &str) -> Result<Command> {
        let program = built(self.options.redpanda_connect.as_deref())?;
        let configs = built(self.options.redpanda_connect_config.as_deref())?;
        let mut command = Command::new(program);
        command.arg("run").arg(configs.join(config));
        command.env("CHECKPOINT_LIMIT", (UNDER_WAY / self.options.partitions.max(1)).to_string());
        command.env("ROW", if self.options.with_schema { "this.payload.after" } else { "this.after" });
        command.env("DATABASE_DSN", format!("{}?sslmode=disable", self.addresses.postgres_url));
        Ok(command)
    }

    fn kafka_streams(&self) -> Result<Command> {
        let jars = built(self.options.kafka_streams.as_deref())?;
        let mut command = Command::new(&self.options.java);
        command.args(["-Xms512m", "-Xmx512m", "-XX:+UseParallelGC", "-cp"]);
        command.arg(jars.join("*"));
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("deltafan.bench.Peer");
        // A thread for each core, but not more than there are partitions to share out.
        command.env("THREADS", self.options.partitions.clamp(1, 2).to_string());
        command.env("STATE_DIR", std::env::temp_dir().join(self.name));
        Ok(command)
    }

    fn bare(&self, lanes: u8) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").args(["--lanes", &lanes.to_string()]);
        Ok(command)
    }

    /// Its log lies in the system's temporary folder, under the task's name.
    fn spawn(&self, mut command: Command) -> Result<Program> {
        let log = File::create(std::env::temp_dir().join(format!("{}.log", self.name)))?;
        let mut child = command
            .env("KAFKA_BROKERS", &self.addresses.kafka_brokers)
            .env("REDIS_URL", &self.addresses.redis_url)
            .env("POSTGRES_URL", &self.addresses.postgres_url)
            .env("WEBHOOK_URL", format!("http://{}/webhook", self.options.receiver))
            .env("TOPIC", self.topic)
            .env("GROUP", self.name)
            .env("BOARD", self.name)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} can't be started", command.get_program().display()))?;
        let watched = Watched { name: "program", pid: child.id() };
        let commands = child.stdin.take();
        Ok(Program { watched, commands, running: Running::new(child) })
    }
}

fn built(path: Option<&Path>) -> Result<&Path> {
    path.context("it is not built: start this as bench/run peers, which builds it")
}
