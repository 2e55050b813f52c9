//! The command line: `deltafan run`, `validate`, `generate`, `version`.
//!
//! Exit status: 0 when done or stopped in order, 2 when the configuration or the source is not as it must be (the message
//! names cause and remedy), 1 for anything else.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use deltafan::app;
use deltafan::config::{self, Config, LogFormat};
use deltafan::generate::{self, Load};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Turns the changes of a Postgres database into up-to-date effects in every system that needs them.
#[derive(Parser)]
#[command(name = "deltafan", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Delivers changes until it is stopped (SIGTERM or Ctrl-C).
    Run(ConfigArgs),
    /// Checks a configuration and names everything that is wrong with it.
    Validate {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the configuration as it holds, defaults filled in and secrets left out.
        #[arg(long)]
        print: bool,
    },
    /// Inserts engagement events into Postgres: something to watch.
    Generate(GenerateArgs),
    /// Prints the version.
    Version,
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration file; without one the embedded default holds.
    #[arg(long, short, env = "DELTAFAN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct GenerateArgs {
    /// Rows per second.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// How many seconds; without this and `--rows` it goes on until it is stopped.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// How many rows.
    #[arg(long)]
    rows: Option<u64>,
    /// The same seed gives the same rows, but for their times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the column `device` says.
    #[arg(long, default_value = "generator")]
    device: String,
    /// The database, as a user that may insert events.
    #[arg(long, env = "POSTGRES_URL", value_name = "URL", hide_env_values = true)]
    database_url: String,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Validate { config, print } => validate(&config, print),
        Command::Generate(args) => generate(args),
        Command::Version => say(&format!("deltafan {}", env!("CARGO_PKG_VERSION"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { error, status }) => {
            // The last resort: there is nobody left to tell where even this fails.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(status)
        }
    }
}

/// An error and the exit status that it means.
struct Failure {
    error: anyhow::Error,
    status: u8,
}

/// Configuration or source: somebody must act.
fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure { error: error.into(), status: 2 }
}

/// Anything else.
fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure { error: error.into(), status: 1 }
}

fn load(args: &ConfigArgs) -> Result<Config, Failure> {
    config::load(args.config.as_deref(), &|name| std::env::var(name).ok()).map_err(refused)
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(failed)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)
}

fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let config = load(args)?;
    start_log(&config);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    runtime()?.block_on(async {
        let stop = stop_signal().map_err(failed)?;
        app::run(config, stop).await.map_err(refused)
    })
}

/// Resolves at SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping: writes in flight are finished and committed");
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            tracing::warn!("stopped at once; what was in flight is done again at the next start");
            #[allow(
                clippy::disallowed_methods,
                reason = "asked for twice: nothing is to be waited for any more"
            )]
            std::process::exit(1);
        });
    })
}

fn start_log(config: &Config) {
    let level = config.log.level.as_str();
    // librdkafka's own lines are for its developers; what matters of them reaches us as errors.
    let filter = EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| {
        EnvFilter::new(format!("{level},librdkafka=error,rdkafka=error,hyper=warn,h2=warn"))
    });
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.log.format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}

fn validate(args: &ConfigArgs, print: bool) -> Result<(), Failure> {
    let config = load(args)?;
    if print { say(config.describe().trim_end()) } else { say("the configuration is valid") }
}

fn generate(args: GenerateArgs) -> Result<(), Failure> {
    let load = Load {
        rate: args.rate,
        duration: args.duration.map(Duration::from_secs),
        rows: args.rows,
        seed: args.seed,
        device: args.device,
    };
    let inserted = runtime()?
        .block_on(async {
            let stop = stop_signal().map_err(anyhow::Error::from)?;
            tokio::select! {
                inserted = generate::run(&args.database_url, &load) => inserted.map(Some).context("generate"),
                () = stop => Ok(None),
            }
        })
        .map_err(refused)?;
    match inserted {
        Some(inserted) => say(&format!("{inserted} rows inserted")),
        None => say("stopped"),
    }
}
