//! Opening the windows: each is asked where it stands, and one that is lost, or is to be emptied by order, is made anew: empty,
//! where the log has all that belongs into it, else from the table.
//!
//! A window that is made from the table is filled in pieces, each by compare and set; until the last one is in, nobody else
//! is told that it is there. Where whoever fills it stops, somebody else begins anew.

use super::belief::{Origin, field};
use super::encode::Cells;
use super::error::paused;
use super::order::Replay;
use super::past::{Base, PastError, Rows};
use super::script::{Answer, Making, Move};
use super::{By, RedisWindow, contended, new_incarnation, other_window, pick, unknown_answer};
use crate::position::{LogId, Offset, Partition};
use crate::sink::SinkError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a window is asked to open in one call: each time it clears away a thousand buckets of a former incarnation.
const MAX_OPENINGS: usize = 10_000;

/// Whoever fills a window and has not gone on for so long is gone: a piece takes some ten milliseconds.
const STALLED: Duration = Duration::from_secs(5);

/// So long the table is asked again before a window is counted anew from what the log has, however little.
const PATIENCE: Duration = Duration::from_secs(30);

/// The clocks of Redis and of this machine are never quite the same: so much more of the table is read.
const SLACK_S: i64 = 60;

/// The field, among the positions, that counts the pieces of a window that is being filled.
const PIECES: &str = "pieces";
/// Its value once it is full.
const FULL: Offset = Offset::MAX;

/// A window that was seen half filled.
#[derive(Debug, Clone)]
pub(super) struct Halfway {
    incarnation: String,
    pieces: Offset,
    /// Since when it has not gone on; none where nobody fills it any more.
    since: Option<Instant>,
}

impl Halfway {
    /// What to say to begin it anew.
    fn name(&self) -> String {
        format!("{}/{}", self.incarnation, self.pieces)
    }

    /// As if nobody had filled it for long.
    #[cfg(test)]
    pub(super) fn stall(&mut self) {
        self.since = None;
    }

    fn is_stalled(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() >= STALLED)
    }
}

impl RedisWindow {
    /// Opens every window, and learns where each stands.
    pub(super) async fn open(&mut self, log: &LogId, partitions: &[Partition]) -> Result<(), SinkError> {
        let all: Vec<usize> = (0..self.windows.len()).collect();
        // One worker of this process makes what is lost, the others find it made.
        let making = Arc::clone(&self.making);
        let _one = making.lock().await;
        let lost = self.look(log, partitions, &all).await?;
        for (index, replayed_us) in &lost {
            self.make(*index, *replayed_us).await?;
        }
        let made: Vec<usize> = lost.iter().map(|(index, _)| *index).collect();
        if lost.is_empty() || self.look(log, partitions, &made).await?.is_empty() {
            return Ok(());
        }
        Err(contended(self.client.address(), "a window was lost again while it was made"))
    }

    /// Gives up windows to which the order of the source has broken.
    pub(super) async fn give_up_replayed(&mut self, broken: &[(usize, Replay)]) -> Result<(), SinkError> {
        let mut is_first = false;
        for (index, replay) in broken {
            // A life that was over before stays over.
            let known = self.windows.get(*index).map_or(0, |unit| unit.belief.since_us());
            is_first |= self.give_up(*index, Some(replay.since_us().max(known))).await?;
        }
        // Told by whoever noticed it first.
        if let Some((_, replay)) = broken.first().filter(|_| is_first) {
            (self.replayed)(replay);
        }
        Ok(())
    }

    /// Gives a window up, to be made anew. Answers whether it was there until now.
    pub(super) async fn give_up(
        &mut self,
        index: usize,
        replayed_us: Option<i64>,
    ) -> Result<bool, SinkError> {
        let Some(unit) = self.windows.get_mut(index) else { return Ok(false) };
        let Some(incarnation) = unit.belief.incarnation() else { return Ok(false) };
        let script = &self.scripts.give_up;
        let call = unit.keys.give_up(script, incarnation, replayed_us);
        match self.client.run(script, vec![call]).await?.into_iter().next().map(Answer::read) {
            Some(Some(answer @ (Answer::Done | Answer::Gone))) => {
                unit.belief.gone();
                Ok(answer == Answer::Done)
            }
            _ => Err(unknown_answer(self.client.address())),
        }
    }

