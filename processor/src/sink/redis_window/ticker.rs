//! The ticker: moves the windows on, with or without traffic, and notices a window that is gone.
//!
//! Every instance runs one for each lane. A tick changes nothing that is not due, so any number of them does no harm,
//! and one is enough.

use super::client::Client;
use super::config::{Settings, Window};
use super::error::paused;
use super::ranking::{By, Contents};
use super::script::{Answer, Keys, SCRIPTS, Scripts};
use crate::position::Offset;
use crate::sink::{Class, SinkError};
use crate::transform::Content;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

/// Between two ticks. A contribution leaves at the first tick after its second has left: within 1.2 s.
const INTERVAL: Duration = Duration::from_millis(200);

/// How many cells a tick handles: a few milliseconds of Redis, less than a full write takes.
const BUDGET: u32 = 500;

/// How many contents a tick tells the types of, beside those that a window lacks: a millisecond or two of Redis.
const TELL: usize = 500;

/// After this long the connection is made anew: a server that took over the address unnoticed is found by then.
const RENEW: Duration = Duration::from_secs(30);

/// The longest wait between two attempts to reach Redis.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What the ticker last saw of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not looked at yet.
    Unknown,
    /// There is none: never created, or lost.
    Gone,
    /// It is there, in this incarnation.
    Here(String),
}

/// What the ticker last saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether Redis answered the last tick.
    pub reachable: bool,
    /// How often it may have become another than before: it stopped answering, another server answered, or a window's
    /// position had gone back.
    pub breaks: u64,
    /// What it saw of each window, in the order of the settings; kept while Redis is out of reach.
    pub windows: Vec<Standing>,
}

/// What a window lacks that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Its key.
    pub key: String,
    /// The second, since 1970, from which it has all that it should; 0 where it has.
    pub whole_s: i64,
    /// Whether until then it may hold some changes twice.
    pub is_doubted: bool,
}

/// Hears of the windows that are there.
pub type Incomplete = dyn Fn(&[Lacking]) + Send;

/// Moves the windows of one lane on.
pub struct Ticker {
    windows: Vec<Ticked>,
    contents: Arc<dyn Contents>,
    /// What was learnt of contents up to here has been told to the windows by content type.
    told: u64,
    pub(super) client: Client,
    /// The server that answered the last tick, where it said which it is.
    server: Option<String>,
    scripts: &'static Scripts,
    budget: u32,
    /// Counts the ticks.
    number: u32,
    seen: watch::Sender<Seen>,
    /// Told after each tick which windows are there, and what each lacks.
    incomplete: Box<Incomplete>,
    /// The failure last logged, so that a state is logged once.
    failing: Option<String>,
    /// Whether it was looked up that Redis keeps its data over a restart.
    persistence_known: bool,
}

/// What a tick could not do.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: SinkError,
    /// Whether Redis was there all the same, and refused a window or what it was told.
    answered: bool,
    /// Whether more is due in the windows that were not refused.
    more: bool,
}

impl From<SinkError> for Failed {
    fn from(error: SinkError) -> Self {
        Self { error, answered: false, more: false }
    }
}

/// A window as the ticker knows it.
struct Ticked {
    key: String,
    keys: Keys,
    by: By,
    /// Contents whose type it lacks, or is not sure of, by the last tick.
    untold: Vec<Uuid>,
    /// Its incarnation and its positions, by the last tick.
    stood: Option<(String, BTreeMap<String, Offset>)>,
}

impl Ticked {
    /// Notes where it stands. Answers whether it has gone back, which no write does.
    fn stands(&mut self, incarnation: &str, positions: BTreeMap<String, Offset>) -> bool {
        let stood = self.stood.replace((incarnation.to_owned(), positions));
        let (Some((was, stood)), Some((is, stands))) = (stood, &self.stood) else { return false };
        was == *is && stood.iter().any(|(field, offset)| stands.get(field).is_some_and(|now| now < offset))
    }
}

impl Ticker {
    /// A ticker for the windows of `settings`, and where it tells what it sees (see
    /// [`RedisWindow::new`](super::RedisWindow::new)).
    pub fn new(settings: &Settings) -> (Self, watch::Receiver<Seen>) {
        Self::with(settings, &SCRIPTS, BUDGET)
    }

