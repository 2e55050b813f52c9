//! The one table from an error of Redis to what follows from it.

use crate::sink::{Class, SinkError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What follows from an error, and what a person can do about it.
type Verdict = (Class, Option<&'static str>);

const RETRY: Verdict = (Class::Retry { after: None }, None);

const AWAY: Verdict =
    (Class::Retry { after: None }, Some("see whether it runs, and check host and port in the URL of Redis"));
// A replica, or a master on its way to become one: the next connection may find the new master.
const REPLICA: Verdict = (
    Class::Retry { after: None },
    Some("it is a replica, or about to become one: give the address of its master"),
);

const fn pause(remedy: &'static str) -> Verdict {
    (Class::Pause, Some(remedy))
}

const CREDENTIALS: Verdict = pause("check user and password in the URL of Redis");
const RIGHTS: Verdict = pause(
    "let the user of Redis run EVALSHA, SCRIPT LOAD and INFO, and the commands of keys, hashes, sets and sorted sets, on the \
     keys of the window",
);
const CLUSTER: Verdict =
    pause("give the address of a Redis that is no cluster: a window is kept on one server and its replicas");
const MEMORY: Verdict = pause("Redis is at its maxmemory: raise it, or remove what does not belong there");
const WRONG_KEY: Verdict =
    pause("a key of the window holds something else: remove it, or give the window another key");
const DISK: Verdict =
    pause("Redis can't write its snapshot and takes no writes: look at its log and its disk");
const NO_REDIS: Verdict = pause("check the address: what answers there does not speak like Redis");
const UNKNOWN: Verdict =
    pause("Redis refuses the command for a reason that is not known here: see its message");
const DATABASE: Verdict = pause(
    "the number at the end of Redis' URL is its database: 0 to 15, unless its `databases` is set otherwise",
);
const URL: Verdict = pause("check the URL of Redis");

/// Makes the sink's error of one of the client. What was sent may have been done or not, unless Redis refused it.
pub(super) fn from_redis(doing: &str, address: &str, error: RedisError) -> SinkError {
    let (class, remedy) = verdict(&error);
    let message = format!("redis at {address}: {doing}: {error}");
    SinkError { class, message, remedy, source: Some(Box::new(error)) }
}

/// An error that this sink found by itself.
pub(super) fn paused(address: &str, problem: impl AsRef<str>, remedy: &'static str) -> SinkError {
    let message = format!("redis at {address}: {}", problem.as_ref());
    SinkError { class: Class::Pause, message, remedy: Some(remedy), source: None }
}

fn verdict(error: &RedisError) -> Verdict {
    match error.kind() {
        ErrorKind::Io => AWAY,
        ErrorKind::AuthenticationFailed => CREDENTIALS,
        ErrorKind::InvalidClientConfig | ErrorKind::Client => URL,
        ErrorKind::Server(kind) => server(kind, error),
        ErrorKind::Extension => by_code(error.code().unwrap_or_default()).unwrap_or(UNKNOWN),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::RESP3NotSupported => NO_REDIS,
        // Sentinels and clusters are not asked for, so they don't answer.
        _ => UNKNOWN,
    }
}

fn server(kind: ServerErrorKind, error: &RedisError) -> Verdict {
    match kind {
        ServerErrorKind::BusyLoading
        | ServerErrorKind::TryAgain
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::MasterDown
        // Scripts were flushed between loading and running.
        | ServerErrorKind::NoScript
        | ServerErrorKind::NotBusy => RETRY,
        ServerErrorKind::ReadOnly => REPLICA,
        ServerErrorKind::NoPerm => RIGHTS,
        ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot => CLUSTER,
        ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort => {
            by_text(error.detail().unwrap_or_default())
        }
        _ => UNKNOWN,
    }
}

fn by_code(code: &str) -> Option<Verdict> {
    Some(match code {
        "BUSY" | "NOREPLICAS" | "UNBLOCKED" | "STALE" => RETRY,
        "NOAUTH" | "WRONGPASS" => CREDENTIALS,
        "WRONGTYPE" => WRONG_KEY,
        "OOM" => MEMORY,
        "MISCONF" => DISK,
        _ => return None,
    })
}

/// Errors of a general kind tell themselves apart by their text alone; so do, before Redis 7, those of a script's
/// commands, which name the code somewhere.
fn by_text(text: &str) -> Verdict {
    let has = |part: &str| text.contains(part);
    if has("READONLY") {
        return REPLICA;
    }
    if has("max number of clients") || has("MASTERDOWN") || has("NOREPLICAS") {
        return RETRY;
    }
    if has("can't run this command") || has("NOPERM") {
        return RIGHTS;
    }
    if has("DB index is out of range") || has("invalid DB index") {
        return DATABASE;
    }
    let code = ["WRONGTYPE", "OOM", "MISCONF"].into_iter().find(|code| has(code));
    code.and_then(by_code).unwrap_or(UNKNOWN)
}
