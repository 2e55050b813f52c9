//! Once: positions, repeated writes, others on the same partition, an emptied Redis.

use super::*;

#[tokio::test]
async fn the_same_write_again_changes_nothing() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, _) = lane(&settings(&server, &[("a", 600)]), 1000);
    set_clock(&mut redis, 10_000).await;
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[]));
    let records = [insert(3, 1, 10_000, 10), insert(7, 1, 9_999, 20)];
    for _ in 0..3 {
        assert_eq!(write(&mut sink, 0, 3, &records).await.expect("written"), DURABLE);
    }
    assert_eq!(board(&mut redis, "a").await, [(1, 0.03)]);
    let more = [insert(7, 1, 9_999, 20), insert(8, 2, 9_999, 5)];
    assert_eq!(write(&mut sink, 0, 5, &more).await.expect("written"), DURABLE, "an overlap");
    assert_eq!(board(&mut redis, "a").await, [(1, 0.03), (2, 0.005)]);
    assert_eq!(sink.positions(&log(), &[0, 1]).await.expect("positions"), at(&[(0, 9)]));
    assert_eq!(
        write(&mut sink, 0, 20, &[insert(20, 1, 9_999, 1)]).await.expect("told"),
        Written::Behind(at(&[(0, 9)]))
    );
}

#[tokio::test]
async fn a_first_position_is_given_only_where_none_was_reported() {
    let server = Server::start(&[]);
    let (mut sink, _) = lane(&settings(&server, &[("a", 600)]), 1000);
    let record = [insert(0, 1, 10_000, 10)];
    let never_asked = write(&mut sink, 0, 0, &record).await.expect("told");
    assert_eq!(never_asked, Written::Behind(at(&[])));
    sink.positions(&log(), &[1]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &record).await.expect("told"), Written::Behind(at(&[])), "of another");
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &record).await.expect("written"), DURABLE);
}

#[tokio::test]
async fn a_window_that_is_new_to_the_lane_takes_the_others_back() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    let (mut old, _) = lane(&settings(&server, &[("a", 600)]), 1000);
    old.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut old, 0, 0, &[insert(0, 1, 10_000, 10)]).await.expect("written"), DURABLE);
    let (mut both, _) = lane(&settings(&server, &[("a", 600), ("b", 60)]), 1000);
    assert_eq!(both.positions(&log(), &[0]).await.expect("positions"), at(&[]), "the lowest of them");
    let records = [insert(0, 1, 10_000, 10), insert(1, 1, 10_000, 5)];
    assert_eq!(write(&mut both, 0, 0, &records).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, "a").await, [(1, 0.015)]);
    assert_eq!(board(&mut redis, "b").await, [(1, 0.015)]);
    let other = settings(&server, &[("a", 300)]);
    let refused = lane(&other, 1).0.positions(&log(), &[0]).await.expect_err("kept with another length");
    assert_eq!(refused.class, crate::sink::Class::Pause);
}

#[tokio::test]
async fn an_emptied_redis_is_noticed_by_the_next_write() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let settings = settings(&server, &[("a", 600)]);
    let (mut sink, _) = lane(&settings, 1000);
    let (mut other, _) = lane(&settings, 1000);
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &[insert(0, 1, 10_000, 10)]).await.expect("written"), DURABLE);
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
    assert_eq!(
        write(&mut sink, 0, 1, &[insert(1, 1, 10_000, 10)]).await.expect("told"),
        Written::Behind(at(&[]))
    );
    // Another worker makes it anew and claims the partition just where this one would go on.
    sink.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut sink, 0, 0, &[insert(0, 1, 10_000, 10)]).await.expect("written"), DURABLE);
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
    other.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut other, 0, 0, &[insert(0, 1, 10_000, 10)]).await.expect("written"), DURABLE);
    assert_eq!(
        write(&mut sink, 0, 1, &[insert(1, 1, 10_000, 10)]).await.expect("told"),
        Written::Behind(at(&[]))
    );
}

#[tokio::test]
async fn a_window_that_lost_one_key_is_as_good_as_gone() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    for key in ["meta", "positions", "totals", "buckets", "future"] {
        let (mut sink, mut ticker) = lane(&settings(&server, &[("a", 600)]), 1000);
        sink.positions(&log(), &[0]).await.expect("positions");
        let records = [insert(0, 1, 10_000, 10), insert(1, 1, 10_001, 10)];
        assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
        redis::cmd("DEL").arg(format!("{{a}}:{key}")).exec_async(&mut redis).await.expect("del");
        ticker.tick().await.expect("a tick");
        let seen = sink.seen.borrow().clone();
        assert_eq!(seen.windows, [Standing::Gone], "{key}");
        let record = [insert(2, 1, 10_000, 10)];
        assert_eq!(write(&mut sink, 0, 2, &record).await.expect("told"), Written::Behind(at(&[])), "{key}");
        assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[]), "{key}");
        assert_eq!(board(&mut redis, "a").await, [], "{key}");
        assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
        assert_eq!(board(&mut redis, "a").await, [(1, 0.01)], "{key}");
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
        set_clock(&mut redis, 10_000).await;
    }
}

/// Two workers, each with a partition: the window is emptied by the first, and what that one has counted since stays.
#[tokio::test]
async fn one_reset_empties_a_window_once_whoever_obeys_it() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, 10_000).await;
    let settings = settings(&server, &[("a", 600)]);
    let ((mut one, _), (mut two, _)) = (lane(&settings, 1000), lane(&settings, 1000));
    for (sink, partition) in [(&mut one, 0), (&mut two, 1)] {
        sink.positions(&log(), &[partition]).await.expect("positions");
        let record = [insert(0, 1, 10_000, 10)];
        assert_eq!(write(sink, partition, 0, &record).await.expect("written"), DURABLE);
    }
    assert_eq!(board(&mut redis, "a").await, [(1, 0.02)]);
    let order = Reset { id: 7, positions: [(0, 0), (1, 0)].into() };
    one.reset(&log(), &order).await.expect("obeyed");
    assert_eq!(one.positions(&log(), &[0]).await.expect("positions"), at(&[]));
    assert_eq!(board(&mut redis, "a").await, []);
    assert_eq!(write(&mut one, 0, 0, &[insert(0, 1, 10_000, 10)]).await.expect("written"), DURABLE);
    // The other one's belief is of the former window: it is refused, asks, and obeys as well.
    let behind = write(&mut two, 1, 1, &[insert(1, 1, 10_000, 10)]).await.expect("told");
    assert_eq!(behind, Written::Behind(at(&[])));
    two.reset(&log(), &order).await.expect("obeyed");
    assert_eq!(two.positions(&log(), &[1]).await.expect("positions"), at(&[]));
    assert_eq!(write(&mut two, 1, 0, &[insert(0, 1, 10_000, 10)]).await.expect("written"), DURABLE);
    assert_eq!(board(&mut redis, "a").await, [(1, 0.02)], "each record once again");
}
