//! A window as it is at one moment, read whole and left as it is: for whoever compares it with its source.

use super::client::Client;
use super::config::{Settings, Window};
use super::past::Base;
use super::script::{Keys, READ};
use super::unknown_answer;
use crate::position::{LogId, Offset, Partition};
use crate::sink::SinkError;
use redis::{FromRedisValue, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A window of some hundred thousand members is read in one piece, and Redis does nothing else meanwhile.
const ANSWER: Duration = Duration::from_secs(30);

/// What a window holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The window's clock, in seconds since 1970: what it holds is right for this second.
    pub clock_s: i64,
    /// How long a contribution stays, in seconds.
    pub length_s: i64,
    /// Whether the public key is just being made again: until then it is not what it should be.
    pub is_redrawn: bool,
    /// Milliseconds by member, as they are right for the clock; of a leaderboard by content type, by content.
    pub totals: BTreeMap<String, i64>,
    /// The same as they stand in Redis, before the tick that is due.
    pub stands: BTreeMap<String, i64>,
    /// What clients see: seconds by member.
    pub public: BTreeMap<String, f64>,
    /// By content type: the type that the window was told of a content, with its version.
    pub groups: BTreeMap<String, (u64, String)>,
    /// By content type: milliseconds by type.
    pub sums: BTreeMap<String, i64>,
    /// What the window was made from, where that was the table.
    pub base: Option<Base>,
    positions: BTreeMap<String, Offset>,
}

impl Reading {
    /// The first offset of a partition of `log` that is not in the window; none where it holds nothing of it.
    #[must_use]
    pub fn position(&self, log: &LogId, partition: Partition) -> Option<Offset> {
        self.positions.get(&super::belief::field(log, partition)).copied()
    }

    fn parse(answer: Value) -> Option<Option<Self>> {
        let Value::Array(parts) = answer else { return None };
        let mut parts = parts.into_iter();
        let Some(state) = parts.next() else { return Some(None) };
        let state: Vec<String> = redis::from_redis_value(state).ok()?;
        let [_, length, clock, cursor, base] = state.as_slice() else { return None };
        let mut reading = Self {
            clock_s: clock.parse().ok()?,
            length_s: length.parse().ok()?,
            is_redrawn: !cursor.is_empty(),
            base: Base::parse(base),
            positions: map(parts.next()?)?,
            stands: map(parts.next()?)?,
            public: map(parts.next()?)?,
            ..Self::default()
        };
        for (content, entry) in map::<String>(parts.next()?)? {
            let (version, kind) = entry.split_once(':')?;
            reading.groups.insert(content, (version.parse().ok()?, kind.to_owned()));
        }
        reading.sums = map(parts.next()?)?;
        reading.totals = reading.stands.clone();
        for (member, ms) in pairs::<i64>(parts.next()?)? {
            let total = reading.totals.entry(member).or_default();
            *total = total.saturating_add(ms);
        }
        reading.totals.retain(|_, ms| *ms != 0);
        Some(Some(reading))
    }
}

/// A flat list of names and values.
fn pairs<T: FromRedisValue>(list: Value) -> Option<Vec<(String, T)>> {
    let Value::Array(items) = list else { return None };
    let (mut items, mut pairs) = (items.into_iter(), Vec::new());
    while let Some(name) = items.next() {
        pairs.push((redis::from_redis_value(name).ok()?, redis::from_redis_value(items.next()?).ok()?));
    }
    Some(pairs)
}

fn map<T: FromRedisValue>(list: Value) -> Option<BTreeMap<String, T>> {
    pairs(list).map(|pairs| pairs.into_iter().collect())
}

/// Reads every window of `settings`, each at one moment; `None` for one that is not there.
///
/// # Errors
/// Redis can't be asked, or refuses.
pub async fn read(settings: &Settings) -> Result<Vec<(Window, Option<Reading>)>, SinkError> {
    let settings = Settings { response_timeout: ANSWER, ..settings.clone() };
    let mut client = Client::new(&settings);
    let mut readings = Vec::new();
    for window in &settings.windows {
        let answers = client.run(&READ, vec![Keys::of(window).read(&READ)]).await?;
        let reading = answers.into_iter().next().and_then(Reading::parse);
        readings.push((window.clone(), reading.ok_or_else(|| unknown_answer(client.address()))?));
    }
    Ok(readings)
}
