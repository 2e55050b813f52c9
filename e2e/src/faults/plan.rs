//! What happens in a seeded run: how rows come in, and which faults strike when. Pure: the same seed is the same plan.
//!
//! Nothing in it is a time: a fault strikes when so many more records have had their effect, and lasts until so many more
//! changes have been committed, so that on a slow machine the same happens as on a fast one.

#[cfg(test)]
mod tests;
mod words;

use crate::harness::proxy::Manner;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// What a run's faults may cost together, in the seconds that [`Fault::costs`] guesses.
const BUDGET: u32 = 11;
/// At least two, so that the second meets what the first has left behind; more make a run no better and longer.
const FAULTS: std::ops::RangeInclusive<usize> = 2..=5;
/// Records that have had their effect before a fault strikes.
const AFTER: std::ops::RangeInclusive<i64> = 150..=900;
/// Changes that are committed while a fault lasts.
const LASTS: std::ops::RangeInclusive<i64> = 100..=1500;
/// Of a hundred runs so many have to do with Kafka, Connect or Postgres themselves, which take long to come back.
const HEAVY_PERCENT: u32 = 6;
/// The last seed whose plan says nothing of the way to Postgres, or of the receiver's disk. The plans up to it stay what they were.
const FORMER: u64 = 1000;
/// Changes of one transaction, at most: more than one write of a sink takes.
const MOST_ROWS: u32 = 1800;

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it was made from; none where it was made by hand.
    pub seed: Option<u64>,
    /// Instances of the processor: one or three.
    pub instances: usize,
    /// How rows come in.
    pub load: Shape,
    /// The faults, one after the other.
    pub steps: Vec<Step>,
}

/// How rows come in.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Seeds what `deltafan generate` writes.
    pub seed: u64,
    /// Changes a second.
    pub rate: u32,
    /// Shares of updates and of deletes in a hundred.
    pub updates: u32,
    /// See `updates`.
    pub deletes: u32,
    /// Transactions beside it, over and over.
    pub bursts: Vec<Burst>,
}

/// One transaction, and the pause behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    /// What it does.
    pub does: Does,
    /// To how many rows.
    pub rows: u32,
    /// Until the next.
    pub pause: Duration,
}

/// What a transaction does to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Rows come.
    Insert,
    /// Durations and contents change.
    Update,
    /// Rows go.
    Delete,
    /// Rows get other keys, which is a delete and an insert.
    Rekey,
    /// Rows come, change and go in one transaction.
    All,
}

/// A fault of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How many more records must have had their effect before.
    pub after: i64,
    /// What happens.
    pub fault: Fault,
    /// How many changes are committed before it is over.
    pub lasts: i64,
    /// Whether the next one strikes while it still lasts.
    pub into_next: bool,
}

/// A lane's sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sink {
    /// The leaderboards.
    Redis,
    /// The receiver.
    Webhook,
}

impl Sink {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Webhook];

    /// As in configuration, groups and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Webhook => "webhook",
        }
    }
}

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The leaderboards.
    Redis,
    /// The receiver.
    Receiver,
    /// The database.
    Postgres,
    /// The broker.
    Kafka,
    /// Where Debezium runs.
    Connect,
}

/// What happens to a server or an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// SIGKILL, and started again.
    Killed,
    /// SIGSTOP, and SIGCONT.
    Frozen,
    /// SIGTERM, and started again.
    Restarted,
    /// Its memory is full. Redis alone.
    Full,
}

