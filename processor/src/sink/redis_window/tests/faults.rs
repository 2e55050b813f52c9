//! What goes wrong: Redis is killed, is emptied, is full, wants a password, holds something else, forgets its scripts.

use super::*;
use crate::position::Held;
use crate::sink::{Class, SinkError};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const RETRY: Class = Class::Retry { after: None };

async fn refusal(settings: &Settings) -> SinkError {
    lane(settings, 1).0.positions(&log(), &[0]).await.expect_err("refused")
}

async fn set_config(redis: &mut MultiplexedConnection, name: &str, value: &str) {
    redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec_async(redis).await.expect("config");
}

/// Four records of one millisecond, of contents 0 to 3, beginning at an offset.
fn four(from: Offset) -> Vec<Record> {
    (0..4u8).map(|n| insert(from + Offset::from(n), n.into(), 10_000, 1)).collect()
}

/// The same, each in a second of its own: a tick that does little takes one of them out.
fn four_seconds() -> Vec<Record> {
    (0..4u8).map(|n| insert(n.into(), n.into(), 9_999 - i64::from(n), 1)).collect()
}

/// Writes records in fours up to `end`, as a lane does: the same again after an error, and back where it is told so.
async fn write_all(sink: &mut RedisWindow, end: Offset, at: &AtomicUsize) -> usize {
    let (mut errors, mut stands) = (0, None);
    loop {
        let Some(from) = stands else {
            match sink.positions(&log(), &[0]).await {
                Ok(held) => stands = Some(held.of(0).unwrap_or(0)),
                Err(error) => assert_eq!(error.class, RETRY, "{error}"),
            }
            continue;
        };
        if from >= end {
            return errors;
        }
        match write(sink, 0, from, &four(from)).await {
            Ok(Written::Durable { .. }) => {
                stands = Some(from + 4);
                at.store(usize::try_from(from).expect("positive"), Ordering::Relaxed);
            }
            Ok(Written::Behind(Held::At(held))) => stands = held.get(&0).copied(),
            Ok(Written::Behind(Held::NotKept)) => panic!("positions are kept"),
            Err(error) => {
                assert_eq!(error.class, RETRY, "{error}");
                errors += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_writes_it_counts_each_record_once() {
    const END: Offset = 40_000;
    let mut server = Server::start(&["--appendonly", "yes"]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    let settings = settings(&server, &[("a", 600), ("b", 30)]);
    let (mut sink, mut ticker) = lane(&settings, 1000);
    let done = AtomicBool::new(false);
    let at = AtomicUsize::new(0);
    let writes = async {
        let errors = write_all(&mut sink, END, &at).await;
        done.store(true, Ordering::Relaxed);
        errors
    };
    let kills = async {
        let mut kills = 0;
        while kills < 4 {
            let before = at.load(Ordering::Relaxed);
            while at.load(Ordering::Relaxed) < before + 4000 && !done.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if done.load(Ordering::Relaxed) {
                break;
            }
            server.kill();
            server.restart();
            kills += 1;
        }
        kills
    };
    let (errors, kills) = tokio::join!(writes, kills);
    assert!(kills >= 3 && errors >= kills, "{kills} kills met {errors} writes");
    drain(&mut ticker).await;
    let mut redis = server.connect().await;
    for key in ["a", "b"] {
        let shown = board(&mut redis, key).await;
        assert_eq!(shown, [(0, 10.0), (1, 10.0), (2, 10.0), (3, 10.0)], "{key}, a fourth of {END} ms each");
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_tried_again() {
    let mut server = Server::start(&[]);
    let settings = settings(&server, &[("a", 600)]);
    let (mut sink, mut ticker) = lane(&settings, 1);
    sink.positions(&log(), &[0]).await.expect("positions");
    server.kill();
    let written = write(&mut sink, 0, 0, &four(0)).await;
    assert_eq!(written.expect_err("connection lost").class, RETRY);
    assert_eq!(ticker.tick().await.expect_err("refused").error.class, RETRY);
    assert_eq!(refusal(&settings).await.class, RETRY);
    server.restart();
    assert_eq!(
        write(&mut sink, 0, 0, &four(0)).await.expect("told"),
        Written::Behind(at(&[])),
        "it kept nothing"
    );
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_tried_again() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let mut settings = settings(&server, &[("a", 600)]);
    settings.response_timeout = Duration::from_millis(500);
    let (mut sink, _) = lane(&settings, 1);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    redis::cmd("CLIENT").arg("PAUSE").arg(1500).exec_async(&mut redis).await.expect("paused");
    let error = write(&mut sink, 0, 0, &four(0)).await.expect_err("no answer");
    assert_eq!(error.class, RETRY, "{error}");
    // The writes that were not answered are done when the pause ends; the same again adds nothing.
    let written = loop {
        match write(&mut sink, 0, 0, &four(0)).await {
            Ok(written) => break written,
            Err(error) => assert_eq!(error.class, RETRY, "{error}"),
        }
    };
    assert_eq!(written, DURABLE);
    assert_eq!(board(&mut redis, "a").await.first(), Some(&(0, 0.001)));
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600), ("b", 60)]), 1);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    for from in [0, 4] {
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.expect("flushed");
        assert_eq!(write(&mut sink, 0, from, &four(from)).await.expect("written"), DURABLE);
        ticker.tick().await.expect("a tick");
    }
    assert_eq!(board(&mut redis, "b").await.first(), Some(&(0, 0.002)));
}

#[tokio::test]
async fn wrong_credentials_pause_the_lane() {
    let server = Server::start(&["--requirepass", "secret"]);
    let window = || vec![Window::new("a", Duration::from_secs(600)).expect("a window")];
    let url = |credentials: &str| server.url().replace("//", &format!("//{credentials}"));
    for credentials in ["", ":wrong@", "nobody:secret@"] {
        let error = refusal(&Settings::new(&url(credentials), window()).expect("settings")).await;
        assert_eq!(error.class, Class::Pause, "{error}");
        assert!(error.remedy.expect("a remedy").contains("password"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let good = Settings::new(&url(":secret@"), window()).expect("settings");
    lane(&good, 1).0.positions(&log(), &[0]).await.expect("let in");
}

#[tokio::test]
async fn a_user_without_rights_pauses_the_lane() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let user = ["SETUSER", "me", "on", ">pw", "~*", "+@all"];
    redis::cmd("ACL").arg(&user).exec_async(&mut redis).await.expect("a user");
    let window = vec![Window::new("a", Duration::from_secs(600)).expect("a window")];
    let url = server.url().replace("//", "//me:pw@");
    let (mut sink, _) = lane(&Settings::new(&url, window).expect("settings"), 1);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &four(0)).await.expect("written"), DURABLE);
    redis::cmd("ACL").arg(&["SETUSER", "me", "-hincrby"]).exec_async(&mut redis).await.expect("fewer rights");
    let error = write(&mut sink, 0, 4, &four(4)).await.expect_err("refused");
    assert_eq!(error.class, Class::Pause, "{error}");
    assert!(error.remedy.expect("a remedy").contains("commands"), "{error}");
    // It failed after the position had moved, so the window is given up rather than kept half changed.
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[]));
}

#[tokio::test]
async fn a_key_that_holds_something_else_pauses_the_lane_and_stays() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    for key in ["a", "{a}:meta", "{a}:positions", "{a}:totals", "{a}:buckets", "{a}:future"] {
        redis::cmd("SET").arg(key).arg("mine").exec_async(&mut redis).await.expect("set");
        let error = refusal(&settings(&server, &[("a", 600)])).await;
        assert_eq!(error.class, Class::Pause, "{error}");
        assert!(error.remedy.expect("a remedy").contains("something else"), "{error}");
        let kept: String = redis::cmd("GETDEL").arg(key).query_async(&mut redis).await.expect("kept");
        assert_eq!(kept, "mine");
    }
}

