//! Random writes of two workers, repeated, too far back, too far ahead, each broken off between any two steps: what counts in
//! the files is at every moment each record below the position, once and in order.

use super::super::client::Client;
use super::super::disk::{Disk, Folder};
use super::super::encode::Lines;
use super::{insert, push, settings};
use crate::position::{LogId, Offset, Partition, Span};
use crate::sink::{Class, SinkError};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const PARTITIONS: Partition = 2;
const WORKERS: usize = 2;
/// Three lines or so: most writes begin a new file.
const MAX_FILE_BYTES: u64 = 1000;
/// Far more than a lock that passes takes.
const MOST_LOOKS: u32 = 100_000;

/// When a process dies: after so many changes of the disk, and how much of the next one is still done, in eighths.
#[derive(Debug, Clone, Copy)]
struct Death {
    after: u32,
    eighths: usize,
}

/// A disk whose process may die.
#[derive(Clone)]
struct Mortal {
    folder: Folder,
    death: Rc<Cell<Option<Death>>>,
}

impl Mortal {
    /// Does a change, or a part of it and dies. A dead process changes nothing any more.
    fn change(
        &self,
        whole: impl Fn() -> Result<(), SinkError>,
        part: impl Fn(usize) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        match self.death.get() {
            None => whole(),
            Some(Death { after: 0, eighths }) => {
                self.death.set(Some(Death { after: 0, eighths: 0 }));
                if eighths > 0 {
                    part(eighths)?;
                }
                let message = "dead".to_owned();
                Err(SinkError { class: Class::Retry { after: None }, message, remedy: None, source: None })
            }
            Some(Death { after, eighths }) => {
                self.death.set(Some(Death { after: after - 1, eighths }));
                whole()
            }
        }
    }
}

impl Disk for Mortal {
    type Lock = fs::File;

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
    fn lock(&self, name: &str) -> Result<fs::File, SinkError> {
        self.folder.lock(name)
    }
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, SinkError> {
        self.folder.read(name, most)
    }
    fn len(&self, name: &str) -> Result<Option<u64>, SinkError> {
        self.folder.len(name)
    }
    fn names(&self) -> Result<Vec<String>, SinkError> {
        self.folder.names()
    }
    fn truncate(&self, name: &str, bytes: u64) -> Result<(), SinkError> {
        let whole = || self.folder.truncate(name, bytes);
        self.change(whole, |_| whole())
    }
    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let part = |eighths| self.folder.append(name, &bytes[..bytes.len() * eighths / 8]);
        self.change(|| self.folder.append(name, bytes), part)
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let part = |eighths| match eighths {
            8 => self.folder.replace(name, bytes),
            _ => self.folder.replace(&format!("{name}.new"), &bytes[..bytes.len() * eighths / 8]),
        };
        self.change(|| self.folder.replace(name, bytes), part)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), SinkError> {
        let whole = || self.folder.rename(from, to);
        self.change(whole, |_| whole())
    }
    fn remove(&self, name: &str) -> Result<(), SinkError> {
        let whole = || self.folder.remove(name);
        self.change(whole, |_| whole())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { worker: usize, records: [Offset; 2], death: Option<Death> },
    Repeat,
    Ask { worker: usize, death: Option<Death> },
    Shift { worker: usize, partition: Partition, by: Offset },
    NewLog,
}

fn step() -> impl Strategy<Value = Step> {
    let death = || {
        proptest::option::of((0..9_u32, 0..=8_usize).prop_map(|(after, eighths)| Death { after, eighths }))
    };
    prop_oneof![
        8 => (0..WORKERS, [0..6_i64, 0..6_i64], death())
            .prop_map(|(worker, records, death)| Step::Write { worker, records, death }),
        1 => Just(Step::Repeat),
        2 => (0..WORKERS, death()).prop_map(|(worker, death)| Step::Ask { worker, death }),
        2 => (0..WORKERS, 0..PARTITIONS, -4..=4_i64)
            .prop_map(|(worker, partition, by)| Step::Shift { worker, partition, by }),
        1 => Just(Step::NewLog),
    ]
}

