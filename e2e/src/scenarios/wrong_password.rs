//! A wrong password of Redis: its lane pauses and says why, the other runs; once Redis knows the password it goes on.

use crate::harness::load::{Amount, Load};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;

const LOAD: Amount = Amount { rate: 500, rows: 1000, copies: 1, copy_rows: 1000 };
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
    let rows = Load::start(bench, LOAD).await?.finish().await?;
    bench.receiver_holds(&receiver, i64::try_from(rows)?).await?;
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
