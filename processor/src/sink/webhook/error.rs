//! What follows from an answer, or from there being none: the one table of the webhook sink.

use super::super::{Class, SinkError};
use super::target::{ALLOW, PrivateTarget, Target};
use std::error::Error;
use std::time::Duration;
use webhook_protocol::parse_instant;

/// The longest that a receiver can make us wait by `Retry-After`, so that a slip of its clock doesn't stop the lane.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What follows from a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has the events, but for those that it names.
    Accepted,
    /// It has none of them, for all that is known.
    Failed {
        /// What follows.
        class: Class,
        /// What a person can do, where one can.
        remedy: Option<&'static str>,
    },
}

/// Decides what follows from an HTTP status.
pub(super) fn classify(status: u16, retry_after: Option<Duration>) -> Outcome {
    let failed = |class| Outcome::Failed { class, remedy: None };
    match status {
        200..=299 => Outcome::Accepted,
        400 | 422 => failed(Class::Refused),
        413 => failed(Class::TooLarge),
        408 | 425 | 429 | 500..=599 => failed(Class::Retry { after: retry_after }),
        _ => Outcome::Failed { class: Class::Pause, remedy: Some(remedy(status)) },
    }
}

/// What a person can do about a status that pauses the sink.
fn remedy(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed: configure the URL that this one leads to",
        401 | 403 => "check that both sides have the same secret, and the credentials in the URL, if any",
        404 | 410 => "check the URL's path, or deploy the receiver",
        405 | 415 => "the receiver takes no JSON by POST at this path: check the URL",
        407 => "a proxy on the way wants credentials: let this host reach the receiver without it",
        _ => {
            "the receiver's answer says why, or its log; check that the URL is the one of a webhook receiver"
        }
    }
}

/// The error for an answer that is no acceptance.
pub(super) fn answered(
    target: &Target,
    status: u16,
    said: &[u8],
    class: Class,
    remedy: Option<&'static str>,
) -> SinkError {
    let said = printable(&String::from_utf8_lossy(said));
    let colon = if said.is_empty() { "" } else { ": " };
    let message = format!("{target} answered {status}{colon}{said}");
    SinkError { class, message, remedy, source: None }
}

/// The error for a request without an answer.
pub(super) fn unanswered(target: &Target, timeout: Duration, error: reqwest::Error) -> SinkError {
    // The URL that reqwest would print holds the query.
    let error = error.without_url();
    if let Some(private) = find::<PrivateTarget>(&error) {
        let message = private.to_string();
        return SinkError {
            class: Class::Pause,
            message,
            remedy: Some(ALLOW),
            source: Some(Box::new(error)),
        };
    }
    let what = if error.is_timeout() {
        format!("{target} did not answer within {timeout:?}")
    } else if error.is_connect() {
        format!("can't connect to {target}")
    } else {
        format!("the connection to {target} broke before the answer was there")
    };
    // A request that can't even be built will not be better next time.
    let class = if error.is_builder() { Class::Pause } else { Class::Retry { after: None } };
    let remedy = if error.is_timeout() {
        Some("see whether the receiver is overloaded, and the network between; `timeout` bounds the wait")
    } else if error.is_connect() {
        Some(unconnected(target, &error))
    } else {
        None
    };
    SinkError { class, message: what, remedy, source: Some(Box::new(error)) }
}

/// What a person can do where no connection comes about.
fn unconnected(target: &Target, error: &reqwest::Error) -> &'static str {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push_str(&error.to_string());
        cause = error.source();
    }
    if causes.contains("certificate") {
        return "is the certificate made for this host, in date, and its authority known here? If it is your own, install \
                its authority's among this system's certificates";
    }
    let refused =
        find::<std::io::Error>(error).is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
    if target.is_secure() && !refused && !causes.contains("lookup") {
        return "does the receiver speak https? If not, begin the URL with http";
    }
    "see whether the receiver runs, and check host and port of the URL"
}

/// The cause of type `T` within an error, however deep.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    match error.downcast_ref() {
        Some(found) => Some(found),
        None => error.source().and_then(find),
    }
}

/// The first characters of a text from outside, fit for a log line: nothing in it moves a cursor or breaks the line.
pub(super) fn printable(text: &str) -> String {
    /// Enough to recognise an error page by.
    const MOST_CHARS: usize = 200;
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MOST_CHARS * 4 {
            break;
        }
    }
    match line.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date seen from `now_s` (Unix seconds). At most [`MAX_RETRY_AFTER`].
pub(super) fn parse_retry_after(value: &str, now_s: u64) -> Option<Duration> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        value.parse().unwrap_or(u64::MAX)
    } else {
        u64::try_from(parse_http_date(value)?).unwrap_or(0).saturating_sub(now_s)
    };
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// Unix seconds of `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that RFC 9110 lets a server write.
fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, date) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = date.split(' ');
    let mut next = || parts.next();
    let (day, month, year, time) = (next()?, next()?, next()?, next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let instant_us = parse_instant(&format!("{year}-{month:02}-{day}T{time}Z"))?;
    parts.next().is_none().then_some(instant_us.div_euclid(1_000_000))
}
