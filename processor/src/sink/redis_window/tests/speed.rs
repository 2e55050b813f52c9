//! How fast one worker writes. Run by hand, optimised: `cargo test --release -p deltafan --lib -- --ignored speed --nocapture`,
//! with `AOF=no` for a Redis that keeps nothing.

use super::*;
use std::time::Instant;

const RECORDS: i64 = 400_000;

/// Writes records of so many contents, spread over so many seconds; tells rate and longest call.
async fn measure(contents: i64, seconds: i64, windows: &[(&str, u64)]) {
    let server = Server::start(&["--appendonly", &std::env::var("AOF").unwrap_or("yes".into())]);
    let mut redis = server.connect().await;
    let settings = settings(&server, windows);
    let (mut sink, mut ticker) = lane(&settings, 500);
    sink.positions(&log(), &[0]).await.expect("positions");
    let (now, _): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.expect("time");
    let record = |n: i64| {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()).unsigned_abs() >> 20;
        let content = mixed % contents.unsigned_abs();
        let second = now - i64::try_from((mixed >> 20) % seconds.unsigned_abs()).expect("small");
        insert(n, content.into(), second, 1234)
    };
    let (begun, mut at, mut longest, mut calls) = (Instant::now(), 0, Duration::ZERO, 0u32);
    let mut writing = Duration::ZERO;
    while at < RECORDS {
        let (mut spans, mut batch, from) = (Spans::default(), sink.batch(), at);
        while !batch.is_full() {
            spans.extend(0, from, at);
            push(&mut batch, 0, &record(at)).expect("taken");
            at += 1;
        }
        let sent = Instant::now();
        let written = sink.write(Write { log: &log(), spans: &spans, batch: &batch }).await.expect("written");
        assert_eq!(written, DURABLE);
        longest = longest.max(sent.elapsed());
        writing += sent.elapsed();
        calls += 1;
    }
    let rate = f64::from(i32::try_from(at).expect("few")) / begun.elapsed().as_secs_f64();
    let used: String = redis::cmd("INFO").arg("cpu").query_async(&mut redis).await.expect("info");
    let cpu =
        |name| used.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned();
    println!(
        "{contents:>6} contents, {seconds:>3} s, {} windows: {rate:>8.0} records/s, a call {:?}, longest {longest:?}, \
         redis cpu {}+{} s",
        windows.len(),
        writing / calls,
        cpu("used_cpu_user:"),
        cpu("used_cpu_sys:")
    );
    set_clock(&mut redis, now + 5000).await;
    let (begun, mut longest, mut ticks) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let one = Instant::now();
        let more = ticker.tick().await.expect("a tick");
        longest = longest.max(one.elapsed());
        ticks += 1;
        if !more {
            break;
        }
    }
    println!("       drained in {:?}, {ticks} ticks, longest {longest:?}", begun.elapsed());
}

#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn speed() {
    for contents in [20, 1000, 10_000, 100_000] {
        measure(contents, 1, &[("a", 600)]).await;
    }
    measure(20, 600, &[("a", 600)]).await;
    measure(1000, 600, &[("a", 600)]).await;
    measure(1000, 1, &[("a", 600), ("b", 3600)]).await;
}
