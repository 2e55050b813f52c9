//! The leaderboards of a configuration, grouped by the server that they are on.

use super::TopError;
use crate::config::{Config, Target};

/// A Redis server and its leaderboards.
#[derive(Clone)]
pub(super) struct Server {
    /// With credentials: never printed.
    pub(super) url: String,
    /// Without credentials.
    pub(super) address: String,
    pub(super) boards: Vec<Board>,
}

/// A leaderboard, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Board {
    pub(super) pipeline: String,
    pub(super) sink: String,
    pub(super) key: String,
    /// As the configuration writes it.
    pub(super) length: String,
    pub(super) length_seconds: u32,
}

/// The leaderboards of all sinks that are on; only those of `keys` where there are any.
///
/// # Errors
/// There is none, or one of `keys` is none.
pub(super) fn servers(config: &Config, keys: &[String]) -> Result<Vec<Server>, TopError> {
    let mut servers: Vec<Server> = Vec::new();
    for (pipeline, settings) in config.pipelines.iter() {
        for (sink, settings) in settings.sinks.iter().filter(|(_, sink)| sink.enabled) {
            let Target::RedisWindow(redis) = &settings.target else { continue };
            let boards = redis.windows.iter().map(|window| Board {
                pipeline: pipeline.to_string(),
                sink: sink.to_string(),
                key: window.key.to_string(),
                length: window.length.to_string(),
                length_seconds: window.length.seconds(),
            });
            let url = redis.url.expose();
            match servers.iter_mut().find(|server| server.url == url) {
                Some(server) => server.boards.extend(boards),
                None => servers.push(Server {
                    url: url.to_owned(),
                    address: format!("{}:{}", redis.url.host(), redis.url.port()),
                    boards: boards.collect(),
                }),
            }
        }
    }
    let there = || servers.iter().flat_map(|server| &server.boards).map(|board| board.key.clone());
    if there().next().is_none() {
        return Err(TopError::NoBoard);
    }
    if let Some(unknown) = keys.iter().find(|key| there().all(|there| there != **key)) {
        return Err(TopError::Unknown(unknown.clone(), there().collect::<Vec<_>>().join(", ")));
    }
    for server in &mut servers {
        server.boards.retain(|board| keys.is_empty() || keys.contains(&board.key));
    }
    servers.retain(|server| !server.boards.is_empty());
    Ok(servers)
}
