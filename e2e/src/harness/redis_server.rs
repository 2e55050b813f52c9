//! A Redis server of a scenario's own, with nothing but snapshots on disk: killed, started again on another copy, made a
//! replica of another one and promoted.

use super::bench::Bench;
use super::process::{Process, Recipe};
use super::redis::Redis;
use super::wait::{self, Look, seen_if};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);

/// A server that was started.
pub struct RedisServer {
    /// `host:port`.
    pub address: String,
    /// How to speak to it.
    pub redis: Redis,
    process: Process,
    folder: PathBuf,
}

impl RedisServer {
    /// Starts an empty one whose files are in a folder of this name.
    pub async fn start(bench: &Bench, name: &str) -> Result<Self> {
        let address = bench.stack.free_address()?;
        let (host, port) = address.rsplit_once(':').context("an address without a port")?;
        let folder = bench.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let path = folder.to_str().context("the folder's name is no UTF-8")?;
        let arguments =
            ["--bind", host, "--port", port, "--dir", path, "--save", "", "--repl-diskless-sync-delay", "0"];
        let recipe = Recipe {
            name: format!("the Redis `{name}`"),
            program: "redis-server".into(),
            arguments: arguments.iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            log: bench.folder.join(format!("{name}.log")),
        };
        let redis = Redis::new(&format!("redis://{address}"))?;
        let server = Self { address: address.clone(), redis, process: recipe.start()?, folder };
        server.answers().await?;
        Ok(server)
    }

    async fn answers(&self) -> Result<()> {
        wait::until("Redis answers", START, async || Ok(Look::Seen(self.redis.run(&["PING"]).await?))).await
    }

    /// The file in which it keeps what `SAVE` writes, and which it reads when it starts.
    pub fn dump(&self) -> PathBuf {
        self.folder.join("dump.rdb")
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it on what lies in its folder.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.answers().await
    }

    /// Makes it a replica of the server at `address`, and waits until it has its data.
    pub async fn follow(&self, address: &str) -> Result<()> {
        let (host, port) = address.rsplit_once(':').context("an address without a port")?;
        self.redis.run(&["REPLICAOF", host, port]).await?;
        wait::until("the replica has its data", START, async || {
            let mut connection = self.redis.connect().await?;
            let info: String =
                redis::cmd("INFO").arg("replication").query_async(&mut connection).await.context("INFO")?;
            Ok(seen_if(info.contains("master_link_status:up"), || info.clone()))
        })
        .await
    }

    /// Makes it a master.
    pub async fn promote(&self) -> Result<()> {
        self.redis.run(&["REPLICAOF", "NO", "ONE"]).await
    }
}