    pub(super) fn with(
        settings: &Settings,
        scripts: &'static Scripts,
        budget: u32,
    ) -> (Self, watch::Receiver<Seen>) {
        let ticked = |window: &Window| Ticked {
            key: window.key().to_owned(),
            keys: Keys::of(window),
            by: window.members(),
            untold: Vec::new(),
            stood: None,
        };
        let windows: Vec<_> = settings.windows.iter().map(ticked).collect();
        let unknown = Seen { reachable: false, breaks: 0, windows: vec![Standing::Unknown; windows.len()] };
        let (sender, seen) = watch::channel(unknown);
        let ticker = Self {
            windows,
            contents: Arc::clone(&settings.contents),
            told: 0,
            client: Client::new(settings),
            server: None,
            scripts,
            budget,
            number: 0,
            seen: sender,
            incomplete: Box::new(|_| {}),
            failing: None,
            persistence_known: false,
        };
        (ticker, seen)
    }

    /// Has `tell` hear after each tick which windows are there, and what each lacks.
    #[must_use]
    pub fn telling(mut self, tell: Box<Incomplete>) -> Self {
        self.incomplete = tell;
        self
    }

    /// Ticks until `stop` is done.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        let mut due = interval(INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wait = INTERVAL;
        loop {
            due.tick().await;
            match self.catch_up().await {
                Ok(()) => {
                    self.succeeded().await;
                    wait = INTERVAL;
                }
                Err(failed) => {
                    self.failed(&failed);
                    if failed.answered {
                        // The others are kept in time.
                        wait = INTERVAL;
                        continue;
                    }
                    sleep(wait).await;
                    wait = LONGEST_WAIT.min(wait * 2);
                }
            }
        }
    }

    /// Ticks until nothing more is due, also where a window is refused: the others are not held up.
    pub(super) async fn catch_up(&mut self) -> Result<(), Failed> {
        let mut first = None;
        loop {
            let more = match self.tick().await {
                Ok(more) => more,
                Err(failed) if failed.answered => {
                    let more = failed.more;
                    first.get_or_insert(failed);
                    more
                }
                Err(failed) => return Err(failed),
            };
            if !more {
                return first.map_or(Ok(()), Err);
            }
            // Others who want Redis, or this thread, come in between.
            tokio::task::yield_now().await;
        }
    }

    /// One tick of every window, in one round trip, and another one where there are types to tell. Answers whether more
    /// is due.
    pub(super) async fn tick(&mut self) -> Result<bool, Failed> {
        let ticked = self.try_tick().await;
        if ticked.as_ref().is_err_and(|failed| !failed.answered) {
            // Redis may come back as it was before it was told.
            self.told = 0;
        }
        ticked
    }

    async fn try_tick(&mut self) -> Result<bool, Failed> {
        let (script, budget, number) = (&self.scripts.tick, self.budget, self.number);
        self.number = number.wrapping_add(1);
        let calls = self.windows.iter().map(|window| window.keys.tick(script, budget, number)).collect();
        let mut standings = Vec::with_capacity(self.windows.len());
        let (mut more, mut refused, mut incomplete) = (false, None, Vec::new());
        self.client.renew(RENEW);
        let answers = self.client.run_each(script, calls).await?;
        let mut broken = self.is_another_server();
        let was = self.seen.borrow().windows.clone();
        for ((window, answer), was) in self.windows.iter_mut().zip(answers).zip(was) {
            window.untold.clear();
            standings.push(match answer.map(Answer::read) {
                Ok(Some(Answer::Ticked(told))) => {
                    more |= told.more;
                    window.untold = told.untold;
                    broken |= window.stands(&told.incarnation, told.positions);
                    let is_doubted = told.is_doubted && told.whole_s > 0;
                    incomplete.push(Lacking { key: window.key.clone(), whole_s: told.whole_s, is_doubted });
                    Standing::Here(told.incarnation)
                }
                Ok(Some(Answer::Gone)) => Standing::Gone,
                Ok(_) => return Err(unknown_answer(self.client.address()).into()),
                Err(error) => {
                    refused.get_or_insert(error);
                    was
                }
            });
        }
        self.show(standings, broken);
        (self.incomplete)(&incomplete);
        match self.tell().await {
            Ok(learnt) => more |= learnt,
            // Refused by a Redis that is there, as it was just now.
            Err(error) if error.class == Class::Pause => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
        refused.map_or(Ok(more), |error| Err(Failed { error, answered: true, more }))
    }

    /// Whether the tick was answered by another server than the one before.
    fn is_another_server(&mut self) -> bool {
        let server = self.client.server().map(str::to_owned);
        let was = std::mem::replace(&mut self.server, server);
        let is_another = was.is_some() && was != self.server;
        if is_another {
            tracing::warn!(redis = self.client.address(), "another server of redis answers there now");
        }
        is_another
    }

    /// Tells the windows by content type what was learnt of contents, and what they lack. Answers whether there is more.
    async fn tell(&mut self) -> Result<bool, SinkError> {
        if !self.windows.iter().any(|window| window.by == By::ContentType) {
            return Ok(false);
        }
        let learnt = self.contents.learnt_after(self.told, TELL);
        let script = &self.scripts.tell;
        let mut calls = Vec::new();
        for window in self.windows.iter().filter(|window| window.by == By::ContentType) {
            let known = |id: &Uuid| Some((*id, self.contents.get(*id)?));
            let lacking: Vec<(Uuid, Arc<Content>)> = window.untold.iter().filter_map(known).collect();
            if !(learnt.is_empty() && lacking.is_empty()) {
                let learnt = learnt.iter().map(|learnt| (learnt.id, &*learnt.content));
                let lacking = lacking.iter().map(|(id, content)| (*id, &**content));
                calls.push(window.keys.tell(script, learnt.chain(lacking)));
            }
        }
        if calls.is_empty() {
            return Ok(false);
        }
        for answer in self.client.run(script, calls).await? {
            // A window that is gone is told anew when it is there again: with its first writes.
            if !matches!(Answer::read(answer), Some(Answer::Done | Answer::Gone)) {
                return Err(unknown_answer(self.client.address()));
            }
        }
        self.told = learnt.last().map_or(self.told, |last| last.seen);
        Ok(learnt.len() == TELL)
    }

    fn show(&self, windows: Vec<Standing>, broken: bool) {
        self.seen.send_if_modified(|seen| {
            let new = Seen { reachable: true, breaks: seen.breaks + u64::from(broken), windows };
            let changed = *seen != new;
            if changed {
                for (window, (was, is)) in self.windows.iter().zip(seen.windows.iter().zip(&new.windows)) {
                    log_change(&window.key, was, is);
                }
                *seen = new;
            }
            changed
        });
    }

    fn failed(&mut self, Failed { error, answered, .. }: &Failed) {
        let state = format!("{:?} {:?}", error.class, error.remedy);
        if self.failing.as_ref() != Some(&state) {
            let remedy = error.remedy.unwrap_or("it is tried again");
            tracing::warn!(%error, remedy, "the windows in redis are not kept");
            self.failing = Some(state);
        }
        if *answered {
            return;
        }
        self.seen.send_if_modified(|seen| {
            let was_reachable = std::mem::replace(&mut seen.reachable, false);
            seen.breaks += u64::from(was_reachable);
            was_reachable
        });
    }

    async fn succeeded(&mut self) {
        let redis = self.client.address();
        if self.failing.take().is_some() {
            tracing::info!(redis, "the windows in redis are kept again");
        }
        if std::mem::replace(&mut self.persistence_known, true) {
            return;
        }
        if self.client.persists().await == Some(false) {
            let redis = self.client.address();
            let remedy = "set appendonly to yes";
            tracing::warn!(redis, remedy, "redis keeps nothing over a restart: all is read again then");
        }
    }
}

fn unknown_answer(address: &str) -> SinkError {
    paused(address, "a tick was answered in an unknown way", "look for another program that uses the keys")
}

fn log_change(key: &str, was: &Standing, is: &Standing) {
    match (was, is) {
        (Standing::Here(_), Standing::Gone) => tracing::warn!(key, "a window is gone from redis"),
        (Standing::Here(_), Standing::Here(_)) if was != is => {
            tracing::warn!(key, "a window in redis was made anew");
        }
        _ => {}
    }
}
