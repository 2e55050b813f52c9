//! The one table from an error of the file system to what follows from it.

use crate::sink::{Class, SinkError};
use std::io::{self, ErrorKind};
use std::path::Path;

/// What follows from an error, and what a person can do about it.
type Verdict = (Class, Option<&'static str>);

const RETRY: Verdict = (Class::Retry { after: None }, None);

const fn pause(remedy: &'static str) -> Verdict {
    (Class::Pause, Some(remedy))
}

/// What can be done about files that are not as they were left.
const DAMAGED: &str = "bring the files of this partition back as they were; or move all of them away, the manifest \
                       included, and what Kafka still keeps is written again";

/// Makes the sink's error of one of the file system. What was to be done may have been done in part.
pub(super) fn from_io(doing: &str, path: &Path, error: io::Error) -> SinkError {
    let (class, remedy) = verdict(error.kind());
    let message = format!("{doing} {}: {error}", path.display());
    SinkError { class, message, remedy, source: Some(Box::new(error)) }
}

/// The files are not as this sink left them.
pub(super) fn damaged(path: &Path, what: impl AsRef<str>) -> SinkError {
    let message = format!("{} {}", path.display(), what.as_ref());
    SinkError { class: Class::Pause, message, remedy: Some(DAMAGED), source: None }
}

/// The thread that works on files has ended before its work.
pub(super) fn broken_off(error: tokio::task::JoinError) -> SinkError {
    let message = "the work on the files broke off".to_owned();
    SinkError { class: Class::Retry { after: None }, message, remedy: None, source: Some(Box::new(error)) }
}

pub(super) fn verdict(kind: ErrorKind) -> Verdict {
    match kind {
        // Also a lock that is held: by a worker that has just lost the partition, or by another instance.
        ErrorKind::WouldBlock
        | ErrorKind::Interrupted
        | ErrorKind::TimedOut
        | ErrorKind::ResourceBusy
        | ErrorKind::StaleNetworkFileHandle => RETRY,
        ErrorKind::NotFound => {
            pause("make the folder (`path`), as the user that runs deltafan, or mount what belongs there")
        }
        ErrorKind::NotADirectory => {
            pause("`path` must be a folder: choose another one, or remove what is in its place")
        }
        ErrorKind::PermissionDenied => {
            pause("let the user that runs deltafan read and write the folder (`path`) and the files in it")
        }
        ErrorKind::ReadOnlyFilesystem => pause(
            "the file system is mounted read-only: mount it for writing, or choose another folder (`path`)",
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            pause("make room: move finished files (*.jsonl) away, or let fewer stay by `keep_files`")
        }
        ErrorKind::FileTooLarge => {
            pause("set `max_file` below the largest file that the system allows (ulimit -f)")
        }
        _ => pause("the system refuses it for a reason that is not known here: see the message"),
    }
}
