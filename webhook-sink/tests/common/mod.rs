//! The real binary as a child process, and a client that signs as the webhook sink does.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use webhook_protocol::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, sign, webhook_id};
use webhook_sink::clock;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Only a hang is that long: tests wait for conditions.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running receiver; killed when dropped.
pub struct Sink {
    child: Child,
    pub address: String,
    pub client: Client,
    log: Arc<Mutex<String>>,
}

impl Sink {
    /// Starts the binary on a free port and waits until it says where it listens.
    pub fn start(store: &Path) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_webhook-sink")), store)
    }

    /// The same through a command that ends in executing the binary.
    pub fn start_by(command: Command, store: &Path) -> Self {
        Self::start_at(command, store, "127.0.0.1:0")
    }

    /// The same at an address of one's own.
    pub fn start_at(mut command: Command, store: &Path, listen: &str) -> Self {
        command.env("WEBHOOK_SECRET", SECRET).env("WEBHOOK_STORE", store).env("WEBHOOK_LISTEN", listen);
        command.env("LOG_FORMAT", "json").env("RUST_LOG", "info").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let keep = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if entry["message"] == "listening" {
                    let _ = found.send(entry["address"].as_str().unwrap().to_owned());
                }
                writeln!(keep.lock().unwrap(), "{line}").unwrap();
            }
        });
        let address = address.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}", log.lock().unwrap()));
        let client = Client::builder().no_proxy().build().unwrap();
        Self { child, address, client, log }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) {
        // The shell's own: a small machine has no other.
        let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid())).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Kills with -9 and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub async fn stats(&self) -> Value {
        self.get("/stats").await.1
    }

    /// The ids of `/events` under a query, newest first.
    pub async fn ids(&self, query: &str) -> Vec<String> {
        let (status, body) = self.get(&format!("/events?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let events = body["events"].as_array().unwrap();
        events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Every stored id, page by page.
    pub async fn all_ids(&self) -> Vec<String> {
        let (mut ids, mut before) = (Vec::new(), i64::MAX);
        loop {
            let (_, body) = self.get(&format!("/events?limit=700&before_seq={before}")).await;
            let events = body["events"].as_array().unwrap();
            let Some(last) = events.last() else { return ids };
            before = last["seq"].as_i64().unwrap();
            ids.extend(events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()));
        }
    }

    /// Posts events, signed.
    pub async fn post(&self, events: &[Value]) -> (StatusCode, Value) {
        post(&self.client, &self.url("/webhook"), json!({ "events": events }).to_string()).await.unwrap()
    }

    /// Posts a body as it is, signed.
    pub async fn post_raw(&self, body: impl Into<String>) -> (StatusCode, Value) {
        post(&self.client, &self.url("/webhook"), body.into()).await.unwrap()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn post(client: &Client, url: &str, body: String) -> reqwest::Result<(StatusCode, Value)> {
    let secrets = Secret::parse_list(SECRET).unwrap();
    let (id, now_s) = (webhook_id([&body]), clock::now_s());
    let signature = sign(&secrets, &id, now_s, body.as_bytes());
    let request = client.post(url).header(HEADER_ID, id).header(HEADER_TIMESTAMP, now_s);
    let answer = request.header(HEADER_SIGNATURE, signature).body(body).send().await?;
    Ok((answer.status(), answer.json().await?))
}

/// An event as the processor makes it.
pub fn event(id: &str) -> Value {
    json!({
        "event_id": id, "op": "c", "id": 7, "content_id": "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e",
        "user_id": "a4593837-703a-4cd7-b71f-dfac080c5c46", "event_type": "play",
        "event_ts": "2026-11-21T03:00:00.123456Z", "duration_ms": 8000, "device": "ios", "raw_payload": null,
        "content_type": "podcast", "content_title": "Bread and Patience", "length_seconds": 1800, "content_version": 268_548_976,
        "engagement_seconds": 8.0, "engagement_pct": 0.0044,
        "committed_at": webhook_protocol::format_instant(clock::now_us()),
    })
}

/// An event with some fields changed.
pub fn event_with(id: &str, changes: &Value) -> Value {
    let mut event = event(id);
    event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    event
}

/// Waits until something holds.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut holds: F) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
