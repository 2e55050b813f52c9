//! A port that leads to another one: where it leads can be changed, and what flows through it can be held back.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CONNECT: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 16 * 1024;

#[derive(Debug, Clone, Default)]
struct Way {
    to: String,
    is_held: bool,
}

/// A port that leads elsewhere, as long as this lives.
pub struct Forward {
    /// `host:port`.
    pub address: String,
    way: watch::Sender<Way>,
    serving: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Forward {
    /// Listens at `address`, and leads to `to`.
    pub async fn start(address: &str, to: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("{address} is not free"))?;
        let (way, ways) = watch::channel(Way { to: to.to_owned(), is_held: false });
        let serving = tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                // A connection that breaks is the client's to make again.
                tokio::spawn(pass(here, ways.clone()));
            }
        });
        Ok(Self { address: address.to_owned(), way, serving })
    }

    /// New connections lead to `to`; those that are there stay where they are.
    pub fn lead(&self, to: &str) {
        self.way.send_modify(|way| to.clone_into(&mut way.to));
    }

    /// Lets nothing through any more, or lets it through again, what was held back first.
    pub fn hold(&self, is_held: bool) {
        self.way.send_modify(|way| way.is_held = is_held);
    }
}

/// Waits until nothing is held back; where it leads then.
async fn open(ways: &mut watch::Receiver<Way>) -> Result<String> {
    Ok(ways.wait_for(|way| !way.is_held).await?.to.clone())
}

async fn pass(here: TcpStream, mut ways: watch::Receiver<Way>) -> Result<()> {
    let to = open(&mut ways).await?;
    let there = tokio::time::timeout(CONNECT, TcpStream::connect(to)).await??;
    let ((from_here, to_here), (from_there, to_there)) = (tokio::io::split(here), tokio::io::split(there));
    // Where one direction ends, both do.
    tokio::select! {
        ended = pump(from_here, to_there, ways.clone()) => ended,
        ended = pump(from_there, to_here, ways) => ended,
    }
}

async fn pump(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    mut ways: watch::Receiver<Way>,
) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        open(&mut ways).await?;
        to.write_all(piece.get(..read).unwrap_or_default()).await?;
    }
}
