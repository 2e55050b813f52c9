//! What a real file system refuses, what somebody did to the files, and what follows.

use super::super::error::verdict;
use super::{files, inserts, log, settings, write};
use crate::position::{Held, Reset};
use crate::sink::file::Files;
use crate::sink::{Class, Sink, SinkError, Written};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const DURABLE: Written = Written::Durable { rejected: Vec::new() };

/// The error pauses the lane; its message names this file, and the remedy says this.
fn assert_pauses(error: &SinkError, path: &Path, remedy: &str) {
    assert_eq!(error.class, Class::Pause, "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(error.remedy.is_some_and(|said| said.contains(remedy)), "{error}: {:?}", error.remedy);
}

/// A sink whose folder holds the lines of three records.
async fn with_three_records(folder: &Path) -> Files {
    let mut sink = Files::new(settings(folder, 1 << 20, None));
    assert_eq!(sink.positions(&log(), &[0]).await.expect("an answer"), Held::At([].into()));
    assert_eq!(write(&mut sink, (0, 3), &inserts(0..3)).await.expect("written"), DURABLE);
    sink
}

#[tokio::test]
async fn a_folder_that_is_missing_or_none_pauses() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events");
    let mut sink = Files::new(settings(&path, 1 << 20, None));
    let error = sink.positions(&log(), &[0]).await.expect_err("no folder");
    assert_pauses(&error, &path, "make the folder");
    fs::write(&path, "").expect("a file");
    let error = sink.positions(&log(), &[0]).await.expect_err("no folder");
    assert_pauses(&error, &path, "must be a folder");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder");
    assert_eq!(sink.positions(&log(), &[0]).await.expect("an answer"), Held::At([].into()));
}

/// The device that is always full stands in the place of the next file.
#[tokio::test]
async fn a_full_disk_pauses_and_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = Files::new(settings(folder.path(), 1 << 20, None));
    sink.positions(&log(), &[0]).await.expect("an answer");
    let current = folder.path().join("partition-0.00000001.jsonl.open");
    std::os::unix::fs::symlink("/dev/full", &current).expect("a link");
    assert!(sink.positions(&log(), &[0]).await.is_err(), "a file without a manifest");
    fs::remove_file(&current).expect("removed");
    sink.positions(&log(), &[0]).await.expect("an answer");
    assert_eq!(write(&mut sink, (0, 0), &inserts(0..0)).await.expect("a first position"), DURABLE);
    std::os::unix::fs::symlink("/dev/full", &current).expect("a link");
    let error = write(&mut sink, (0, 3), &inserts(0..3)).await.expect_err("no room");
    assert_pauses(&error, &current, "make room");
    assert_eq!(sink.positions(&log(), &[0]).await.expect("an answer"), Held::At([(0, 0)].into()));
    fs::remove_file(&current).expect("removed");
    assert_eq!(write(&mut sink, (0, 3), &inserts(0..3)).await.expect("written"), DURABLE);
    assert_eq!(fs::read(&current).expect("lines"), inserts(0..3).of(0, 0));
}

#[test]
fn every_refusal_has_its_class() {
    for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted, ErrorKind::TimedOut] {
        assert_eq!(verdict(kind), (Class::Retry { after: None }, None), "{kind:?}");
    }
    for (kind, remedy) in [
        (ErrorKind::PermissionDenied, "let the user"),
        (ErrorKind::ReadOnlyFilesystem, "mount it for writing"),
        (ErrorKind::QuotaExceeded, "make room"),
        (ErrorKind::FileTooLarge, "max_file"),
        (ErrorKind::Other, "not known here"),
    ] {
        let (class, said) = verdict(kind);
        assert!(class == Class::Pause && said.is_some_and(|said| said.contains(remedy)), "{kind:?}");
    }
}

#[tokio::test]
async fn a_partition_that_somebody_else_is_writing_is_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = with_three_records(folder.path()).await;
    let lock = fs::File::open(folder.path().join("partition-0.lock")).expect("a lock");
    lock.lock().expect("locked");
    let error = write(&mut sink, (3, 5), &inserts(3..5)).await.expect_err("locked");
    assert_eq!(error.class, Class::Retry { after: None });
    lock.unlock().expect("unlocked");
    assert_eq!(write(&mut sink, (3, 5), &inserts(3..5)).await.expect("written"), DURABLE);
}

