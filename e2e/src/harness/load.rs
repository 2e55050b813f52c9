//! Load: rows that come in by `deltafan generate` and by COPY at the same time.

use super::bench::Bench;
use super::db::Db;
use super::process::Process;
use super::wait::{self, seen_if};
use anyhow::{Result, ensure};
use std::fmt::Write;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

/// What comes in for as long as a load runs.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Rows per second by `deltafan generate`.
    pub rate: u32,
    /// Rows of each COPY.
    pub copy_rows: u32,
    /// From one COPY to the next.
    pub copy_every: Duration,
}

/// A load that runs until it is finished. The scenario says when: a clock would on a slow machine be through too early.
pub struct Load {
    db: Db,
    generator: Process,
    copies: JoinHandle<Result<()>>,
    stop: oneshot::Sender<()>,
}

/// How long rows may take to come in: a scenario that takes longer is at its end anyway.
const COMING_IN: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(30);
/// How Postgres knows the generator.
const GENERATOR: &str = "e2e-generator";

impl Load {
    /// Starts it.
    pub async fn start(bench: &Bench, flow: Flow) -> Result<Self> {
        let url = bench.stack.get("POSTGRES_URL")?;
        let mut generator = bench.deltafan("generate", &["generate", "--rate", &flow.rate.to_string()]);
        generator.env.insert("POSTGRES_URL".to_owned(), format!("{url}?application_name={GENERATOR}"));
        let generator = generator.start()?;
        let db = Db::connect(url).await?;
        let contents = db.texts("SELECT id::text FROM content ORDER BY id", &[]).await?;
        let (stop, stopped) = oneshot::channel();
        let copies = tokio::spawn(copy_often(Db::connect(url).await?, contents, flow, stopped));
        Ok(Self { db, generator, copies, stop })
    }

    /// Whether rows still come in.
    pub fn runs(&mut self) -> bool {
        self.generator.runs() && !self.copies.is_finished()
    }

    /// Stops it once there are at least `least_rows` rows; how many there are.
    pub async fn finish(mut self, least_rows: i64) -> Result<i64> {
        wait::until(&format!("{least_rows} rows come in"), COMING_IN, async || {
            let rows = self.db.count_events().await?;
            Ok(seen_if(rows >= least_rows || !self.runs(), || format!("{rows} have come")))
        })
        .await?;
        // Nobody listens where the COPYs have ended by themselves: then they say why.
        let _ = self.stop.send(());
        self.copies.await??;
        let status = self.generator.terminate(STOP).await?;
        ensure!(status.success(), "deltafan generate ended with {status}");
        // Its last INSERT may outlive it.
        wait::until("the generator's session ends", STOP, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
            let sessions: i64 = self.db.value(sql, &[&GENERATOR]).await?;
            Ok(seen_if(sessions == 0, || format!("{sessions} sessions")))
        })
        .await?;
        self.db.count_events().await
    }
}

async fn copy_often(
    db: Db,
    contents: Vec<String>,
    flow: Flow,
    mut stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let mut ticks = tokio::time::interval(flow.copy_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Between two COPYs, never within one.
            _ = &mut stopped => return Ok(()),
        }
        db.copy(COPY, lines(&contents, flow.copy_rows, "copy")).await?;
    }
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
