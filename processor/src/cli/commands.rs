//! `deltafan run` and `validate`, and what all commands share: the runtime, the log, the signals.

use super::{ConfigArgs, Failure, failed, refused};
use deltafan::app;
use deltafan::config::{self, Config, LogFormat};
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let config = load(args)?;
    start_log(&config)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    runtime()?.block_on(async {
        let stop = stop_signal().map_err(failed)?;
        app::run(config, stop).await.map_err(refused)
    })
}

pub(super) fn validate(args: &ConfigArgs, print: bool) -> Result<(), Failure> {
    let config = load(args)?;
    if print { say(config.describe().trim_end()) } else { say("the configuration is valid") }
}

pub(super) fn load(args: &ConfigArgs) -> Result<Config, Failure> {
    config::load(args.config.as_deref(), &|name| std::env::var(name).ok()).map_err(refused)
}

pub(super) fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(failed)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)
}

/// Resolves at SIGTERM or SIGINT; a second one ends the process at once.
pub(super) fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
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

fn start_log(config: &Config) -> Result<(), Failure> {
    let filter = filter(config.log.level.as_str(), std::env::var("RUST_LOG").ok().as_deref())?;
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.log.format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
    Ok(())
}

/// What `wanted` says, which RUST_LOG holds; an empty one is none, as in a file of variables.
fn filter(level: &str, wanted: Option<&str>) -> Result<EnvFilter, Failure> {
    let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) else {
        // librdkafka's own lines are for its developers; what matters of them reaches us as errors.
        return Ok(EnvFilter::new(format!("{level},librdkafka=error,rdkafka=error,hyper=warn,h2=warn")));
    };
    EnvFilter::try_new(wanted).map_err(|error| {
        refused(anyhow::anyhow!(
            "RUST_LOG can't be used: {error}; write a level, as debug, or levels of parts, as info,deltafan=debug"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_wish_for_the_log_is_none() {
        let text = |wanted| filter("info", wanted).map(|filter| filter.to_string()).ok();
        assert!(text(None).unwrap().contains("info"));
        assert_eq!(text(Some(" ")), text(None));
        assert_eq!(text(Some("debug")).as_deref(), Some("debug"));
    }

    #[test]
    fn a_wish_that_cannot_be_read_is_refused() {
        let Err(refused) = filter("info", Some("deltafan=loud")) else { panic!("it is read") };
        assert!(refused.error.to_string().contains("info,deltafan=debug"), "{}", refused.error);
    }
}