/// A moment in the life of a batch, or of a lane, at which an instance is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The sink has not seen the batch.
    BeforeWrite,
    /// The sink has the batch, and the instance does not know.
    AfterWrite,
    /// The instance knows, and Kafka does not.
    BeforeCommit,
    /// The group shares its partitions out anew.
    Rebalance,
    /// Thousands of records wait.
    FarBehind,
    /// A window is about to be moved on, or was without its being known.
    Tick,
    /// The lane has been set back and has written some of it again.
    Rewinding,
    /// Redis was emptied, and the first of what it held is there again.
    Rebuilding,
    /// A dead letter is on its way to Kafka.
    DeadLetter,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// An instance is killed, restarted, or frozen until it is a zombie: others own its partitions, and what it sent
    /// before arrives late.
    Instance(usize, How),
    /// An instance is killed at a named moment.
    KilledAt(Moment, Sink, usize),
    /// The network between all instances and a sink is not what it was.
    Network(Sink, Manner),
    /// The answers to some writes of an instance get lost.
    AnswersLost(Sink, usize, u32),
    /// Some writes of an instance get lost.
    RequestsLost(Sink, usize, u32),
    /// Something happens to a server.
    Server(Part, How),
    /// Redis is emptied.
    Flushed,
    /// The same, and the network between all instances and Postgres, from which the leaderboards are made anew, is not what it
    /// was.
    FlushedBehind(Manner),
    /// The disk of the receiver's store is full.
    DiskFull,
    /// The offsets of a lane are set back by hand, with Kafka's tools.
    OffsetsReset(Sink),
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = &mut StdRng::seed_from_u64(seed);
        let instances = if dice.random_range(0..100) < 55 { 1 } else { 3 };
        let heavy = dice.random_range(0..100) < HEAVY_PERCENT;
        let mut steps: Vec<Step> = Vec::new();
        let mut left = BUDGET;
        if heavy {
            let fault = heavy_fault(dice);
            steps.push(step(dice, fault));
            left = 2;
        }
        let wanted = dice.random_range(FAULTS);
        while steps.len() < *FAULTS.start() || (steps.len() < wanted && left > 0) {
            let fault = fault(dice, instances);
            // What costs too much may still come where there has been too little.
            if fault.costs(instances) > left && steps.len() >= *FAULTS.start() {
                break;
            }
            left = left.saturating_sub(fault.costs(instances));
            steps.push(step(dice, fault));
        }
        let mut meets = false;
        for at in 1..steps.len() {
            if let [.., first, second] = steps.get_mut(..=at).unwrap_or_default() {
                // Two at once, never three: something has to flow.
                meets = !meets && first.fault.may_last_into(second.fault) && dice.random_range(0..3) == 0;
                first.into_next = meets;
            }
        }
        let load = Shape::of(dice, heavy);
        if seed > FORMER {
            let fault =
                if seed.is_multiple_of(2) { Fault::FlushedBehind(manner(dice)) } else { Fault::DiskFull };
            ends_with(fault, &mut steps);
        }
        Self { seed: Some(seed), instances, load, steps }
    }
}

impl Shape {
    /// With `heavy`, nothing shares a place in the log: Debezium itself may lose such rows when it is killed.
    fn of(dice: &mut StdRng, heavy: bool) -> Self {
        let kinds: &[Does] = if heavy {
            &[Does::Insert, Does::Update, Does::Delete]
        } else {
            &[Does::Insert, Does::Insert, Does::Update, Does::Delete, Does::Rekey, Does::All]
        };
        let bursts = (0..dice.random_range(2..6)).map(|_| Burst {
            does: kinds.choose(dice).copied().unwrap_or(Does::Insert),
            // Mostly small ones: as many have a single row as have a thousand.
            rows: 1 + (dice.random_range(0..MOST_ROWS) >> dice.random_range(0..8)),
            pause: Duration::from_millis(dice.random_range(20..700)),
        });
        let bursts = bursts.collect();
        Self {
            seed: dice.random_range(0..1 << 32),
            rate: dice.random_range(300..900),
            updates: dice.random_range(0..30),
            deletes: dice.random_range(0..15),
            bursts,
        }
    }
}

fn step(dice: &mut StdRng, fault: Fault) -> Step {
    Step { after: dice.random_range(AFTER), fault, lasts: dice.random_range(LASTS), into_next: false }
}

fn heavy_fault(dice: &mut StdRng) -> Fault {
    let all = [
        Fault::Server(Part::Kafka, How::Killed),
        Fault::Server(Part::Kafka, How::Frozen),
        Fault::Server(Part::Connect, How::Killed),
        Fault::Server(Part::Connect, How::Frozen),
        Fault::Server(Part::Postgres, How::Killed),
        Fault::Server(Part::Postgres, How::Frozen),
    ];
    all.choose(dice).copied().unwrap_or(Fault::Flushed)
}

