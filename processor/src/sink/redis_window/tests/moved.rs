//! Redis is no longer what it was: keys were removed under it, it is emptied, went back in time, or another server stands in
//! its place. Each is noticed while nothing is written, and nothing of before is mixed with what comes after.

use super::*;
use crate::sink::Class;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for what is there already, and for a server that is to come back.
const SOON: Duration = Duration::from_millis(50);
const BACK: Duration = Duration::from_secs(30);

/// A record in each of so many seconds up to 10,000.
fn seconds(count: u16) -> Vec<Record> {
    (0..count).map(|n| insert(n.into(), n.into(), 10_000 - i64::from(n), 1)).collect()
}

/// The keys that hold the cells of a window, in the order of their seconds.
async fn buckets(redis: &mut MultiplexedConnection, kind: &str) -> Vec<String> {
    let mut keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{{a}}:{kind}:*")).query_async(redis).await.expect("keys");
    keys.sort_by_key(|key| key.rsplit(':').next().and_then(|second| second.parse::<i64>().ok()));
    keys
}

async fn remove(redis: &mut MultiplexedConnection, keys: &[String]) {
    assert_eq!(redis::cmd("DEL").arg(keys).query_async(redis).await, Ok(keys.len()));
}

/// Whichever it is: a total of its cells would stay for ever, or one that is to come would never be counted.
#[tokio::test]
async fn a_bucket_whose_cells_were_removed_makes_the_window_anew() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    for (kind, at) in [("b", 0), ("b", 349), ("f", 0)] {
        sink.positions(&log(), &[0]).await.expect("positions");
        let mut records = seconds(350);
        records.push(insert(350, 1, 10_001, 10));
        assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
        let keys = buckets(&mut redis, kind).await;
        remove(&mut redis, &keys[at..=at]).await;
        let mut ticks = 0;
        let error = loop {
            ticks += 1;
            assert!(ticks <= 4, "a fourth of them is looked at with each tick");
            if let Err(failed) = ticker.tick().await {
                break failed.error;
            }
        };
        assert!(error.to_string().contains("the cells of a bucket are missing"), "{error}");
        ticker.tick().await.expect("a tick");
        assert_eq!(sink.seen.borrow().windows, [Standing::Gone], "{kind} {at}");
        assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at_none());
        assert_eq!(board(&mut redis, "a").await, []);
    }
}

/// Nothing is held.
fn at_none() -> crate::position::Held {
    at(&[])
}

/// Written to, it would look whole again, and hold too little.
#[tokio::test]
async fn a_bucket_whose_cells_were_removed_is_never_written_to() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let image = |ms| Some(Image::new(1, 10_000, ms));
    let records = [insert(0, 1, 10_000, 10), Record { offset: 1, before: image(10), after: image(12) }];
    assert_eq!(write(&mut sink, 0, 0, &records[..1]).await.expect("written"), DURABLE);
    let keys = buckets(&mut redis, "b").await;
    remove(&mut redis, &keys).await;
    assert_eq!(write(&mut sink, 0, 1, &records[1..]).await.expect("told"), Written::Behind(at_none()));
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at_none());
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, "a").await, [(1, 0.012)]);
    set_clock(&mut redis, 10_601).await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [], "nothing stays behind");
}

