//! Each type of content gives its fields and the right share.

use super::{Attached, SOON};
use crate::harness::wait::{self, Look};
use crate::harness::{Measured, check};
use anyhow::Result;
use serde_json::Value;

/// One that ends in a tie, and one that is no round number.
const DURATIONS_MS: [i32; 2] = [1_050, 123_457];

pub async fn run(attached: &Attached) -> Result<Measured> {
    let mut shares = Vec::new();
    for content in &attached.contents {
        for duration_ms in DURATIONS_MS {
            let device = format!("{}-enrichment-{}-{duration_ms}", attached.tag, content.kind);
            attached.insert(content, duration_ms, &device).await?;
            let event = event(attached, &device).await?;
            let what = |field| format!("{field} of {duration_ms} ms of a {}", content.kind);
            let get = |field: &str| event.get(field).cloned().unwrap_or(Value::String("nothing".to_owned()));
            check::equal(what("content_type"), get("content_type"), Value::from(content.kind))?;
            let title = format!("{}-{}", attached.tag, content.kind);
            check::equal(what("content_title"), get("content_title"), Value::from(title))?;
            check::equal(what("length_seconds"), get("length_seconds"), Value::from(content.length_seconds))?;
            check::equal(
                what("engagement_seconds"),
                get("engagement_seconds").as_f64(),
                Some(seconds(duration_ms)),
            )?;
            let expected: Option<f64> = attached
                .db
                .value(
                    "SELECT round($1::int::numeric / 1000 / $2::int, 4)::float8",
                    &[&duration_ms, &content.length_seconds],
                )
                .await?;
            check::equal(what("engagement_pct"), get("engagement_pct").as_f64(), expected)?;
            shares.push(format!("{} {}", content.kind, get("engagement_pct")));
        }
    }
    let mut measured = Measured::default();
    measured.add(format!("engagement_pct: {}", shares.join(", ")));
    Ok(measured)
}

fn seconds(duration_ms: i32) -> f64 {
    f64::from(duration_ms) / 1000.0
}

async fn event(attached: &Attached, device: &str) -> Result<Value> {
    wait::until("the event is at the receiver", SOON, async || {
        let events = attached.receiver.page(&format!("device={device}&")).await?;
        Ok(match events.first() {
            Some(event) => Look::Seen(serde_json::from_str(&event.json)?),
            None => Look::NotYet("no event".to_owned()),
        })
    })
    .await
}
