//! One row, inserted, updated and deleted: its effect is in both sinks each time.

use super::{Attached, KEY, SOON};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Measured, check};
use anyhow::{Context, Result};
use serde_json::Value;

pub async fn run(attached: &Attached) -> Result<Measured> {
    let device = format!("{}-end-to-end", attached.tag);
    let podcast = attached.content("podcast")?;
    let before = attached.board_is_right().await?.get(&podcast.id).copied().unwrap_or_default();
    let id = attached.insert(podcast, 8000, &device).await?;
    effect(attached, &podcast.id, before + 8000).await?;
    let ttl = attached.redis.number(&["TTL", KEY]).await?;
    check::at_least("TTL of the leaderboard", ttl, 1)?;
    check::at_most("TTL of the leaderboard", ttl, 600)?;
    attached.db.execute("UPDATE engagement_events SET duration_ms = 12345 WHERE id = $1", &[&id]).await?;
    effect(attached, &podcast.id, before + 12_345).await?;
    attached.db.execute("DELETE FROM engagement_events WHERE id = $1", &[&id]).await?;
    effect(attached, &podcast.id, before).await?;

    let ops = wait::until("all three changes are at the receiver", SOON, async || {
        let events = attached.receiver.page(&format!("device={device}&")).await?;
        let ops: Vec<_> = events.iter().rev().map(|event| event.op.clone()).collect();
        Ok(if ops.len() >= 3 { wait::Look::Seen(events) } else { wait::Look::NotYet(format!("{ops:?}")) })
    })
    .await?;
    let told: Vec<_> = ops.iter().rev().map(|event| (event.op.as_str(), event.id)).collect();
    check::equal("changes at the receiver", told, vec![("c", id), ("u", id), ("d", id)])?;
    let seconds: Vec<_> = ops.iter().rev().map(|event| seconds(&event.json)).collect::<Result<_>>()?;
    check::equal("engagement_seconds", seconds, vec![8.0, 12.345, 12.345])?;
    let mut measured = Measured::default();
    measured.add(format!(
        "insert, update, delete: +8 s, +12.345 s, 0 in Redis; c, u, d at the receiver; TTL {ttl} s"
    ));
    Ok(measured)
}

fn seconds(json: &str) -> Result<f64> {
    let event: Value = serde_json::from_str(json)?;
    event.get("engagement_seconds").and_then(Value::as_f64).context("no engagement_seconds")
}

async fn effect(attached: &Attached, content: &str, expected_ms: i64) -> Result<()> {
    wait::until(&format!("Redis says {expected_ms} ms"), SOON, async || {
        let board = attached.redis.board(KEY).await?;
        let ms = board.get(content).copied().unwrap_or_default();
        Ok(seen_if(ms == expected_ms, || format!("{ms} ms")))
    })
    .await
}
