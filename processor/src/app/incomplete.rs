//! Leaderboards that lack something, and a source that was replayed: told by log, `/readyz` and metric.

use crate::health::WorkerHealth;
use crate::metrics::LaneMetrics;
use crate::sink::redis_window::{Lacking, Replay};
use std::time::{SystemTime, UNIX_EPOCH};
use webhook_protocol::format_instant;

/// Tells which leaderboards of a lane lack something, and for how long: there was nobody to ask when they were made anew.
pub(super) fn tell(
    (lane, metrics, health): &(String, LaneMetrics, Option<WorkerHealth>),
    windows: &[Lacking],
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    for Lacking { key, whole_s, .. } in windows {
        metrics.incomplete(key, if *whole_s > 0 { whole_s.saturating_sub(now_s) } else { 0 });
    }
    let lacking = windows.iter().filter(|window| window.whole_s > 0);
    let lacking = lacking.map(|Lacking { key, whole_s, is_doubted }| {
        let until = format_instant(whole_s.saturating_mul(1_000_000));
        let doubt = if *is_doubted { " (in doubt: it may hold some changes twice)" } else { "" };
        format!("leaderboard `{key}` until {until}{doubt}")
    });
    let what = Some(lacking.collect::<Vec<_>>().join(", ")).filter(|what| !what.is_empty());
    if health.as_ref().is_some_and(|health| health.set_incomplete(what.clone())) {
        match what {
            Some(what) => tracing::warn!(lane, "incomplete: {what}"),
            None => tracing::info!(lane, "every leaderboard holds all that it should"),
        }
    }
}

/// Tells that the order of the source has broken. What follows from it, the sink does by itself.
pub(super) fn tell_replayed(
    (lane, metrics, health): &(String, LaneMetrics, Option<WorkerHealth>),
    replay: &Replay,
) {
    metrics.replayed(replay.sign.name());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = format_instant(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
    if let Some(health) = health {
        health.set_replayed(format!("{now}: {replay}"));
    }
    tracing::error!(
        lane,
        "{replay}; the leaderboards make themselves anew from the table; `deltafan verify` says whether every sink has all"
    );
}
