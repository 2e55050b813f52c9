//! A source that is replayed, piece by piece: what is told, what is kept over kills, and what becomes of it where the table refuses.
//! Random stories of it are in `stories`.

use super::super::{Base, Cells, Lacking, Past, PastError, Rows, Telling};
use super::past::{CLOCK, Change, cells, send};
use super::*;
use crate::decode::Place;

/// Between two commits: more than clocks are trusted to.
const STEP_US: i64 = 2_000_000;

fn change(offset: Offset, place: u64, at_s: i64, ms: i64) -> Change {
    let (place, after) = (Some(Place { committed: Some(place - 1), lsn: place }), Some((1, CLOCK, ms)));
    let (tx_id, committed_us) =
        (u32::try_from(place.map_or(0, |place| place.lsn)).expect("small"), at_s * STEP_US);
    Change { row: offset, offset, lsn: u64::from(tx_id), tx_id, place, committed_us, before: None, after }
}

/// Refuses to tell what the table says, until it is allowed to.
#[derive(Default)]
struct Refusing(Mutex<Option<Rows>>);

impl Past for Refusing {
    fn reaches_back(&self, _: i64) -> Telling<'_, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn rows(&self, _: By, _: i64) -> Telling<'_, Rows> {
        let rows = self.0.lock().expect("not poisoned").take();
        Box::pin(std::future::ready(rows.ok_or(PastError::Refused("no rights".to_owned()))))
    }
}

#[tokio::test]
async fn where_the_table_refuses_the_window_is_in_doubt_until_what_was_counted_twice_has_left() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let mut settings = settings(&server, &[("a", 600)]);
    settings.past = Arc::new(Refusing::default());
    let signs = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&signs);
    settings.replayed = Arc::new(move |replay| hears.lock().expect("not poisoned").push(replay.sign.name()));
    let (mut sink, ticker) = lane(&settings, 1000);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let mut ticker = ticker.telling(Box::new(move |told| *hears.lock().expect("hears") = told.to_vec()));
    set_clock(&mut redis, CLOCK).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let stretch = [change(0, 10, 1, 5), change(1, 20, 2, 70), change(2, 10, 1, 5), change(3, 20, 2, 70)];
    assert!(matches!(send(&mut sink, 0, 0, &stretch[..2]).await, Written::Durable { .. }));
    assert!(matches!(send(&mut sink, 0, 2, &stretch[2..]).await, Written::Behind(_)));
    assert_eq!(*signs.lock().expect("heard"), ["written_again"]);
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[]), "from the beginning");
    assert!(matches!(send(&mut sink, 0, 0, &stretch).await, Written::Durable { .. }), "told once");
    assert_eq!(board(&mut redis, "a").await, [(1, 0.15)], "twice, and it is said so");
    ticker.tick().await.expect("a tick");
    let told = heard.lock().expect("heard").clone();
    assert!(
        matches!(told.as_slice(), [Lacking { is_doubted: true, whole_s, .. }] if *whole_s > 0),
        "{told:?}"
    );
    // What is committed from now on has an order again.
    let now = i64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs(),
    );
    let now = now.expect("seconds") / 2 + 60;
    let next = [change(4, 30, now, 800), change(5, 40, now, 900), change(6, 30, now, 800)];
    assert!(matches!(send(&mut sink, 0, 4, &next[..2]).await, Written::Durable { .. }));
    assert!(matches!(send(&mut sink, 0, 6, &next[2..]).await, Written::Behind(_)));
}

#[tokio::test]
async fn a_replay_that_was_noticed_is_not_forgotten_by_whoever_comes_next() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, CLOCK).await;
    let mut settings = settings(&server, &[("a", 600)]);
    let told = |pieces: Vec<Result<Cells, PastError>>| {
        let base = Base::new(log(), 25, "30:30:".to_owned()).expect("a snapshot").taken(3 * STEP_US);
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        pieces.into_iter().for_each(|piece| sender.try_send(piece).expect("room"));
        Refusing(Mutex::new(Some(Rows { base, log: log(), starts: [(0, 1)].into(), pieces: receiver })))
    };
    let whole = [Ok(cells([(1, CLOCK, 75)])), Ok(Cells::new())];
    let cut = vec![whole[0].clone(), Err(PastError::Away("gone".to_owned()))];
    settings.past = Arc::new(told(cut));
    let (mut sink, mut ticker) = lane(&settings, 1000);
    sink.positions(&log(), &[0]).await.expect("positions");
    let stretch = [change(0, 10, 1, 5), change(1, 20, 2, 70), change(2, 10, 1, 5), change(3, 30, 4, 100)];
    assert!(matches!(send(&mut sink, 0, 0, &stretch[..2]).await, Written::Durable { .. }));
    // Killed behind the last write: the place reached lies in Redis.
    let (mut second, _) = lane(&settings, 1000);
    second.positions(&log(), &[0]).await.expect("positions");
    assert!(matches!(send(&mut second, 0, 2, &stretch[2..]).await, Written::Behind(_)));
    // Killed when it was noticed, then in the middle of making it anew: the log, which has it twice, is never counted.
    let (mut third, _) = lane(&settings, 1000);
    third.positions(&log(), &[0]).await.expect_err("cut off");
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, []);
    settings.past = Arc::new(told(whole.to_vec()));
    let (mut fourth, _) = lane(&settings, 1000);
    fourth.positions(&log(), &[0]).await.expect_err("half filled, by one who may still be there");
    fourth.windows[0].halfway.as_mut().expect("seen").stall();
    assert_eq!(fourth.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 1)]));
    assert!(matches!(send(&mut fourth, 0, 1, &stretch[1..]).await, Written::Durable { .. }));
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [(1, 0.175)]);
}
