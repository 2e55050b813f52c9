//! The admin port: `/livez`, `/readyz` and `/metrics`, on a thread and runtime of their own, so that it answers whatever
//! hangs elsewhere.

use crate::health::Health;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The recorder keeps every single measurement until it is looked at or tidied up; nobody may be looking.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// What the admin port shows.
#[derive(Clone)]
struct Shown {
    health: Arc<Health>,
    metrics: PrometheusHandle,
}

/// Binds the port and serves it for the rest of the process's life.
///
/// # Errors
/// The address is taken or not ours, or the system gives no thread.
pub fn serve(listen: SocketAddr, health: Arc<Health>, metrics: PrometheusHandle) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = metrics.clone();
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .with_state(Shown { health, metrics });
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(TIDY_EVERY).await;
                    recorder.run_upkeep();
                }
            });
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "the admin port no longer answers");
        }
    })?;
    Ok(())
}

/// 200 if every lane makes progress or has nothing to do, else 503; the body names each lane's state.
async fn readyz(State(shown): State<Shown>) -> Response {
    let report = shown.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn prometheus(State(shown): State<Shown>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shown.metrics.render()).into_response()
}
