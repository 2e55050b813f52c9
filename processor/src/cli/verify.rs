//! `deltafan verify`.

use super::commands::{load, runtime, say, stop_signal};
use super::{ConfigArgs, Failure, failed, refused};
use clap::Args;
use deltafan::verify::{self, Options, Progress, VerifyError};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webhook_protocol::parse_instant;

/// Nothing could be compared, or not all.
const UNCOMPARED: u8 = 3;
const US_PER_S: i64 = 1_000_000;

#[derive(Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Rows with an event_ts from then on: an instant, or how long ago, as 30min, 2h, 7d
    #[arg(long, default_value = "1h", value_name = "WHEN", value_parser = when)]
    since: When,
    /// Rows with an event_ts before then; else all that come later
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
    /// Only the sink of this name; can be repeated
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    /// How many differences of each comparison are named
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
    /// How long to wait until Debezium and the lanes have passed the mark
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = time)]
    wait: Duration,
    /// The topic to which Debezium passes logical messages on: <topic.prefix>.message
    #[arg(long, default_value = "cdc.message", value_name = "TOPIC")]
    messages_topic: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A moment, in microseconds.
#[derive(Debug, Clone, Copy)]
enum When {
    At(i64),
    Ago(i64),
}

impl When {
    fn unix_us(self, now_us: i64) -> i64 {
        match self {
            Self::At(us) => us,
            Self::Ago(us) => now_us.saturating_sub(us),
        }
    }
}

fn when(text: &str) -> Result<When, String> {
    if let Some(us) = parse_instant(text) {
        return Ok(When::At(us));
    }
    let ago = time(text).ok().and_then(|ago| i64::try_from(ago.as_micros()).ok());
    ago.map(When::Ago)
        .ok_or("write an instant, as 2026-11-21T03:00:00Z, or how long ago, as 30min, 2h or 7d".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s)).filter(|s| *s > 0);
    seconds.map(Duration::from_secs).ok_or("write a number with its unit: 30s, 30min, 2h or 7d".to_owned())
}

impl VerifyArgs {
    fn options(&self) -> Result<Options, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(failed)?;
        let now_us = i64::try_from(now.as_micros()).map_err(failed)?;
        let (since_us, until_us) =
            (self.since.unix_us(now_us), self.until.map(|until| until.unix_us(now_us)));
        // Far enough for every clock, and near enough that nothing overflows.
        let beginning = (-62_135_596_800 * US_PER_S).max(since_us);
        if until_us.is_some_and(|until| until <= beginning) {
            return Err(refused(anyhow::anyhow!("--until must be later than --since")));
        }
        Ok(Options {
            since_us: beginning,
            until_us,
            sinks: self.sink.clone(),
            limit: self.limit,
            wait: self.wait,
            messages: self.messages_topic.clone(),
        })
    }
}

/// The result goes to standard output; the exit status says what it is.
pub(super) fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let (config, options) = (load(&args.config)?, args.options()?);
    let progress = Progress::new(std::io::stderr().is_terminal());
    let report = runtime()?.block_on(async {
        let stop = stop_signal().map_err(failed)?;
        tokio::select! {
            report = verify::run(&config, &options, &progress) => report.map_err(|error| match error {
                VerifyError::Act(_) => refused(error),
                VerifyError::Away(_) => Failure { error: error.into(), status: ExitCode::from(UNCOMPARED) },
            }),
            () = stop => Err(Failure { error: anyhow::anyhow!("stopped before the end"), status: ExitCode::from(UNCOMPARED) }),
        }
    })?;
    if args.json {
        say(&serde_json::to_string(&report).map_err(failed)?)?;
    } else {
        say(&report.to_string())?;
    }
    Ok(match (report.wrong(), report.is_whole()) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(UNCOMPARED),
        _ => ExitCode::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_instants_are_instants() {
        let seconds = |text: &str| time(text).ok().map(|time| time.as_secs());
        let table = [("30s", 30), ("90min", 5400), ("2h", 7200), ("7d", 604_800)];
        assert!(table.iter().all(|(text, expected)| seconds(text) == Some(*expected)));
        for text in ["", "5", "h", "0s", "-1s", "1.5h", "1 h", "99999999999999999999d", "1year"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(when("1970-01-01T00:00:01Z").map(|at| at.unix_us(7)), Ok(US_PER_S));
        assert_eq!(when("2s").map(|ago| ago.unix_us(5 * US_PER_S)), Ok(3 * US_PER_S));
        assert!(when("yesterday").is_err());
    }
}
