//! HTTP: which path leads where, and what every answer carries. Decides nothing about events.

mod body;
mod live;
mod outgoing;
mod page;
mod query;
mod webhook;

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};
use webhook_protocol::Verifier;

use crate::{
    clock,
    store::{Store, StoreError},
};

/// What all requests share.
#[derive(Debug)]
pub struct Receiver {
    store: Arc<Store>,
    verifier: Verifier,
    /// KiB of bodies that may be in memory at once.
    budget: Arc<Semaphore>,
    started: Instant,
    started_at_us: i64,
    /// What the pages are shown.
    latest: live::Latest,
    /// When the store was last probed, and what it said: a probe waits for the disk.
    probed: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl Receiver {
    /// Everything a request needs.
    #[must_use]
    pub fn new(store: Arc<Store>, verifier: Verifier) -> Arc<Self> {
        Arc::new(Self {
            store,
            verifier,
            budget: Arc::new(Semaphore::new(webhook::BUDGET_KIB)),
            started: Instant::now(),
            started_at_us: clock::now_us(),
            latest: live::Latest::default(),
            probed: Mutex::new(None),
        })
    }
}

/// All paths.
pub fn routes(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/webhook", post(webhook::receive))
        .route("/stats", get(query::stats))
        .route("/events", get(query::events))
        .route("/health", get(query::health))
        .route("/live", get(live::live))
        .merge(page::routes())
        .with_state(receiver)
}

/// An answer that says why not; where trying again may help it says so.
fn refusal(status: StatusCode, reason: impl std::fmt::Display) -> Response {
    let body = Json(json!({ "error": reason.to_string() }));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => (status, [(header::RETRY_AFTER, "1")], body).into_response(),
        _ => (status, body).into_response(),
    }
}
