//! Health: what each lane is doing right now, as `/readyz` tells it.
//!
//! A lane is ready when every one of its workers either makes progress or has nothing to do, be it because an operator has
//! paused it. It is not ready while it waits, retries, is held up until somebody acts, or has lost records: an endpoint that says "up" while nothing moves helps nobody.

use crate::deliver::BreakerState;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a worker's reader is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It has not yet joined its group.
    Starting,
    /// Something that it needs is not there yet.
    Waiting {
        /// What, and what to do.
        why: String,
    },
    /// It is a member of the group, but other members have the partitions.
    Idle,
    /// There is no topic with dead letters to deliver again, and none is needed before somebody replays some.
    Absent {
        /// What to do for that.
        why: String,
    },
    /// It reads.
    Running,
    /// It stands still because an operator has ordered it to, and keeps its partitions.
    Paused {
        /// When that was ordered, in milliseconds since 1970.
        since_ms: i64,
        /// Why, in the operator's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Kafka no longer has records that come next.
    Lost {
        /// Which, and the way out.
        why: String,
    },
    /// It has ended.
    Stopped {
        /// Why, if not because it was told to.
        why: Option<String>,
    },
}

/// How a worker gets on with its sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SinkState {
    /// The last thing that it was asked, it did.
    Working,
    /// It failed and is tried again.
    Retrying {
        /// What it said.
        why: String,
    },
    /// Somebody must act; it is looked at again from time to time.
    Paused {
        /// What it said, and what to do.
        why: String,
    },
}

#[derive(Debug, Clone, Serialize)]
struct Worker {
    reader: State,
    sink: SinkState,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiring: Option<String>,
}

impl Worker {
    fn is_ready(&self) -> bool {
        matches!(self.reader, State::Idle | State::Absent { .. } | State::Running | State::Paused { .. })
            && matches!(self.sink, SinkState::Working)
            && self.content.is_none()
            && self.kafka.is_none()
    }
}

/// Where one worker says how it is.
#[derive(Debug, Clone)]
pub struct WorkerHealth {
    worker: Arc<Mutex<Worker>>,
    /// The breaker that all workers of the lane share.
    breaker: Arc<Mutex<BreakerState>>,
    /// What the sink of the lane lacks.
    incomplete: Arc<Mutex<Option<String>>>,
    /// How the source was last seen to be replayed.
    replayed: Arc<Mutex<Option<String>>>,
}

impl WorkerHealth {
    fn lock(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the reader is doing. True if that is new.
    pub fn set(&self, state: State) -> bool {
        let mut worker = self.lock();
        let changed = worker.reader != state;
        worker.reader = state;
        changed
    }

    /// Says how the sink is. True if that is new.
    pub fn set_sink(&self, state: SinkState) -> bool {
        let mut worker = self.lock();
        let changed = worker.sink != state;
        worker.sink = state;
        changed
    }

    /// Says that the lane waits for a content that can't be asked for, or (`None`) that it no longer does. True if that
    /// is new.
    pub fn set_content(&self, trouble: Option<String>) -> bool {
        let mut worker = self.lock();
        let changed = worker.content.is_some() != trouble.is_some();
        worker.content = trouble;
        changed
    }

    /// Warns that Kafka is about to delete what is not delivered, or (`None`) that it no longer is. True if that is new.
    pub fn set_expiring(&self, warning: Option<String>) -> bool {
        let mut worker = self.lock();
        let changed = worker.expiring.is_some() != warning.is_some();
        worker.expiring = warning;
        changed
    }

    /// Says that Kafka can't be reached, or (`None`) that it can. True if that is new.
    pub fn set_kafka(&self, trouble: Option<String>) -> bool {
        let mut worker = self.lock();
        let changed = worker.kafka.is_some() != trouble.is_some();
        worker.kafka = trouble;
        changed
    }
}

/// How the connector is that writes our topics. It makes nothing ready or unready: what it has written is delivered all the
/// same, and a process that is taken out of service for it would not bring it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorHealth {
    /// Its name.
    pub name: String,
    /// `running`, `failed`, `unknown`, or another word of Kafka Connect's.
    pub state: String,
    /// Why it has failed or is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl WorkerHealth {
    /// A place for one more worker of the same lane.
    fn of(lane: &Self) -> Self {
        let mut worker = Self::new();
        worker.breaker = Arc::clone(&lane.breaker);
        worker.incomplete = Arc::clone(&lane.incomplete);
        worker.replayed = Arc::clone(&lane.replayed);
        worker
    }

    fn new() -> Self {
        let worker = Worker {
            reader: State::Starting,
            sink: SinkState::Working,
            content: None,
            kafka: None,
            expiring: None,
        };
        Self {
            worker: Arc::new(Mutex::new(worker)),
            breaker: Arc::default(),
            incomplete: Arc::default(),
            replayed: Arc::default(),
        }
    }

    /// Says that the source was replayed, how, and when that was noticed. It makes nothing unready, and stays.
    pub fn set_replayed(&self, how: String) {
        *self.replayed.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
    }

    /// Says what the sink holds less than it should, though nothing is missing on the way to it, or (`None`) that it holds all. It
    /// makes nothing unready: it passes by itself. True if that is new.
    pub fn set_incomplete(&self, what: Option<String>) -> bool {
        let mut incomplete = self.incomplete.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *incomplete != what;
        *incomplete = what;
        changed
    }

