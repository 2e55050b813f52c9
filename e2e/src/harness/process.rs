//! Child processes: started with their output in a file, killed, frozen, asked to stop, started again.
//!
//! A child dies when its [`Process`] is dropped, and is signalled only while it is ours and not yet reaped, so that a signal
//! never reaches a stranger.

use super::wait::{self, seen_if};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often the end of a process is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// How to start a process.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What messages call it.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment, beside `PATH`.
    pub env: BTreeMap<String, String>,
    /// Where its output goes, behind what is there.
    pub log: PathBuf,
}

/// A process that was started.
#[derive(Debug)]
pub struct Process {
    recipe: Recipe,
    child: Child,
}

impl Recipe {
    /// Starts it.
    pub fn start(self) -> Result<Process> {
        let child = self.spawn()?;
        Ok(Process { recipe: self, child })
    }

    /// Starts it where nobody reads what it prints: it stands still at the first word that it wants to say. Errors still go to
    /// its log.
    pub fn start_unheard(self) -> Result<(Process, Unheard)> {
        let (unheard, full) = Unheard::full()?;
        let child = self.spawn_with(OwnedFd::from(full).into(), self.open_log()?.into())?;
        Ok((Process { recipe: self, child }, unheard))
    }

    /// Runs it to its end; its exit status and all it has printed.
    pub async fn run(self, within: Duration) -> Result<(ExitStatus, String)> {
        let name = self.name.clone();
        let log = self.log.clone();
        let mut process = self.start()?;
        let status = process.ended(within).await.with_context(|| format!("{name} does not end"))?;
        let said = std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok((status, said))
    }

    fn spawn(&self) -> Result<Child> {
        let log = self.open_log()?;
        let also = log.try_clone()?;
        self.spawn_with(log.into(), also.into())
    }

    fn open_log(&self) -> Result<File> {
        let open = OpenOptions::new().create(true).append(true).open(&self.log);
        open.with_context(|| format!("cannot write {}", self.log.display()))
    }

    fn spawn_with(&self, output: Stdio, errors: Stdio) -> Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))
    }
}

/// The end of an output at which nobody reads.
pub struct Unheard {
    end: UnixStream,
    /// What took all its room.
    filled: usize,
}

impl Unheard {
    /// One without room, and what is to be written to.
    fn full() -> Result<(Self, UnixStream)> {
        let (end, mut full) = UnixStream::pair()?;
        full.set_nonblocking(true)?;
        let mut filled = 0;
        loop {
            match full.write(&[0; 4096]) {
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("an output can't be filled"),
            }
        }
        // Whoever writes next waits for room.
        full.set_nonblocking(false)?;
        Ok((Self { end, filled }, full))
    }

    /// How many bytes were printed all the same, by one that has ended.
    pub fn printed(mut self) -> Result<usize> {
        Ok(self.end.read_to_end(&mut Vec::new())? - self.filled)
    }
}

impl Process {
    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, and waits until it is gone. It must have been running.
    pub fn kill(&mut self) -> Result<()> {
        if !self.runs() {
            bail!("{} is not running, so there is nothing to kill", self.recipe.name);
        }
        self.child.kill().with_context(|| format!("cannot kill {}", self.recipe.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, once it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        if self.runs() {
            bail!("{} still runs", self.recipe.name);
        }
        self.child = self.recipe.spawn()?;
        Ok(())
    }

    /// SIGTERM, and waits until it has ended.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.ask_to_end()?;
        self.ended(within).await
    }

    /// SIGTERM.
    pub fn ask_to_end(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// SIGSTOP, and waits until the kernel has stopped it.
    pub async fn freeze(&mut self, within: Duration) -> Result<()> {
        self.signal("STOP")?;
        wait::until(&format!("{} is frozen", self.recipe.name), within, async || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
            // The state follows the name, which is in parentheses and may hold anything.
            let state = stat.rsplit(") ").next().unwrap_or_default().chars().next();
            Ok(seen_if(state == Some('T'), || format!("its state is {state:?}")))
        })
        .await
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&mut self, name: &str) -> Result<()> {
        if !self.runs() {
            bail!("{} is not running, so SIG{name} can't reach it", self.recipe.name);
        }
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status()?;
        if !sent.success() {
            bail!("SIG{name} did not reach {}", self.recipe.name);
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {:.1} s", self.recipe.name, within.as_secs_f64());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
