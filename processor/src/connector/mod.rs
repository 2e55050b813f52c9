//! The watcher of the connector that writes our topics: Kafka Connect leaves a task that has failed as it is, so it is
//! restarted here, with growing pauses, and said aloud. Beside the road of records: it knows no lane, and no lane waits for it.
//!
//! Every instance watches. Only what has failed is restarted, so that two at once do no more than one.

mod client;
mod restarts;
mod status;

pub use client::Settings;

use crate::health::{ConnectorHealth, Health};
use crate::metrics::{CONNECTOR_RESTARTS, CONNECTOR_UP};
use client::Client;
use metrics::{counter, gauge};
use restarts::Restarts;
use status::Seen;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often Connect is asked; an answer costs it a millisecond.
const LOOK: Duration = Duration::from_secs(2);

/// Watches until it is dropped.
pub async fn watch(settings: Settings, health: Arc<Health>) {
    let name = settings.connector.clone();
    let client = match Client::new(settings) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(connector = name, %error, "the connector can't be watched");
            return;
        }
    };
    let mut restarts = Restarts::default();
    let labels = [("connector", name.clone())];
    let restarted = counter!(CONNECTOR_RESTARTS, &labels);
    let up = gauge!(CONNECTOR_UP, &labels);
    loop {
        let seen = client.look().await;
        up.set(if seen == Seen::Running { 1.0 } else { 0.0 });
        if health.set_connector(told(&name, &seen)) {
            say(&name, &seen);
        }
        if restarts.due(&seen, Instant::now(), rand::random()) {
            restarted.increment(1);
            match client.restart().await {
                Ok(()) => tracing::warn!(
                    connector = name,
                    restart = restarts.in_a_row(),
                    "restarting its failed task"
                ),
                Err(why) => tracing::warn!(connector = name, "its failed task could not be restarted: {why}"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn told(name: &str, seen: &Seen) -> ConnectorHealth {
    let (state, why) = match seen {
        Seen::Running => ("running", None),
        Seen::Failed { why } => ("failed", Some(why)),
        Seen::Otherwise { state } => (state.as_str(), None),
        Seen::Unknown { why } => ("unknown", Some(why)),
    };
    ConnectorHealth { name: name.to_owned(), state: state.to_owned(), why: why.cloned() }
}

/// Once for each change.
fn say(name: &str, seen: &Seen) {
    match seen {
        Seen::Running => tracing::info!(connector = name, "the connector runs"),
        Seen::Failed { why } => {
            tracing::error!(connector = name, "the connector's task has failed, so no changes come: {why}");
        }
        Seen::Otherwise { state } => {
            tracing::warn!(connector = name, "the connector is {state}, so no changes may come");
        }
        Seen::Unknown { why } => tracing::warn!(connector = name, "the connector can't be watched: {why}"),
    }
}
