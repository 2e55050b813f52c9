//! `deltafan top`: the leaderboards, live, with titles.
//!
//! It reads what every client of Redis can read ([`read`]) from the servers that the configuration names ([`boards`]), asks
//! Postgres for titles ([`titles`]), and shows ranks and changes ([`view`]) as lines ([`draw`]) on a terminal ([`screen`])
//! or as JSON. It knows no lane and writes nothing anywhere.

mod boards;
mod draw;
mod read;
mod screen;
mod titles;
mod view;

#[cfg(test)]
mod tests;

use self::read::Source;
use self::screen::{Screen, Wish};
use self::titles::Titles;
use self::view::{Before, State, View};
use crate::config::Config;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{MissedTickBehavior, interval};

/// How often it is read: windows move each second.
const EACH: Duration = Duration::from_secs(1);
/// The lines that are shown where there is no terminal to fit.
const UNBOUNDED: usize = usize::MAX;
const NO_TERMINAL_COLUMNS: usize = 120;

/// What to show, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Once, then end.
    pub once: bool,
    /// One JSON object each time.
    pub json: bool,
    /// How many members of each leaderboard.
    pub count: usize,
    /// Only these leaderboards, where there are any.
    pub boards: Vec<String>,
    /// Whether standard output is a terminal: then it is drawn in place.
    pub is_terminal: bool,
    /// Whether colours are wanted there.
    pub is_coloured: bool,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// No sink keeps leaderboards.
    #[error("the configuration has no leaderboard: no sink of type `redis_window` is enabled")]
    NoBoard,
    /// There is no such leaderboard.
    #[error("no leaderboard has the key `{0}`; there are: {1}")]
    Unknown(String, String),
    /// Redis can't be asked, or refuses.
    #[error("the leaderboard `{key}` at {redis} can't be read: {cause}")]
    Unreadable {
        /// Its key.
        key: String,
        /// Host and port.
        redis: String,
        /// What was seen, and what to do.
        cause: String,
        /// Whether somebody must act.
        needs_action: bool,
    },
    /// Nobody reads what we write, or the terminal is none.
    #[error("can't write to the terminal")]
    Output(#[from] io::Error),
}

impl TopError {
    /// Whether it stays so until somebody acts.
    #[must_use]
    pub fn needs_action(&self) -> bool {
        match self {
            Self::NoBoard | Self::Unknown(..) => true,
            Self::Unreadable { needs_action, .. } => *needs_action,
            Self::Output(_) => false,
        }
    }
}

/// Shows the leaderboards until `stop` resolves or the user quits; once where that is wanted.
///
/// # Errors
/// There is no leaderboard, or the output can't be written; where it is shown once, also one that can't be read.
pub async fn run(config: &Config, options: &Options, stop: impl Future<Output = ()>) -> Result<(), TopError> {
    let servers = boards::servers(config, &options.boards)?;
    let mut top = Top {
        options,
        sources: servers.into_iter().map(Source::new).collect(),
        titles: Titles::new(config.postgres.url.expose()),
        before: Before::default(),
    };
    tokio::select! {
        ended = top.show() => match ended {
            // Whoever reads has had enough, as `head` has.
            Err(TopError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            ended => ended,
        },
        () = stop => Ok(()),
    }
}

struct Top<'a> {
    options: &'a Options,
    sources: Vec<Source>,
    titles: Titles,
    before: Before,
}

impl Top<'_> {
    async fn look(&mut self) -> View {
        let mut readings = Vec::new();
        for source in &mut self.sources {
            readings.push(source.read(self.options.count).await);
        }
        let members = readings.iter().flatten().flatten().flatten().map(|(member, _)| member.as_str());
        self.titles.learn(members).await;
        let mut boards = Vec::new();
        for (source, readings) in self.sources.iter().zip(readings) {
            let server = source.server();
            for (board, reading) in server.boards.iter().zip(readings) {
                let title = |member: &str| self.titles.of(member).map(ToOwned::to_owned);
                boards.push(self.before.board(&server.address, board, reading, title));
            }
        }
        let notes = self.titles.trouble().into_iter().collect();
        View { at_unix_ms: now_unix_ms(), boards, notes, is_live: !self.options.once }
    }

    async fn show(&mut self) -> Result<(), TopError> {
        if self.options.once {
            self.once().await
        } else if self.options.is_terminal && !self.options.json {
            self.in_place().await
        } else {
            self.again_and_again().await
        }
    }

    async fn once(&mut self) -> Result<(), TopError> {
        let view = self.look().await;
        self.print(&view)?;
        match view.boards.into_iter().find(|board| board.state == State::Unreadable) {
            None => Ok(()),
            Some(board) => Err(TopError::Unreadable {
                key: board.key,
                redis: board.redis,
                cause: board.error.unwrap_or_default(),
                needs_action: board.needs_action,
            }),
        }
    }

    async fn again_and_again(&mut self) -> Result<(), TopError> {
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            let view = self.look().await;
            self.print(&view)?;
        }
    }

    async fn in_place(&mut self) -> Result<(), TopError> {
        let mut screen = Screen::open()?;
        let mut ticks = ticks();
        let is_coloured = self.options.is_coloured;
        let mut view = None;
        loop {
            let wish = tokio::select! {
                now = async { ticks.tick().await; self.look().await } => {
                    view = Some(now);
                    Wish::Redraw
                }
                wish = screen.wish() => wish,
            };
            match (wish, &view) {
                (Wish::Quit, _) => return Ok(()),
                (Wish::Redraw, Some(view)) => draw(view, is_coloured)?,
                (Wish::Redraw, None) => {}
            }
        }
    }

    fn print(&self, view: &View) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.options.json {
            serde_json::to_writer(&mut out, view)?;
            return writeln!(out);
        }
        let columns = if self.options.is_terminal { Screen::size().0 } else { NO_TERMINAL_COLUMNS };
        for (_, line) in draw::lines(view, columns, UNBOUNDED) {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}

fn draw(view: &View, is_coloured: bool) -> io::Result<()> {
    let (columns, height) = Screen::size();
    Screen::draw(&draw::framed(view, columns, height), is_coloured)
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn now_unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
