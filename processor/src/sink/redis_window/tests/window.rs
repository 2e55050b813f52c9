//! The window itself: what enters, what leaves, what clients see.

use super::*;
use crate::sink::redis_window::Member;
use crate::sink::redis_window::pack::pack;

const KEY: &str = "engagement:10min";

#[tokio::test]
async fn a_contribution_enters_in_its_second_and_leaves_after_the_length() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[(KEY, 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let records = [
        insert(0, 1, 9_400, 8_001),
        insert(1, 2, 9_399, 5),
        insert(2, 3, 10_001, 7),
        insert(3, 1, 10_000, 1),
    ];
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, KEY).await, [(1, 8.002)], "too old and too new are out");
    set_clock(&mut redis, 10_001).await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, KEY).await, [(1, 0.001), (3, 0.007)]);
    set_clock(&mut redis, 10_000).await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, KEY).await.len(), 2, "the clock does not go back");
    set_clock(&mut redis, 10_601).await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, KEY).await, [(3, 0.007)]);
    set_clock(&mut redis, 10_602).await;
    drain(&mut ticker).await;
    let left: Vec<String> =
        redis::cmd("KEYS").arg("*engagement*").query_async(&mut redis).await.expect("keys");
    assert_eq!(left.len(), 2, "positions and meta stay: {left:?}");
}

#[tokio::test]
async fn a_bucket_of_many_members_lies_in_packs_of_a_bounded_size() {
    const WRITES: i64 = 300;
    const MEMBERS: i64 = 100;
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, _) = lane(&settings(&server, &[(KEY, 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    for from in (0..WRITES * MEMBERS).step_by(MEMBERS.unsigned_abs().try_into().expect("few")) {
        let records: Vec<_> =
            (from..from + MEMBERS).map(|n| insert(n, n.unsigned_abs().into(), 10_000, 1)).collect();
        assert_eq!(write(&mut sink, 0, from, &records).await.expect("written"), DURABLE);
    }
    let buckets: Vec<String> = redis::cmd("KEYS").arg("*:b:*").query_async(&mut redis).await.expect("keys");
    let packs: Vec<Vec<u8>> =
        redis::cmd("LRANGE").arg(&buckets[0]).arg(0).arg(-1).query_async(&mut redis).await.expect("packs");
    let sizes: Vec<usize> = packs.iter().map(|pack| pack.len() / 43).collect();
    assert!(sizes.iter().all(|cells| *cells <= 700), "a tick takes a pack at once: {sizes:?}");
    assert!(sizes.iter().any(|cells| *cells > 3 * 100), "none were merged: {sizes:?}");
    assert_eq!(board(&mut redis, KEY).await.len(), usize::try_from(WRITES * MEMBERS).expect("few"));
}

#[tokio::test]
async fn what_has_no_content_no_duration_or_no_time_counts_for_nothing() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, _) = lane(&settings(&server, &[(KEY, 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let good = Image::new(1, 10_000, 3);
    let nothing = [
        Image { content: None, ..good },
        Image { ts: None, ..good },
        Image { ts: Some(Timestamp::Infinity), ..good },
        Image { ts: Some(Timestamp::NegativeInfinity), ..good },
        Image { ms: None, ..good },
        Image { ms: Some(0), ..good },
        Image { ms: Some(-5), ..good },
    ];
    let mut records = vec![Record { offset: 0, before: None, after: Some(good) }];
    for image in nothing {
        let offset = Offset::try_from(records.len()).expect("few");
        records.push(Record { offset, before: Some(image), after: Some(image) });
    }
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, KEY).await, [(1, 0.003)]);
    let mut batch = sink.batch();
    let huge = Record { offset: 9, before: None, after: Some(Image { ms: Some(1 << 31), ..good }) };
    assert!(push(&mut batch, 0, &huge).is_err(), "more than an int holds is set aside");
    assert!(batch.is_empty());
}

#[tokio::test]
async fn totals_below_zero_are_hidden_and_come_back_exactly() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, _) = lane(&settings(&server, &[(KEY, 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0, 1]).await.expect("positions");
    let gone = Record { offset: 0, before: Some(Image::new(1, 10_000, 3_000_000_000 / 2)), after: None };
    assert_eq!(write(&mut sink, 0, 0, &[gone]).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, KEY).await, []);
    let mut records: Vec<_> = (0..4).map(|offset| insert(offset, 1, 10_000, i64::from(i32::MAX))).collect();
    records.push(insert(4, 1, 10_000, 1));
    assert_eq!(write(&mut sink, 1, 0, &records).await.expect("written"), DURABLE);
    let ms = 4 * i64::from(i32::MAX) + 1 - 1_500_000_000;
    let score: f64 = format!("{}.{:03}", ms / 1000, ms % 1000).parse().expect("a number");
    assert_eq!(board(&mut redis, KEY).await, [(1, score)]);
}

#[tokio::test]
async fn the_public_key_has_a_ttl_and_is_made_again_whole() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[(KEY, 1200)]), 3);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let records: Vec<_> =
        (0..30).map(|n| insert(n, u128::from(n.unsigned_abs()) + 1, 10_000, 1000)).collect();
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    let ttl: i64 = redis::cmd("TTL").arg(KEY).query_async(&mut redis).await.expect("ttl");
    assert!((590..=600).contains(&ttl), "{ttl}");

    redis::cmd("DEL").arg(KEY).exec_async(&mut redis).await.expect("del");
    assert_eq!(write(&mut sink, 0, 30, &[insert(30, 5, 10_000, 1)]).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, KEY).await, [], "never shown in part");
    assert!(ticker.tick().await.expect("a tick"), "three at a time");
    let gone = Record { offset: 31, before: Some(Image::new(6, 10_000, 1000)), after: None };
    assert_eq!(write(&mut sink, 0, 31, &[gone, insert(32, 99, 10_000, 2)]).await.expect("written"), DURABLE);
    drain(&mut ticker).await;
    let shown = board(&mut redis, KEY).await;
    assert_eq!(shown.len(), 30, "30 - 1 + 1");
    assert!(
        shown.contains(&(5, 1.001)) && shown.contains(&(99, 0.002)) && !shown.iter().any(|(c, _)| *c == 6)
    );
    let ttl: i64 = redis::cmd("TTL").arg(KEY).query_async(&mut redis).await.expect("ttl");
    assert!((590..=600).contains(&ttl), "{ttl}");
}

