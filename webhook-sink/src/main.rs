//! The binary `webhook-sink`: exit code 2 for what the user can mend, with cause and remedy; 1 for all else.

use std::{error::Error, io::Write, process::ExitCode};

use tracing_subscriber::EnvFilter;
use webhook_sink::{
    app,
    cause::describe,
    config::{Config, ConfigError, LogFormat},
};

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => config,
        // clap knows how to print itself: help is no error.
        Err(ConfigError::Arguments(error)) => error.exit(),
        Err(error) => return fail(&error, ExitCode::from(2)),
    };
    log_to_stderr(config.log_format);
    match app::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_configuration() => fail(&error, ExitCode::from(2)),
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// A plain line, whatever the log's format and level: this is for whoever started the program.
fn fail(error: &dyn Error, code: ExitCode) -> ExitCode {
    // Where even that cannot be written, the exit code remains.
    let _ = writeln!(std::io::stderr(), "webhook-sink: {}", describe(error));
    code
}
