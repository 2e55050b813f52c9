//! `POST /webhook`: believed, read, stored, and only then answered.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::OwnedSemaphorePermit;
use webhook_protocol::{Answer, MAX_BODY_BYTES, SignatureError};

use super::{
    Receiver,
    body::{self, BodyError},
    refusal,
};
use crate::{
    cause::describe,
    clock,
    event::{self, Sorted},
    store::StoreError,
    verify,
};

/// KiB of bodies in memory at once, being read or waiting to be stored: 256 MiB, eight of the largest.
pub(super) const BUDGET_KIB: usize = 256 * 1024;
/// What the smallest request takes of it: its headers, its task, its parsed events.
const MIN_COST_KIB: usize = 16;
/// How long a request waits for its share before it is asked to come back.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Why a request is not answered 200, each with its status.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("too much is being received at once; try again")]
    Busy,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the request is not believed")]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Batch(#[from] event::BodyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Body(BodyError::TooLarge) | Self::Batch(event::BodyError::TooMany(_)) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::Broken(_)) | Self::Batch(event::BodyError::Malformed(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
        }
    }
}

pub(super) async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match accept(&receiver, headers, body).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) => {
            let reason = describe(&refused);
            tracing::debug!(status = refused.status().as_u16(), reason, "a request is refused");
            refusal(refused.status(), reason)
        }
    }
}

async fn accept(receiver: &Arc<Receiver>, headers: HeaderMap, body: Body) -> Result<Answer, Refusal> {
    let declared_bytes = content_length(&headers);
    let budget = share(receiver, declared_bytes).await?;
    let body = body::read(body, declared_bytes).await?;
    let sorted = believe_and_sort(Arc::clone(receiver), headers, body).await?;
    let Sorted { events, rejected } = sorted;
    let stored = receiver.store.append(events, rejected.len(), Some(budget)).await?;
    Ok(Answer { accepted: stored.accepted, duplicates: stored.duplicates, rejected })
}

/// Off the threads that serve connections: a large body takes tens of milliseconds to hash and read.
async fn believe_and_sort(
    receiver: Arc<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Sorted, Refusal> {
    let work = move || {
        let believed = verify::verify(&receiver.verifier, &headers, &body, clock::now_s());
        if let Err(error) = believed {
            receiver.store.count_invalid_signature();
            return Err(Refusal::Signature(error));
        }
        Ok(event::sort(&body)?)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Busy)?
}

/// A body of unknown length may be the largest; one that is too large is thrown away as it comes.
async fn share(receiver: &Receiver, declared_bytes: Option<usize>) -> Result<OwnedSemaphorePermit, Refusal> {
    let cost_kib = match declared_bytes.unwrap_or(MAX_BODY_BYTES) {
        bytes if bytes > MAX_BODY_BYTES => MIN_COST_KIB,
        bytes => bytes.div_ceil(1024).max(MIN_COST_KIB),
    };
    let cost_kib = u32::try_from(cost_kib).map_err(|_| Refusal::Busy)?;
    let share = Arc::clone(&receiver.budget).acquire_many_owned(cost_kib);
    tokio::time::timeout(MAX_WAIT, share).await.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Busy)
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