/// What a worker believes.
#[derive(Default, Clone)]
struct Worker {
    stands: BTreeMap<Partition, Offset>,
    empty: BTreeSet<Partition>,
}

struct World {
    client: Client<Mortal>,
    death: Rc<Cell<Option<Death>>>,
    folder: PathBuf,
    workers: [Worker; WORKERS],
    log: usize,
    last: Option<(Vec<Span>, Lines, Worker)>,
    /// The lines of former logs, by partition.
    former: BTreeMap<Partition, Vec<u8>>,
    /// What happened, so that nobody believes in a test that tried nothing.
    seen: BTreeMap<&'static str, u32>,
}

/// The record at an offset; each log, partition and offset has its own. Every third offset is a hole.
fn record(batch: &mut Lines, log: usize, partition: Partition, offset: Offset) {
    if offset % 3 != 2 {
        let id = log * 1_000_000 + usize::try_from(partition * 100_000).expect("small");
        push(batch, partition, offset, &insert(id + usize::try_from(offset).expect("small"))).expect("taken");
    }
}

/// The lines of a partition between two offsets.
fn lines(log: usize, partition: Partition, span: std::ops::Range<Offset>) -> Vec<u8> {
    let mut batch = Lines::default();
    span.for_each(|offset| record(&mut batch, log, partition, offset));
    batch.of(partition, 0)
}

