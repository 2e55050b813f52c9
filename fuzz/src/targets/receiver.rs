//! The receiver's endpoint: signed bodies of any kind. It never fails (5xx), and what it says it stored is what it holds.

use super::{Outcome, Target, decode};
use crate::mutate;
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use deltafan::decode::{Decoded, decode as read};
use deltafan::sink::webhook::Events;
use deltafan::sink::{Batch as _, Event};
use deltafan::transform::transform;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::de::IgnoredAny;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use webhook_protocol::{Answer, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, Verifier, sign};
use webhook_sink::clock;
use webhook_sink::retention::Retention;
use webhook_sink::server::{Receiver, routes};
use webhook_sink::store::Store;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_00112233445566778899aabbccddeeff";
/// A store in memory, where there is such a file system: a million answers each wait for it to be durable.
const MEMORY: &str = "/dev/shm";
const MAX_EVENTS: usize = 10;
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_ANSWER_BYTES: usize = 1 << 20;

pub struct Endpoint {
    runtime: Runtime,
    router: Router,
    store: Arc<Store>,
    secrets: Vec<Secret>,
    /// Bodies as our sender makes them.
    bodies: Vec<String>,
    accepted: u64,
    _folder: TempDir,
}

impl Endpoint {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir())?;
        let day = std::time::Duration::from_secs(86_400);
        let retention = Retention::new(day, Retention::DEFAULT_EVENTS_BYTES, day)?;
        let store = Arc::new(Store::open(&folder.path().join("store.db"), retention)?);
        let secrets = Secret::parse_list(SECRET)?;
        let receiver = Receiver::new(Arc::clone(&store), Verifier::new(secrets.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let router = routes(receiver);
        let bodies = bodies()?;
        Ok(Self { runtime, router, store, secrets, bodies, accepted: 0, _folder: folder })
    }
}

fn bodies() -> Result<Vec<String>> {
    let values = decode::recorded()?;
    let changes = values.iter().filter_map(|value| match read(Some(value.as_bytes())) {
        Ok(Decoded::Change(change)) => transform(change).ok(),
        _ => None,
    });
    let changes: Vec<_> = changes.collect();
    let mut bodies = Vec::new();
    for some in changes.chunks(3) {
        let mut batch = Events::new(MAX_EVENTS, MAX_BODY_BYTES);
        for change in some {
            // One that can't be sent is missing, as it is on the road.
            let _ = batch.push(&Event { partition: 0, offset: 0, change, content: None });
        }
        bodies.push(String::from_utf8(batch.body().to_vec())?);
    }
    Ok(bodies)
}

impl Target for Endpoint {
    fn make(&mut self, random: &mut StdRng) -> Vec<u8> {
        let body = self.bodies.choose(random).map(String::as_str).unwrap_or_default();
        if random.random_ratio(1, 20) { body.as_bytes().to_vec() } else { mutate::json(body, random) }
    }

    fn throw(&mut self, input: &[u8]) -> Result<Outcome> {
        let parsed = serde_json::from_slice::<IgnoredAny>(input).is_ok();
        let now_s = clock::now_s();
        let request = Request::post("/webhook")
            .header(HEADER_ID, ID)
            .header(HEADER_TIMESTAMP, now_s)
            .header(HEADER_SIGNATURE, sign(&self.secrets, ID, now_s, input))
            .body(Body::from(input.to_vec()))?;
        let router = self.router.clone();
        let (status, answer) = self.runtime.block_on(async {
            let response = router.oneshot(request).await?;
            let status = response.status();
            Ok::<_, anyhow::Error>((status, to_bytes(response.into_body(), MAX_ANSWER_BYTES).await?))
        })?;
        let text = || String::from_utf8_lossy(&answer).into_owned();
        ensure!([StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "answered {status}: {}", text());
        if status != StatusCode::OK {
            return Ok(Outcome { parsed, accepted: false });
        }
        ensure!(parsed, "200 for what is no JSON");
        let answer: Answer = serde_json::from_slice(&answer).with_context(text)?;
        self.accepted += answer.accepted;
        let held = self.store.figures(clock::now_us()).counters.total_events;
        ensure!(held == i64::try_from(self.accepted)?, "{held} are held, {} were accepted", self.accepted);
        Ok(Outcome { parsed, accepted: answer.accepted + answer.duplicates > 0 })
    }
}