#[tokio::test]
async fn a_full_redis_pauses_the_lane_takes_nothing_and_still_drains() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600)]), 1000);
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &four(0)).await.expect("written"), DURABLE);
    set_config(&mut redis, "maxmemory", "1mb").await;
    let error = write(&mut sink, 0, 4, &four(4)).await.expect_err("no memory");
    assert_eq!(error.class, Class::Pause, "{error}");
    assert!(error.remedy.expect("a remedy").contains("maxmemory"), "{error}");
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 4)]), "nothing was applied");
    set_config(&mut redis, "maxmemory", "0").await;
    set_clock(&mut redis, 10_601).await;
    set_config(&mut redis, "maxmemory", "1mb").await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [], "what is old leaves all the same");
}

/// The types are not taken, and there is much to take out.
#[tokio::test]
async fn a_full_redis_drains_also_where_there_are_types_to_tell() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    let feed = Arc::new(boards::known(&[1]));
    let window = |key, by| Window::new(key, Duration::from_secs(600)).expect("a window").by(by);
    let windows = vec![window("a", By::Content), window("types", By::ContentType)];
    let settings = Settings::new(&server.url(), windows).expect("settings");
    let (mut sink, mut ticker) = lane(&Settings { contents: feed, ..settings }, 1);
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &four_seconds()).await.expect("written"), DURABLE);
    set_clock(&mut redis, 10_601).await;
    set_config(&mut redis, "maxmemory", "1mb").await;
    let error = ticker.catch_up().await.expect_err("no memory").error;
    assert!(error.remedy.expect("a remedy").contains("maxmemory"), "{error}");
    assert_eq!(board(&mut redis, "a").await, [], "all that was due");
}

