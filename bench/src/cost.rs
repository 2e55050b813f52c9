//! What processes cost, as the kernel counts it: CPU time and resident memory.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Clock ticks per second of `/proc/PID/stat`: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// How its row is called.
    pub name: &'static str,
    /// Its number.
    pub pid: u32,
}

impl Watched {
    /// A part of the stack, whose record lies in the folder of its state.
    ///
    /// # Errors
    /// It does not run.
    pub fn part(name: &'static str, state: &Path) -> Result<Self> {
        let record = state.join("run").join(name);
        let text = fs::read_to_string(&record)
            .with_context(|| format!("{name} does not run natively: no {}", record.display()))?;
        let pid = text.split_whitespace().next().context("an empty record")?.parse()?;
        Ok(Self { name, pid })
    }

    /// CPU seconds so far, in user and system mode together.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).context(self.name)?;
        let (_, fields) = stat.rsplit_once(") ").context("a strange stat")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok());
        Ok((ticks(11).context("no utime")? + ticks(12).context("no stime")?) / TICKS_PER_SECOND)
    }

    /// The most memory that was ever resident, in MiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_mib(&self) -> Result<f64> {
        self.status_mib("VmHWM:")
    }

    /// The memory that is resident now, in MiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_mib(&self) -> Result<f64> {
        self.status_mib("VmRSS:")
    }

    fn status_mib(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).context(self.name)?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}
