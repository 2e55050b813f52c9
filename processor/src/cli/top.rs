//! `deltafan top`.

use super::commands::{load, runtime, stop_signal};
use super::{ConfigArgs, Failure, failed, refused};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use deltafan::top::{self, Options};
use std::io::IsTerminal;

/// More lines than anybody reads, and still one small answer of Redis.
const MOST: u64 = 1_000;

#[derive(Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Show it once; the exit status tells whether all could be read
    #[arg(long)]
    once: bool,
    /// One JSON object each time
    #[arg(long)]
    json: bool,
    /// How many members of each leaderboard, at most
    #[arg(long, short = 'n', default_value = "10", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST))]
    count: usize,
    /// Only the leaderboard of this key; can be repeated
    #[arg(long, value_name = "KEY")]
    board: Vec<String>,
}

pub(super) fn top(args: &TopArgs) -> Result<(), Failure> {
    let config = load(&args.config)?;
    let options = Options {
        once: args.once,
        json: args.json,
        count: args.count,
        boards: args.board.clone(),
        is_terminal: std::io::stdout().is_terminal(),
        is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    runtime()?.block_on(async {
        let stop = stop_signal().map_err(failed)?;
        let shown = top::run(&config, &options, stop).await;
        shown.map_err(|error| if error.needs_action() { refused(error) } else { failed(error) })
    })
}
