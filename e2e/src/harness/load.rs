//! Load: rows that come in by `deltafan generate` and by COPY at the same time.

use super::bench::Bench;
use super::db::Db;
use super::process::Process;
use anyhow::{Result, ensure};
use std::fmt::Write;
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How much comes in.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Rows per second by `deltafan generate`.
    pub rate: u32,
    /// Rows by `deltafan generate`.
    pub rows: u32,
    /// COPYs, evenly over the time that the generator takes.
    pub copies: u32,
    /// Rows of each COPY.
    pub copy_rows: u32,
}

/// A load that runs.
pub struct Load {
    generator: Process,
    copies: JoinHandle<Result<u64>>,
    amount: Amount,
}

const GRACE: Duration = Duration::from_secs(120);

impl Load {
    /// Starts it.
    pub async fn start(bench: &Bench, amount: Amount) -> Result<Self> {
        let (rate, rows) = (amount.rate.to_string(), amount.rows.to_string());
        let generator =
            bench.deltafan("generate", &["generate", "--rate", &rate, "--rows", &rows]).start()?;
        let db = Db::connect(bench.stack.get("POSTGRES_URL")?).await?;
        let contents = db.texts("SELECT id::text FROM content ORDER BY id", &[]).await?;
        let copies = tokio::spawn(copy_often(db, contents, amount));
        Ok(Self { generator, copies, amount })
    }

    /// Whether rows still come in.
    pub fn runs(&mut self) -> bool {
        self.generator.runs() || !self.copies.is_finished()
    }

    /// Waits for its end; how many rows have come in.
    pub async fn finish(mut self) -> Result<u64> {
        let status = self.generator.ended(GRACE).await?;
        ensure!(status.success(), "deltafan generate ended with {status}");
        Ok(u64::from(self.amount.rows) + self.copies.await??)
    }
}

async fn copy_often(db: Db, contents: Vec<String>, amount: Amount) -> Result<u64> {
    let pause = Duration::from_secs(1) * amount.rows / amount.rate.max(1) / amount.copies.max(1);
    let mut ticks = tokio::time::interval(pause);
    let mut rows = 0;
    for _ in 0..amount.copies {
        ticks.tick().await;
        rows += db.copy(COPY, lines(&contents, amount.copy_rows, "copy")).await?;
    }
    Ok(rows)
}

/// The statement for [`lines`].
pub const COPY: &str =
    "COPY engagement_events (content_id, user_id, event_type, duration_ms, device) FROM STDIN";

/// `count` rows of `device` in Postgres' text format.
pub fn lines(contents: &[String], count: u32, device: &str) -> String {
    let mut text = String::new();
    for (_, content) in (0..count).zip(contents.iter().cycle()) {
        let user = Uuid::from_u128(rand::random());
        let duration: u32 = rand::random_range(0..600_000);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{content}\t{user}\tplay\t{duration}\t{device}");
    }
    text
}
