//! A TCP proxy between a client of ours and a server, that does to their connections what networks do, and what they do at
//! the worst moment: it holds back a request that is about to have an effect, or the answer to one that has had it.
//!
//! It counts what it did, so that a scenario can assert that a fault struck. It knows the protocols no further than where a
//! message ends ([`frame`]). Postgres, Redis and the receiver can be put behind it; Kafka can't, because a client goes on at
//! the address that the broker advertises: a broker is frozen instead, which stops all of its connections at once.

mod connection;
mod frame;
#[cfg(test)]
mod tests;

pub use frame::{Kind, Speaks};

use anyhow::{Context, Result, ensure};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// What it does to all connections, those that are there and those that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Passes everything on.
    Pass,
    /// Each message comes this much later.
    Slow(Duration),
    /// So many bytes a second in each direction.
    Throttle(usize),
    /// Cuts each connection with a reset.
    Cut,
    /// Ends the direction towards the client once a request has passed: it is done, and its answer goes nowhere.
    HalfClose,
    /// Takes connections, reads nothing and answers nothing.
    Frozen,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken.
    pub connections: u64,
    /// Messages passed on.
    pub passed: u64,
    /// Messages that came later than they could have.
    pub slowed: u64,
    /// Connections that were reset.
    pub cut: u64,
    /// Connections whose direction towards the client was ended.
    pub half_closed: u64,
    /// Answers that no client saw though the server gave them.
    pub answers_lost: u64,
    /// Connections that stood frozen.
    pub frozen: u64,
    /// Messages that were held back for a scenario.
    pub held: u64,
}

/// What a scenario decides about a message that is held back.
#[derive(Debug)]
enum Verdict {
    Release,
    /// Of a request: it goes on, and the answer to it is held back.
    HoldAnswer(Struck),
    Cut,
}

/// Where it is said that something is held back, together with where to say what is to become of it.
type Struck = oneshot::Sender<oneshot::Sender<Verdict>>;

/// What is waited for.
struct Armed {
    kind: Kind,
    struck: Struck,
}

struct Shared {
    upstream: String,
    speaks: Speaks,
    manner: watch::Sender<Manner>,
    armed: Mutex<Option<Armed>>,
    counts: Mutex<Counts>,
}

/// A proxy that listens as long as it lives.
pub struct Proxy {
    /// `host:port` where it listens.
    pub address: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

/// A request or an answer that is to be held back.
pub struct Hold {
    struck: oneshot::Receiver<oneshot::Sender<Verdict>>,
}

/// One that is held back. When it is dropped its connection is cut.
#[derive(Debug)]
pub struct Held {
    verdict: oneshot::Sender<Verdict>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
        // Each connection ends by itself once nobody can change the manner any more.
        self.shared.manner.send_replace(Manner::Cut);
    }
}

impl Proxy {
    /// One that listens on `address` and passes on to `upstream`, both `host:port`.
    pub async fn start(address: &str, upstream: &str, speaks: Speaks) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("{address} is not free"))?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            speaks,
            manner: watch::Sender::new(Manner::Pass),
            armed: Mutex::default(),
            counts: Mutex::default(),
        });
        let serves = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                serves.count(|counts| counts.connections += 1);
                tokio::spawn(connection::serve(Arc::clone(&serves), client));
            }
        });
        Ok(Self { address: address.to_owned(), shared, serving })
    }

    /// Does so from now on.
    pub fn set(&self, manner: Manner) {
        self.shared.manner.send_replace(manner);
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        *lock(&self.shared.counts)
    }

    /// Holds back the next request of this kind: the server has not seen it. A former order that has not struck is forgotten.
    pub fn hold(&self, kind: Kind) -> Hold {
        let (sender, struck) = oneshot::channel();
        *lock(&self.shared.armed) = Some(Armed { kind, struck: sender });
        Hold { struck }
    }
}

impl Hold {
    /// Waits until something is held back.
    pub async fn struck(&mut self, within: Duration) -> Result<Held> {
        let struck = tokio::time::timeout(within, &mut self.struck).await;
        let verdict = struck.with_context(|| format!("nothing came to be held back in {within:?}"))?;
        Ok(Held { verdict: verdict.context("another order took its place")? })
    }
}

impl Held {
    /// Lets it go on. It fails where the connection is gone meanwhile.
    pub fn release(self) -> Result<()> {
        ensure!(self.verdict.send(Verdict::Release).is_ok(), "the connection that was held is gone");
        Ok(())
    }

    /// Lets a request go on, and holds back the answer to it: the server has done it and said so, and the client has not
    /// seen that.
    pub fn hold_answer(self) -> Result<Hold> {
        let (sender, struck) = oneshot::channel();
        let sent = self.verdict.send(Verdict::HoldAnswer(sender));
        ensure!(sent.is_ok(), "the connection that was held is gone");
        Ok(Hold { struck })
    }

    /// Resets its connection.
    pub fn cut(self) -> Result<()> {
        ensure!(self.verdict.send(Verdict::Cut).is_ok(), "the connection that was held is gone");
        Ok(())
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    /// Takes the order where this request is the one.
    fn is_waited_for(&self, kind: Kind) -> Option<Armed> {
        lock(&self.armed).take_if(|armed| armed.kind == kind)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
