//! The files of a sink: for each partition a manifest, the file that it names, and those that are finished.
//!
//! `partition-0.manifest` says how far partition 0 is, which file is the current one, and how many bytes of it count. It is
//! replaced in one step, and that step is the write: what lies in the files beyond it has not happened, and is cut off
//! before anything else is done. Every call begins with what is on the disk; nothing is remembered from one to the next.

use super::config::Settings;
use super::disk::Disk;
use super::encode::Lines;
use super::error::damaged;
use crate::position::{LogId, Offset, Partition, Positions, Span};
use crate::sink::SinkError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A manifest has about 150 bytes.
const MANIFEST_BYTES: u64 = 4096;

/// How far a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// The log that the position belongs to.
    log: String,
    /// Everything below it is in the files.
    position: Offset,
    /// The number of the current file.
    file: u64,
    /// How many bytes of it count.
    bytes: u64,
}

/// The files of all partitions.
#[derive(Debug, Clone)]
pub(super) struct Client<D> {
    disk: D,
    settings: Settings,
}

/// One partition, locked and mended.
struct Opened<L> {
    partition: Partition,
    manifest: Option<Manifest>,
    _lock: L,
}

impl<L> Opened<L> {
    fn position(&self, log: &LogId) -> Option<Offset> {
        self.manifest
            .as_ref()
            .filter(|manifest| manifest.log == log.as_str())
            .map(|manifest| manifest.position)
    }
}

impl<D: Disk> Client<D> {
    pub(super) fn new(disk: D, settings: Settings) -> Self {
        Self { disk, settings }
    }

    /// The positions held of `log`, after what was not finished has been taken back.
    pub(super) fn positions(&self, log: &LogId, partitions: &[Partition]) -> Result<Positions, SinkError> {
        let mut positions = Positions::new();
        for partition in partitions {
            let opened = self.open(*partition)?;
            if let Some(manifest) = &opened.manifest {
                // Where fewer are to stay than before: a full disk has no room for the write that would finish a file.
                self.remove_oldest(*partition, manifest.file)?;
            }
            positions.extend(opened.position(log).map(|at| (*partition, at)));
        }
        Ok(positions)
    }

    /// Moves the positions by order: lines that lie behind a position which goes back come a second time.
    pub(super) fn reset(&self, log: &LogId, positions: &Positions) -> Result<(), SinkError> {
        for (&partition, &position) in positions {
            let opened = self.open(partition)?;
            let (file, bytes) = opened.manifest.as_ref().map_or((1, 0), |before| (before.file, before.bytes));
            let manifest = Manifest { log: log.as_str().to_owned(), position, file, bytes };
            self.save(partition, &manifest)?;
        }
        Ok(())
    }

    /// Writes what the files do not have yet and moves their positions to the spans' ends; answers the positions held, and
    /// has done nothing, where one of them is lower than its span begins, or missing and not among `empty`.
    pub(super) fn write(
        &self,
        log: &LogId,
        spans: &[Span],
        empty: &BTreeSet<Partition>,
        lines: &Lines,
    ) -> Result<Result<(), Positions>, SinkError> {
        let opened: Vec<_> = spans.iter().map(|span| self.open(span.partition)).collect::<Result<_, _>>()?;
        let held = || opened.iter().filter_map(|one| Some((one.partition, one.position(log)?)));
        let fits = |(span, one): (&Span, &Opened<_>)| match one.position(log) {
            Some(at) => at >= span.from,
            None => empty.contains(&span.partition),
        };
        if !spans.iter().zip(&opened).all(fits) {
            return Ok(Err(held().collect()));
        }
        for (span, one) in spans.iter().zip(&opened) {
            let from = one.position(log).unwrap_or(span.from);
            if from < span.to || one.position(log).is_none() {
                self.advance(log, span, one.manifest.as_ref(), &lines.of(span.partition, from))?;
            }
        }
        Ok(Ok(()))
    }

    /// Locks a partition, reads its manifest, and takes back or finishes what a crash has left in between.
    fn open(&self, partition: Partition) -> Result<Opened<D::Lock>, SinkError> {
        let lock = self.disk.lock(&format!("{}-{partition}.lock", self.settings.stem))?;
        let manifest = self.manifest(partition)?;
        match &manifest {
            Some(manifest) => self.mend(partition, manifest)?,
            None => self.demand_no_files(partition)?,
        }
        Ok(Opened { partition, manifest, _lock: lock })
    }

    fn manifest(&self, partition: Partition) -> Result<Option<Manifest>, SinkError> {
        let name = self.manifest_name(partition);
        let text = self.disk.read(&name, MANIFEST_BYTES)?;
        let parse = |text: Vec<u8>| {
            serde_json::from_slice(&text)
                .map_err(|error| damaged(&self.disk.path(&name), format!("is no manifest ({error})")))
        };
        text.map(parse).transpose()
    }

