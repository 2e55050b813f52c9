//! The Redis sink: rolling windows, each a plain sorted set with the sums of the last minutes.
//!
//! A window is one atomic unit: the public key that clients read and its companions in the same hash slot, changed by
//! scripts alone (`lua/`, where the head of `prelude.lua` names every key). A script applies a batch *and* moves the
//! positions of the batch's partitions, by compare and set: so what was written is never in doubt.
//!
//! # Why an effect happens once
//!
//! * A write names, for each partition, the position it expects. Redis compares, and applies all or nothing. Whoever
//!   comes second, be it this worker after a lost answer or a zombie, is refused and told what is held; what
//!   lies below is then left out. Nothing is ever added twice.
//! * A window that stands further back than a write begins, or holds nothing, refuses it: the lane goes back. Nothing is
//!   ever left out. Only a partition that the window itself said to hold nothing of may get a first position, once.
//! * Every window has an *incarnation*, a random id given when it is created. A write names the one it believes in, so a
//!   Redis that was emptied, also one that others have begun to fill again, is never taken for the one before. The
//!   [`Ticker`] notices it while nothing is written.
//! * Where the log holds changes a second time, the order of the source breaks ([`order`]): the window is made anew from the
//!   table, and from there on leaves out what that had.
//! * Windows of one lane are independent of each other: each holds positions of its own, and the lane goes back to the
//!   lowest.
//!
//! # Why the sums are right
//!
//! A contribution sits in the bucket of its second. A total is at any time the sum of its cells in all buckets that
//! count; expiry and admission move whole cells, in pieces of any size, and no record reaches a bucket that has
//! expired. So when nothing is due, the totals are those of the window. [`encode`] says what a row contributes.
//!
//! # Leaderboards by content type
//!
//! Their cells and totals are those of contents; Redis adds the totals up by type. The types are told to it beside the
//! writes, by whoever knows them: with the contents of a batch, and by the [`Ticker`] when a content changes or a window
//! lacks one. So such a lane waits for no content either, and a content that changes its type takes its sum along.

mod belief;
mod client;
mod config;
mod encode;
mod error;
mod opening;
mod order;
mod pack;
mod past;
mod ranking;
mod reading;
mod script;
mod ticker;

#[cfg(test)]
mod tests;

pub use config::{Settings, SettingsError, Window};
pub use encode::{Cell, Cells, MAX_MEMBERS, Member, WindowBatch};
pub use order::{Replay, Sign};
pub use past::{Base, Past, PastError, Rows, Telling};
pub use ranking::{By, Contents, Learnt};
pub use reading::{Reading, read};
pub use ticker::{Incomplete, Lacking, Seen, Standing, Ticker};

use self::belief::{Belief, Plan};
use self::client::Client;
use self::encode::Wanted;
use self::error::paused;
use self::opening::Halfway;
use self::script::{Answer, Keys, SCRIPTS, Scripts};
use crate::position::{Held, LogId, Partition, Positions, Reset, Span, Spans};
use crate::sink::{Class, Sink, SinkError, Write, Written};
use crate::transform::Content;
use redis::Cmd;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

/// How often a write is tried anew in one call because somebody else moved the same positions. Two owners of a partition
/// meet for the moment of a rebalance only.
const MAX_ROUNDS: usize = 8;

/// The windows of one lane, as one worker writes to them.
pub struct RedisWindow {
    windows: Vec<Unit>,
    wanted: Wanted,
    contents: Arc<dyn Contents>,
    past: Arc<dyn Past>,
    /// Held by the worker of this process that makes windows anew.
    making: Arc<Mutex<()>>,
    /// Since when the past that is wanted can't be told.
    past_missing: Option<Instant>,
    client: Client,
    scripts: &'static Scripts,
    seen: watch::Receiver<Seen>,
    /// How often Redis may have become another before the window was last asked where it stands.
    breaks: u64,
    max_records: usize,
    /// Whether the log has the order of the source.
    is_ordered: bool,
    /// Hears of breaks in that order.
    replayed: Arc<dyn Fn(&Replay) + Send + Sync>,
    /// The reset that is to be obeyed when the windows are opened next; 0 where none is.
    reset: i64,
}

/// One window.
struct Unit {
    window: Window,
    keys: Keys,
    belief: Belief,
    /// Where somebody was seen to fill it.
    halfway: Option<Halfway>,
}

/// How a write ended for one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Applied,
    Behind,
}

impl RedisWindow {
    /// A sink for the windows of `settings`; connects when it is first used. `seen` is what a [`Ticker`] of the same
    /// settings tells.
    pub fn new(settings: &Settings, seen: watch::Receiver<Seen>) -> Self {
        Self::with(settings, seen, &SCRIPTS)
    }