/// Many buckets of a cell each: they take longer than as many cells of one bucket.
#[tokio::test]
async fn a_tick_counts_what_comes_due_by_how_long_it_takes() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[(KEY, 600)]), 12);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let records: Vec<_> = (0..12u8).map(|n| insert(n.into(), n.into(), 10_001 + i64::from(n), 1)).collect();
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    set_clock(&mut redis, 10_100).await;
    for (expected, more) in [(4, true), (8, true), (12, true), (12, false)] {
        assert_eq!(ticker.tick().await.expect("a tick"), more);
        assert_eq!(board(&mut redis, KEY).await.len(), expected);
    }
    set_clock(&mut redis, 10_700).await;
    assert!(ticker.tick().await.expect("a tick"), "more is due");
    assert_eq!(board(&mut redis, KEY).await.len(), 6);
}

/// As after a restart of Redis, when a cursor from before means something else.
#[tokio::test]
async fn a_scan_that_missed_some_begins_again() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&settings(&server, &[(KEY, 600)]), 3);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let records: Vec<_> =
        (0..60).map(|n| insert(n, u128::from(n.unsigned_abs()) + 1, 10_000, 1000)).collect();
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    redis::cmd("DEL").arg(KEY).exec_async(&mut redis).await.expect("del");
    assert!(ticker.tick().await.expect("a tick"), "three at a time");
    // The last slot of the table.
    let set = ["{engagement:10min}:meta", "cursor", "1/63"];
    redis::cmd("HSET").arg(&set).exec_async(&mut redis).await.expect("set");
    assert!(ticker.tick().await.expect("a tick"));
    assert_eq!(board(&mut redis, KEY).await, [], "never shown in part");
    let cursor: String = redis::cmd("HGET").arg(&set[..2]).query_async(&mut redis).await.expect("a cursor");
    assert_eq!(cursor, "2/0", "the second scan");
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, KEY).await.len(), 60);
}

