//! A receiver that does as it is told: it takes what it likes, condemns the rest, or loses its answers. It stores each event once
//! by its id, as any receiver should, and believes every signature.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};

/// Longer than any request's head.
const MOST_HEAD_BYTES: usize = 16 * 1024;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It condemns a batch that holds an event whose device begins with `poison`.
    Picky,
    /// It takes everything.
    Takes,
    /// It takes everything, and nobody hears of it.
    Mute,
    /// It condemns everything.
    Condemns,
}

#[derive(Debug)]
struct Told {
    manner: Manner,
    events: BTreeMap<String, Value>,
    /// Events stored or met again while it was mute.
    unheard: usize,
}

/// A receiver that listens as long as it lives.
pub struct StandIn {
    /// `host:port`.
    pub address: String,
    told: Arc<Mutex<Told>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    /// One that is [`Manner::Picky`], at `address`.
    pub async fn start(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("{address} is not free"))?;
        let told = Arc::new(Mutex::new(Told { manner: Manner::Picky, events: BTreeMap::new(), unheard: 0 }));
        let telling = Arc::clone(&told);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = Arc::clone(&telling);
                // A connection that breaks is the client's to make again.
                tokio::spawn(async move { while serve(&stream, &told).await.unwrap_or(false) {} });
            }
        });
        Ok(Self { address: address.to_owned(), told, serving })
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers in this manner from now on.
    pub fn set(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// The events that it has stored, by id.
    pub fn events(&self) -> BTreeMap<String, Value> {
        self.lock().events.clone()
    }

    /// How many events it got without answering.
    pub fn unheard(&self) -> usize {
        self.lock().unheard
    }
}

/// Answers one request; whether a further one may come.
async fn serve(stream: &TcpStream, told: &Mutex<Told>) -> Result<bool> {
    let mut stream = Whole(stream);
    let Some(body) = stream.request().await? else { return Ok(false) };
    let body: Value = serde_json::from_slice(&body).context("no JSON")?;
    let events = body.get("events").and_then(Value::as_array).context("no events")?;
    let status = {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_poison = |event: &Value| {
            event.get("device").and_then(Value::as_str).is_some_and(|device| device.starts_with("poison"))
        };
        let condemns = match told.manner {
            Manner::Picky => events.iter().any(is_poison),
            Manner::Condemns => true,
            Manner::Takes | Manner::Mute => false,
        };
        if !condemns {
            for event in events {
                let id = event.get("event_id").and_then(Value::as_str).context("no event_id")?;
                told.events.entry(id.to_owned()).or_insert_with(|| event.clone());
            }
        }
        if told.manner == Manner::Mute {
            told.unheard += events.len();
            return Ok(false);
        }
        if condemns { "422 Unprocessable Content" } else { "200 OK" }
    };
    stream.answer(status).await?;
    Ok(true)
}

/// A connection as far as one client of ours needs it.
struct Whole<'s>(&'s TcpStream);

impl Whole<'_> {
    async fn some(&mut self, into: &mut Vec<u8>) -> Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read_buf(into) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => return Ok(read?),
            }
        }
    }

    /// The body of the next request; none where the client has gone.
    async fn request(&mut self) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break end;
            }
            anyhow::ensure!(bytes.len() < MOST_HEAD_BYTES, "a head without end");
            if self.some(&mut bytes).await? == 0 {
                return Ok(None);
            }
        };
        let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no content-length")?.trim().parse()?;
        let mut body = bytes.split_off(head + 4);
        while body.len() < length {
            anyhow::ensure!(self.some(&mut body).await? > 0, "a body without end");
        }
        Ok(Some(body))
    }

    async fn answer(&mut self, status: &str) -> Result<()> {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let mut rest = answer.as_bytes();
        while !rest.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(rest) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                written => rest = rest.get(written?..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}