    /// Says how the lane's breaker is. True if that is new.
    pub fn set_breaker(&self, state: BreakerState) -> bool {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *breaker, state) != state
    }

    fn breaker(&self) -> BreakerState {
        *self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The places of one lane.
#[derive(Debug, Clone, Default)]
struct LaneHealth {
    workers: Vec<WorkerHealth>,
    /// Of the worker that delivers dead letters again.
    replays: Option<WorkerHealth>,
}

/// The health of the whole process.
#[derive(Debug, Default)]
pub struct Health {
    lanes: Mutex<BTreeMap<String, LaneHealth>>,
    connector: Mutex<Option<ConnectorHealth>>,
}

/// A picture of the health at one moment.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every lane is.
    pub ready: bool,
    lanes: BTreeMap<String, LaneReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<ConnectorHealth>,
}

#[derive(Debug, Serialize)]
struct LaneReport {
    ready: bool,
    breaker: BreakerState,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<String>,
    workers: Vec<Worker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replays: Option<ReplaysReport>,
}

#[derive(Debug, Serialize)]
struct ReplaysReport {
    breaker: BreakerState,
    #[serde(flatten)]
    worker: Worker,
}

impl Health {
    /// Places for the workers of `lane`, which have not started yet.
    pub fn workers(&self, lane: &str, count: usize) -> Vec<WorkerHealth> {
        let shared = WorkerHealth::new();
        let workers: Vec<_> = (0..count).map(|_| WorkerHealth::of(&shared)).collect();
        self.change(lane, |lane| lane.workers.extend(workers.iter().cloned()));
        workers
    }

    /// A place for the worker that delivers dead letters of `lane` again.
    pub fn replays(&self, lane: &str) -> WorkerHealth {
        let worker = WorkerHealth::new();
        self.change(lane, |lane| lane.replays = Some(worker.clone()));
        worker
    }

    /// Says how the connector is. True if that is new.
    pub fn set_connector(&self, connector: ConnectorHealth) -> bool {
        let mut known = self.connector.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = known.as_ref() != Some(&connector);
        *known = Some(connector);
        changed
    }

    fn change(&self, lane: &str, change: impl FnOnce(&mut LaneHealth)) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        change(lanes.entry(lane.to_owned()).or_default());
    }

    /// How everything is now.
    pub fn report(&self) -> Report {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lanes: BTreeMap<_, _> = lanes.into_iter().map(|(name, lane)| (name, lane.report())).collect();
        let connector = self.connector.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Report { ready: !lanes.is_empty() && lanes.values().all(|lane| lane.ready), lanes, connector }
    }
}

impl LaneHealth {
    fn report(&self) -> LaneReport {
        let workers: Vec<_> = self.workers.iter().map(|worker| worker.lock().clone()).collect();
        let shared = |said: fn(&WorkerHealth) -> &Mutex<Option<String>>| {
            let worker = self.workers.first()?;
            said(worker).lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let replays = self.replays.as_ref();
        let replays =
            replays.map(|place| ReplaysReport { breaker: place.breaker(), worker: place.lock().clone() });
        LaneReport {
            ready: workers
                .iter()
                .chain(replays.as_ref().map(|replays| &replays.worker))
                .all(Worker::is_ready),
            breaker: self.workers.first().map(WorkerHealth::breaker).unwrap_or_default(),
            incomplete: shared(|worker| &worker.incomplete),
            replayed: shared(|worker| &worker.replayed),
            workers,
            replays,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_in_trouble_is_named_and_makes_the_process_unready() {
        let health = Health::default();
        assert!(!health.report().ready, "nothing runs yet");
        let (good, bad) = (health.workers("p/good", 1).remove(0), health.workers("p/bad", 1).remove(0));
        assert!(!health.report().ready, "nothing has started yet");
        good.set(State::Running);
        bad.set(State::Running);
        assert!(health.report().ready);
        assert!(bad.set_sink(SinkState::Paused { why: "wrong password".to_owned() }));
        assert!(!bad.set_sink(SinkState::Paused { why: "wrong password".to_owned() }), "said once");
        let report = serde_json::to_value(health.report()).expect("JSON");
        assert_eq!(report["ready"], false);
        assert_eq!(report["lanes"]["p/good"]["ready"], true);
        assert_eq!(report["lanes"]["p/bad"]["workers"][0]["sink"]["why"], "wrong password");
        bad.set_sink(SinkState::Working);
        bad.set_kafka(Some("no broker".to_owned()));
        assert!(!health.report().ready);
        bad.set_kafka(None);
        let replays = health.replays("p/good");
        assert!(!health.report().ready, "it has not started yet");
        replays.set(State::Absent { why: "no topic".to_owned() });
        assert!(health.report().ready);
        assert!(good.set_breaker(BreakerState::Open) && !good.set_breaker(BreakerState::Open));
        let report = serde_json::to_value(health.report()).expect("JSON");
        assert_eq!(report["lanes"]["p/good"]["breaker"], "open");
        assert_eq!(report["lanes"]["p/good"]["replays"]["breaker"], "closed");
        assert_eq!(report["lanes"]["p/bad"]["breaker"], "closed");
    }
}