impl World {
    fn new(folder: &Path) -> Self {
        let death = Rc::new(Cell::new(None));
        let disk = Mortal { folder: Folder(folder.to_owned()), death: Rc::clone(&death) };
        Self {
            client: Client::new(disk, settings(folder, MAX_FILE_BYTES, None)),
            death,
            folder: folder.to_owned(),
            workers: Default::default(),
            log: 0,
            last: None,
            former: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    fn log(&self) -> LogId {
        LogId::new("cluster", &format!("topic-{}", self.log))
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Write { worker, records, death } => {
                let (mut spans, mut batch) = (Vec::new(), Lines::default());
                let stands = self.workers[worker].stands.clone();
                for (partition, records) in (0..PARTITIONS).zip(records) {
                    let Some(&from) = stands.get(&partition) else { return self.ask(worker, death) };
                    (from..from + records).for_each(|offset| record(&mut batch, self.log, partition, offset));
                    spans.push(Span { partition, from, to: from + records });
                }
                self.write(worker, spans, batch, death);
            }
            Step::Repeat => {
                if let Some((spans, batch, worker)) = self.last.clone() {
                    self.workers[0].empty = worker.empty;
                    self.write(0, spans, batch, None);
                }
            }
            Step::Ask { worker, death } => self.ask(worker, death),
            Step::Shift { worker, partition, by } => {
                // Only a worker whose partition has a position may be anywhere else: a first one is where the log begins.
                if let Some(at) = self.workers[worker].stands.get_mut(&partition).filter(|at| **at > 0) {
                    *at = (*at + by).max(1);
                }
            }
            Step::NewLog => {
                for partition in 0..PARTITIONS {
                    let position = self.counted(partition).1;
                    let new = lines(self.log, partition, 0..position);
                    self.former.entry(partition).or_default().extend(new);
                }
                self.log += 1;
                self.workers = Default::default();
                self.last = None;
            }
        }
    }

    fn ask(&mut self, worker: usize, death: Option<Death>) {
        self.death.set(death);
        let held = self.client.positions(&self.log(), &[0, 1]);
        self.death.set(None);
        match held {
            Ok(held) => {
                let all = 0..PARTITIONS;
                self.workers[worker] = Worker {
                    empty: all.clone().filter(|partition| !held.contains_key(partition)).collect(),
                    stands: all
                        .map(|partition| (partition, held.get(&partition).copied().unwrap_or(0)))
                        .collect(),
                };
            }
            Err(_) => self.see("died asking"),
        }
    }

    fn write(&mut self, worker: usize, spans: Vec<Span>, batch: Lines, death: Option<Death>) {
        let before: Vec<_> = (0..PARTITIONS).map(|partition| self.counted(partition)).collect();
        let believes = self.workers[worker].clone();
        self.death.set(death);
        let written = self.client.write(&self.log(), &spans, &believes.empty, &batch);
        self.death.set(None);
        match written {
            Ok(Ok(())) => {
                self.see("written");
                for span in &spans {
                    assert!(self.counted(span.partition).1 >= span.to, "{span:?} is durable");
                    self.workers[worker].stands.insert(span.partition, span.to);
                    self.workers[worker].empty.remove(&span.partition);
                }
                self.last = Some((spans, batch, believes));
            }
            Ok(Err(_)) => {
                self.see("behind");
                let after: Vec<_> = (0..PARTITIONS).map(|partition| self.counted(partition)).collect();
                assert!(before == after, "nothing was applied");
                self.ask(worker, None);
            }
            Err(_) => self.see("died writing"),
        }
    }

    /// What a reader of the files may believe, and how far they are: the finished files and as much of the open one as the
    /// manifest says.
    fn counted(&self, partition: Partition) -> (Vec<u8>, Offset) {
        let file = |name: String| fs::read(self.folder.join(name));
        let Ok(manifest) = file(format!("partition-{partition}.manifest")) else { return (Vec::new(), 0) };
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a manifest");
        let number = |key: &str| manifest[key].as_u64().expect("a number");
        let mut text = Vec::new();
        for number in 1..number("file") {
            let name = format!("partition-{partition}.{number:08}.jsonl");
            text.extend(file(name.clone()).or_else(|_| file(format!("{name}.open"))).expect("a file"));
        }
        let open =
            file(format!("partition-{partition}.{:08}.jsonl.open", number("file"))).unwrap_or_default();
        text.extend_from_slice(&open[..usize::try_from(number("bytes")).expect("small")]);
        let position = manifest["position"].as_i64().expect("an offset");
        (text, if manifest["log"] == self.log().as_str() { position } else { 0 })
    }

    fn check(&self) {
        for partition in 0..PARTITIONS {
            let (text, position) = self.counted(partition);
            let mut expected = self.former.get(&partition).cloned().unwrap_or_default();
            expected.extend(lines(self.log, partition, 0..position));
            assert!(text == expected, "the lines of partition {partition} up to {position} are others");
        }
    }

    /// After the files were opened once, all bytes of all files count.
    fn check_settled(&mut self) {
        // A process that a test beside this one is just starting holds the locks of ours until it runs.
        let opens = |_| match self.client.positions(&self.log(), &[0, 1]) {
            Ok(_) => true,
            Err(_) => {
                std::thread::yield_now();
                false
            }
        };
        assert!((0..MOST_LOOKS).any(opens), "the files can't be opened");
        for partition in 0..PARTITIONS {
            let names = super::files(&self.folder).into_iter();
            let names = names.filter(|name| name.starts_with(&format!("partition-{partition}.")));
            let all: Vec<u8> =
                names.flat_map(|name| fs::read(self.folder.join(name)).expect("a file")).collect();
            assert!(all == self.counted(partition).0, "partition {partition} has more than counts");
        }
    }
}

#[test]
fn each_record_below_the_position_is_there_once_and_in_order() {
    let mut seen = BTreeMap::<&str, u32>::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let seen_by = std::cell::RefCell::new(&mut seen);
    let steps = proptest::collection::vec(step(), 1..50);
    let ended = runner.run(&steps, |steps| {
        // In memory, where there is such a place: thousands of writes wait for the disk several times each.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let mut world = World::new(folder.path());
        for step in steps {
            world.run(step);
            world.check();
        }
        world.check_settled();
        for (what, times) in &world.seen {
            *seen_by.borrow_mut().entry(what).or_default() += times;
        }
        if super::files(folder.path()).iter().any(|name| name.ends_with(".jsonl")) {
            *seen_by.borrow_mut().entry("rotated").or_default() += 1;
        }
        Ok(())
    });
    if let Err(error) = ended {
        panic!("{error}");
    }
    for what in ["written", "behind", "died writing", "died asking", "rotated"] {
        assert!(seen.get(what).copied().unwrap_or_default() > 20, "{what} hardly happened: {seen:?}");
    }
}
