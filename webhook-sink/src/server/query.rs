//! `GET /stats`, `/events`, `/health`: what is stored, and whether more can be.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use webhook_protocol::parse_instant;

use super::{Receiver, outgoing, refusal};
use crate::{
    cause::describe,
    clock,
    stats::Percentiles,
    store::{Filter, Key, MAX_LIMIT, ReadError, StoreError},
};

/// Events of an answer where the query does not say.
const DEFAULT_LIMIT: usize = 100;
/// A probe younger than this is believed again, so that asking often costs no disk.
const PROBE_AGE: Duration = Duration::from_secs(1);
/// A writer that has not answered by then is not well.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// Numbers below are Unix seconds, others milliseconds: as seconds the year 5138, as milliseconds 1973.
const FIRST_MS: i64 = 100_000_000_000;

/// The body of `/stats`.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    total_events: i64,
    duplicates: i64,
    rejected: i64,
    invalid_signatures: i64,
    events_per_second: f64,
    by_event_type: BTreeMap<String, i64>,
    by_content_type: BTreeMap<String, i64>,
    latency_ms: Option<Percentiles>,
    kept_events: i64,
    kept_bytes: i64,
    uptime_s: u64,
}

pub(super) async fn stats(State(receiver): State<Arc<Receiver>>) -> Json<Stats> {
    let figures = receiver.store.figures(clock::now_us());
    let counters = figures.counters;
    Json(Stats {
        total_events: counters.total_events,
        duplicates: counters.duplicates,
        rejected: counters.rejected,
        invalid_signatures: counters.invalid_signatures,
        events_per_second: (figures.events_per_second * 10.0).round() / 10.0,
        by_event_type: counters.by_event_type,
        by_content_type: counters.by_content_type,
        latency_ms: figures.latency_ms,
        kept_events: counters.kept_events,
        kept_bytes: counters.kept_bytes,
        uptime_s: receiver.started.elapsed().as_secs(),
    })
}

/// The parameters of a query string, in order.
type Parameters = Query<Vec<(String, String)>>;

pub(super) async fn events(
    State(receiver): State<Arc<Receiver>>,
    parameters: Result<Parameters, QueryRejection>,
) -> Response {
    let filter = match parameters.map_err(|error| error.to_string()).and_then(|Query(pairs)| filter(&pairs)) {
        Ok(filter) => filter,
        Err(reason) => return refusal(StatusCode::BAD_REQUEST, reason),
    };
    match receiver.store.events(filter).await {
        Ok(page) => {
            let body = outgoing::body(page.json, page.slot);
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => {
            if !matches!(error, ReadError::TooSlow | ReadError::Busy) {
                tracing::error!(error = describe(&error), "a query has no answer");
            }
            refusal(StatusCode::SERVICE_UNAVAILABLE, error)
        }
    }
}

fn filter(parameters: &[(String, String)]) -> Result<Filter, String> {
    let mut filter = Filter { limit: DEFAULT_LIMIT, ..Filter::default() };
    for (at, (name, value)) in parameters.iter().enumerate() {
        if parameters.iter().take(at).any(|(earlier, _)| earlier == name) {
            return Err(format!("the parameter {name} is given twice"));
        }
        match name.as_str() {
            "device" => filter.device = Some(value.clone()),
            "content_id" => filter.content_id = Some(Key::from_text(value)),
            "event_type" => filter.event_type = Some(value.clone()),
            "since" => filter.since_us = Some(instant(value)?),
            "after_seq" => filter.after_seq = Some(whole(name, value)?),
            "before_seq" => filter.before_seq = Some(whole(name, value)?),
            "limit" => filter.limit = limit(value)?,
            _ => {
                return Err(format!(
                    "the parameter {name} is unknown; known are limit, device, content_id, event_type, since, \
                     after_seq and before_seq"
                ));
            }
        }
    }
    Ok(filter)
}

fn limit(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        format!("limit is a number from 1 to {MAX_LIMIT}, not {value:?}; page by before_seq for more")
    })
}

fn whole(name: &str, value: &str) -> Result<i64, String> {
    value.parse().map_err(|_| format!("{name} is a whole number, the seq of an event, not {value:?}"))
}

/// RFC 3339, or a whole number of Unix seconds or milliseconds; in microseconds.
fn instant(value: &str) -> Result<i64, String> {
    let number = value.parse::<i64>().ok().map(|number| {
        let unit_us = if number.abs() < FIRST_MS { 1_000_000 } else { 1_000 };
        number.saturating_mul(unit_us)
    });
    number.or_else(|| parse_instant(value)).ok_or_else(|| {
        format!(
            "since is an instant like 2026-11-21T03:00:00Z (a + is written %2B), or Unix seconds or milliseconds, \
             not {value:?}"
        )
    })
}

pub(super) async fn health(State(receiver): State<Arc<Receiver>>) -> Response {
    match probe(&receiver).await {
        Ok(()) => {
            Json(json!({ "status": "ok", "uptime_s": receiver.started.elapsed().as_secs() })).into_response()
        }
        Err(error) => {
            let body = Json(json!({ "status": "unavailable", "reason": error.to_string() }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// A write through the same queue, by the same thread, to the same disk as events.
async fn probe(receiver: &Receiver) -> Result<(), StoreError> {
    let mut probed = receiver.probed.lock().await;
    if let Some((at, result)) = probed.as_ref()
        && at.elapsed() < PROBE_AGE
    {
        return result.clone();
    }
    let late =
        || StoreError::Unavailable(format!("no answer from its writer within {} s", PROBE_TIME.as_secs()));
    let result = match tokio::time::timeout(PROBE_TIME, receiver.store.probe()).await {
        Ok(result) => result,
        Err(_) => Err(late()),
    };
    *probed = Some((Instant::now(), result.clone()));
    result
}
