//! One connection through the proxy: message by message, each direction in turn, until somebody ends it.

use super::{Manner, Shared, Struck, Verdict};
use anyhow::{Context, Result, bail};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;
/// A throttled message goes in pieces of what fits into this.
const PIECE: Duration = Duration::from_millis(50);

struct Connection {
    shared: Arc<Shared>,
    manner: watch::Receiver<Manner>,
    client: TcpStream,
    server: TcpStream,
    /// What has come and is no whole message yet.
    requests: Vec<u8>,
    answers: Vec<u8>,
    /// Requests that the server has not answered.
    pending: usize,
    /// Set while an answer is waited for that is to be held back, with those that are held back with it.
    holding: Option<(Struck, Vec<u8>)>,
    half_closed: bool,
    /// Whether the client will send nothing more.
    client_gone: bool,
}

/// How a connection comes to its end.
enum End {
    /// One side has closed it.
    Closed,
    /// It is to be reset.
    Reset,
}

/// Serves a client until one side ends the connection or it is cut.
pub(super) async fn serve(shared: Arc<Shared>, client: TcpStream) {
    let mut manner = shared.manner.subscribe();
    if *manner.borrow() == Manner::Frozen {
        shared.count(|counts| counts.frozen += 1);
    }
    // A server that is dead refuses; the client sees its connection end.
    if manner.wait_for(|manner| *manner != Manner::Frozen).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(&shared.upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    manner.mark_changed();
    let mut connection = Connection {
        shared,
        manner,
        client,
        server,
        requests: Vec::new(),
        answers: Vec::new(),
        pending: 0,
        holding: None,
        half_closed: false,
        client_gone: false,
    };
    // An error is a connection that broke: to either side it is over.
    if let Ok(End::Reset) = connection.run().await {
        connection.shared.count(|counts| counts.cut += 1);
        let _ = (connection.client.set_zero_linger(), connection.server.set_zero_linger());
    }
}

impl Connection {
    async fn run(&mut self) -> Result<End> {
        loop {
            tokio::select! {
                biased;
                changed = self.manner.changed() => {
                    changed.context("the proxy is gone")?;
                    if let Some(end) = self.obey().await? {
                        return Ok(end);
                    }
                }
                read = read(&mut self.server, &mut self.answers) => {
                    if read? == 0 {
                        return Ok(End::Closed);
                    }
                    if let Some(end) = self.pass_answers().await? {
                        return Ok(end);
                    }
                }
                read = read(&mut self.client, &mut self.requests), if !self.client_gone => {
                    // One that saw its half end leaves; what it asked for is done all the same.
                    self.client_gone = !matches!(read, Ok(1..));
                    if self.client_gone && !(self.half_closed && self.pending > 0) {
                        return Ok(End::Closed);
                    }
                    if let Some(end) = self.pass_requests().await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Does at once what the manner wants of a connection that is there.
    async fn obey(&mut self) -> Result<Option<End>> {
        let manner = *self.manner.borrow_and_update();
        match manner {
            Manner::Cut => return Ok(Some(End::Reset)),
            // One that is idle is ended with its next request: else the client would see it before it sends anything.
            Manner::HalfClose if self.pending > 0 => self.half_close().await?,
            Manner::Frozen => {
                self.shared.count(|counts| counts.frozen += 1);
                self.manner.wait_for(|manner| *manner != Manner::Frozen).await?;
                self.manner.mark_changed();
            }
            Manner::HalfClose | Manner::Pass | Manner::Slow(_) | Manner::Throttle(_) => {}
        }
        Ok(None)
    }

    async fn pass_requests(&mut self) -> Result<Option<End>> {
        while let Some(length) = self.shared.speaks.message(&self.requests) {
            let rest = self.requests.split_off(length);
            let request = std::mem::replace(&mut self.requests, rest);
            if self.holding.is_none()
                && let Some(armed) = self.shared.is_waited_for(self.shared.speaks.kind(&request))
            {
                match self.verdict(armed.struck).await {
                    Verdict::Cut => return Ok(Some(End::Reset)),
                    Verdict::HoldAnswer(struck) => self.holding = Some((struck, Vec::new())),
                    Verdict::Release => {}
                }
            }
            self.pending += 1;
            let manner = *self.manner.borrow();
            pass(&self.shared, manner, &mut self.server, &request).await?;
            if manner == Manner::HalfClose {
                self.half_close().await?;
            }
        }
        Ok(None)
    }

    async fn half_close(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.half_closed, true) {
            self.shared.count(|counts| counts.half_closed += 1);
            self.client.shutdown().await?;
        }
        Ok(())
    }

    async fn pass_answers(&mut self) -> Result<Option<End>> {
        while let Some(length) = self.shared.speaks.message(&self.answers) {
            let rest = self.answers.split_off(length);
            let answer = std::mem::replace(&mut self.answers, rest);
            self.pending = self.pending.saturating_sub(1);
            if self.half_closed {
                self.shared.count(|counts| counts.answers_lost += 1);
                continue;
            }
            match &mut self.holding {
                Some((_, held)) => held.extend(answer),
                None => {
                    let manner = *self.manner.borrow();
                    pass(&self.shared, manner, &mut self.client, &answer).await?;
                }
            }
        }
        // What was sent together is answered together: then the server has done all of it.
        if self.pending > 0 {
            return Ok(None);
        }
        if self.client_gone {
            return Ok(Some(End::Closed));
        }
        let Some((struck, held)) = self.holding.take() else { return Ok(None) };
        if matches!(self.verdict(struck).await, Verdict::Cut) {
            self.shared.count(|counts| counts.answers_lost += 1);
            return Ok(Some(End::Reset));
        }
        let manner = *self.manner.borrow();
        pass(&self.shared, manner, &mut self.client, &held).await?;
        Ok(None)
    }

    /// Says that something is held back, and waits for what is to become of it.
    async fn verdict(&self, struck: Struck) -> Verdict {
        let (sender, verdict) = oneshot::channel();
        self.shared.count(|counts| counts.held += 1);
        if struck.send(sender).is_err() {
            // The scenario has given up waiting.
            return Verdict::Release;
        }
        // Whoever drops it wants the connection gone.
        verdict.await.unwrap_or(Verdict::Cut)
    }
}

async fn read(stream: &mut TcpStream, into: &mut Vec<u8>) -> Result<usize> {
    into.reserve(READ_BYTES);
    // Cancelled where the other direction is first: then nothing was read.
    Ok(stream.read_buf(into).await?)
}

/// Writes a message the way the manner wants it.
async fn pass(shared: &Shared, manner: Manner, to: &mut TcpStream, message: &[u8]) -> Result<()> {
    shared.count(|counts| counts.passed += 1);
    match manner {
        Manner::Slow(delay) => {
            shared.count(|counts| counts.slowed += 1);
            tokio::time::sleep(delay).await;
        }
        Manner::Throttle(bytes_per_s) => {
            shared.count(|counts| counts.slowed += 1);
            let piece = bytes_per_s.saturating_mul(usize::try_from(PIECE.as_millis())?) / 1000;
            for part in message.chunks(piece.max(1)) {
                to.write_all(part).await?;
                tokio::time::sleep(PIECE).await;
                if *shared.manner.borrow() != manner {
                    bail!("cut in the middle of a message");
                }
            }
            return Ok(());
        }
        Manner::Pass | Manner::Cut | Manner::HalfClose | Manner::Frozen => {}
    }
    to.write_all(message).await?;
    Ok(())
}