#[tokio::test]
async fn what_nothing_names_any_more_goes_by_itself() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let records = [insert(0, 1, 10_000, 10), insert(1, 1, 10_001, 10), insert(2, 1, 9_223_372_036, 1)];
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    set_clock(&mut redis, 10_001).await;
    drain(&mut ticker).await;
    remove(&mut redis, &["{a}:meta", "{a}:buckets", "{a}:future"].map(str::to_owned)).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let week = 7 * 24 * 3600;
    for (key, left) in buckets(&mut redis, "?").await.iter().zip([600, 600, 9_223_362_636]) {
        let ttl: i64 = redis::cmd("TTL").arg(key).query_async(&mut redis).await.expect("ttl");
        assert!((left + week - 60..=left + week).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn an_emptied_redis_is_noticed_while_nothing_is_written() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let settings = settings(&server, &[("a", 600)]);
    let (mut sink, mut ticker) = lane(&settings, 1000);
    sink.positions(&log(), &[0]).await.expect("positions");
    ticker.tick().await.expect("a tick");
    assert!(tokio::time::timeout(SOON, sink.disturbed()).await.is_err(), "all is well");
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
    ticker.tick().await.expect("a tick");
    tokio::time::timeout(SOON, sink.disturbed()).await.expect("gone");
    // Somebody else makes it anew before this worker has asked.
    lane(&settings, 1).0.positions(&log(), &[0]).await.expect("positions");
    ticker.tick().await.expect("a tick");
    tokio::time::timeout(SOON, sink.disturbed()).await.expect("another incarnation");
    sink.positions(&log(), &[0]).await.expect("positions");
    ticker.tick().await.expect("a tick");
    assert!(tokio::time::timeout(SOON, sink.disturbed()).await.is_err(), "all is well again");
}

#[tokio::test]
async fn a_redis_that_went_back_in_time_is_noticed_while_nothing_is_written() {
    let mut server = Server::start(&[]);
    let settings = settings(&server, &[("a", 600)]);
    let (mut sink, ticker) = lane(&settings, 1000);
    tokio::spawn(ticker.run(std::future::pending()));
    sink.positions(&log(), &[0]).await.expect("positions");
    sink.seen.wait_for(|seen| seen.reachable).await.expect("a tick");
    let records: Vec<_> = (0..8u8).map(|n| insert(n.into(), n.into(), 10_000, 1)).collect();
    assert!(matches!(write(&mut sink, 0, 0, &records[..4]).await, Ok(Written::Durable { .. })));
    redis::cmd("SAVE").exec_async(&mut server.connect().await).await.expect("saved");
    assert!(matches!(write(&mut sink, 0, 4, &records[4..]).await, Ok(Written::Durable { .. })));
    server.kill();
    sink.seen.wait_for(|seen| !seen.reachable).await.expect("a tick that failed");
    server.restart();
    tokio::time::timeout(BACK, sink.disturbed()).await.expect("noticed");
    // The connection is still the old one: the next is made when it turns out to be broken.
    let held = loop {
        match sink.positions(&log(), &[0]).await {
            Ok(held) => break held,
            Err(error) => assert!(matches!(error.class, Class::Retry { .. }), "{error}"),
        }
    };
    assert_eq!(held.of(0), Some(4));
    assert!(tokio::time::timeout(SOON, sink.disturbed()).await.is_err(), "all is well again");
}

/// The keys are put back by hand as they were before: nothing is disconnected, and the window is the same one.
#[tokio::test]
async fn keys_that_were_put_back_are_noticed_while_nothing_is_written() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let records = [insert(0, 1, 10_000, 10), insert(1, 1, 10_000, 20)];
    assert_eq!(write(&mut sink, 0, 0, &records[..1]).await.expect("written"), DURABLE);
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*a*").query_async(&mut redis).await.expect("keys");
    keys.retain(|key| key != "test:clock");
    for key in &keys {
        let copied = redis::cmd("COPY").arg(key).arg(format!("kept:{key}")).query_async(&mut redis).await;
        assert_eq!(copied, Ok(1));
    }
    assert_eq!(write(&mut sink, 0, 1, &records[1..]).await.expect("written"), DURABLE);
    ticker.tick().await.expect("a tick");
    assert!(tokio::time::timeout(SOON, sink.disturbed()).await.is_err(), "all is well");
    for key in &keys {
        let mut rename = redis::cmd("RENAME");
        rename.arg(format!("kept:{key}")).arg(key).exec_async(&mut redis).await.expect("renamed");
    }
    ticker.tick().await.expect("a tick");
    tokio::time::timeout(SOON, sink.disturbed()).await.expect("noticed");
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 1)]));
    assert_eq!(write(&mut sink, 0, 1, &records[1..]).await.expect("written"), DURABLE);
    ticker.tick().await.expect("a tick");
    assert!(tokio::time::timeout(SOON, sink.disturbed()).await.is_err(), "all is well again");
    assert_eq!(board(&mut redis, "a").await, [(1, 0.03)]);
}

/// Passes connections on to the server whose port it is told; those that are there stay with the former one.
async fn forward(to: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}/", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let port = to.load(Ordering::Relaxed);
            tokio::spawn(async move {
                if let Ok(mut there) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                }
            });
        }
    });
    url
}

/// Its replica has taken the address over and stands further back; the old server still answers those who are connected to it.
#[tokio::test]
async fn another_server_at_the_address_is_noticed_while_nothing_is_written() {
    let (old, new) = (Server::start(&[]), Server::start(&[]));
    let port = Arc::new(AtomicU16::new(old.port()));
    let mut settings = settings(&old, &[("a", 600)]);
    settings.client = redis::Client::open(forward(Arc::clone(&port)).await).expect("a URL");
    let (mut sink, mut ticker) = lane(&settings, 1000);
    for server in [&old, &new] {
        set_clock(&mut server.connect().await, 10_000).await;
    }
    sink.positions(&log(), &[0]).await.expect("positions");
    let records = [insert(0, 1, 10_000, 10), insert(1, 1, 10_000, 20)];
    assert_eq!(write(&mut sink, 0, 0, &records[..1]).await.expect("written"), DURABLE);
    copy(&old, &new).await;
    // By this tick, it stands where the new one does.
    ticker.tick().await.expect("a tick");
    assert_eq!(write(&mut sink, 0, 1, &records[1..]).await.expect("written"), DURABLE);
    port.store(new.port(), Ordering::Relaxed);
    ticker.client.renew(Duration::ZERO);
    ticker.tick().await.expect("a tick, of the new one");
    tokio::time::timeout(SOON, sink.disturbed()).await.expect("noticed");
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 1)]), "of the new one");
    assert_eq!(write(&mut sink, 0, 1, &records[1..]).await.expect("written"), DURABLE);
    assert_eq!(board(&mut new.connect().await, "a").await, [(1, 0.03)]);
}

/// Makes `to` what `from` is now, as its replica.
async fn copy(from: &Server, to: &Server) {
    let mut replica = to.connect().await;
    let port = from.port().to_string();
    redis::cmd("REPLICAOF").arg(&["127.0.0.1", &port]).exec_async(&mut replica).await.expect("a replica");
    loop {
        let info: String =
            redis::cmd("INFO").arg("replication").query_async(&mut replica).await.expect("info");
        if info.contains("master_link_status:up") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    redis::cmd("REPLICAOF").arg(&["NO", "ONE"]).exec_async(&mut replica).await.expect("a master");
}
