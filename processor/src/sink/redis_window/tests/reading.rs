//! A window that is read whole: as it is for its clock, whatever is due.

use super::super::read;
use super::*;

#[tokio::test]
async fn a_window_is_read_as_the_next_tick_will_leave_it() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let settings = settings(&server, &[("w", 10), ("other", 10)]);
    let (mut sink, mut ticker) =
        lane(&Settings { windows: settings.windows[..1].to_vec(), ..settings.clone() }, 1000);
    set_clock(&mut redis, 1000).await;
    sink.positions(&log(), &[0, 1]).await.expect("positions");
    let records =
        [insert(5, 1, 991, 100), insert(6, 1, 1000, 20), insert(7, 2, 992, 3), insert(8, 3, 1003, 40)];
    assert_eq!(write(&mut sink, 0, 5, &records).await.expect("written"), DURABLE);
    set_clock(&mut redis, 1002).await;
    // A write moves the clock on; what is due is done by the next tick.
    assert_eq!(write(&mut sink, 0, 9, &[insert(9, 2, 1002, 7)]).await.expect("written"), DURABLE);

    let windows = read(&settings).await.expect("read");
    let [(_, Some(reading)), (_, None)] = windows.as_slice() else { panic!("{windows:?}") };
    let member = |number: u128| Uuid::from_u128(number).to_string();
    assert_eq!((reading.clock_s, reading.length_s, reading.is_redrawn), (1002, 10, false));
    assert_eq!(reading.position(&log(), 0), Some(10));
    assert_eq!(reading.position(&log(), 1), None, "nothing of it was written");
    assert_eq!(reading.stands, [(member(1), 120), (member(2), 10)].into());
    assert_eq!(reading.totals, [(member(1), 20), (member(2), 10)].into(), "991 is due to leave");
    assert_eq!(reading.public, [(member(1), 0.12), (member(2), 0.01)].into());

    drain(&mut ticker).await;
    let after =
        read(&settings).await.expect("read").into_iter().find_map(|(_, reading)| reading).expect("there");
    assert_eq!(after.totals, reading.totals);
    assert_eq!(after.stands, after.totals, "nothing is due any more");
}
