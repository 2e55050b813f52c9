//! Every part answers for itself, and the connector streams.

use super::Attached;
use crate::harness::{Measured, check};
use anyhow::{Context, Result};
use serde_json::Value;

pub async fn run(attached: &Attached) -> Result<Measured> {
    let version: String = attached.db.value("SHOW server_version", &[]).await?;
    attached.redis.run(&["PING"]).await?;
    attached.receiver.get("/health").await.context("receiver")?;
    let report = attached.admin.report().await.context("processor")?;
    check::equal(
        format!("the processor's readiness ({report})"),
        report.get("ready"),
        Some(&Value::Bool(true)),
    )?;
    let lanes = report.get("lanes").and_then(Value::as_object).context("/readyz names no lanes")?;
    check::equal("lanes", lanes.len(), 2)?;
    let url = format!("{}/connectors/engagement-events-connector/status", attached.stack.get("CONNECT_URL")?);
    let status: Value = reqwest::get(&url).await.context("Kafka Connect")?.json().await?;
    let state =
        |of: Option<&Value>| of.and_then(|of| of.get("state")).and_then(Value::as_str).map(str::to_owned);
    check::equal("connector", state(status.get("connector")).as_deref(), Some("RUNNING"))?;
    check::equal("task", state(status.pointer("/tasks/0")).as_deref(), Some("RUNNING"))?;
    let lag: i64 = attached
        .db
        .value(
            "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots \
             WHERE slot_name = 'deltafan' AND active",
            &[],
        )
        .await
        .context("the replication slot is not active")?;
    let mut measured = Measured::default();
    measured.add(format!(
        "Postgres {version}, connector and both lanes run, the slot is {} KiB behind",
        lag / 1024
    ));
    Ok(measured)
}