#[tokio::test]
async fn files_that_somebody_changed_pause_until_they_are_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = with_three_records(folder.path()).await;
    let at = |name: &str| folder.path().join(name);
    let (current, manifest) = (at("partition-0.00000001.jsonl.open"), at("partition-0.manifest"));
    let (lines, standing) = (fs::read(&current).expect("lines"), fs::read(&manifest).expect("a manifest"));
    let spoilt: [(&Path, Option<&[u8]>, &Path, &str); 4] = [
        (&current, Some(b"{}\n"), &current, "has 3 bytes"),
        (&current, None, &current, "is missing"),
        (&manifest, None, &current, "is there, and the partition's manifest is not"),
        (&manifest, Some(b"{"), &manifest, "is no manifest"),
    ];
    for (path, with, named, what) in spoilt {
        match with {
            Some(bytes) => fs::write(path, bytes).expect("spoilt"),
            None => fs::remove_file(path).expect("removed"),
        }
        let error = write(&mut sink, (3, 5), &inserts(3..5)).await.expect_err(what);
        assert_pauses(&error, named, "bring the files of this partition back");
        assert!(error.to_string().contains(what), "{error}");
        fs::write(&current, &lines).expect("mended");
        fs::write(&manifest, &standing).expect("mended");
    }
    assert_eq!(write(&mut sink, (3, 5), &inserts(3..5)).await.expect("written"), DURABLE);
    assert_eq!(fs::read(&current).expect("lines"), inserts(0..5).of(0, 0));
}

#[tokio::test]
async fn an_emptied_folder_is_filled_again_from_the_beginning() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = with_three_records(folder.path()).await;
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    let nothing = Held::At([].into());
    let refused = write(&mut sink, (3, 5), &inserts(3..5)).await.expect("an answer");
    assert_eq!(refused, Written::Behind(nothing.clone()));
    assert_eq!(files(folder.path()), [""; 0], "nothing was applied");
    assert_eq!(sink.positions(&log(), &[0]).await.expect("an answer"), nothing);
    assert_eq!(write(&mut sink, (0, 5), &inserts(0..5)).await.expect("written"), DURABLE);
}

/// On a full disk nothing is finished any more, so that this must not be what the removal waits for.
#[tokio::test]
async fn where_fewer_files_are_to_stay_the_others_go_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = Files::new(settings(folder.path(), 1, None));
    sink.positions(&log(), &[0]).await.expect("an answer");
    for (id, from) in (0..6).zip(0..) {
        write(&mut sink, (from, from + 1), &inserts(id..id + 1)).await.expect("written");
    }
    let mut sink = Files::new(settings(folder.path(), 1, Some(2)));
    assert_eq!(sink.positions(&log(), &[0]).await.expect("an answer"), Held::At([(0, 6)].into()));
    let names = files(folder.path());
    let expected =
        ["partition-0.00000004.jsonl", "partition-0.00000005.jsonl", "partition-0.00000006.jsonl.open"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn only_as_many_finished_files_stay_as_are_wanted() {
    for (keep, expected) in [(None, 6), (Some(2), 3)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sink = Files::new(settings(folder.path(), 1, keep));
        sink.positions(&log(), &[0]).await.expect("an answer");
        for (id, from) in (0..6).zip(0..) {
            let written = write(&mut sink, (from, from + 1), &inserts(id..id + 1)).await;
            assert_eq!(written.expect("written"), DURABLE);
        }
        let names = files(folder.path());
        assert_eq!(names.len(), expected, "{names:?}");
        assert_eq!(names.last().expect("files"), "partition-0.00000006.jsonl.open");
    }
}

#[tokio::test]
async fn a_reset_moves_the_position_either_way_and_keeps_the_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = with_three_records(folder.path()).await;
    for position in [1, 9, 0] {
        let order = Reset { id: 7, positions: [(0, position)].into() };
        sink.reset(&log(), &order).await.expect("obeyed");
        let held = sink.positions(&log(), &[0]).await.expect("an answer");
        assert_eq!(held, Held::At([(0, position)].into()));
    }
    assert_eq!(write(&mut sink, (0, 2), &inserts(0..2)).await.expect("written"), DURABLE);
    let text = fs::read_to_string(folder.path().join("partition-0.00000001.jsonl.open")).expect("lines");
    assert_eq!(text.lines().count(), 5, "the lines of before, and two that came again");
}
