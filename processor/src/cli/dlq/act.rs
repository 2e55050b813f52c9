//! `deltafan dlq replay` and `purge`.

use super::show::{short, time};
use super::{Place, StateName, Which, Whose, explain, find, one};
use crate::cli::commands::{load, runtime, say};
use crate::cli::{Failure, failed, refused};
use clap::Args;
use deltafan::config::Target;
use deltafan::dlq::{Acting, Known, Later, Ledger, State};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;

/// As the largest record of any topic.
const MOST_VALUE_BYTES: u64 = 64 * 1024 * 1024;

/// Which letters something is to be done about.
#[derive(Args)]
struct Chosen {
    /// Their ids, or as much of each beginning as no other has
    #[arg(value_name = "ID", conflicts_with_all = ["all", "stage", "sink", "reason", "since", "until"])]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// All, where no condition is given
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    chosen: Chosen,
    /// Put what this file holds (`-`: standard input) in the place of the value of one letter
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "stage", "sink", "reason", "since", "until"])]
    value: Option<PathBuf>,
    /// Also letters whose rows have changed since
    #[arg(long)]
    force: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// One JSON object a line, for each letter
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    chosen: Chosen,
    /// Where they are chosen by conditions: those that are open, were replayed, or all
    #[arg(long, value_name = "STATE", default_value = "open")]
    state: StateName,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// One JSON object a line, for each letter
    #[arg(long)]
    json: bool,
}

/// What is done about one letter.
struct Verdict {
    known: Known,
    done: bool,
    note: Option<String>,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let config = load(&args.whose.config)?;
    let place = find(&config, args.whose.pipeline.as_deref())?;
    let value = args.value.as_ref().map(read_value).transpose()?;
    if value.is_some() && args.chosen.ids.len() != 1 {
        return Err(refused(anyhow::anyhow!("--value is for one letter: give its id, and no other")));
    }
    args.chosen.check()?;
    // Before anything is read: what an earlier command has begun is over now, unless this one only says what it would do.
    let acting = begin(&place, args.dry_run)?;
    let ledger = place.mailbox.read(None).map_err(explain)?;
    let letters = args.chosen.letters(&ledger, StateName::Open)?;
    let verdicts = judge(&place, letters, args.force)?;
    let good: Vec<Known> = verdicts.iter().filter(|one| one.done).map(|one| one.known.clone()).collect();
    let topic = place.pipeline.replay_topic();
    if let Some(acting) = acting
        && !good.is_empty()
    {
        acting.replay(&topic, &good, value.as_deref()).map_err(explain)?;
    }
    let held_back = verdicts.iter().any(|one| !one.done);
    tell(&verdicts, ("replayed", args.dry_run), args.json)?;
    if held_back {
        return Err(refused(anyhow::anyhow!(
            "some letters were not replayed; where that is because their rows have changed since, --force replays them"
        )));
    }
    Ok(())
}

pub(super) fn purge(args: &PurgeArgs) -> Result<(), Failure> {
    let config = load(&args.whose.config)?;
    let place = find(&config, args.whose.pipeline.as_deref())?;
    args.chosen.check()?;
    let acting = begin(&place, args.dry_run)?;
    let ledger = place.mailbox.read(None).map_err(explain)?;
    let letters = args.chosen.letters(&ledger, args.state)?;
    let verdicts: Vec<_> =
        letters.iter().map(|known| Verdict { known: known.clone(), done: true, note: None }).collect();
    if let Some(acting) = acting {
        acting.purge(&letters).map_err(explain)?;
        let ledger = place.mailbox.read(None).map_err(explain)?;
        runtime()?.block_on(place.mailbox.trim(&ledger)).map_err(explain)?;
    }
    tell(&verdicts, ("purged", args.dry_run), args.json)
}

/// One who only says what would be done ends nothing that another has begun, and needs no right to write.
fn begin<'p>(place: &'p Place<'_>, dry_run: bool) -> Result<Option<Acting<'p>>, Failure> {
    (!dry_run).then(|| place.mailbox.act().map_err(explain)).transpose()
}