    /// Asks some windows where they stand. Answers which of them have to be made, and whether because the source was
    /// replayed: see [`Answer::Lost`].
    async fn look(
        &mut self,
        log: &LogId,
        partitions: &[Partition],
        which: &[usize],
    ) -> Result<Vec<(usize, Option<i64>)>, SinkError> {
        let fields: Vec<_> = partitions.iter().map(|partition| field(log, *partition)).collect();
        let script = &self.scripts.open;
        let call = |unit: &super::Unit| {
            let stalled = unit.halfway.as_ref().filter(|halfway| halfway.is_stalled());
            let making = Making { instead: stalled.map(Halfway::name), ..Making::default() };
            unit.keys.open(script, &unit.window, self.reset, &making, &fields)
        };
        let calls = pick(&self.windows, which).map(call).collect();
        let answers = self.client.run(script, calls).await?;
        let mut lost = Vec::new();
        for (index, answer) in which.iter().zip(answers) {
            let Some(unit) = self.windows.get_mut(*index) else { continue };
            match Answer::read(answer) {
                Some(Answer::Opened { incarnation, base, doubted_us, held }) => {
                    unit.halfway = None;
                    let base = base.as_deref().and_then(Base::parse).map(Arc::new);
                    let origin = Origin { incarnation, base, doubted_us };
                    unit.belief.opened(origin, log, partitions, (&held.offsets, &held.reached));
                }
                Some(Answer::Lost { replayed_us }) => lost.push((*index, replayed_us)),
                Some(Answer::Halfway { incarnation, pieces }) => {
                    unit.saw_halfway(incarnation, pieces);
                    let what = format!("window `{}` is being made anew from the database", unit.window.key());
                    return Err(contended(self.client.address(), &what));
                }
                Some(Answer::Other { length_s, by }) => {
                    return Err(other_window(self.client.address(), &unit.window, length_s, &by));
                }
                _ => return Err(unknown_answer(self.client.address())),
            }
        }
        Ok(lost)
    }

    /// Makes a window anew: empty, where the log has all that belongs into it, and has it once.
    async fn make(&mut self, index: usize, replayed_us: Option<i64>) -> Result<(), SinkError> {
        let Some(unit) = self.windows.get(index) else { return Ok(()) };
        let (length_s, by) = (i64::from(unit.window.length_s()), unit.window.members());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let begins_s = now_s.saturating_sub(length_s);
        let past = Arc::clone(&self.past);
        if replayed_us.is_none() && past.reaches_back(begins_s).await.map_err(|error| self.untold(&error))? {
            self.past_missing = None;
            return self.create(index, Making::anew()).await.map(drop);
        }
        let told = match past.rows(by, begins_s.saturating_sub(SLACK_S)).await {
            Ok(rows) => {
                let base = rows.base.since(replayed_us.unwrap_or_default());
                self.fill(index, by, Rows { base, ..rows }).await?
            }
            Err(error) => Some(error),
        };
        let Some(error) = told else {
            self.past_missing = None;
            return Ok(());
        };
        let since = *self.past_missing.get_or_insert_with(Instant::now);
        if matches!(error, PastError::Away(_)) && since.elapsed() < PATIENCE {
            return Err(self.untold(&error));
        }
        self.past_missing = None;
        let key = self.windows.get(index).map_or("", |unit| unit.window.key());
        let what = match replayed_us {
            None => {
                "does not reach back to its beginning: it lacks something until its whole length has passed"
            }
            Some(_) => "holds some changes twice: it is in doubt until its whole length has passed",
        };
        tracing::error!(
            key,
            why = %error,
            "a leaderboard is counted anew from what kafka still has, which {what}; mend what the reason names, and \
             `deltafan reset` has it made anew"
        );
        let whole_s = now_s.saturating_add(length_s);
        let doubted_us = replayed_us.map_or(0, |_| now_us);
        let making = Making { whole_s, doubted_us, ..Making::anew() };
        self.create(index, making).await.map(drop)
    }

    fn untold(&self, error: &PastError) -> SinkError {
        let problem = format!("a leaderboard is to be made anew, and what was before can't be told: {error}");
        let mut told = contended(self.client.address(), &problem);
        if matches!(error, PastError::Refused(_)) {
            told = paused(self.client.address(), problem, "mend what the reason names");
        }
        told
    }

