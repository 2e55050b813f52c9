//! What a leaderboard lane is told: where Redis is and which windows it keeps.

use super::order::Replay;
use super::past::{OnlyTheLog, Past};
use super::ranking::{By, Contents, Nothing};
use redis::{Client, IntoConnectionInfo};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A window may last this long at most: its buckets of a second stay below three millions.
const MAX_LENGTH_S: u32 = 31 * 24 * 3600;

/// How many events one write takes at most, whether they have an effect or not: some 500 KB of memory per batch.
const MAX_RECORDS: usize = 10_000;

/// Why a setting can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The URL is none of Redis'.
    #[error("the Redis URL can't be used ({0}): write redis://[user:password@]host[:port][/database]")]
    Url(String),
    /// No window.
    #[error("no window: name at least one key with its length")]
    NoWindow,
    /// Two windows of one key.
    #[error("two windows have the key `{0}`: each needs its own")]
    Twice(String),
    /// A key from which no companion keys of the same hash slot can be made.
    #[error("the key `{0}` can't be used: it must not be empty, nor hold braces other than one {{tag}}")]
    Key(String),
    /// A length that is too short or too long.
    #[error("the window `{0}` lasts {1} s: it must be from 1 s to 31 days")]
    Length(String, u64),
}

/// One rolling window: a sorted set, what its members are, and how long a contribution stays in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    key: String,
    length_s: u32,
    by: By,
}

impl Window {
    /// A window of contents that is read at `key`; `length` is cut to whole seconds.
    ///
    /// # Errors
    /// The key or the length can't be used.
    pub fn new(key: impl Into<String>, length: Duration) -> Result<Self, SettingsError> {
        let key = key.into();
        let length_s = u32::try_from(length.as_secs()).ok().filter(|s| (1..=MAX_LENGTH_S).contains(s));
        let Some(length_s) = length_s else {
            return Err(SettingsError::Length(key, length.as_secs()));
        };
        if prefix_of(&key).is_none() {
            return Err(SettingsError::Key(key));
        }
        Ok(Self { key, length_s, by: By::Content })
    }

    /// The same window of other members.
    #[must_use]
    pub fn by(self, by: By) -> Self {
        Self { by, ..self }
    }

    /// What its members are.
    pub fn members(&self) -> By {
        self.by
    }

    /// The key of the sorted set.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How long a contribution stays, in seconds.
    pub fn length_s(&self) -> u32 {
        self.length_s
    }

    /// What the companion keys begin with: they share the key's hash slot.
    pub(super) fn prefix(&self) -> String {
        prefix_of(&self.key).unwrap_or_default()
    }
}

/// Redis hashes what stands between the first `{` and the next `}`, where that is something, else the whole key.
fn prefix_of(key: &str) -> Option<String> {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    match tag {
        Some("") => None,
        Some(_) => Some(format!("{key}:")),
        None if key.is_empty() || key.contains('}') => None,
        None => Some(format!("{{{key}}}:")),
    }
}

/// Where Redis is, and the windows that a lane keeps there.
#[derive(Clone)]
pub struct Settings {
    pub(super) client: Client,
    pub(super) windows: Vec<Window>,
    /// How many events one write takes at most.
    pub max_records: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for an answer: far above the few milliseconds that one write takes.
    pub response_timeout: Duration,
    /// Who knows the types of contents, for leaderboards by type.
    pub contents: Arc<dyn Contents>,
    /// Who knows what was before, for a window that has to be made anew.
    pub past: Arc<dyn Past>,
    /// Whether the log has the order of the source; else what it says of it is not looked at.
    pub is_ordered: bool,
    /// Hears each time that order breaks: what was there before comes again.
    pub replayed: Arc<dyn Fn(&Replay) + Send + Sync>,
    /// Held by the worker that makes windows anew.
    pub(super) making: Arc<Mutex<()>>,
}

impl Settings {
    /// Keeps `windows` in the Redis at `url` (`redis://[user:password@]host[:port][/database]`).
    ///
    /// # Errors
    /// The URL can't be used, or the windows don't go together.
    pub fn new(url: &str, windows: Vec<Window>) -> Result<Self, SettingsError> {
        let bad_url = |error: redis::RedisError| SettingsError::Url(error.to_string());
        let client = Client::open(url.into_connection_info().map_err(bad_url)?).map_err(bad_url)?;
        if windows.is_empty() {
            return Err(SettingsError::NoWindow);
        }
        let twice = windows.iter().enumerate().find(|(i, w)| windows.iter().take(*i).any(|o| o.key == w.key));
        if let Some((_, window)) = twice {
            return Err(SettingsError::Twice(window.key.clone()));
        }
        Ok(Self {
            client,
            windows,
            max_records: MAX_RECORDS,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(5),
            contents: Arc::new(Nothing),
            past: Arc::new(OnlyTheLog),
            is_ordered: true,
            replayed: Arc::new(|replay| tracing::error!("{replay}")),
            making: Arc::default(),
        })
    }

    /// Host and port, without credentials.
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The windows.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }
}

/// Without credentials.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address())
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(600);

    #[test]
    fn companions_share_the_hash_slot_of_the_key() {
        let prefix = |key: &str| Window::new(key, LENGTH).map(|window| window.prefix());
        assert_eq!(prefix("engagement:10min"), Ok("{engagement:10min}:".to_owned()));
        assert_eq!(prefix("board:{shop}:10min"), Ok("board:{shop}:10min:".to_owned()), "a tag of its own");
        assert_eq!(prefix("odd{key"), Ok("{odd{key}:".to_owned()), "no tag, the whole key is hashed");
        for key in ["", "odd}key", "a{}b", "{}"] {
            assert_eq!(prefix(key), Err(SettingsError::Key(key.to_owned())), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let window = |key: &str| Window::new(key, LENGTH).expect("good");
        assert!(matches!(Window::new("a", Duration::from_millis(999)), Err(SettingsError::Length(_, 0))));
        assert!(matches!(Window::new("a", Duration::MAX), Err(SettingsError::Length(..))));
        let two = vec![window("a"), window("a")];
        assert!(matches!(Settings::new("redis://x", two), Err(SettingsError::Twice(key)) if key == "a"));
        assert!(matches!(Settings::new("redis://x", vec![]), Err(SettingsError::NoWindow)));
        assert!(matches!(Settings::new("http://x", vec![window("a")]), Err(SettingsError::Url(_))));
    }

    #[test]
    fn a_password_is_never_shown() {
        let window = Window::new("a", LENGTH).expect("good");
        let settings = Settings::new("redis://me:hunter2@host:1/2", vec![window]).expect("good");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.address(), "host:1");
    }
}
