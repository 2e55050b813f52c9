//! The neutral receiver: takes what is posted, counts the events, and keeps their ids until somebody asks whether they are
//! distinct. It checks no signature and stores nothing, so that what is measured is the sender.

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use memchr::memmem::Finder;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What stands before the id of each event; a program that sends other names gives another one.
pub const EVENT_ID: &str = "\"event_id\":\"";
/// More than any sender puts into one body.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

struct Counted {
    finder: Finder<'static>,
    ids: Mutex<Vec<Uuid>>,
}

/// Serves until the process ends: `POST` anywhere, `GET /count` (events so far), `GET /distinct` (distinct ids so far).
///
/// # Errors
/// The address can't be listened on.
pub async fn serve(listen: &str, before_id: &str) -> Result<()> {
    let finder = Finder::new(before_id).into_owned();
    let counted = Arc::new(Counted { finder, ids: Mutex::default() });
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let router = Router::new()
        .route("/count", get(count))
        .route("/distinct", get(distinct))
        .route("/{*any}", post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(counted);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn take(State(counted): State<Arc<Counted>>, body: Bytes) -> StatusCode {
    let length = counted.finder.needle().len();
    let found = counted.finder.find_iter(&body).map(|at| {
        let text = body.get(at + length..at + length + uuid::fmt::Hyphenated::LENGTH);
        text.and_then(|text| Uuid::try_parse_ascii(text).ok())
    });
    let Some(found) = found.collect::<Option<Vec<_>>>() else { return StatusCode::BAD_REQUEST };
    counted.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    StatusCode::NO_CONTENT
}

async fn count(State(counted): State<Arc<Counted>>) -> String {
    counted.ids.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
}

async fn distinct(State(counted): State<Arc<Counted>>) -> String {
    let ids = counted.ids.lock().unwrap_or_else(PoisonError::into_inner);
    ids.iter().collect::<HashSet<_>>().len().to_string()
}
