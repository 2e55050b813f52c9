//! `GET /live`: all that the page shows of the last moments, in one answer.
//!
//! Made at most a few times a second however many pages are open; a page gets what was made last. So neither many pages
//! nor slow ones cost the store more than one does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{Receiver, refusal};
use crate::{
    clock,
    stats::{Leader, Percentiles, Point, SERIES_S},
    store::Recent,
};

/// What is younger is given again.
const MAX_AGE: Duration = Duration::from_millis(250);

/// What was made last.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<(Instant, Arc<Moment>)>>);

/// The parameters of the query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// Seconds up to this one are known to the page.
    #[serde(default)]
    after: i64,
}

/// Everything but the seconds.
#[derive(Debug, Clone, Serialize)]
struct Moment {
    /// The receiver's clock: the page's own may differ.
    now_ms: i64,
    /// When this process began; another one has another.
    started_ms: i64,
    total_events: i64,
    duplicates: i64,
    rejected: i64,
    invalid_signatures: i64,
    events_per_second: f64,
    by_event_type: BTreeMap<String, i64>,
    latency_ms: Option<Percentiles>,
    kept_events: i64,
    kept_bytes: i64,
    last_stored_ms: Option<i64>,
    top: Vec<Shown>,
    #[serde(skip)]
    points: Vec<Point>,
}

#[derive(Debug, Clone, Serialize)]
struct Shown {
    content_id: String,
    title: Option<String>,
    content_type: Option<String>,
    events: u64,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Live<'a> {
    #[serde(flatten)]
    moment: &'a Moment,
    /// How far back the seconds go.
    span_s: i64,
    /// Second, events, and two percentiles of their latency in milliseconds; a second without events is left out.
    points: Vec<(i64, u64, Option<f64>, Option<f64>)>,
}

pub(super) async fn live(
    State(receiver): State<Arc<Receiver>>,
    after: Result<Query<After>, QueryRejection>,
) -> Response {
    let after = match after {
        Ok(Query(After { after })) => after,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error),
    };
    let moment = receiver.latest.get(&receiver);
    let points = moment.points.iter().filter(|point| point.second > after).map(shown_point).collect();
    Json(Live { moment: &moment, span_s: SERIES_S, points }).into_response()
}

impl Latest {
    fn get(&self, receiver: &Receiver) -> Arc<Moment> {
        // Held while it is made, so that of many who ask at once one makes it: that takes a millisecond.
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, moment)) = latest.as_ref()
            && made.elapsed() < MAX_AGE
        {
            return Arc::clone(moment);
        }
        let moment = Arc::new(moment(receiver, clock::now_us()));
        *latest = Some((Instant::now(), Arc::clone(&moment)));
        moment
    }
}

fn moment(receiver: &Receiver, now_us: i64) -> Moment {
    let figures = receiver.store.figures(now_us);
    let Recent { points, leaders, last_stored_at_us } = receiver.store.recent(now_us);
    let counters = figures.counters;
    Moment {
        now_ms: now_us / 1000,
        started_ms: receiver.started_at_us / 1000,
        total_events: counters.total_events,
        duplicates: counters.duplicates,
        rejected: counters.rejected,
        invalid_signatures: counters.invalid_signatures,
        events_per_second: (figures.events_per_second * 10.0).round() / 10.0,
        by_event_type: counters.by_event_type,
        latency_ms: figures.latency_ms,
        kept_events: counters.kept_events,
        kept_bytes: counters.kept_bytes,
        last_stored_ms: last_stored_at_us.map(|us| us / 1000),
        top: leaders.into_iter().map(shown).collect(),
        points,
    }
}

fn shown(leader: Leader) -> Shown {
    Shown {
        content_id: leader.content_id.to_string(),
        title: leader.seen.title,
        content_type: leader.seen.content_type,
        events: leader.seen.events,
    }
}

fn shown_point(point: &Point) -> (i64, u64, Option<f64>, Option<f64>) {
    let ms = |us: i64| i32::try_from(us).map_or(f64::from(i32::MAX), f64::from) / 1000.0;
    (point.second, point.stored, point.p50_us.map(ms), point.p99_us.map(ms))
}
