//! What a contender has left in Redis, as milliseconds by content.

use anyhow::Result;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Deltafan shows seconds in doubles, so a content's sum is right next to half a millisecond.
const TOLERANCE_MS: f64 = 0.5;

/// Sums by content.
pub(super) type Scores = BTreeMap<Uuid, f64>;

/// Deltafan's leaderboard: one sorted set, in seconds.
pub(super) async fn of_deltafan(connection: &mut MultiplexedConnection, key: &str) -> Result<Scores> {
    let scores: Vec<(String, f64)> = connection.zrange_withscores(key, 0, -1).await?;
    scores.into_iter().map(|(content, seconds)| Ok((content.parse()?, seconds * 1000.0))).collect()
}

/// A peer's: a sorted set for each minute, in milliseconds.
pub(super) async fn of_peer(connection: &mut MultiplexedConnection, name: &str) -> Result<Scores> {
    // Redis was emptied before: there are no other keys to walk over.
    let keys: Vec<String> = connection.keys(format!("{name}:*")).await?;
    let mut sums = Scores::new();
    for key in keys {
        let scores: Vec<(String, f64)> = connection.zrange_withscores(key, 0, -1).await?;
        for (content, ms) in scores {
            *sums.entry(content.parse()?).or_default() += ms;
        }
    }
    Ok(sums)
}

/// Whether everything has been added that must be.
pub(super) fn is_full(scores: &Scores, expected: &BTreeMap<Uuid, i64>) -> bool {
    expected
        .iter()
        .all(|(content, ms)| scores.get(content).is_some_and(|score| *score > as_f64(*ms) - TOLERANCE_MS))
}

/// What is wrong with it, if anything is.
pub(super) fn fault(scores: &Scores, expected: &BTreeMap<Uuid, i64>) -> Option<String> {
    let (has, needs) = (scores.values().sum::<f64>(), as_f64(expected.values().sum()));
    let wrong = expected.iter().filter(|(content, ms)| {
        let score = scores.get(content).copied().unwrap_or_default();
        (score - as_f64(**ms)).abs() > TOLERANCE_MS
    });
    let (wrong, strange) =
        (wrong.count(), scores.keys().filter(|content| !expected.contains_key(content)).count());
    (wrong + strange > 0).then(|| {
        format!(
            "redis has {has:.0} ms where {needs:.0} are right; {wrong} contents are wrong, {strange} strange"
        )
    })
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(ms: i64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards() -> (Scores, BTreeMap<Uuid, i64>) {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        (Scores::from([(one, 7.0), (two, 8.000_000_1)]), BTreeMap::from([(one, 7), (two, 8)]))
    }

    #[test]
    fn a_right_board_is_full_and_has_no_fault() {
        let (scores, expected) = boards();
        assert!(is_full(&scores, &expected));
        assert_eq!(fault(&scores, &expected), None);
    }

    #[test]
    fn what_is_missing_doubled_or_strange_is_told() {
        for (content, ms, full) in [(1, 6.0, false), (2, 16.0, true), (3, 1.0, true)] {
            let (mut scores, expected) = boards();
            scores.insert(Uuid::from_u128(content), ms);
            assert_eq!(is_full(&scores, &expected), full);
            assert!(fault(&scores, &expected).is_some(), "{content}");
        }
        let (mut scores, expected) = boards();
        scores.remove(&Uuid::from_u128(1));
        assert!(!is_full(&scores, &expected));
    }
}
