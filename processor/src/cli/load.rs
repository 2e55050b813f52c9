//! `deltafan generate`.

use super::commands::{runtime, say, stop_signal};
use super::{Failure, failed, refused};
use clap::Args;
use deltafan::generate::{self, ContentCount, Exponent, Length, Load, Progress, Rate, Share, Shares};
use std::io::IsTerminal;

const NO_DATABASE: &str = "no database is named: set POSTGRES_URL or give --database-url \
    postgres://user:password@host:port/database; ./deltafan generate takes that of ./quick_start.sh";

#[derive(Args)]
pub(super) struct GenerateArgs {
    /// Changes a second, on the average
    #[arg(long, default_value = "100", value_name = "PER_SECOND")]
    rate: Rate,
    /// How long, as 30, 90s, 5min, 2h; else until it is stopped
    #[arg(long, value_name = "TIME")]
    duration: Option<Length>,
    /// Stop after so many inserted rows
    #[arg(long)]
    rows: Option<u64>,
    /// The same seed and options give the same changes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Make so many contents and use them; else those there are
    #[arg(long, value_name = "COUNT")]
    contents: Option<ContentCount>,
    /// How unevenly contents are liked, from 0 to 4
    #[arg(long, default_value = "1", value_name = "EXPONENT")]
    zipf: Exponent,
    /// What `device` says in every row; else a mixture
    #[arg(long)]
    device: Option<String>,
    /// The part of the rows without a duration
    #[arg(long, default_value = "0.12", value_name = "PART")]
    null_share: Share,
    /// The part of the rows that come late
    #[arg(long, default_value = "0", value_name = "PART")]
    late_share: Share,
    /// The part of the changes that correct a row
    #[arg(long, default_value = "0", value_name = "PART")]
    update_share: Share,
    /// The part of the changes that delete a row
    #[arg(long, default_value = "0", value_name = "PART")]
    delete_share: Share,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// The database, as a user that may write there
    #[arg(long, env = "POSTGRES_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl GenerateArgs {
    fn load(&self) -> Result<Load, Failure> {
        let shares = Shares::new(self.null_share, self.late_share, self.update_share, self.delete_share);
        Ok(Load {
            rate: self.rate,
            duration: self.duration,
            rows: self.rows,
            seed: self.seed,
            contents: self.contents,
            exponent: self.zipf,
            device: self.device.clone(),
            shares: shares.map_err(refused)?,
        })
    }
}

/// The result goes to standard output, also where it is less than was asked for.
pub(super) fn generate(args: GenerateArgs) -> Result<(), Failure> {
    let load = args.load()?;
    let Some(database_url) = args.database_url else {
        return Err(refused(anyhow::anyhow!(NO_DATABASE)));
    };
    let progress = Progress::new(&load, std::io::stderr().is_terminal());
    let outcome = runtime()?.block_on(async {
        let stop = stop_signal()?;
        Ok(generate::run(&database_url, &load, progress, stop).await)
    });
    let outcome = outcome.map_err(|error: std::io::Error| failed(error))?;
    let done = outcome.summary;
    match outcome.error {
        None => say_result(&done, args.json),
        Some(error) => {
            if !done.is_nothing() {
                say_result(&done, args.json)?;
            }
            Err(if error.needs_action() { refused(error) } else { failed(error) })
        }
    }
}

fn say_result(done: &generate::Summary, json: bool) -> Result<(), Failure> {
    if json { say(&serde_json::to_string(done).map_err(failed)?) } else { say(&done.to_string()) }
}
