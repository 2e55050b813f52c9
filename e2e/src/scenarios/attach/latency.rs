//! The one timed check: from the insert until the effect is seen in Redis and at the receiver.

use super::{Attached, Content, KEY};
use crate::harness::{Measured, check, redis, wait};
use anyhow::Result;
use std::time::{Duration, Instant};

const INSERTS: i32 = 20;
/// The most that any of them may take.
const BOUND_MS: f64 = 5000.0;
const GIVE_UP: Duration = Duration::from_secs(20);
/// Looks follow each other closely: what they take is part of the figure.
const PAUSE: Duration = Duration::from_millis(1);

pub async fn run(attached: &Attached) -> Result<Measured> {
    let video = attached.content("video")?;
    let mut expected_ms = attached.board_is_right().await?.get(&video.id).copied().unwrap_or_default();
    let (mut in_redis, mut at_receiver) = (Vec::new(), Vec::new());
    for number in 1..=INSERTS {
        let device = format!("{}-latency-{number}", attached.tag);
        expected_ms += i64::from(number);
        let began = Instant::now();
        attached.insert(video, number, &device).await?;
        let (redis, receiver) = tokio::try_join!(
            seen_in_redis(attached, video, expected_ms, began),
            seen_at_receiver(attached, &device, began)
        )?;
        in_redis.push(redis);
        at_receiver.push(receiver);
    }
    let mut measured = Measured::default();
    for (place, values) in [("Redis", in_redis), ("receiver", at_receiver)] {
        let (p50, max) = check::p50_and_max(values);
        check::at_most(format!("ms from insert to {place}"), max, BOUND_MS)?;
        measured.add(format!("insert → {place} p50 {p50:.1} ms, max {max:.1} ms"));
    }
    Ok(measured)
}

async fn seen_in_redis(
    attached: &Attached,
    content: &Content,
    expected_ms: i64,
    began: Instant,
) -> Result<f64> {
    let mut connection = attached.redis.connect().await?;
    wait::until_every(PAUSE, "the row is in Redis", GIVE_UP, async || {
        let score = redis::score(&mut connection, KEY, &content.id).await?;
        Ok(wait::seen_if(score == Some(expected_ms), || format!("{score:?} ms, not {expected_ms} ms")))
    })
    .await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

async fn seen_at_receiver(attached: &Attached, device: &str, began: Instant) -> Result<f64> {
    wait::until_every(PAUSE, "the row is at the receiver", GIVE_UP, async || {
        let events = attached.receiver.page(&format!("device={device}&")).await?;
        Ok(wait::seen_if(!events.is_empty(), || "no event".to_owned()))
    })
    .await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}
