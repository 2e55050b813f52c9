//! The real systems, driven by `stack/stack` as a user would.

use super::wait::{self, seen_if};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

/// A stack that runs: its addresses and how to make it do things.
#[derive(Debug)]
pub struct Stack {
    root: PathBuf,
    state: PathBuf,
    binaries: PathBuf,
    env: BTreeMap<String, String>,
    /// Ports given to processes of scenarios so far, counted from the stack's own.
    ports: AtomicU16,
}

/// Ports for processes of scenarios: this many behind the admin port of the stack's own processor.
const MAX_PORTS: u16 = 400;
/// What the kernel may take to close the sockets of what was killed.
const DEAD: Duration = Duration::from_secs(10);

impl Stack {
    /// Opens the stack whose state is in `state`; `root` is the repository, and `binaries` the folder of our
    /// two programs.
    pub async fn open(root: PathBuf, state: PathBuf, binaries: PathBuf) -> Result<Self> {
        // `env` would make a new one, on the ports of somebody else.
        ensure!(state.join("port-offset").exists(), "there is no stack at {}", state.display());
        let mut stack = Self { root, state, binaries, env: BTreeMap::new(), ports: AtomicU16::new(1) };
        let text = stack.run(&["env"]).await?;
        stack.env = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(stack)
    }

    /// Runs `stack/stack VERB …` and returns what it prints.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.root.join("stack/stack"));
        command
            .arg("--state")
            .arg(&self.state)
            .args(arguments)
            .env("DELTAFAN_BIN_DIR", &self.binaries)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await?
            .context("stack/stack can't be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("stack/stack {}: {}: {}", arguments.join(" "), output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// SIGKILL for a server of the stack, and waits until the kernel has closed its port too.
    pub async fn kill(&self, part: &str) -> Result<()> {
        let url = match part {
            "redis" => "REDIS_URL",
            "postgres" => "POSTGRES_URL",
            "kafka" => "KAFKA_BROKERS",
            "kafka-connect" => "CONNECT_URL",
            _ => bail!("{part} is no server of the stack"),
        };
        let address = self.address(url)?;
        self.run(&["kill", part]).await?;
        wait::until(&format!("{part} is dead"), DEAD, async || {
            let listens = TcpStream::connect(&address).await.is_ok();
            Ok(seen_if(!listens, || format!("somebody listens on {address}")))
        })
        .await
    }

    /// One of the values of `stack/stack env`.
    pub fn get(&self, name: &str) -> Result<&str> {
        self.env.get(name).map(String::as_str).with_context(|| format!("stack/stack env names no {name}"))
    }

    /// `host:port` of one of the URLs of `stack/stack env`.
    pub fn address(&self, name: &str) -> Result<String> {
        host_of(self.get(name)?)
    }

    /// The repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of our programs.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// The stack's state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// All values of `stack/stack env`.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// One of our programs.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// An address of our own that nobody listens on.
    pub fn free_address(&self) -> Result<String> {
        let admin = self.get("ADMIN_LISTEN")?;
        let (host, port) = admin.rsplit_once(':').context("ADMIN_LISTEN has no port")?;
        let first: u16 = port.parse().context("ADMIN_LISTEN has no port")?;
        for _ in 0..MAX_PORTS {
            let next = self.ports.fetch_add(1, Ordering::Relaxed) % MAX_PORTS;
            let address = format!("{host}:{}", first.saturating_add(next));
            if TcpListener::bind(&address).is_ok() {
                return Ok(address);
            }
        }
        bail!("no free port behind {admin}")
    }
}

/// `host:port` of a URL, or of what is that already.
pub fn host_of(url: &str) -> Result<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    host.split('/').next().map(str::to_owned).context("an address without a host")
}