#[tokio::test]
async fn a_window_that_cannot_be_kept_leaves_the_others_of_its_lane_in_time() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600), ("b", 600)]), 1);
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &four_seconds()).await.expect("written"), DURABLE);
    redis::cmd("SET").arg("{a}:totals").arg("mine").exec_async(&mut redis).await.expect("set");
    set_clock(&mut redis, 10_601).await;
    let error = ticker.catch_up().await.expect_err("no totals").error;
    assert!(error.remedy.expect("a remedy").contains("something else"), "{error}");
    assert_eq!(board(&mut redis, "b").await, [], "all that was due");
}

#[tokio::test]
async fn a_redis_that_would_drop_keys_pauses_the_lane() {
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut redis = server.connect().await;
    let settings = settings(&server, &[("a", 600)]);
    let error = refusal(&settings).await;
    assert_eq!(
        (error.class, error.remedy),
        (Class::Pause, Some("set maxmemory-policy to noeviction")),
        "{error}"
    );
    set_config(&mut redis, "maxmemory", "0").await;
    lane(&settings, 1).0.positions(&log(), &[0]).await.expect("without a limit it drops nothing");
}

#[tokio::test]
async fn a_replica_is_tried_again() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let settings = settings(&server, &[("a", 600)]);
    let (mut sink, mut ticker) = lane(&settings, 1);
    sink.positions(&log(), &[0]).await.expect("positions");
    redis::cmd("REPLICAOF")
        .arg("127.0.0.1")
        .arg(1)
        .exec_async(&mut redis)
        .await
        .expect("a replica of nobody");
    let error = write(&mut sink, 0, 0, &four(0)).await.expect_err("read only");
    assert_eq!(error.class, RETRY, "{error}");
    assert_eq!(ticker.tick().await.expect_err("read only").error.class, RETRY);
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut redis).await.expect("a master");
    assert_eq!(write(&mut sink, 0, 0, &four(0)).await.expect("written"), DURABLE);
}

#[tokio::test]
async fn what_is_no_redis_pauses_the_lane() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}/", listener.local_addr().expect("bound"));
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("sent");
        stream
    });
    let window = vec![Window::new("a", Duration::from_secs(600)).expect("a window")];
    let error = refusal(&Settings::new(&url, window).expect("settings")).await;
    assert_eq!(error.class, Class::Pause, "{error}");
    drop(answering.join().expect("it answered"));
}
