//! A topic that is not there yet is waited for, with a message; once it is there its records flow.

use crate::harness::config::SINKS;
use crate::harness::kafka::EVENTS;
use crate::harness::wait::{self, Look};
use crate::harness::{Bench, Measured, check};
use anyhow::{Result, ensure};
use std::time::Duration;

const ROWS: i64 = 20;
const SOON: Duration = Duration::from_secs(30);
/// The default of `shutdown_timeout`, and what the program adds at most.
const STOP: Duration = Duration::from_secs(12);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.topic = format!("e2e.{}", bench.name);
    let mut processor = bench.start(&plan, "deltafan")?;
    let mut measured = Measured::default();
    for sink in SINKS {
        // The webhook's lane waits for its contents first.
        let why = wait::until(&format!("lane {sink} waits for the topic"), SOON, async || {
            let why = processor.admin.lane_is(&plan.pipeline, sink, "reader", "waiting").await?;
            Ok(if why.contains(&plan.topic) { Look::Seen(why) } else { Look::NotYet(why) })
        })
        .await?;
        measured.add(format!("{sink}: {why}"));
    }
    ensure!(processor.process.runs(), "the processor has ended");

    let insert = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
                  SELECT (SELECT id FROM content ORDER BY id LIMIT 1), uuid_generate_v4(), 'play', n::int \
                  FROM generate_series(1, $1::bigint) AS n";
    bench.db.execute(insert, &[&ROWS]).await?;
    bench.kafka.caught_up(&bench.db).await?;
    let starts = bench.kafka.ends(EVENTS).await?.into_keys().map(|partition| (partition, 0)).collect();
    let records = bench.kafka.records(EVENTS, starts).await?;
    bench.kafka.create_topic(&plan.topic, 2, &[]).await?;
    bench.kafka.produce(&plan.topic, 1, &records).await?;
    processor.admin.ready().await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    let status = processor.process.terminate(STOP).await?;
    check::equal("exit status", status.code(), Some(0))?;
    bench.kafka.delete_topic(&plan.topic).await?;
    Ok(measured)
}