    fn with(settings: &Settings, seen: watch::Receiver<Seen>, scripts: &'static Scripts) -> Self {
        let unit = |window: &Window| Unit {
            window: window.clone(),
            keys: Keys::of(window),
            belief: Belief::default(),
            halfway: None,
        };
        let windows: Vec<Unit> = settings.windows.iter().map(unit).collect();
        let wanted = Wanted {
            contents: settings.windows.iter().any(|window| window.members() != By::Device),
            devices: settings.windows.iter().any(|window| window.members() == By::Device),
        };
        Self {
            windows,
            wanted,
            contents: Arc::clone(&settings.contents),
            past: Arc::clone(&settings.past),
            making: Arc::clone(&settings.making),
            past_missing: None,
            client: Client::new(settings),
            scripts,
            seen,
            breaks: 0,
            max_records: settings.max_records,
            is_ordered: settings.is_ordered,
            replayed: Arc::clone(&settings.replayed),
            reset: 0,
        }
    }

    /// The lowest position over the windows; a partition that one of them holds nothing of is missing.
    fn lowest(&self, partitions: impl Iterator<Item = Partition>) -> Positions {
        let lowest = |partition: Partition| {
            let held = self.windows.iter().map(|unit| unit.belief.held(partition));
            held.reduce(|one, other| Some(one?.min(other?))).flatten().map(|offset| (partition, offset))
        };
        partitions.filter_map(lowest).collect()
    }

    /// The call that writes a batch to a window, without what the window has: by its positions, or by what it was made from.
    fn call(&self, unit: &Unit, incarnation: &str, plan: &Plan, write: &Write<'_, WindowBatch>) -> Cmd {
        let batch = write.batch;
        let rest = (!plan.left_out.is_empty()).then(|| batch.cells_without(&plan.left_out));
        let (cells, by) = (rest.as_ref().unwrap_or(batch.cells()), unit.window.members());
        let types = if by == By::ContentType { self.known(cells) } else { BTreeMap::new() };
        let types = types.iter().map(|(id, content)| (*id, &**content));
        unit.keys.apply(&self.scripts.apply, incarnation, &plan.moves, (cells, by), types)
    }

    /// The contents of some cells, as far as they are known.
    fn known(&self, cells: &Cells) -> BTreeMap<Uuid, Arc<Content>> {
        let content = |(_, member): &(i64, Member)| match member {
            Member::Content(id) => Some((*id, self.contents.get(*id)?)),
            Member::Device(_) => None,
        };
        cells.keys().filter_map(content).collect()
    }

    /// Writes to every window that has not ended yet; answers how each one ended, if it did.
    async fn round(
        &mut self,
        write: &Write<'_, WindowBatch>,
        ended: &mut [Option<Ended>],
    ) -> Result<(), SinkError> {
        let mut sent: Vec<(usize, Plan)> = Vec::new();
        let mut calls: Vec<Cmd> = Vec::new();
        let mut broken: Vec<(usize, Replay)> = Vec::new();
        for (index, (unit, ended)) in self.windows.iter().zip(ended.iter_mut()).enumerate() {
            match unit.belief.incarnation() {
                _ if ended.is_some() => {}
                None => *ended = Some(Ended::Behind),
                Some(incarnation) => {
                    let log = (write.log, self.is_ordered);
                    match unit.belief.plan(log, write.spans, write.batch.stamps()) {
                        Ok(plan) => {
                            calls.push(self.call(unit, incarnation, &plan, write));
                            sent.push((index, plan));
                        }
                        Err(replay) => {
                            broken.push((index, replay));
                            *ended = Some(Ended::Behind);
                        }
                    }
                }
            }
        }
        self.give_up_replayed(&broken).await?;
        if calls.is_empty() {
            return Ok(());
        }
        let answers = self.client.run(&self.scripts.apply, calls).await?;
        for ((index, plan), answer) in sent.into_iter().zip(answers) {
            let (Some(unit), Some(ended)) = (self.windows.get_mut(index), ended.get_mut(index)) else {
                continue;
            };
            *ended = match Answer::read(answer) {
                Some(Answer::Done) => {
                    unit.belief.moved(write.log, write.spans, plan);
                    Some(Ended::Applied)
                }
                Some(Answer::Held(held)) => {
                    let held = (held.offsets.as_slice(), held.reached.as_slice());
                    let behind = unit.belief.refused(write.log, write.spans, held);
                    behind.then_some(Ended::Behind)
                }
                Some(Answer::Gone) => {
                    unit.belief.gone();
                    Some(Ended::Behind)
                }
                _ => return Err(unknown_answer(self.client.address())),
            };
        }
        Ok(())
    }
}

impl Sink for RedisWindow {
    type Batch = WindowBatch;

