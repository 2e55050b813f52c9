//! What the effects must be, by SQL, and how they differ.

use super::config::By;
use super::db::Db;
use super::redis::{Board, Redis};
use super::wait::{self, Look};
use anyhow::{Context, Result};
use std::time::Duration;

/// The leaderboard as SQL computes it, in milliseconds, from the rows of the last `interval` ("1 hour").
pub async fn board_by_sql(db: &Db, interval: &str, by: By) -> Result<Board> {
    let member = match by {
        By::Content => "e.content_id::text",
        By::ContentType => "c.content_type::text",
        By::Device => "e.device",
    };
    let sql = format!(
        "SELECT {member}, sum(e.duration_ms)::bigint FROM engagement_events AS e LEFT JOIN content AS c ON c.id = e.content_id \
         WHERE e.event_ts > now() - $1::text::interval AND e.event_ts <= now() \
           AND e.duration_ms >= 0 AND {member} IS NOT NULL \
         GROUP BY {member} HAVING sum(e.duration_ms) > 0"
    );
    let rows = db.rows(&sql, &[&interval]).await?;
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
    (key, by): (&str, By),
    interval: &str,
    within: Duration,
) -> Result<(usize, i64)> {
    wait::until(&format!("{key} equals SQL"), within, async || {
        let expected = board_by_sql(db, interval, by).await?;
        let actual = redis.board(key).await.context("Redis")?;
        let differences = board_differences(&actual, &expected);
        Ok(match differences.first() {
            None => Look::Seen((expected.len(), expected.values().sum())),
            Some(first) => Look::NotYet(format!("{} differences, such as {first}", differences.len())),
        })
    })
    .await
}