impl Chosen {
    /// Somebody must have said which.
    fn check(&self) -> Result<(), Failure> {
        if self.ids.is_empty() && self.which.filter().is_everything() && !self.all {
            return Err(refused(anyhow::anyhow!(
                "say which: ids, a condition (--sink, --stage, --reason, --since, --until), or --all"
            )));
        }
        Ok(())
    }

    /// Those named by id, whatever became of them; else those of `state` that fit the conditions.
    fn letters(&self, ledger: &Ledger, state: StateName) -> Result<Vec<Known>, Failure> {
        if !self.ids.is_empty() {
            let mut found = self.ids.iter().map(|id| one(ledger, id)).collect::<Result<Vec<_>, _>>()?;
            found.sort_by(|a, b| a.kept.letter.id.cmp(&b.kept.letter.id));
            found.dedup_by(|a, b| a.kept.letter.id == b.kept.letter.id);
            return Ok(found);
        }
        let filter = self.which.filter();
        let is_meant = |known: &Known| {
            filter.takes(&known.kept.letter) && state.takes(known.state) && known.state != State::Purged
        };
        Ok(ledger.letters().into_iter().filter(is_meant).collect())
    }
}

/// Which letters may be replayed, and what is to be said about each.
fn judge(place: &Place<'_>, letters: Vec<Known>, force: bool) -> Result<Vec<Verdict>, Failure> {
    let later = place.mailbox.later(&place.pipeline.topic.to_string(), &letters).map_err(explain)?;
    let verdict = |(known, later): (Known, Later)| {
        let sinks = place.pipeline.sinks.iter();
        let sink =
            sinks.map(|(name, sink)| (name.as_str(), sink)).find(|(name, _)| *name == known.kept.letter.sink);
        let refusal = match (known.state, sink) {
            (State::Replayed { at_ms }, _) => {
                Some(format!("it was replayed at {}, and has not been refused again", time(at_ms)))
            }
            (State::Purged, _) => Some("somebody has purged it".to_owned()),
            (State::Open, None) => Some(format!("pipeline `{}` has no such sink any more", place.name)),
            (State::Open, Some((_, sink))) if !sink.enabled => Some("its sink is not enabled".to_owned()),
            (State::Open, Some(_)) => None,
        };
        // Sums come out the same in any order.
        let in_order = sink.is_some_and(|(_, sink)| !matches!(sink.target, Target::RedisWindow(_)));
        let warning = match later {
            Later::Nothing => None,
            Later::Change(offset) => Some(format!(
                "a later change of its row is in the topic, at {}:{offset}",
                known.kept.letter.origin.partition
            )),
            Later::Unknown(why) => Some(format!("whether its row has changed since can't be told: {why}")),
        };
        let held_back = in_order && warning.is_some() && !force;
        let done = refusal.is_none() && !held_back;
        Verdict { known, done, note: refusal.or(warning) }
    };
    Ok(letters.into_iter().zip(later).map(verdict).collect())
}

fn tell(verdicts: &[Verdict], (what, dry): (&str, bool), json: bool) -> Result<(), Failure> {
    let (yes, no) = if dry { ("would be ", "would not be ") } else { ("", "not ") };
    for Verdict { known, done, note } in verdicts {
        let letter = &known.kept.letter;
        if json {
            let note = note.clone().map_or(Value::Null, Value::from);
            say(&json!({ "id": letter.id, "sink": letter.sink, what: done, "dry_run": dry, "note": note })
                .to_string())?;
        } else {
            let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            let how = if *done { yes } else { no };
            say(&format!("{}  {}  {how}{what}{note}", short(&letter.id), letter.sink))?;
        }
    }
    if verdicts.is_empty() && !json {
        return say("no such dead letter");
    }
    Ok(())
}

fn read_value(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |error| failed(anyhow::Error::new(error).context(format!("{} can't be read", path.display())));
    let mut value = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(MOST_VALUE_BYTES).read_to_end(&mut value).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(|error| {
            refused(anyhow::Error::new(error).context(format!("{} can't be read", path.display())))
        })?;
        file.take(MOST_VALUE_BYTES).read_to_end(&mut value).map_err(unreadable)?;
    }
    Ok(value)
}
