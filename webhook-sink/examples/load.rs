//! Measures a running receiver: signed batches over HTTP, as the webhook sink sends them.
//!
//! `WEBHOOK_SECRET=… cargo run --release -p webhook-sink --example load -- URL EVENTS PER_BATCH CONNECTIONS`
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a tool for the terminal"
)]

use std::{env, error::Error, time::Instant};

use tokio::task::JoinSet;
use webhook_protocol::{
    BODY_PREFIX, BODY_SUFFIX, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, format_instant, sign,
};
use webhook_sink::clock;

/// As many as the seed of the database has.
const CONTENTS: u64 = 20;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, events, per_batch, connections] = arguments.as_slice() else {
        return Err("usage: load URL EVENTS PER_BATCH CONNECTIONS".into());
    };
    let secrets = Secret::parse_list(&env::var("WEBHOOK_SECRET")?)?;
    let (events, per_batch): (usize, usize) = (events.parse()?, per_batch.parse()?);
    let connections: usize = connections.parse()?;
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for sender in 0..connections {
        let (url, secrets) = (url.clone(), secrets.clone());
        let batches = events / per_batch / connections;
        senders.spawn(async move { send(&url, &secrets, sender, batches, per_batch).await });
    }
    let mut times_us = Vec::new();
    while let Some(done) = senders.join_next().await {
        times_us.extend(done??);
    }
    let elapsed_ms = started.elapsed().as_millis().max(1);
    let sent = times_us.len() * per_batch;
    times_us.sort_unstable();
    let at = |percent: usize| times_us[(times_us.len() - 1) * percent / 100];
    println!("{sent} events in {elapsed_ms} ms: {} events/s", sent as u128 * 1000 / elapsed_ms);
    println!("per POST, in µs: p50 {} p90 {} p99 {} max {}", at(50), at(90), at(99), at(100));
    Ok(())
}

async fn send(
    url: &str,
    secrets: &[Secret],
    sender: usize,
    batches: usize,
    per_batch: usize,
) -> Result<Vec<u128>, Failure> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut random = clock::now_us().unsigned_abs().wrapping_mul(sender as u64 * 2 + 1);
    let mut times_us = Vec::new();
    for batch in 0..batches {
        let body = body(&mut random, per_batch);
        let (id, timestamp_s) = (format!("msg_{sender}_{batch}"), clock::now_s());
        let started = Instant::now();
        let signature = sign(secrets, &id, timestamp_s, body.as_bytes());
        let request = client.post(url).header(HEADER_ID, id).header(HEADER_TIMESTAMP, timestamp_s);
        let answer = request.header(HEADER_SIGNATURE, signature).body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            return Err(format!("{status}: {text}").into());
        }
        times_us.push(started.elapsed().as_micros());
    }
    Ok(times_us)
}

fn body(random: &mut u64, per_batch: usize) -> String {
    let committed_at = format_instant(clock::now_us());
    let events: Vec<String> = (0..per_batch).map(|_| event(random, &committed_at)).collect();
    format!("{BODY_PREFIX}{}{BODY_SUFFIX}", events.join(","))
}

fn event(random: &mut u64, committed_at: &str) -> String {
    let (a, b) = (splitmix(random), splitmix(random));
    let device = ["ios", "android", "web-chrome", "web-firefox", "tv"][(a % 5) as usize];
    let event_type = ["play", "pause", "finish", "click"][(b % 4) as usize];
    format!(
        "{{\"event_id\":\"{}\",\"op\":\"c\",\"id\":{},\"content_id\":\"{}\",\"user_id\":\"{}\",\
         \"event_type\":\"{event_type}\",\"event_ts\":\"{committed_at}\",\"duration_ms\":8000,\"device\":\"{device}\",\
         \"raw_payload\":\"{{\\\"k\\\": {b}}}\",\"content_type\":\"podcast\",\"length_seconds\":1800,\
         \"content_version\":268548976,\"engagement_seconds\":8.000,\"engagement_pct\":0.0044,\
         \"committed_at\":\"{committed_at}\"}}",
        uuid(head(a), b),
        a >> 24,
        uuid(a % CONTENTS, 7),
        uuid(b, a),
    )
}

/// The first half of an id: random, or ordered by time as in a UUID of version 7 where `TIME_ORDERED` is set.
fn head(random: u64) -> u64 {
    if env::var_os("TIME_ORDERED").is_none() {
        return random;
    }
    let ms = clock::now_us().unsigned_abs() / 1000;
    (ms << 16) | (random & 0xffff)
}

fn uuid(a: u64, b: u64) -> String {
    let (a, b) = (format!("{a:016x}"), format!("{b:016x}"));
    format!("{}-{}-{}-{}-{}", &a[..8], &a[8..12], &a[12..], &b[..4], &b[4..])
}

/// A generator of 64-bit numbers that needs no crate.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
