//! Sinks that hold events: waits until their lane has passed the mark, reads what they hold, and compares it.

use super::VerifyError;
use super::contents::Contents;
use super::event::kept;
use super::files;
use super::finding::{Kind, Tally};
use super::gather::{Changes, Gathered, push, too_many};
use super::history::{Kept, Lane};
use super::log::Log;
use super::pipeline::{LOOK, SLACK_US, Verification, blocking};
use super::receiver::Receiver;
use super::report::Compared;
use crate::config::{Start, Target};
use crate::dlq::{Ledger, Letter};
use crate::position::{Offset, Partition, Positions};
use crate::source::reader::message::record;
use rdkafka::message::Message;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;
use uuid::Uuid;

/// Where a sink's events are.
pub(super) enum Events {
    /// At a receiver.
    At(Receiver),
    /// In files.
    In(PathBuf),
}

/// What a sink holds.
#[derive(Default)]
struct Held {
    kept: Vec<Kept>,
    /// Events that can't be read, with the reason.
    broken: Vec<String>,
    /// Where to go on for older ones, where there may be some that were not read.
    rest: Option<i64>,
    /// Whether it has deleted events.
    is_pruned: bool,
}

impl Events {
    /// The events of a target, where it holds any.
    pub(super) fn of(target: &Target) -> Result<Option<Self>, VerifyError> {
        Ok(match target {
            Target::RedisWindow(_) | Target::Discard => None,
            Target::Webhook(webhook) => Some(Self::At(Receiver::new(webhook.url.expose())?)),
            Target::Files(files) => Some(Self::In(files.path.as_str().into())),
        })
    }
}

