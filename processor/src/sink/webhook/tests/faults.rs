//! Faults on the wire that no well-behaved server makes, from a bare socket.

use super::super::super::{Class, SinkError, Written};
use super::super::{Settings, Webhook};
use super::receiver::{Receiver, respond};
use super::{inserts, settings, write, write_to};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const RETRY: Class = Class::Retry { after: None };

/// What a faulty server does once it has a request's headers, and, unless it is rude, its body.
#[derive(Clone, Copy)]
enum Fault {
    /// Closes the connection: the request was taken, nobody knows.
    CloseAfterTaking,
    /// Writes this and closes.
    Say(&'static str),
    /// Writes this, then `x` for ever.
    SayForEver(&'static str),
    /// Writes this without reading the body, and closes.
    Rude(&'static str),
}

struct Faulty {
    url: String,
    taken: Arc<AtomicUsize>,
}

impl Faulty {
    async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/webhook", listener.local_addr().expect("an address"));
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                take(&mut socket, matches!(fault, Fault::Rude(_))).await;
                count.fetch_add(1, Ordering::SeqCst);
                misbehave(socket, fault).await;
            }
        });
        Self { url, taken }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// Reads one request; without its body where `headers_only`.
async fn take(socket: &mut TcpStream, headers_only: bool) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length = length.and_then(|text| text.parse().ok()).expect("a length");
    if !headers_only {
        socket.read_exact(&mut vec![0; length]).await.expect("the body");
    }
}

async fn misbehave(mut socket: TcpStream, fault: Fault) {
    match fault {
        Fault::CloseAfterTaking => {}
        Fault::Say(text) | Fault::Rude(text) => socket.write_all(text.as_bytes()).await.expect("written"),
        Fault::SayForEver(text) => {
            socket.write_all(text.as_bytes()).await.expect("written");
            while socket.write_all(&[b'x'; 65_536]).await.is_ok() {}
        }
    }
}

async fn failure(url: &str) -> SinkError {
    write_to(url, &inserts(0..2)).await.expect_err("a failure")
}

#[tokio::test]
async fn a_connection_that_closes_after_the_request_was_taken_is_tried_again_by_the_caller() {
    let server = Faulty::start(Fault::CloseAfterTaking).await;
    let error = failure(&server.url).await;
    assert_eq!(error.class, RETRY);
    assert!(error.message.contains("broke before the answer"), "{error}");
    assert_eq!(server.taken(), 1, "the effect may have happened, once");
}

#[tokio::test]
async fn an_acceptance_that_breaks_off_is_none() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"accepted\":1,\"rejected\":[";
    let server = Faulty::start(Fault::Say(cut)).await;
    assert_eq!(failure(&server.url).await.class, RETRY);
    assert_eq!(server.taken(), 1);
}

#[tokio::test]
async fn a_refusal_that_breaks_off_is_one() {
    let server = Faulty::start(Fault::Say("HTTP/1.1 422 No\r\ncontent-length: 900\r\n\r\nbad")).await;
    assert_eq!(failure(&server.url).await.class, Class::Refused);
}

#[tokio::test]
async fn what_is_no_http_is_tried_again() {
    for text in ["", "hello\r\n\r\n", "HTTP/1.1 999999 x\r\n\r\n"] {
        let server = Faulty::start(Fault::Say(text)).await;
        assert_eq!(failure(&server.url).await.class, RETRY, "{text:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_the_end() {
    let begin = Instant::now();
    let server = Faulty::start(Fault::SayForEver("HTTP/1.1 200 OK\r\n\r\n")).await;
    let written = write_to(&server.url, &inserts(0..2)).await.expect("an acceptance");
    assert_eq!(written, Written::Durable { rejected: Vec::new() });
    let server = Faulty::start(Fault::SayForEver("HTTP/1.1 500 No\r\n\r\n")).await;
    let error = failure(&server.url).await;
    assert_eq!(error.class, RETRY);
    assert!(error.message.chars().count() < 300, "{error}");
    assert!(begin.elapsed() < Duration::from_secs(4), "no timeout was needed: {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_body_that_is_refused_for_its_size_while_it_is_being_sent_is_too_large() {
    let server = Faulty::start(Fault::Rude("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")).await;
    let mut batch = inserts(0..1);
    let device = "x".repeat(8 * 1024 * 1024);
    let large = super::message("c", "null", &format!(r#"{{"id":1,"device":"{device}"}}"#));
    super::push(&mut batch, &large, None).expect("deliverable");
    let error = write_to(&server.url, &batch).await.expect_err("a failure");
    assert_eq!(error.class, Class::TooLarge, "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://me:hunter2@{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let error = failure(&url).await;
    assert_eq!(error.class, RETRY);
    assert!(error.message.contains("can't connect"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_under_an_https_url_is_tried_again() {
    let receiver = Receiver::answering(200, "").await;
    let error = failure(&receiver.url().replace("http:", "https:")).await;
    assert_eq!(error.class, RETRY);
    assert!(error.message.contains("can't connect"), "{error:?}");
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_slow_answer_is_a_timeout_though_the_request_was_taken() {
    let receiver = Receiver::slow(Duration::from_secs(60), |_| respond(200, "")).await;
    let settings = Settings { timeout: Duration::from_millis(300), ..settings(&receiver.url()) };
    let begin = Instant::now();
    let error =
        write(&mut Webhook::new(settings).expect("a sink"), &inserts(0..1)).await.expect_err("a failure");
    assert_eq!(error.class, RETRY);
    assert!(error.message.contains("300ms"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let server = Faulty::start(Fault::Say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let mut sink = Webhook::new(settings(&server.url)).expect("a sink");
    for taken in 1..=3 {
        write(&mut sink, &inserts(0..1)).await.expect("written");
        assert_eq!(server.taken(), taken);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
