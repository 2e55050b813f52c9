//! The connector's task fails, and Connect leaves it so: the processor restarts it again and again with growing pauses, says so,
//! delivers what there is meanwhile, and changes come once more as soon as what was wrong is mended.

use crate::harness::bench::COMPLETE;
use crate::harness::connect::Connect;
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, Processor, check};
use anyhow::Result;
use serde_json::Value;

/// A right that Debezium needs at each start is taken from it, and its connections with it.
const TAKE: &str = "ALTER ROLE cdc NOLOGIN;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cdc'";
const GIVE_BACK: &str = "ALTER ROLE cdc LOGIN";
const ROW: &str = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device)
    SELECT id, uuid_generate_v4(), 'play', 1000, 'e2e' FROM content LIMIT 1";
const UP: &str = "deltafan_connector_up";
const RESTARTS: &str = "deltafan_connector_restarts_total";

pub async fn run(bench: &Bench) -> Result<Measured> {
    let ended = restarted(bench).await;
    // Whatever came of it, the next scenario needs the connector.
    bench.db.run(GIVE_BACK).await?;
    bench.stack.run(&["connector"]).await?;
    ended
}

async fn restarted(bench: &Bench) -> Result<Measured> {
    let connect = Connect::new(&bench.stack)?;
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let processor = bench.processor(&plan).await?;
    bench.db.run(ROW).await?;
    bench.receiver_holds(&receiver, 1).await?;
    is(&processor, "running").await?;
    bench.db.run(TAKE).await?;
    let trace = wait::until("the task has failed", COMPLETE, async || {
        let status = connect.status().await?;
        Ok(match status.trace() {
            Some(trace) if status.state() == "FAILED" => Look::Seen(trace.to_owned()),
            _ => Look::NotYet(status.state().to_owned()),
        })
    })
    .await?;
    let why = is(&processor, "failed").await?;
    // While the right is missing, restarts can't help: there are several all the same, each later than the one before.
    wait::until("it is restarted twice", COMPLETE, async || {
        let restarts = processor.admin.metrics().await?.sum(RESTARTS, &[]);
        Ok(seen_if(restarts >= 2.0, || format!("{restarts} times")))
    })
    .await?;
    check::contains("Connect's own reason", &trace, why.split(" (caused by").next().unwrap_or(&why))?;
    let report = processor.admin.report().await?;
    check::equal("the lanes are ready meanwhile", report.get("ready"), Some(&Value::Bool(true)))?;
    bench.db.run(ROW).await?;
    bench.db.run(GIVE_BACK).await?;
    bench.receiver_holds(&receiver, 2).await?;
    is(&processor, "running").await?;
    let metrics = processor.admin.metrics().await?;
    check::equal("the connector is up", metrics.sum(UP, &[]).to_string(), "1".to_owned())?;
    let mut measured = Measured::default();
    measured.add(format!("{} restarts", metrics.sum(RESTARTS, &[])));
    measured.add(format!("failed: {why}"));
    bench.complete(&plan, &receiver, &mut measured).await?;
    Ok(measured)
}

/// Waits until `/readyz` tells this state of the connector; why.
async fn is(processor: &Processor, state: &str) -> Result<String> {
    wait::until(&format!("the connector is {state}"), COMPLETE, async || {
        let report = processor.admin.report().await?;
        let told = |key: &str| report.pointer(&format!("/connector/{key}")).and_then(Value::as_str);
        Ok(if told("state") == Some(state) {
            Look::Seen(told("why").unwrap_or_default().to_owned())
        } else {
            Look::NotYet(report.to_string())
        })
    })
    .await
}
