//! kill -9 of the processor while it writes files: each row is a line of theirs, once, and nothing else is.

use crate::harness::bench::COMPLETE;
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

const KILLS: usize = 3;
const LOAD: Flow = Flow { rate: 500, copy_rows: 4000, copy_every: Duration::from_secs(5) };
/// What has to come in altogether.
const LEAST_ROWS: i64 = 25_000;
/// Rows that have become lines since the last kill, and rows that have not yet, when the next one is ordered.
const LEAST_WRITTEN: usize = 1000;
const LEAST_WAITING: i64 = 1000;
/// Looks follow each other closely: a COPY is through within a second.
const PAUSE: Duration = Duration::from_millis(10);
/// `max_file` of the configuration.
const MAX_FILE_BYTES: usize = 1 << 20;
const FINISHED: &str = ".jsonl";
const OPEN: &str = ".jsonl.open";

/// What a reader needs of a manifest.
#[derive(Deserialize)]
struct Manifest {
    file: u64,
    bytes: usize,
}

#[derive(Deserialize)]
struct Event {
    event_id: String,
    op: String,
    id: i64,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    let folder = bench.folder.join("events");
    fs::create_dir(&folder)?;
    plan.files = Some(folder.clone());
    let mut processor = bench.processor(&plan).await?;
    let mut load = Load::start(bench, LOAD).await?;
    let mut measured = Measured::default();
    let (mut kills, mut before) = (0, 0);
    while kills < KILLS {
        wait::until_every(PAUSE, "rows are on their way to the files", COMPLETE, async || {
            let (rows, lines) = (bench.db.count_events().await?, counted(&folder)?.len());
            let waiting = rows - i64::try_from(lines)?;
            let is_moment = waiting >= LEAST_WAITING && lines >= before + LEAST_WRITTEN;
            Ok(seen_if(is_moment, || {
                format!("{waiting} wait, {} were written", lines.saturating_sub(before))
            }))
        })
        .await?;
        ensure!(load.runs(), "the load has ended by itself after {kills} kills");
        let rows = bench.db.count_events().await?;
        processor.process.kill()?;
        before = counted(&folder)?.len();
        let waited = rows - i64::try_from(before)?;
        if waited > 0 {
            kills += 1;
            let undone = bytes_beyond(&folder)?;
            measured.add(format!("kill {kills}: {waited} in flight, {undone} bytes undone"));
        } else {
            measured.add("one too late");
        }
        processor.process.start_again()?;
    }
    let rows = load.finish(LEAST_ROWS).await?;
    wait::until("every row is a line", COMPLETE, async || {
        let lines = counted(&folder)?.len();
        let done =
            i64::try_from(lines)? >= rows && bench.kafka.lag(&plan.group("files"), &plan.topic).await? == 0;
        Ok(if done { Look::Seen(()) } else { Look::NotYet(format!("{lines} of {rows}")) })
    })
    .await?;
    each_row_once(bench, &folder, &mut measured).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    ensure!(processor.process.runs(), "the processor has ended");
    Ok(measured)
}

/// The files say what SQL says, whether one reads what counts in them or all that is there.
async fn each_row_once(bench: &Bench, folder: &Path, measured: &mut Measured) -> Result<()> {
    let lines = counted(folder)?;
    let events: Vec<Event> =
        lines.iter().map(|line| serde_json::from_str(line).context(line.clone())).collect::<Result<_>>()?;
    check::equal("events that are no inserts", events.iter().filter(|event| event.op != "c").count(), 0)?;
    let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    let event_ids: BTreeSet<_> = events.iter().map(|event| &event.event_id).collect();
    check::equal("distinct rows in the files", ids.len(), events.len())?;
    check::equal("distinct events in the files", event_ids.len(), events.len())?;
    let rows = bench.db.rows("SELECT id FROM engagement_events", &[]).await?;
    let rows: BTreeSet<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    ensure!(ids == rows, "the rows in the files are not those of the table");

    check::equal("bytes beyond what counts", bytes_beyond(folder)?, 0)?;
    let files = files(folder)?;
    let finished = files.iter().filter(|(name, _)| name.ends_with(FINISHED)).count();
    check::at_least("finished files", finished, 1)?;
    for (name, text) in &files {
        check::at_most(format!("the size of {name}"), text.len(), MAX_FILE_BYTES)?;
    }
    measured.add(format!("{} rows once in {} files, {finished} finished", rows.len(), files.len()));
    Ok(())
}

/// The lines that count: of the files before the one that the manifest names all, of that one as many bytes as it says.
fn counted(folder: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (partition, manifest) in manifests(folder)? {
        for number in 1..=manifest.file {
            let stem = folder.join(format!("{partition}.{number:08}"));
            // The last one may be renamed between two looks.
            let read = || fs::read(with(&stem, FINISHED)).or_else(|_| fs::read(with(&stem, OPEN)));
            let mut text = read().or_else(|_| read()).unwrap_or_default();
            if number == manifest.file {
                text.truncate(manifest.bytes);
            }
            lines.extend(String::from_utf8(text)?.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}

/// How many bytes a crash has left in the files that do not count.
fn bytes_beyond(folder: &Path) -> Result<usize> {
    let all: usize = files(folder)?.values().map(Vec::len).sum();
    Ok(all - counted(folder)?.iter().map(|line| line.len() + 1).sum::<usize>())
}

fn with(stem: &Path, ending: &str) -> String {
    format!("{}{ending}", stem.display())
}

fn manifests(folder: &Path) -> Result<BTreeMap<String, Manifest>> {
    let mut manifests = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(partition) = path.display().to_string().strip_suffix(".manifest") {
            let partition = Path::new(partition).file_name().context("no name")?.display().to_string();
            manifests.insert(partition, serde_json::from_slice(&fs::read(&path)?)?);
        }
    }
    Ok(manifests)
}

/// The files of lines, with what is in them.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.display().to_string();
        if name.ends_with(FINISHED) || name.ends_with(OPEN) {
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(files)
}
