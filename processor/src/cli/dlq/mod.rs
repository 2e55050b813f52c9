//! `deltafan dlq`: dead letters are listed, shown, given to their sink again, purged.

mod act;
mod show;

use super::commands::{load, say};
use super::{ConfigArgs, Failure, failed, help, refused};
use clap::{Args, Subcommand, ValueEnum};
use deltafan::app;
use deltafan::config::{Config, Pipeline};
use deltafan::decode::timestamp::Timestamp;
use deltafan::dlq::{DlqError, Filter, Known, Ledger, Mailbox, State};
use deltafan::generate::Length;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Args)]
pub(in crate::cli) struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Subcommand)]
enum DlqCommand {
    /// Lists dead letters, the oldest first
    #[command(after_help = help::DLQ_LIST)]
    List(ListArgs),
    /// Shows one dead letter whole: what is wrong with it, its key, headers and value
    #[command(after_help = help::DLQ_SHOW)]
    Show(ShowArgs),
    /// Gives dead letters to the sink that refused them again, and to no other
    #[command(after_help = help::DLQ_REPLAY)]
    Replay(act::ReplayArgs),
    /// Lets dead letters be forgotten
    #[command(after_help = help::DLQ_PURGE)]
    Purge(act::PurgeArgs),
}

/// Whose letters.
#[derive(Args)]
struct Whose {
    #[command(flatten)]
    config: ConfigArgs,
    /// The pipeline, where the configuration has several
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
}

/// Which letters: those that fit every condition.
#[derive(Args, Clone)]
struct Which {
    /// That failed at this stage
    #[arg(long, value_name = "STAGE")]
    stage: Option<StageName>,
    /// That this sink refused
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Whose reason holds this text, in capitals or not
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// That failed last at this time or later: 2026-05-01T12:00:00Z, or so long ago: 90s, 5min, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<i64>,
    /// That failed last before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<i64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum StageName {
    Decode,
    Enrich,
    Transform,
    Encode,
    Sink,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum StateName {
    Open,
    Replayed,
    Purged,
    All,
}

#[derive(Args)]
struct ListArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    which: Which,
    /// That are open, were replayed, were purged, or all of them
    #[arg(long, value_name = "STATE", default_value = "open")]
    state: StateName,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ShowArgs {
    /// The letter's id, or as much of its beginning as no other has
    id: String,
    #[command(flatten)]
    whose: Whose,
    /// Print the value alone, byte for byte: to be edited
    #[arg(long, conflicts_with = "json")]
    value: bool,
    /// One JSON object; bytes in base64
    #[arg(long)]
    json: bool,
}

pub(super) fn dlq(args: &DlqArgs) -> Result<(), Failure> {
    match &args.command {
        DlqCommand::List(args) => list(args),
        DlqCommand::Show(args) => show(args),
        DlqCommand::Replay(args) => act::replay(args),
        DlqCommand::Purge(args) => act::purge(args),
    }
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let config = load(&args.whose.config)?;
    let place = find(&config, args.whose.pipeline.as_deref())?;
    let filter = args.which.filter();
    let ledger = place.mailbox.read(filter.since_ms).map_err(explain)?;
    let is_meant = |known: &Known| filter.takes(&known.kept.letter) && args.state.takes(known.state);
    let letters: Vec<_> = ledger.letters().into_iter().filter(is_meant).collect();
    if args.json {
        for known in &letters {
            say(&show::summary(known).to_string())?;
        }
        return Ok(());
    }
    if letters.is_empty() {
        return say(&format!("no such dead letter in topic `{}`", place.topic));
    }
    say(show::table(&letters).trim_end())
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let config = load(&args.whose.config)?;
    let place = find(&config, args.whose.pipeline.as_deref())?;
    let known = one(&place.mailbox.read(None).map_err(explain)?, &args.id)?;
    let whole = place.mailbox.whole(&known).map_err(explain)?;
    if args.value {
        let value = whole.value.unwrap_or_default();
        return std::io::stdout().write_all(&value).map_err(failed);
    }
    if args.json {
        say(&show::whole_json(&known, &whole).to_string())
    } else {
        say(&show::whole(&known, &whole))
    }
}

/// Where the letters of a pipeline are.
struct Place<'c> {
    name: String,
    pipeline: &'c Pipeline,
    mailbox: Mailbox,
    topic: String,
}