fn fault(dice: &mut StdRng, instances: usize) -> Fault {
    let sink = if dice.random() { Sink::Redis } else { Sink::Webhook };
    let instance = dice.random_range(0..instances);
    match dice.random_range(0..100) {
        0..8 => Fault::Instance(instance, How::Killed),
        8..13 => Fault::Instance(instance, How::Restarted),
        13..20 => Fault::Instance(instance, How::Frozen),
        20..42 => moment(dice, sink, instance),
        42..64 => Fault::Network(sink, manner(dice)),
        64..75 => Fault::AnswersLost(sink, instance, dice.random_range(1..4)),
        75..81 => Fault::RequestsLost(sink, instance, dice.random_range(1..4)),
        81..84 => Fault::Server(Part::Redis, how(dice)),
        84..87 => Fault::Server(Part::Redis, How::Full),
        87..91 => Fault::Server(Part::Receiver, how(dice)),
        91..96 => Fault::Flushed,
        _ => Fault::OffsetsReset(sink),
    }
}

/// In place of the last one.
fn ends_with(fault: Fault, steps: &mut [Step]) {
    if let [.., before, last] = steps {
        before.into_next = false;
        last.fault = fault;
    }
}

fn moment(dice: &mut StdRng, sink: Sink, instance: usize) -> Fault {
    match dice.random_range(0..9) {
        0 => Fault::KilledAt(Moment::BeforeWrite, sink, instance),
        1 => Fault::KilledAt(Moment::AfterWrite, sink, instance),
        2 => Fault::KilledAt(Moment::BeforeCommit, sink, instance),
        3 => Fault::KilledAt(Moment::Rebalance, sink, instance),
        4 => Fault::KilledAt(Moment::FarBehind, sink, instance),
        5 => Fault::KilledAt(Moment::Tick, Sink::Redis, instance),
        6 => Fault::KilledAt(Moment::Rewinding, sink, instance),
        7 => Fault::KilledAt(Moment::Rebuilding, Sink::Redis, instance),
        _ => Fault::KilledAt(Moment::DeadLetter, sink, instance),
    }
}

fn manner(dice: &mut StdRng) -> Manner {
    match dice.random_range(0..5) {
        0 => Manner::Slow(Duration::from_millis(dice.random_range(1..120))),
        1 => Manner::Throttle(dice.random_range(20_000..400_000)),
        2 => Manner::Cut,
        3 => Manner::HalfClose,
        _ => Manner::Frozen,
    }
}

fn how(dice: &mut StdRng) -> How {
    [How::Killed, How::Frozen, How::Restarted].choose(dice).copied().unwrap_or(How::Killed)
}

impl Fault {
    /// About how long it holds a run up, in seconds: mostly the group's session time-out, and those of requests.
    fn costs(self, instances: usize) -> u32 {
        match self {
            Self::Server(Part::Kafka | Part::Connect | Part::Postgres, _) => 12,
            Self::Instance(_, How::Frozen) => 8,
            Self::KilledAt(..) | Self::Instance(_, How::Killed) => 7,
            Self::Instance(_, How::Restarted) | Self::OffsetsReset(_) => 3,
            Self::Network(_, Manner::Frozen) | Self::FlushedBehind(_) => 4,
            Self::Network(..) => 2 + u32::from(instances > 1),
            _ => 2,
        }
    }

    /// Whether the receiver's store has to lie on a disk that can be filled.
    pub fn fills_disk(self) -> bool {
        self == Self::DiskFull
    }

    /// Whether rows can come in while it lasts.
    pub fn lets_rows_come(self) -> bool {
        !matches!(self, Self::Server(Part::Postgres, _))
    }

    /// The sink that it concerns, where it leaves all else alone.
    fn sink(self) -> Option<Sink> {
        match self {
            Self::Network(sink, _) | Self::AnswersLost(sink, ..) | Self::RequestsLost(sink, ..) => Some(sink),
            Self::Server(Part::Redis, _) | Self::Flushed | Self::FlushedBehind(_) => Some(Sink::Redis),
            Self::Server(Part::Receiver, _) | Self::DiskFull => Some(Sink::Webhook),
            Self::Instance(..) | Self::KilledAt(..) | Self::OffsetsReset(_) | Self::Server(..) => None,
        }
    }

    /// Whether `next` can strike while this lasts: it must concern the other sink, which still takes records, or an
    /// instance by itself.
    fn may_last_into(self, next: Self) -> bool {
        let lasts = matches!(self, Self::Network(..) | Self::Server(Part::Redis | Part::Receiver, _));
        let other = next.sink().is_some_and(|sink| Some(sink) != self.sink());
        lasts && (other || matches!(next, Self::Instance(_, How::Killed | How::Restarted)))
    }
}
