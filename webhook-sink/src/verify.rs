//! The signature of a request: from HTTP headers to what the protocol verifies.

use axum::http::HeaderMap;
use webhook_protocol::{
    HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, SignatureError, SignedHeaders, Verifier,
};

/// Believes a request or says why not; `now_s` is the receiver's clock in Unix seconds.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(
    verifier: &Verifier,
    headers: &HeaderMap,
    body: &[u8],
    now_s: u64,
) -> Result<(), SignatureError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = SignedHeaders {
        id: text(HEADER_ID),
        timestamp: text(HEADER_TIMESTAMP),
        signature: text(HEADER_SIGNATURE),
    };
    verifier.verify(signed, body, now_s)
}
