//! A large answer on its way: what was reserved for it is free once it has gone out, or has been given up.
//!
//! HTTP asks for more only as the client takes it, so a client that reads nothing would hold an answer for ever. It is
//! given a time, after which the rest is dropped and the connection ends.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use thiserror::Error;
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

/// How long a client may take for an answer: the largest in that time is 18 Mbit/s.
const MAX_TIME: Duration = Duration::from_secs(30);
/// What is handed over at once. HTTP holds a few of them, so this bounds what may outlive the reservation.
const PIECE_BYTES: usize = 64 * 1024;

/// The client was too slow.
#[derive(Debug, Error)]
#[error("the answer was not taken within {} s", MAX_TIME.as_secs())]
struct TooSlowError;

/// What is still to be sent, and the reservation that goes with it.
#[derive(Debug)]
struct Rest {
    data: Bytes,
    _slot: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Outgoing {
    /// Empty once all is sent or the time is over.
    rest: Arc<Mutex<Option<Rest>>>,
    remaining_bytes: usize,
    watch: JoinHandle<()>,
}

/// A body that frees `slot` when it has gone out. To be called within a runtime.
pub(super) fn body(data: Vec<u8>, slot: Option<OwnedSemaphorePermit>) -> Body {
    let remaining_bytes = data.len();
    let rest = Arc::new(Mutex::new(Some(Rest { data: Bytes::from(data), _slot: slot })));
    let watched = Arc::clone(&rest);
    let watch = tokio::spawn(async move {
        tokio::time::sleep(MAX_TIME).await;
        lock(&watched).take();
    });
    Body::new(Outgoing { rest, remaining_bytes, watch })
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = TooSlowError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, TooSlowError>>> {
        if self.remaining_bytes == 0 {
            return Poll::Ready(None);
        }
        let piece = lock(&self.rest).as_mut().map(|rest| {
            let length = rest.data.len().min(PIECE_BYTES);
            rest.data.split_to(length)
        });
        let Some(piece) = piece else { return Poll::Ready(Some(Err(TooSlowError))) };
        self.remaining_bytes -= piece.len();
        Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(u64::try_from(self.remaining_bytes).unwrap_or(u64::MAX))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.watch.abort();
        lock(&self.rest).take();
    }
}

fn lock(rest: &Mutex<Option<Rest>>) -> MutexGuard<'_, Option<Rest>> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::sync::Semaphore;

    async fn next(body: &mut Body) -> Option<Result<usize, String>> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap().len()).map_err(|error| error.to_string()))
    }

    #[tokio::test]
    async fn a_slot_is_held_until_the_last_byte_has_gone() {
        let slots = Arc::new(Semaphore::new(1));
        let slot = Arc::clone(&slots).try_acquire_owned().unwrap();
        let mut answer = body(vec![b'x'; PIECE_BYTES + 1], Some(slot));
        assert_eq!(next(&mut answer).await, Some(Ok(PIECE_BYTES)));
        assert_eq!(slots.available_permits(), 0);
        assert_eq!(next(&mut answer).await, Some(Ok(1)));
        assert_eq!(next(&mut answer).await, None);
        drop(answer);
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let slots = Arc::new(Semaphore::new(1));
        let slot = Arc::clone(&slots).try_acquire_owned().unwrap();
        let mut answer = body(vec![b'x'; 3 * PIECE_BYTES], Some(slot));
        assert_eq!(next(&mut answer).await, Some(Ok(PIECE_BYTES)));
        tokio::time::sleep(MAX_TIME + Duration::from_millis(1)).await;
        assert_eq!(slots.available_permits(), 1, "nobody polls it, and yet it is free");
        assert!(next(&mut answer).await.unwrap().unwrap_err().contains("30 s"));
    }
}
