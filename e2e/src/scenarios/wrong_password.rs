//! A wrong password of Redis: its lane pauses and says why, the other runs; once Redis knows the password it goes on.

use crate::harness::load::{Flow, Load};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use std::time::Duration;

const LOAD: Flow = Flow { rate: 500, copy_rows: 1000, copy_every: Duration::from_secs(2) };
const ROWS: i64 = 2000;
const OURS: &str = "e2e-password";

pub async fn run(bench: &Bench) -> Result<Measured> {
    // Opened before there is a password, and so let in.
    let mut connection = bench.redis.connect().await?;
    require(&mut connection, "another-password").await?;
    let ended = paused_until_right(bench, &mut connection).await;
    require(&mut connection, "").await?;
    let (mut measured, receiver, processor, plan) = ended?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    drop(processor);
    Ok(measured)
}

type Running = (Measured, crate::harness::Receiver, crate::harness::Processor, crate::harness::Plan);

async fn paused_until_right(bench: &Bench, connection: &mut MultiplexedConnection) -> Result<Running> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.redis_url = plan.redis_url.replace("redis://", &format!("redis://:{OURS}@"));
    let processor = bench.start(&plan, "deltafan")?;
    let why = processor.admin.lane_is(&plan.pipeline, "redis", "sink", "paused").await?;
    let rows = Load::start(bench, LOAD).await?.finish(ROWS).await?;
    bench.receiver_holds(&receiver, rows).await?;
    let keys: i64 = redis::cmd("DBSIZE").query_async(connection).await?;
    check::equal("keys in Redis while its lane is paused", keys, 0)?;
    require(connection, OURS).await?;
    processor.admin.ready().await?;
    bench.no_lag(&plan).await?;
    let mut measured = Measured::default();
    measured.add(format!("paused: {why}"));
    Ok((measured, receiver, processor, plan))
}

async fn require(connection: &mut MultiplexedConnection, password: &str) -> Result<()> {
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg("requirepass").arg(password);
    command.query_async::<()>(connection).await.context("CONFIG SET requirepass")
}
