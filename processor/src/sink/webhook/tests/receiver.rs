//! A receiver over real HTTP that remembers what it got and answers what it is told to.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    pub peer: SocketAddr,
    pub method: String,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).expect("the header").to_str().expect("text")
    }
}

type Answer = dyn Fn(&Request) -> Response + Send + Sync;

#[derive(Clone)]
struct Shared {
    answer: Arc<Answer>,
    delay: Duration,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// The receiver; it ends with the test's runtime.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Shared,
}

impl Receiver {
    pub async fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        Self::slow(Duration::ZERO, answer).await
    }

    /// Takes the request at once and answers after `delay`.
    pub async fn slow(
        delay: Duration,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared { answer: Arc::new(answer), delay, requests: Arc::default() };
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { address, shared }
    }

    /// Answers every request with a status and a body.
    pub async fn answering(status: u16, body: &'static str) -> Self {
        Self::start(move |_| respond(status, body)).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("no poison").clone()
    }
}

pub fn respond(status: u16, body: impl Into<axum::body::Body>) -> Response {
    Response::builder().status(status).body(body.into()).expect("a response")
}

async fn receive(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request { peer, method: method.to_string(), uri, headers, body };
    shared.requests.lock().expect("no poison").push(request.clone());
    tokio::time::sleep(shared.delay).await;
    (shared.answer)(&request)
}
