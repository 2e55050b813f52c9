//! Transactions of all sizes beside what `deltafan generate` writes: rows come, change, go and get other keys.

use super::plan::{Burst, Does, Shape};
use crate::harness::Bench;
use crate::harness::db::Db;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Tells these rows from those of the generator, which knows which are there and wants them left alone.
const DEVICE: &str = "transaction";

/// Transactions that come one after the other until they are told to end.
pub struct Transactions {
    running: Option<JoinHandle<Result<()>>>,
    stop: Option<oneshot::Sender<()>>,
    paused: Arc<AtomicBool>,
}

impl Transactions {
    /// Starts them.
    pub async fn start(bench: &Bench, load: &Shape) -> Result<Self> {
        let db = Db::connect(bench.stack.get("POSTGRES_URL")?).await?;
        let (stop, stopped) = oneshot::channel();
        let paused = Arc::new(AtomicBool::new(false));
        let running = tokio::spawn(run(db, load.bursts.clone(), Arc::clone(&paused), stopped));
        Ok(Self { running: Some(running), stop: Some(stop), paused })
    }

    /// Begins none while it is so.
    pub fn pause(&self, is_paused: bool) {
        self.paused.store(is_paused, Ordering::Relaxed);
    }

    /// Whether they go on.
    pub fn run(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_finished())
    }

    /// Ends them between two.
    pub async fn finish(&mut self) -> Result<()> {
        if let Some(stop) = self.stop.take() {
            // Nobody listens where they have ended by themselves: then they say why.
            let _ = stop.send(());
        }
        match self.running.take() {
            Some(running) => running.await.context("the transactions")?,
            None => Ok(()),
        }
    }
}

async fn run(
    db: Db,
    bursts: Vec<Burst>,
    paused: Arc<AtomicBool>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<()> {
    for Burst { does, rows, pause } in bursts.iter().cycle() {
        // Postgres may be away, and say so in the middle: what was committed is what its trigger has kept.
        if !paused.load(Ordering::Relaxed) {
            let _ = db.run(&statements(*does, *rows)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            _ = &mut stopped => return Ok(()),
        }
    }
    Ok(())
}

/// The statements of a transaction.
pub(super) fn statements(does: Does, rows: u32) -> String {
    let of = |order: &str| {
        format!(
            "(SELECT id FROM engagement_events WHERE device = '{DEVICE}' ORDER BY id {order} LIMIT {rows})"
        )
    };
    let insert = format!(
        "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device)
         SELECT content.id, uuid_generate_v4(), 'play', (random() * 600000)::int, '{DEVICE}'
         FROM generate_series(1, {rows}) AS n
         JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM content) AS content
           ON content.place = 1 + n % (SELECT count(*) FROM content);"
    );
    let update = format!(
        "UPDATE engagement_events SET duration_ms = (random() * 600000)::int,
             content_id = (SELECT id FROM content ORDER BY id OFFSET {} LIMIT 1)
         WHERE id IN {};",
        rows % 3,
        of("DESC")
    );
    let delete = format!("DELETE FROM engagement_events WHERE id IN {};", of("ASC"));
    let rekey = format!(
        "UPDATE engagement_events SET id = nextval('engagement_events_id_seq') WHERE id IN {};",
        of("ASC")
    );
    match does {
        Does::Insert => insert,
        Does::Update => update,
        Does::Delete => delete,
        Does::Rekey => rekey,
        Does::All => format!("BEGIN; {insert} {update} {delete} COMMIT;"),
    }
}
