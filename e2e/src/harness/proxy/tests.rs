//! Each manner and each point, against a server that answers `+<number of requests>` to each request of Redis.

use super::*;
use crate::harness::wait;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(10);
const WRITE: &[u8] =
    b"*7\r\n$7\r\nEVALSHA\r\n$1\r\nh\r\n$1\r\n0\r\n$1\r\np\r\n$1\r\ni\r\n$1\r\n1\r\n$1\r\n0\r\n";
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

struct Bench {
    proxy: Proxy,
    done: Arc<AtomicUsize>,
}

async fn bench() -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let done = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&done);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let done = Arc::clone(&counting);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while client.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
                    while let Some(length) = Speaks::Redis.message(&bytes) {
                        bytes.drain(..length);
                        let answer = format!("+{}\r\n", done.fetch_add(1, Ordering::SeqCst) + 1);
                        if client.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    // A port that was just free; nobody else asks for one in between.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    Bench { proxy: Proxy::start(&free, &upstream, Speaks::Redis).await.unwrap(), done }
}

impl Bench {
    async fn client(&self) -> TcpStream {
        TcpStream::connect(&self.proxy.address).await.unwrap()
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }
}

async fn answer(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if Speaks::Redis.message(&bytes) == Some(bytes.len()) || client.read_buf(&mut bytes).await? == 0 {
            return Ok(bytes);
        }
    }
}

#[tokio::test]
async fn what_is_held_before_the_request_was_never_done_where_it_is_cut() {
    let bench = bench().await;
    let mut client = bench.client().await;
    let mut hold = bench.proxy.hold(Kind::Write);
    client.write_all(PING).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), b"+1\r\n", "another request passes");
    client.write_all(WRITE).await.unwrap();
    hold.struck(SOON).await.unwrap().cut().unwrap();
    answer(&mut client).await.unwrap_err();
    assert_eq!((bench.done(), bench.proxy.counts().answers_lost), (1, 0));
}

#[tokio::test]
async fn what_is_held_before_its_answer_was_done_and_nobody_heard_of_it() {
    let bench = bench().await;
    let mut client = bench.client().await;
    let mut hold = bench.proxy.hold(Kind::Write);
    // Sent together: all of it is done before the scenario hears of it.
    client.write_all(&[WRITE, WRITE, PING].concat()).await.unwrap();
    let request = hold.struck(SOON).await.unwrap();
    assert_eq!(bench.done(), 0);
    let held = request.hold_answer().unwrap().struck(SOON).await.unwrap();
    assert_eq!(bench.done(), 3);
    held.cut().unwrap();
    answer(&mut client).await.unwrap_err();
    assert_eq!(bench.proxy.counts().answers_lost, 1);
}

#[tokio::test]
async fn what_is_released_goes_on_as_if_nothing_had_been() {
    let bench = bench().await;
    let mut client = bench.client().await;
    for hold_answer in [false, true] {
        let before = bench.done();
        let mut hold = bench.proxy.hold(Kind::Write);
        client.write_all(WRITE).await.unwrap();
        let mut held = hold.struck(SOON).await.unwrap();
        if hold_answer {
            held = held.hold_answer().unwrap().struck(SOON).await.unwrap();
        }
        held.release().unwrap();
        assert_eq!(answer(&mut client).await.unwrap(), format!("+{}\r\n", before + 1).as_bytes());
    }
    assert_eq!(bench.proxy.counts().held, 3);
}

#[tokio::test]
async fn a_cut_resets_the_connections_that_are_there_and_those_that_come() {
    let bench = bench().await;
    let mut client = bench.client().await;
    client.write_all(PING).await.unwrap();
    answer(&mut client).await.unwrap();
    bench.proxy.set(Manner::Cut);
    assert_eq!(answer(&mut client).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let mut late = bench.client().await;
    late.write_all(PING).await.unwrap();
    late.read_u8().await.unwrap_err();
    assert_eq!((bench.done(), bench.proxy.counts().cut), (1, 2));
}

#[tokio::test]
async fn a_half_closed_connection_takes_a_request_and_gives_no_answer() {
    let bench = bench().await;
    let mut client = bench.client().await;
    bench.proxy.set(Manner::HalfClose);
    client.write_all(WRITE).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), b"", "an end, not a reset");
    until_counted("an answer is lost", SOON, &bench.proxy, |counts| counts.answers_lost == 1).await.unwrap();
    assert_eq!((bench.done(), bench.proxy.counts().half_closed), (1, 1));
}

#[tokio::test]
async fn a_frozen_one_answers_once_it_is_thawed() {
    let bench = bench().await;
    let mut old = bench.client().await;
    old.write_all(PING).await.unwrap();
    answer(&mut old).await.unwrap();
    bench.proxy.set(Manner::Frozen);
    let mut new = bench.client().await;
    for client in [&mut old, &mut new] {
        client.write_all(WRITE).await.unwrap();
    }
    until_counted("both stand still", SOON, &bench.proxy, |counts| counts.frozen == 2).await.unwrap();
    assert_eq!(bench.done(), 1);
    bench.proxy.set(Manner::Pass);
    for client in [&mut old, &mut new] {
        answer(client).await.unwrap();
    }
    assert_eq!(bench.done(), 3);
}

#[tokio::test]
async fn a_slow_one_and_a_throttled_one_pass_everything_on() {
    let bench = bench().await;
    let mut client = bench.client().await;
    for manner in [Manner::Slow(Duration::from_millis(2)), Manner::Throttle(4000)] {
        bench.proxy.set(manner);
        client.write_all(WRITE).await.unwrap();
        answer(&mut client).await.unwrap();
    }
    let counts = bench.proxy.counts();
    assert_eq!((bench.done(), counts.slowed, counts.passed), (2, 4, 4));
}

/// Waits until the proxy has done something.
async fn until_counted(
    what: &str,
    within: Duration,
    proxy: &Proxy,
    counted: impl Fn(Counts) -> bool,
) -> Result<()> {
    let counts = || format!("{:?}", proxy.counts());
    wait::until(what, within, async || Ok(wait::seen_if(counted(proxy.counts()), counts))).await
}