/// The clock of Redis itself, and the ticker as it runs: nothing is written, and all leaves.
#[tokio::test]
async fn a_window_empties_by_itself_in_time() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let settings = settings(&server, &[("short", 2), ("longer", 600)]);
    let (ticker, seen) = Ticker::new(&settings);
    let mut sink = RedisWindow::new(&settings, seen);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(ticker.run(async move { drop(stopped.await) }));
    sink.positions(&log(), &[0]).await.expect("positions");
    let (second, _): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.expect("time");
    assert_eq!(write(&mut sink, 0, 0, &[insert(0, 1, second, 1500)]).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, "short").await, [(1, 1.5)]);
    let ttl: i64 = redis::cmd("PTTL").arg("short").query_async(&mut redis).await.expect("ttl");
    assert!((1..=2000).contains(&ttl), "{ttl}");
    loop {
        let (now, us): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.expect("time");
        let age_ms = (now - second) * 1000 + us / 1000;
        let here = !board(&mut redis, "short").await.is_empty();
        // The second's first instant is up to a second older than an event in it.
        assert!(here || age_ms >= 3000, "left after {age_ms} ms");
        if !here {
            assert!(age_ms <= 3300, "left after {age_ms} ms");
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(board(&mut redis, "longer").await, [(1, 1.5)], "the other window keeps it");
    stop.send(()).expect("it runs");
    running.await.expect("it ends");
}

/// Names of any length and numbers of any size are packed as Redis unpacks them; and a bucket to which is written again and again
/// grows with what it holds, not with the writes.
#[tokio::test]
async fn a_bucket_holds_what_was_written_and_does_not_grow_with_the_writes() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let names = [1, 31, 32, 255, 256, 70_000].map(|length| "n".repeat(length));
    let member = |(name, ms): (&String, i64)| (Member::Device(name.as_str().into()), ms);
    let cells: Vec<_> =
        names.iter().zip([1, -1, 1 << 31, -(1 << 31), -(1 << 31) - 1, 1 << 53]).map(member).collect();
    let packed = pack(cells.iter().map(|(member, ms)| (member, *ms)));
    redis::cmd("RPUSH").arg("bucket").arg(&packed).exec_async(&mut redis).await.expect("pushed");
    let unpacked = cells_of(&mut redis, "bucket").await.concat();
    let expected = cells.iter().map(|(member, ms)| match member {
        Member::Device(name) => (name.to_string(), *ms),
        Member::Content(id) => (id.to_string(), *ms),
    });
    assert_eq!(unpacked, expected.collect::<Vec<_>>());

    let (mut sink, mut ticker) = lane(&settings(&server, &[(KEY, 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    for n in 0..500 {
        let record = insert(n, u128::try_from(n % 7).expect("small"), 10_000, 1);
        assert_eq!(write(&mut sink, 0, n, &[record]).await.expect("written"), DURABLE);
    }
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:b:*").query_async(&mut redis).await.expect("keys");
    let packs = cells_of(&mut redis, &keys[0]).await;
    assert!(packs.len() < 32 && packs.concat().len() < 7 + 32, "{} packs", packs.len());
    assert_eq!(packs.concat().iter().map(|(_, ms)| ms).sum::<i64>(), 500);
    let ttl: i64 = redis::cmd("TTL").arg(&keys[0]).query_async(&mut redis).await.expect("ttl");
    assert!(ttl > 0, "it still goes by itself once nothing names it");
    set_clock(&mut redis, 10_601).await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, KEY).await, []);
}
