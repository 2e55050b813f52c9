//! What the effects must be, by SQL, and how they differ.

use super::db::Db;
use super::redis::{Board, Redis};
use super::wait::{self, Look};
use anyhow::{Context, Result};
use std::time::Duration;

/// The leaderboard as SQL computes it, in milliseconds, from the rows of the last `interval` ("1 hour").
pub async fn board_by_sql(db: &Db, interval: &str) -> Result<Board> {
    let rows = db
        .rows(
            "SELECT content_id::text, sum(duration_ms)::bigint FROM engagement_events \
             WHERE event_ts > now() - $1::text::interval AND event_ts <= now() \
               AND duration_ms >= 0 AND content_id IS NOT NULL \
             GROUP BY content_id HAVING sum(duration_ms) > 0",
            &[&interval],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Where two leaderboards differ.
pub fn board_differences(actual: &Board, expected: &Board) -> Vec<String> {
    let mut differences = Vec::new();
    for (member, ms) in expected {
        match actual.get(member) {
            Some(has) if has == ms => {}
            Some(has) => {
                differences.push(format!("{member}: {ms} ms expected, {has} ms in Redis ({:+})", has - ms))
            }
            None => differences.push(format!("{member}: {ms} ms expected, not in Redis")),
        }
    }
    for (member, has) in actual.iter().filter(|(member, _)| !expected.contains_key(*member)) {
        differences.push(format!("{member}: not expected, {has} ms in Redis"));
    }
    differences
}

/// Waits until the leaderboard at `key` is what SQL computes; the number of its members and their sum in ms.
pub async fn board_equals_sql(
    db: &Db,
    redis: &Redis,
    key: &str,
    interval: &str,
    within: Duration,
) -> Result<(usize, i64)> {
    wait::until(&format!("{key} equals SQL"), within, async || {
        let expected = board_by_sql(db, interval).await?;
        let actual = redis.board(key).await.context("Redis")?;
        let differences = board_differences(&actual, &expected);
        Ok(match differences.first() {
            None => Look::Seen((expected.len(), expected.values().sum())),
            Some(first) => Look::NotYet(format!("{} differences, such as {first}", differences.len())),
        })
    })
    .await
}
