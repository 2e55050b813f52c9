//! Puts the parts together, runs them until the process is asked to stop, and takes them apart in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use webhook_protocol::Verifier;

use crate::{
    config::Config,
    server::{self, Receiver},
    store::{OpenError, Store},
};

/// How long requests in flight may take to end after a signal to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Why the receiver does not start, or ended.
#[derive(Debug, Error)]
pub enum AppError {
    /// The database file.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Somebody else listens there.
    #[error(
        "port {} of {} is in use by another process; stop it, or choose another by WEBHOOK_LISTEN",
        .0.port(), .0.ip()
    )]
    PortInUse(SocketAddr),
    /// The address is not ours, or its port not allowed.
    #[error("cannot listen on {address}; choose another address by WEBHOOK_LISTEN")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refuses something that needs no configuration.
    #[error("the receiver ended")]
    Run(#[source] io::Error),
}

impl AppError {
    /// Whether the user can mend it before the next start.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Run(_))
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// See [`AppError`].
pub async fn run(config: Config) -> Result<(), AppError> {
    let listener = listen(config.listen).await?;
    let address = listener.local_addr().map_err(AppError::Run)?;
    let store = Arc::new(Store::open(&config.store, config.retention)?);
    let verifier = Verifier::new(config.secrets);
    let stop = stop_signal().map_err(AppError::Run)?;
    let routes = server::routes(Receiver::new(Arc::clone(&store), verifier));
    tracing::info!(%address, store = %config.store.display(), "listening");
    serve(listener, routes, stop).await.map_err(AppError::Run)?;
    // All handlers have ended, or the grace has: then their jobs are in the queue, which is written to its end. A
    // connection that is just being taken down may still have the store.
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => AppError::PortInUse(address),
        _ => AppError::Listen { address, source },
    })
}

async fn serve(listener: TcpListener, routes: axum::Router, stop: watch::Receiver<bool>) -> io::Result<()> {
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stopped(stop.clone()));
    let overdue = async {
        stopped(stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = async { serving.await } => ended,
        () = overdue => {
            tracing::warn!("requests were still open {} s after the signal and are dropped", GRACE.as_secs());
            Ok(())
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives in a task that never ends before it has sent; were it gone, stopping is right too.
    let _ = stop.wait_for(|asked| *asked).await;
}

fn stop_signal() -> io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (ask, asked) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing the requests in flight");
        let _ = ask.send(true);
    });
    Ok(asked)
}
