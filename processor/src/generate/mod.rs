//! Generates engagement events in Postgres: something to watch, and the load of tests and benchmarks.
//!
//! What comes and when is pure: options ([`options`]) → contents ([`contents`], [`zipf`]) → changes ([`changes`]) at
//! their arrivals ([`arrivals`]) → a plan ([`plan`]) that fills batches ([`batch`]). Around it the clock, Postgres
//! ([`database`]) and what is shown ([`progress`]). Like a lane it waits for no timer: while a batch is written the next
//! changes arrive, so a batch is one change when it is quiet and many when it is busy.

mod arrivals;
mod batch;
mod changes;
mod contents;
mod database;
mod error;
mod options;
mod plan;
mod progress;
mod summary;
mod zipf;

pub use zipf::Zipf;

#[cfg(test)]
mod tests;

pub use self::error::GenerateError;
pub use self::options::{ContentCount, Exponent, Length, Load, OptionError, Rate, Share, Shares};
pub use self::progress::Progress;
pub use self::summary::Summary;

use self::batch::Batch;
use self::contents::Content;
use self::database::{Database, Fate, Note};
use self::plan::Plan;
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Ids are taken for about so many seconds at once, and so many at least and at most: an id that is taken is used up.
const IDS_FOR_S: f64 = 1.0;
const IDS: [f64; 2] = [16.0, 5_000.0];
/// How long a batch that is being written may take when we are asked to stop.
const LAST_BATCH: Duration = Duration::from_secs(5);
/// How often progress is shown while nothing comes.
const SHOWN: Duration = Duration::from_millis(250);

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was done, also where it went wrong.
    pub summary: Summary,
    /// Why it ended before it was done, where nobody had asked for that.
    pub error: Option<GenerateError>,
}

/// Generates until the load is done, Postgres refuses, or `stop` resolves.
pub async fn run(
    database_url: &str,
    load: &Load,
    progress: Progress,
    stop: impl Future<Output = ()>,
) -> Outcome {
    let mut run = Run { load, progress, summary: Summary::default(), began: Instant::now() };
    let ended = run.until_done(database_url, stop).await;
    run.progress.end();
    run.summary.at(run.began.elapsed());
    Outcome { summary: run.summary, error: ended.err() }
}

struct Run<'a> {
    load: &'a Load,
    progress: Progress,
    summary: Summary,
    began: Instant,
}

impl Run<'_> {
    async fn until_done(
        &mut self,
        database_url: &str,
        stop: impl Future<Output = ()>,
    ) -> Result<(), GenerateError> {
        let mut stop = std::pin::pin!(stop);
        let (mut database, mut plan) = tokio::select! {
            ready = ready(database_url, self.load) => ready?,
            () = &mut stop => return Ok(()),
        };
        let first_ids = ids_at_once(self.load.rate);
        let first = self.write(&mut database, &Batch::default(), first_ids, stop.as_mut()).await?;
        let Some(mut ids) = first.map(VecDeque::from) else { return Ok(()) };
        self.began = Instant::now();
        while self.arrived(&plan, stop.as_mut()).await {
            let now = self.began.elapsed();
            self.summary.was_behind(plan.next_at().map_or(Duration::ZERO, |at| now.saturating_sub(at)));
            let mut batch = Batch::default();
            plan.fill(now, &mut ids, &mut batch);
            let wanted = if ids.is_empty() { ids_at_once(self.load.rate) } else { 0 };
            let more = self.write(&mut database, &batch, wanted, stop.as_mut()).await?;
            let Some(more) = more else { return Ok(()) };
            ids.extend(more);
        }
        Ok(())
    }

    /// Waits for the next change; false where there is none any more, or we are to stop.
    async fn arrived(&mut self, plan: &Plan, mut stop: Pin<&mut impl Future<Output = ()>>) -> bool {
        while let Some(at) = plan.next_at() {
            let elapsed = self.began.elapsed();
            self.summary.at(elapsed);
            self.progress.show(self.load, &self.summary, elapsed);
            let left = at.saturating_sub(elapsed);
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                () = sleep(left.min(SHOWN)) => {}
                () = &mut stop => return false,
            }
        }
        false
    }

    /// Writes a batch and gives new ids; none where we are to stop.
    async fn write(
        &mut self,
        database: &mut Database,
        batch: &Batch,
        ids: i32,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Vec<i64>>, GenerateError> {
        let progress = &self.progress;
        let mut tell = |note: Note| progress.say(&note.to_string());
        let mut fate = Fate::Absent;
        let (written, stopped) = {
            let mut writing = std::pin::pin!(database.write(batch, ids, &mut fate, &mut tell));
            tokio::select! {
                written = &mut writing => (Some(written), false),
                () = stop => (timeout(LAST_BATCH, writing).await.ok(), true),
            }
        };
        match fate {
            Fate::Committed => self.summary.add(batch),
            Fate::InDoubt => self.summary.unsure(batch),
            Fate::Absent => {}
        }
        Ok(written.transpose()?.filter(|_| !stopped))
    }
}

/// A connection, and what is to come over it.
async fn ready(database_url: &str, load: &Load) -> Result<(Database, Plan), GenerateError> {
    let database = Database::connect(database_url).await?;
    let contents: Vec<Content> = match load.contents {
        Some(count) => database.make_contents(&contents::all(load.seed, count)).await?,
        None => database.contents().await?,
    };
    let plan = Plan::new(load, contents).ok_or(GenerateError::NoContent)?;
    Ok((database, plan))
}

#[allow(clippy::cast_possible_truncation, reason = "between two small bounds")]
fn ids_at_once(rate: Rate) -> i32 {
    let [least, most] = IDS;
    (rate.per_second() * IDS_FOR_S).clamp(least, most) as i32
}