fn find<'c>(config: &'c Config, asked: Option<&str>) -> Result<Place<'c>, Failure> {
    let all = || config.pipelines.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ");
    let mut meant =
        config.pipelines.iter().filter(|(name, _)| asked.is_none_or(|asked| asked == name.as_str()));
    let (name, pipeline): (_, &Pipeline) = match (meant.next(), meant.next()) {
        (Some(only), None) => only,
        (None, _) => {
            let asked = asked.unwrap_or_default();
            return Err(refused(anyhow::anyhow!(
                "there is no pipeline `{asked}`; the configuration has {}",
                all()
            )));
        }
        (Some(_), Some(_)) => {
            return Err(refused(anyhow::anyhow!(
                "the configuration has several pipelines; say which by --pipeline: {}",
                all()
            )));
        }
    };
    let topic = pipeline.dead_letters.to_string();
    let mailbox = Mailbox::new(app::cluster(config), &topic, name.as_str());
    Ok(Place { name: name.to_string(), pipeline, mailbox, topic })
}

/// The letter that somebody means by the beginning of its id.
fn one(ledger: &Ledger, id: &str) -> Result<Known, Failure> {
    let mut found = ledger.find(id);
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(refused(anyhow::anyhow!(
            "there is no letter `{id}`; `deltafan dlq list --state all` lists them"
        ))),
        (Some(_), others) => Err(refused(anyhow::anyhow!(
            "{} letters have an id that begins with `{id}`; give more of it",
            others + 1
        ))),
    }
}

fn explain(error: DlqError) -> Failure {
    if error.needs_action() { refused(error) } else { failed(error) }
}

impl Which {
    fn filter(&self) -> Filter {
        let stage = self.stage.and_then(|stage| stage.to_possible_value());
        Filter {
            stage: stage.map(|stage| stage.get_name().to_owned()),
            sink: self.sink.clone(),
            reason: self.reason.clone(),
            since_ms: self.since,
            until_ms: self.until,
        }
    }
}

impl StateName {
    fn takes(self, state: State) -> bool {
        match self {
            Self::Open => state == State::Open,
            Self::Replayed => matches!(state, State::Replayed { .. }),
            Self::Purged => state == State::Purged,
            Self::All => true,
        }
    }
}

/// Milliseconds since 1970.
fn parse_time(text: &str) -> Result<i64, String> {
    if let Some(Timestamp::At { secs, micros }) = Timestamp::parse(text) {
        return Ok(secs.saturating_mul(1000).saturating_add(i64::from(micros / 1000)));
    }
    let ago = text.parse::<Length>().ok().map(Length::duration);
    let then = ago.and_then(|ago| SystemTime::now().checked_sub(ago)?.duration_since(UNIX_EPOCH).ok());
    then.and_then(|then| i64::try_from(then.as_millis()).ok())
        .ok_or_else(|| "is neither a time as 2026-05-01T12:00:00Z nor a length as 90s, 5min, 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_can_be_said_in_two_ways() {
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Ok(1500));
        let (hour, day) = (parse_time("1h").unwrap(), parse_time("24h").unwrap());
        assert!((hour - day - 23 * 3_600_000).abs() < 60_000, "{hour} {day}");
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn a_pipeline_need_not_be_named_where_there_is_one() {
        let env = |name: &str| {
            (name == "WEBHOOK_SECRET").then(|| "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned())
        };
        let config = deltafan::config::load(None, &env).unwrap();
        for asked in [None, Some("engagement")] {
            assert_eq!(find(&config, asked).ok().unwrap().topic, "engagement_events.dlq");
        }
        let error = find(&config, Some("other")).err().unwrap().error.to_string();
        assert!(error.contains("engagement"), "{error}");
    }
}