impl Verification<'_> {
    /// Compares what a sink holds with the log and the table.
    pub(super) async fn compare_events(
        &self,
        sink: &str,
        events: &Events,
        log: &Log,
        gathered: &mut Gathered,
        contents: &Contents,
    ) -> Result<Compared, VerifyError> {
        let offsets = self.wait_for_lane(sink, log, gathered).await?;
        let mut held = self.read_events(sink, events, contents).await?;
        self.read_on(log, gathered).await?;
        let mut lane = self.lane(sink, events, log).await?;
        if held.is_pruned || self.pipeline.start == Start::Latest {
            lane.begins = first_held(gathered, &held.kept);
        }
        self.progress.step(format!("comparing {sink} with the table"));
        let mut tally = Tally::new(self.options.limit);
        let incomplete = gathered.lists.compare_kept(&held.kept, gathered.beginning, &lane, &mut tally);
        if !incomplete.is_empty() && self.read_rest(events, contents, &incomplete, &mut held).await? {
            tally = Tally::new(self.options.limit);
            gathered.lists.compare_kept(&held.kept, gathered.beginning, &lane, &mut tally);
        }
        for broken in held.broken {
            tally.find(Kind::Extra, broken);
        }
        Ok(Compared { what: sink.to_owned(), failed: None, offsets, tally })
    }

    /// Waits until the lane's committed offsets have passed the mark.
    async fn wait_for_lane(
        &self,
        sink: &str,
        log: &Log,
        gathered: &Gathered,
    ) -> Result<Positions, VerifyError> {
        // Of a partition without records a lane need not commit anything.
        let is_empty =
            |partition: &Partition, end: &Offset| gathered.lows.get(partition).is_none_or(|low| low >= end);
        let ends: Positions =
            gathered.ends.iter().filter(|(p, end)| !is_empty(p, end)).map(|(p, end)| (*p, *end)).collect();
        self.progress.step(format!("waiting until {sink} has passed the mark"));
        let group = format!("deltafan.{}.{sink}", self.name);
        let began = Instant::now();
        loop {
            let (log, of) = (log.clone(), group.clone());
            let committed = blocking(move || log.committed(&of)).await?;
            let behind =
                ends.iter().filter(|(partition, end)| committed.get(partition).is_none_or(|at| at < end));
            let behind: Vec<_> = behind
                .map(|(partition, end)| {
                    let at = committed.get(partition).map_or("nothing".to_owned(), ToString::to_string);
                    format!("partition {partition} at {at} of {end}")
                })
                .collect();
            if behind.is_empty() {
                return Ok(committed);
            }
            if began.elapsed() >= self.options.wait {
                return Err(VerifyError::Away(format!(
                    "its lane has not passed the mark within {} s ({}); see whether it runs, is paused or waits (/readyz of deltafan \
                     run), or wait longer by --wait",
                    self.options.wait.as_secs(),
                    behind.join(", ")
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn read_events(
        &self,
        sink: &str,
        events: &Events,
        contents: &Contents,
    ) -> Result<Held, VerifyError> {
        let since_us = self.range.since_us.saturating_sub(SLACK_US);
        let (mut held, mut count) = (Held::default(), 0);
        let what = format!("reading the events of {sink}");
        match events {
            Events::At(receiver) => {
                held.is_pruned = receiver.has_pruned().await?;
                let (list, broken) = (&mut held.kept, &mut held.broken);
                held.rest = receiver
                    .read(None, since_us, |json| {
                        self.progress.count(&mut count, &what);
                        self.take(json, 0, contents, (&mut *list, &mut *broken));
                    })
                    .await?;
            }
            Events::In(folder) => {
                let (list, broken) = (&mut held.kept, &mut held.broken);
                let mut seq = 0;
                held.is_pruned = files::read(folder, since_us, |json| {
                    seq += 1;
                    self.progress.count(&mut count, &what);
                    self.take(json, seq, contents, (&mut *list, &mut *broken));
                })?;
            }
        }
        too_many(held.kept.len())?;
        held.kept.sort_unstable_by_key(|kept| (kept.id, kept.seq));
        Ok(held)
    }

    fn take(
        &self,
        json: &str,
        seq: i64,
        contents: &Contents,
        (list, broken): (&mut Vec<Kept>, &mut Vec<String>),
    ) {
        match kept(json, seq, contents, &self.range) {
            Ok(kept) => push(list, kept),
            Err(why) if broken.len() < self.options.limit => {
                let beginning: String = json.chars().take(120).collect();
                broken.push(format!("an event that can't be read: {why}: {beginning}"));
            }
            Err(_) => {}
        }
    }

    /// Looks for rows among older events; answers whether any was found.
    async fn read_rest(
        &self,
        events: &Events,
        contents: &Contents,
        rows: &[i64],
        held: &mut Held,
    ) -> Result<bool, VerifyError> {
        let (Events::At(receiver), Some(rest)) = (events, held.rest) else { return Ok(false) };
        let wanted: BTreeSet<i64> = rows.iter().copied().collect();
        let mut found = Vec::new();
        let take = |json: &str| {
            let kept = kept(json, 0, contents, &self.range).ok();
            found.extend(kept.filter(|kept| wanted.contains(&kept.id)));
        };
        receiver.read(Some(rest), i64::MIN, take).await?;
        let any = !found.is_empty();
        held.kept.extend(found);
        held.kept.sort_unstable_by_key(|kept| (kept.id, kept.seq));
        Ok(any)
    }

    /// Reads the log on to where it ends now: whatever the sink holds came from there.
    async fn read_on(&self, log: &Log, gathered: &mut Gathered) -> Result<(), VerifyError> {
        let reading =
            Changes { range: self.range, stand: gathered.stand.clone(), progress: self.progress.clone() };
        let (of, from) = (log.clone(), gathered.ends.clone());
        let further = blocking(move || {
            let (_, to) = of.ends()?;
            reading.list(&of, &from, &to)
        })
        .await?;
        gathered.lists.log.extend(further);
        gathered.lists.sort();
        Ok(())
    }

    async fn lane(&self, sink: &str, events: &Events, log: &Log) -> Result<Lane, VerifyError> {
        let set_aside = self.set_aside(sink, self.range.since_us.saturating_sub(SLACK_US), log).await?;
        let name = match events {
            Events::At(_) => "at the receiver".to_owned(),
            Events::In(_) => "in the files".to_owned(),
        };
        Ok(Lane { set_aside, begins: Positions::new(), name })
    }

    /// The records of `source` that a lane has set aside since then, in microseconds since 1970.
    pub(super) async fn set_aside(
        &self,
        sink: &str,
        since_us: i64,
        source: &Log,
    ) -> Result<BTreeSet<(Partition, Offset)>, VerifyError> {
        let log = self.log(&self.pipeline.dead_letters.to_string()).await?;
        let (pipeline, of, source) = (self.name.to_owned(), sink.to_owned(), source.topic.log.clone());
        blocking(move || {
            let (from, (_, ends)) = (log.since(since_us / 1000)?, log.ends()?);
            let mut ledger = Ledger::default();
            log.read(&from, &ends, |message| {
                ledger.record(&pipeline, &record(message.offset(), message));
                true
            })?;
            let ours = |letter: &&Letter| letter.sink == of && letter.origin.log == source.as_str();
            let places = ledger.undelivered().filter(ours);
            Ok(places.map(|letter| (letter.origin.partition, letter.origin.offset)).collect())
        })
        .await
    }
}

/// Of each partition, the first change that the sink holds; the end where it holds none.
fn first_held(gathered: &Gathered, kept: &[Kept]) -> Positions {
    let mut ids: Vec<Uuid> = kept.iter().map(|kept| kept.event).collect();
    ids.sort_unstable();
    let mut firsts = gathered.ends.clone();
    for change in gathered.lists.log.iter().filter(|change| ids.binary_search(&change.event).is_ok()) {
        firsts.entry(change.partition).and_modify(|first| *first = (*first).min(change.offset));
    }
    firsts
}
