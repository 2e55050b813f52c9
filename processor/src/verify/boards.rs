//! The leaderboards of a pipeline: read where they stand, and compared once it is known what lies between them and the
//! snapshot.

use super::VerifyError;
use super::board::{self, Between, Mistold, Types};
use super::finding::{Kind, Tally};
use super::gather::Gathered;
use super::log::Log;
use super::pipeline::{LOOK, SLACK_US, Verification};
use super::report::Compared;
use super::table::{ContentRow, Table, types};
use crate::config;
use crate::position::{Partition, Positions};
use crate::sink::redis_window::{self, By, Reading, Settings, Window};
use std::time::{Duration, Instant};

/// A change of a type is told to a window within a second: so long it may be counted as the former one.
const TYPES_LAG: Duration = Duration::from_secs(3);

/// A leaderboard with what lies between it and the snapshot.
pub(super) struct Board {
    pub what: String,
    pub sink: String,
    settings: Settings,
    window: Window,
    reading: Reading,
    pub between: Between,
    pub offsets: Positions,
}

impl Verification<'_> {
    /// Reads the leaderboards of a sink.
    pub(super) async fn read_boards(
        &self,
        sink: &str,
        redis: &config::RedisWindow,
        log: &Log,
    ) -> Result<Vec<Board>, VerifyError> {
        self.progress.step(format!("reading the leaderboards of {sink}"));
        let settings =
            crate::app::redis_settings(redis).map_err(|error| VerifyError::Act(format!("{error:#}")))?;
        let mut boards = Vec::new();
        let began = Instant::now();
        loop {
            let read =
                redis_window::read(&settings).await.map_err(|error| VerifyError::Away(error.message))?;
            // One that is just being made again is whole in a moment.
            let is_redrawn = read.iter().any(|(_, reading)| reading.as_ref().is_some_and(|r| r.is_redrawn));
            if is_redrawn && began.elapsed() < self.options.wait {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            for (window, reading) in read {
                boards.push(self.board((sink, &settings), window, reading, log)?);
            }
            return Ok(boards);
        }
    }

    fn board(
        &self,
        (sink, settings): (&str, &Settings),
        window: Window,
        reading: Option<Reading>,
        log: &Log,
    ) -> Result<Board, VerifyError> {
        let missing = |what: &str| {
            VerifyError::Away(format!(
                "the window `{}` {what}; see whether its lane runs (/readyz of deltafan run)",
                window.key()
            ))
        };
        let reading = reading.ok_or_else(|| missing("is not in Redis"))?;
        let partitions = 0..Partition::try_from(log.topic.partitions).unwrap_or(Partition::MAX);
        let mut offsets = Positions::new();
        for partition in partitions {
            let held = reading.position(&log.topic.log, partition);
            let held = held.ok_or_else(|| {
                missing(&format!("holds nothing of partition {partition} of `{}`", log.name))
            })?;
            offsets.insert(partition, held);
        }
        let between = Between::new(&reading, window.members(), offsets.clone());
        let (what, sink, settings) = (format!("{sink} {}", window.key()), sink.to_owned(), settings.clone());
        Ok(Board { what, sink, settings, window, reading, between, offsets })
    }

    /// Finds the records that the windows passed by because they became dead letters. Answers the first of each partition.
    pub(super) async fn find_set_aside(
        &self,
        boards: &mut [Board],
        log: &Log,
    ) -> Result<Positions, VerifyError> {
        let mut firsts = Positions::new();
        let first_s = boards.iter().map(|board| board.between.seconds().0).min();
        let Some(since_us) = first_s.map(|s| s.saturating_mul(1_000_000).min(self.range.since_us)) else {
            return Ok(firsts);
        };
        for board in boards {
            let set_aside = self.set_aside(&board.sink, since_us.saturating_sub(SLACK_US), log).await?;
            for (partition, offset) in &set_aside {
                firsts
                    .entry(*partition)
                    .and_modify(|first| *first = (*first).min(*offset))
                    .or_insert(*offset);
            }
            board.between.without(set_aside);
        }
        Ok(firsts)
    }

    pub(super) async fn compare_board(
        &self,
        table: &Table,
        board: &Board,
        contents: &[ContentRow],
        gathered: &Gathered,
    ) -> Result<Compared, VerifyError> {
        self.progress.step(format!("comparing {}", board.what));
        let by = board.window.members();
        // One that was made from the table has also what lies before the log.
        let first = gathered.beginning.tx_id.filter(|_| board.reading.base.is_none());
        let known = (first, board.between.late.tx_ids());
        let sums = table.sums(by, board.between.seconds(), known).await?;
        let mut tally = Tally::new(self.options.limit);
        board::compare(&board.reading, by, &board.between.expected(&sums), &mut tally);
        if by == By::ContentType {
            let types = types(contents);
            for (content, told) in self.mistold(board, &types, gathered.stand.lsn_bytes()).await? {
                let is = types.get(&content).map_or("", String::as_str);
                let what = format!("content {content}: counted as `{told}`, by the table it is `{is}`");
                tally.find(Kind::Different, what);
            }
        }
        tally.set_aside = board.between.aside;
        Ok(Compared { what: board.what.clone(), failed: None, offsets: board.offsets.clone(), tally })
    }

    /// The contents whose type the window was not told right, also a moment later.
    async fn mistold(&self, board: &Board, types: &Types, lsn: u64) -> Result<Mistold, VerifyError> {
        let began = Instant::now();
        let mut mistold = board::mistold(&board.reading, types, lsn);
        while !mistold.is_empty() && began.elapsed() < TYPES_LAG {
            tokio::time::sleep(LOOK).await;
            let read = redis_window::read(&board.settings).await;
            let read = read.map_err(|error| VerifyError::Away(error.message))?;
            let again = read.into_iter().find(|(window, _)| window.key() == board.window.key());
            let again = again.and_then(|(_, reading)| reading).unwrap_or_default();
            let still = board::mistold(&again, types, lsn);
            mistold.retain(|content, _| still.contains_key(content));
        }
        Ok(mistold)
    }
}
