//! What stands between the processor and a sink, so that the sink can be dead, frozen or slow for it, and for nobody else.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::{Receiver, Sender};

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// How the sink behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it is.
    Sound,
    /// Connections are reset, those that are there and those that come.
    Dead,
    /// Nothing is read and nothing is answered.
    Frozen,
    /// What goes to it and what comes from it is this much later.
    Slow(Duration),
}

/// Listens as long as it lives.
pub struct Proxy {
    /// Where, as `host:port`.
    pub address: String,
    /// What it stands before.
    pub upstream: String,
    manner: Sender<Manner>,
    struck: Arc<AtomicU64>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// One in front of `upstream`, a `host:port`.
    pub async fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let manner = Sender::new(Manner::Sound);
        let struck = Arc::new(AtomicU64::new(0));
        let (theirs, count, to) = (manner.clone(), Arc::clone(&struck), upstream.to_owned());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, to.clone(), theirs.subscribe(), Arc::clone(&count)));
            }
        });
        Ok(Self { address, upstream: upstream.to_owned(), manner, struck, serving })
    }

    /// From now on.
    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How often a connection or a message met with a fault.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

async fn serve(client: TcpStream, upstream: String, manner: Receiver<Manner>, struck: Arc<AtomicU64>) {
    if *manner.borrow() == Manner::Dead {
        struck.fetch_add(1, Ordering::Relaxed);
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let dies = async {
        let mut manner = manner.clone();
        // Gone with the proxy, too.
        let _ = manner.wait_for(|manner| *manner == Manner::Dead).await;
        struck.fetch_add(1, Ordering::Relaxed);
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        () = dies => {}
        _ = pass(&mut from_client, &mut to_server, manner.clone(), &struck) => {}
        _ = pass(&mut from_server, &mut to_client, manner.clone(), &struck) => {}
    }
    if let Ok(client) = from_client.reunite(to_client)
        && *manner.borrow() == Manner::Dead
    {
        let _ = client.set_zero_linger();
    }
}

/// Passes on what comes from one side, until it ends.
async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut manner: Receiver<Manner>,
    struck: &AtomicU64,
) -> Result<()> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    while from.read_buf(&mut bytes).await? > 0 {
        let now = *manner.borrow();
        if now != Manner::Sound {
            struck.fetch_add(1, Ordering::Relaxed);
        }
        match now {
            Manner::Slow(delay) => tokio::time::sleep(delay).await,
            Manner::Frozen => drop(manner.wait_for(|manner| *manner != Manner::Frozen).await?),
            Manner::Sound | Manner::Dead => {}
        }
        to.write_all(&bytes).await?;
        bytes.clear();
    }
    Ok(())
}