    /// Creates a window; the incarnation that it has then.
    async fn create(&mut self, index: usize, making: Making) -> Result<String, SinkError> {
        let script = &self.scripts.open;
        for _ in 0..MAX_OPENINGS {
            let Some(unit) = self.windows.get(index) else { break };
            let stalled = unit.halfway.as_ref().filter(|halfway| halfway.is_stalled());
            let making = Making { instead: stalled.map(Halfway::name), ..making.clone() };
            let call = unit.keys.open(script, &unit.window, self.reset, &making, &[]);
            match self.client.run(script, vec![call]).await?.into_iter().next().map(Answer::read) {
                Some(Some(Answer::Opened { incarnation, .. } | Answer::Halfway { incarnation, .. })) => {
                    return Ok(incarnation);
                }
                Some(Some(Answer::Again)) => {}
                _ => return Err(unknown_answer(self.client.address())),
            }
        }
        Err(contended(self.client.address(), "clearing away a former window takes too long"))
    }

    /// Creates a window and fills it with what the table says. Answers why, where the table was not told to its end.
    async fn fill(&mut self, index: usize, by: By, mut rows: Rows) -> Result<Option<PastError>, SinkError> {
        let began = Instant::now();
        let ended = || Err(PastError::Away("the table was not read to its end".to_owned()));
        // The first piece comes when the whole is summed up, which may take longer than anybody waits for a window half filled.
        let mut next = rows.pieces.recv().await.unwrap_or_else(ended);
        if let Err(error) = next {
            return Ok(Some(error));
        }
        let id = new_incarnation();
        let making = Making { incarnation: id.clone(), base: Some(rows.base.to_text()), ..Making::anew() };
        if self.create(index, making).await? != id {
            // Somebody else makes it, or has.
            return Ok(None);
        }
        let (mut pieces, mut cells_in) = (0, 0);
        loop {
            let cells = match next {
                Ok(cells) if cells.is_empty() => break,
                Ok(cells) => cells,
                Err(error) => {
                    if let Some(unit) = self.windows.get_mut(index) {
                        unit.halfway = Some(Halfway { incarnation: id, pieces, since: None });
                    }
                    return Ok(Some(error));
                }
            };
            cells_in += cells.len();
            self.piece(index, &id, vec![step(PIECES, Some(pieces), pieces + 1)], (&cells, by)).await?;
            pieces += 1;
            next = rows.pieces.recv().await.unwrap_or_else(ended);
        }
        let starts = rows.starts.iter();
        let mut moves: Vec<_> =
            starts.map(|(p, offset)| step(&field(&rows.log, *p), None, *offset)).collect();
        moves.push(step(PIECES, Some(pieces), FULL));
        self.piece(index, &id, moves, (&Cells::new(), by)).await?;
        let key = self.windows.get(index).map_or("", |unit| unit.window.key());
        let (took, starts) = (began.elapsed(), &rows.starts);
        tracing::info!(
            key,
            cells = cells_in,
            ?took,
            ?starts,
            "a leaderboard was made anew from the database"
        );
        Ok(None)
    }

    /// Adds a piece to a window that is being filled.
    async fn piece(
        &mut self,
        index: usize,
        incarnation: &str,
        moves: Vec<Move>,
        (cells, by): (&Cells, By),
    ) -> Result<(), SinkError> {
        let Some(unit) = self.windows.get(index) else { return Ok(()) };
        let types = if by == By::ContentType { self.known(cells) } else { BTreeMap::new() };
        let types = types.iter().map(|(id, content)| (*id, &**content));
        let script = &self.scripts.apply;
        let call = unit.keys.apply(script, incarnation, &moves, (cells, by), types);
        match self.client.run(script, vec![call]).await?.into_iter().next().map(Answer::read) {
            Some(Some(Answer::Done)) => Ok(()),
            Some(Some(Answer::Gone | Answer::Held(_))) => {
                let problem = "a window was lost, or taken over by another instance, while it was made anew";
                Err(contended(self.client.address(), problem))
            }
            _ => Err(unknown_answer(self.client.address())),
        }
    }
}

impl super::Unit {
    fn saw_halfway(&mut self, incarnation: String, pieces: Offset) {
        let seen = self.halfway.take();
        let same = seen.filter(|seen| seen.incarnation == incarnation && seen.pieces == pieces);
        let since = same.map_or(Some(Instant::now()), |same| same.since);
        self.halfway = Some(Halfway { incarnation, pieces, since });
    }
}

fn step(field: &str, expected: Option<Offset>, to: Offset) -> Move {
    Move { field: field.to_owned(), expected, to, reached: None }
}