    const WANTS_CONTENT: bool = false;

    fn batch(&self) -> WindowBatch {
        WindowBatch::new(self.max_records, self.wanted)
    }

    /// A window is one sum over all partitions: what one of them added can't be told from the rest. So whichever is reset,
    /// and wherever to, the windows are emptied and counted anew from what Kafka still has.
    async fn reset(&mut self, _log: &LogId, reset: &Reset) -> Result<(), SinkError> {
        self.reset = reset.id;
        Ok(())
    }

    /// A window that stands before what Kafka keeps has nothing to go on with. What is delivered again from the dead letters is in no
    /// table: that is lost.
    async fn missed(&mut self, _log: &LogId, missing: &[Span]) -> Result<(), SinkError> {
        if !self.is_ordered {
            return Ok(());
        }
        let lacks =
            |unit: &Unit, span: &Span| unit.belief.held(span.partition).is_some_and(|held| held < span.to);
        let lacking =
            |(index, unit): (usize, &Unit)| missing.iter().any(|span| lacks(unit, span)).then_some(index);
        let lacking: Vec<_> = self.windows.iter().enumerate().filter_map(lacking).collect();
        for index in lacking {
            if self.give_up(index, None).await? {
                let key = self.windows.get(index).map_or("", |unit| unit.window.key());
                tracing::warn!(key, "kafka no longer has what comes next for a leaderboard: it is made anew");
            }
        }
        Ok(())
    }

    async fn positions(&mut self, log: &LogId, partitions: &[Partition]) -> Result<Held, SinkError> {
        // What the ticker saw up to here is settled by asking; what it sees from here on is news.
        self.breaks = self.seen.borrow_and_update().breaks;
        // Of whoever has the address now: an old connection may lead to a server that was replaced.
        self.client.renew(Duration::ZERO);
        self.open(log, partitions).await?;
        self.reset = 0;
        Ok(Held::At(self.lowest(partitions.iter().copied())))
    }

    async fn write(&mut self, write: Write<'_, WindowBatch>) -> Result<Written, SinkError> {
        if write.spans.is_empty() {
            return Ok(Written::Durable { rejected: Vec::new() });
        }
        let mut ended = vec![None; self.windows.len()];
        for _ in 0..MAX_ROUNDS {
            self.round(&write, &mut ended).await?;
            if ended.iter().all(|ended| *ended == Some(Ended::Applied)) {
                return Ok(Written::Durable { rejected: Vec::new() });
            }
            if ended.iter().all(Option::is_some) {
                return Ok(Written::Behind(Held::At(self.lowest(partitions_of(write.spans)))));
            }
        }
        Err(contended(self.client.address(), "somebody else keeps moving the same positions"))
    }

    /// A window was lost, or made anew by somebody else; or Redis was away, and may have come back as it was before.
    async fn disturbed(&mut self) {
        while self.seen.changed().await.is_ok() {
            let seen = self.seen.borrow_and_update();
            if seen.reachable && seen.breaks != self.breaks {
                return;
            }
            let other = |(unit, standing): (&Unit, &Standing)| match (unit.belief.incarnation(), standing) {
                (Some(_), Standing::Gone) => true,
                (Some(believed), Standing::Here(is)) => believed != is,
                (None, _) | (_, Standing::Unknown) => false,
            };
            if self.windows.iter().zip(&seen.windows).any(other) {
                return;
            }
        }
        // The ticker has ended: nobody looks any more.
        std::future::pending().await
    }
}

fn partitions_of(spans: &Spans) -> impl Iterator<Item = Partition> {
    spans.iter().map(|span| span.partition)
}

fn pick<'a>(windows: &'a [Unit], indices: &'a [usize]) -> impl Iterator<Item = &'a Unit> {
    indices.iter().filter_map(|index| windows.get(*index))
}

/// An id that no other window ever had: 64 random bits.
fn new_incarnation() -> String {
    let (id, _) = Uuid::new_v4().as_u64_pair();
    format!("{id:016x}")
}

fn unknown_answer(address: &str) -> SinkError {
    paused(address, "a script was answered in an unknown way", "look for another program that uses the keys")
}

fn other_window(address: &str, window: &Window, length_s: i64, by: &str) -> SinkError {
    let problem = format!(
        "the window `{}` is kept there with a length of {length_s} s, by {by}; the configuration says {} s, by {}",
        window.key(),
        window.length_s(),
        window.members()
    );
    paused(address, problem, "give the changed window another key, or remove the key and its companions")
}

fn contended(address: &str, problem: &str) -> SinkError {
    SinkError {
        class: Class::Retry { after: None },
        message: format!("redis at {address}: {problem}"),
        remedy: None,
        source: None,
    }
}
