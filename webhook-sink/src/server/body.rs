//! Reading a request's body: bounded in bytes and in time.

use std::{future::poll_fn, pin::Pin, time::Duration};

use axum::body::{Body, Bytes, HttpBody};
use thiserror::Error;
use webhook_protocol::MAX_BODY_BYTES;

/// How long a body may take to arrive.
const MAX_TIME: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away: many clients see a broken connection instead of the
/// answer when it comes before they have sent all.
const MAX_DISCARDED_BYTES: usize = 4 * MAX_BODY_BYTES;

/// Why there is no body.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {MAX_BODY_BYTES} bytes; send fewer events at once")]
    TooLarge,
    #[error("the body did not arrive within {} s", MAX_TIME.as_secs())]
    TooSlow,
    #[error("the body broke off")]
    Broken(#[source] axum::Error),
}

/// Reads all of it. `declared_bytes` is the length that the headers promise.
pub(super) async fn read(body: Body, declared_bytes: Option<usize>) -> Result<Bytes, BodyError> {
    tokio::time::timeout(MAX_TIME, collect(body, declared_bytes)).await.map_err(|_| BodyError::TooSlow)?
}

async fn collect(mut body: Body, declared_bytes: Option<usize>) -> Result<Bytes, BodyError> {
    let declared_bytes = declared_bytes.unwrap_or_default();
    let mut too_large = declared_bytes > MAX_BODY_BYTES;
    let mut whole = Vec::with_capacity(if too_large { 0 } else { declared_bytes });
    let mut read_bytes = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // Trailers are no data.
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else {
            continue;
        };
        read_bytes += data.len();
        too_large |= read_bytes > MAX_BODY_BYTES;
        if read_bytes > MAX_DISCARDED_BYTES {
            break;
        }
        if too_large {
            whole = Vec::new();
        } else {
            whole.extend_from_slice(&data);
        }
    }
    if too_large { Err(BodyError::TooLarge) } else { Ok(Bytes::from(whole)) }
}
