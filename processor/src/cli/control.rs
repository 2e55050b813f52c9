//! `deltafan pause`, `resume` and `reset`.

use super::commands::{load, runtime, say};
use super::{ConfigArgs, Failure, failed, refused};
use clap::Args;
use deltafan::app;
use deltafan::config::{Config, Pipeline, Sink, Target};
use deltafan::control::give::{GiveError, Giver, To};
use deltafan::control::{Order, Pause, Reset};
use deltafan::decode::timestamp::Timestamp;
use deltafan::position::{Offset, Partition, Positions};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Args)]
pub(super) struct LaneArgs {
    /// The sink, as the configuration names it: NAME, or PIPELINE/NAME where several pipelines have one of that name
    sink: String,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    lane: LaneArgs,
    /// Why: shown by /readyz to whoever wonders
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    lane: LaneArgs,
    /// earliest, latest, a time (2026-05-01T12:00:00Z), or offsets: PARTITION:OFFSET,…
    #[arg(long, value_name = "POSITION", value_parser = parse_to)]
    to: To,
}

/// A lane of the configuration.
struct Lane<'c> {
    name: String,
    pipeline: &'c Pipeline,
    sink: &'c Sink,
}

pub(super) fn pause(args: &PauseArgs) -> Result<(), Failure> {
    let config = load(&args.lane.config)?;
    let lane = find(&config, &args.lane.sink)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(failed)?;
    let since_ms = i64::try_from(since.as_millis()).map_err(failed)?;
    let giver = giver(&config);
    if giver.in_force(&lane.name).map_err(explain)?.pause.is_some() {
        return say(&format!(
            "{} is paused already; `deltafan resume {}` lets it go on",
            lane.name, lane.name
        ));
    }
    give(&giver, &lane, &Order::Pause(Pause { since_ms, reason: args.reason.clone() }))?;
    say(&format!(
        "{0} is paused: every instance obeys within a second, now and after a restart; `deltafan resume {0}` lets it go on",
        lane.name
    ))
}

pub(super) fn resume(args: &LaneArgs) -> Result<(), Failure> {
    let config = load(&args.config)?;
    let lane = find(&config, &args.sink)?;
    let giver = giver(&config);
    if giver.in_force(&lane.name).map_err(explain)?.pause.is_none() {
        return say(&format!("{} is not paused", lane.name));
    }
    give(&giver, &lane, &Order::Resume)?;
    say(&format!("{} goes on where it stood", lane.name))
}

pub(super) fn reset(args: &ResetArgs) -> Result<(), Failure> {
    let config = load(&args.lane.config)?;
    let lane = find(&config, &args.lane.sink)?;
    let anew = matches!(lane.sink.target, Target::RedisWindow(_));
    if anew && args.to != To::Earliest {
        return Err(refused(anyhow::anyhow!(
            "{} keeps sums, which can't be moved to another position: they are counted anew; say --to earliest",
            lane.name
        )));
    }
    let giver = giver(&config);
    let last = giver.in_force(&lane.name).map_err(explain)?.reset;
    let topic = lane.pipeline.topic.to_string();
    let order = giver.resolve(&topic, &args.to, last.as_ref()).map_err(explain)?;
    give(&giver, &lane, &Order::Reset(order.clone()))?;
    let what = if anew { "is emptied and counted anew from" } else { "goes on from" };
    say(&format!(
        "{} {what} {}: each instance obeys within a second, or when it starts",
        lane.name,
        places(&order)
    ))
}

fn places(order: &Reset) -> String {
    let place = |(partition, offset): (&Partition, &Offset)| format!("{partition}:{offset}");
    order.positions.iter().map(place).collect::<Vec<_>>().join(",")
}

fn giver(config: &Config) -> Giver {
    Giver::new(app::cluster(config), &config.kafka.control_topic.to_string())
}

fn give(giver: &Giver, lane: &Lane<'_>, order: &Order) -> Result<(), Failure> {
    runtime()?.block_on(giver.give(&lane.name, order)).map_err(explain)
}

fn explain(error: GiveError) -> Failure {
    if error.needs_action() { refused(error) } else { failed(error) }
}

/// The lane that somebody means.
fn find<'c>(config: &'c Config, asked: &str) -> Result<Lane<'c>, Failure> {
    let mut lanes = Vec::new();
    for (name, pipeline) in config.pipelines.iter() {
        let lane = |(sink, settings)| (format!("{name}/{sink}"), pipeline, settings);
        lanes.extend(pipeline.sinks.iter().map(lane));
    }
    let is_meant = |name: &str| name == asked || name.split_once('/').is_some_and(|(_, sink)| sink == asked);
    let mut meant = lanes.iter().filter(|(name, ..)| is_meant(name));
    let all = || lanes.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ");
    match (meant.next(), meant.next()) {
        (Some((name, pipeline, sink)), None) => Ok(Lane { name: name.clone(), pipeline, sink }),
        (None, _) => {
            Err(refused(anyhow::anyhow!("there is no sink `{asked}`; the configuration has {}", all())))
        }
        (Some(_), Some(_)) => {
            Err(refused(anyhow::anyhow!("several pipelines have a sink `{asked}`; say which: {}", all())))
        }
    }
}

fn parse_to(text: &str) -> Result<To, String> {
    match text {
        "earliest" => return Ok(To::Earliest),
        "latest" => return Ok(To::Latest),
        _ => {}
    }
    if let Some(Timestamp::At { secs, micros }) = Timestamp::parse(text) {
        return Ok(To::Time(secs.saturating_mul(1000).saturating_add(i64::from(micros / 1000))));
    }
    let offset = |part: &str| -> Option<(Partition, Offset)> {
        let (partition, offset) = part.split_once(':')?;
        Some((partition.trim().parse().ok()?, offset.trim().parse().ok()?))
    };
    let offsets: Option<Positions> = text.split(',').map(offset).collect();
    offsets.map(To::Offsets).ok_or_else(|| {
        "is none of: earliest, latest, a time as 2026-05-01T12:00:00Z, offsets as 0:1500,1:1498".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_can_be_said_in_four_ways() {
        assert_eq!(parse_to("earliest"), Ok(To::Earliest));
        assert_eq!(parse_to("latest"), Ok(To::Latest));
        assert_eq!(parse_to("1970-01-01T00:00:01.5Z"), Ok(To::Time(1500)));
        assert_eq!(parse_to("0:15, 1:7"), Ok(To::Offsets([(0, 15), (1, 7)].into())));
        assert!(parse_to("yesterday").unwrap_err().contains("earliest"));
        assert!(parse_to("0:").is_err());
    }

    #[test]
    fn a_sink_is_found_by_its_name() {
        let env = |name: &str| {
            (name == "WEBHOOK_SECRET").then(|| "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned())
        };
        let config = deltafan::config::load(None, &env).unwrap();
        for asked in ["redis", "engagement/redis"] {
            assert_eq!(find(&config, asked).ok().unwrap().name, "engagement/redis");
        }
        let error = find(&config, "reddis").err().unwrap().error.to_string();
        assert!(error.contains("engagement/redis") && error.contains("engagement/webhook"), "{error}");
    }
}