    fn mend(&self, partition: Partition, manifest: &Manifest) -> Result<(), SinkError> {
        let Manifest { file, bytes, .. } = *manifest;
        let current = self.open_name(partition, file);
        match self.disk.len(&current)? {
            Some(has) if has > bytes => self.disk.truncate(&current, bytes)?,
            Some(has) if has == bytes => {}
            None if bytes == 0 && self.disk.len(&self.finished_name(partition, file))?.is_none() => {}
            has => {
                let has = has.map_or("is missing".to_owned(), |has| format!("has {has} bytes"));
                let what = format!("{has}, and {bytes} bytes of it were written");
                return Err(damaged(&self.disk.path(&current), what));
            }
        }
        self.disk.remove(&self.open_name(partition, file.saturating_add(1)))?;
        self.finish(partition, file.saturating_sub(1))
    }

    /// The first manifest is older than the first file: files without one are somebody's doing.
    fn demand_no_files(&self, partition: Partition) -> Result<(), SinkError> {
        match self.disk.names()?.iter().find(|name| self.number(name, partition).is_some()) {
            Some(name) => {
                Err(damaged(&self.disk.path(name), "is there, and the partition's manifest is not"))
            }
            None => Ok(()),
        }
    }

    /// Appends lines and moves the manifest behind them.
    fn advance(
        &self,
        log: &LogId,
        span: &Span,
        before: Option<&Manifest>,
        lines: &[u8],
    ) -> Result<(), SinkError> {
        let partition = span.partition;
        let (mut file, mut bytes) = before.map_or((1, 0), |before| (before.file, before.bytes));
        let more = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let goes_on = before.is_none_or(|before| before.log == log.as_str());
        let rotates =
            bytes > 0 && !(goes_on && bytes.saturating_add(more) <= self.settings.max_file_bytes.get());
        if rotates {
            (file, bytes) = (file.saturating_add(1), 0);
        }
        let log = log.as_str().to_owned();
        let manifest = |bytes| Manifest { log: log.clone(), position: span.to, file, bytes };
        if before.is_none() && more > 0 {
            // A file is never there before the manifest.
            self.save(partition, &Manifest { position: span.from, ..manifest(0) })?;
        }
        if more > 0 {
            self.disk.append(&self.open_name(partition, file), lines)?;
        }
        self.save(partition, &manifest(bytes.saturating_add(more)))?;
        if rotates {
            self.finish(partition, file.saturating_sub(1))?;
            self.remove_oldest(partition, file)?;
        }
        Ok(())
    }

    fn save(&self, partition: Partition, manifest: &Manifest) -> Result<(), SinkError> {
        let name = self.manifest_name(partition);
        let text = serde_json::to_vec(manifest)
            .map_err(|error| damaged(&self.disk.path(&name), format!("can't be written ({error})")))?;
        self.disk.replace(&name, &text)
    }

    /// Gives a file its final name.
    fn finish(&self, partition: Partition, file: u64) -> Result<(), SinkError> {
        self.disk.rename(&self.open_name(partition, file), &self.finished_name(partition, file))
    }

    /// Removes the files before `current` that are too many, if somebody wants that.
    fn remove_oldest(&self, partition: Partition, current: u64) -> Result<(), SinkError> {
        let Some(keep) = self.settings.keep_files else { return Ok(()) };
        for name in self.disk.names()? {
            if self.number(&name, partition).is_some_and(|number| number.saturating_add(keep.get()) < current)
            {
                self.disk.remove(&name)?;
                tracing::info!(file = %self.disk.path(&name).display(), "removed: `keep_files` are newer");
            }
        }
        Ok(())
    }

    fn manifest_name(&self, partition: Partition) -> String {
        format!("{}-{partition}.manifest", self.settings.stem)
    }

    /// The file that is being written.
    fn open_name(&self, partition: Partition, file: u64) -> String {
        format!("{}.open", self.finished_name(partition, file))
    }

    /// A file that is never changed again.
    fn finished_name(&self, partition: Partition, file: u64) -> String {
        format!("{}-{partition}.{file:08}.jsonl", self.settings.stem)
    }

    /// The number of a file of lines of a partition.
    fn number(&self, name: &str, partition: Partition) -> Option<u64> {
        let number = name.strip_prefix(&format!("{}-{partition}.", self.settings.stem))?;
        let number = number.strip_suffix(".open").unwrap_or(number).strip_suffix(".jsonl")?;
        number.parse().ok()
    }
}
