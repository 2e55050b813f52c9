//! From the configuration of a sink to the sink's own settings.

use crate::config::{self, Target};
use crate::deliver::Reads;
use crate::sink::Sink;
use crate::sink::discard::Discard;
use crate::sink::file::{self, Files};
use crate::sink::redis_window::{self, By, RedisWindow};
use crate::sink::webhook::{self, Webhook};

/// Whether the feed of contents is needed for a sink.
pub(super) fn uses_content(target: &Target) -> bool {
    let by_type = |target: &Target| match target {
        Target::RedisWindow(redis) => redis.windows.iter().any(|window| window.by == config::By::ContentType),
        Target::Webhook(_) | Target::Files(_) | Target::Discard => false,
    };
    wants_content(target) || by_type(target)
}

/// Whether a sink's events are enriched, so that its lane waits for contents.
pub(super) fn wants_content(target: &Target) -> bool {
    match target {
        Target::RedisWindow(_) => RedisWindow::WANTS_CONTENT,
        Target::Webhook(_) => Webhook::WANTS_CONTENT,
        Target::Files(_) => Files::WANTS_CONTENT,
        Target::Discard => Discard::WANTS_CONTENT,
    }
}

pub(super) fn webhook_settings(webhook: &config::Webhook) -> anyhow::Result<webhook::Settings> {
    Ok(webhook::Settings {
        url: webhook.url.expose().parse()?,
        secrets: webhook.secrets.iter().cloned().collect(),
        timeout: webhook.timeout,
        max_events: webhook.max_events.get(),
        max_body_bytes: webhook.max_body.as_usize(),
        allow_private_targets: webhook.allow_private_targets,
    })
}

/// What is delivered again has files of its own beside the others: its positions are those of another topic.
pub(super) fn files_settings(files: &config::Files, reads: Reads) -> file::Settings {
    file::Settings {
        stem: match reads {
            Reads::Source => "partition",
            Reads::Replays => "replay",
        },
        folder: files.path.as_str().into(),
        max_file_bytes: files.max_file.into(),
        keep_files: files.keep_files.get(),
    }
}

pub(crate) fn redis_settings(redis: &config::RedisWindow) -> anyhow::Result<redis_window::Settings> {
    let window = |window: &config::Window| {
        let by = match window.by {
            config::By::Content => By::Content,
            config::By::ContentType => By::ContentType,
            config::By::Device => By::Device,
        };
        redis_window::Window::new(window.key.as_str(), window.length.duration()).map(|window| window.by(by))
    };
    let windows = redis.windows.iter().map(window).collect::<Result<_, _>>()?;
    let mut settings = redis_window::Settings::new(redis.url.expose(), windows)?;
    settings.max_records = redis.max_records.get();
    Ok(settings)
}
