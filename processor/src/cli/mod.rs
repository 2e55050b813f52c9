//! The command line: what can be asked for, in the order in which one needs it. What the words mean is said in [`help`],
//! what is done in [`commands`], [`load`], [`top`], [`control`], [`dlq`] and [`verify`].

mod commands;
mod control;
mod dlq;
mod help;
mod load;
mod top;
mod verify;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Turns the changes of a Postgres database into up-to-date effects in every system that needs them.
#[derive(Parser)]
#[command(name = "deltafan", version, long_about = help::ABOUT, after_long_help = help::AFTER)]
#[command(after_help = help::AFTER_SHORT, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks a configuration and names everything that is wrong with it
    #[command(after_help = help::VALIDATE)]
    Validate {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the configuration as it holds, defaults filled in and secrets left out
        #[arg(long)]
        print: bool,
    },
    /// Delivers changes until it is stopped (SIGTERM or Ctrl-C)
    #[command(after_help = help::RUN)]
    Run(ConfigArgs),
    /// Makes events in Postgres: something to watch, or a load
    #[command(after_help = help::GENERATE, args_override_self = true)]
    Generate(load::GenerateArgs),
    /// Shows the leaderboards, live
    #[command(after_help = help::TOP)]
    Top(top::TopArgs),
    /// Lets the lane of one sink stand still, until it is resumed
    #[command(after_help = help::PAUSE)]
    Pause(control::PauseArgs),
    /// Lets a paused lane go on where it stood
    #[command(after_help = help::RESUME)]
    Resume(control::LaneArgs),
    /// Lets the lane of one sink go on from another position
    #[command(after_help = help::RESET)]
    Reset(control::ResetArgs),
    /// Lists, shows, replays and purges records that could not be delivered
    #[command(after_help = help::DLQ)]
    Dlq(dlq::DlqArgs),
    /// Compares the tables with what every sink holds, and names what differs
    #[command(after_help = help::VERIFY)]
    Verify(verify::VerifyArgs),
    /// Prints the version
    Version,
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration file; without one the embedded default holds
    #[arg(long, short, env = "DELTAFAN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// An error and the exit status that it means.
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    pub(crate) status: ExitCode,
}

/// Configuration or source: somebody must act.
fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure { error: error.into(), status: ExitCode::from(2) }
}

/// Anything else.
fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure { error: error.into(), status: ExitCode::FAILURE }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let done = match cli.command {
        Command::Validate { config, print } => commands::validate(&config, print),
        Command::Run(args) => commands::run(&args),
        Command::Generate(args) => load::generate(args),
        Command::Top(args) => top::top(&args),
        Command::Pause(args) => control::pause(&args),
        Command::Resume(args) => control::resume(&args),
        Command::Reset(args) => control::reset(&args),
        Command::Dlq(args) => dlq::dlq(&args),
        Command::Verify(args) => return verify::verify(&args),
        Command::Version => commands::say(&format!("deltafan {}", env!("CARGO_PKG_VERSION"))),
    };
    done.map(|()| ExitCode::SUCCESS)
}
