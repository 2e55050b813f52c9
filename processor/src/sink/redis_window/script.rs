//! The scripts that keep a window, their arguments and their answers. The keys and what holds of them are told at the
//! head of `lua/prelude.lua`.

use super::config::Window;
use super::encode::Cells;
use super::order::Reached;
use super::pack::pack;
use super::ranking::By;
use crate::position::Offset;
use crate::transform::Content;
use redis::{Cmd, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use uuid::Uuid;

/// A script as Redis knows it: by the hash of its text, which is its version too.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) code: String,
    pub(super) hash: String,
}

impl Script {
    fn new(code: &str) -> Self {
        Self { code: code.to_owned(), hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

/// All of them, of one version.
#[derive(Debug)]
pub(super) struct Scripts {
    /// Says where a window stands; creates it where there is none.
    pub(super) open: Script,
    /// Applies a batch.
    pub(super) apply: Script,
    /// Moves the window on.
    pub(super) tick: Script,
    /// Tells the types of contents.
    pub(super) tell: Script,
    /// Gives a window up, to be made anew.
    pub(super) give_up: Script,
}

macro_rules! script {
    ($body:literal) => {
        concat!(
            include_str!("lua/clock.lua"),
            include_str!("lua/prelude.lua"),
            include_str!("lua/groups.lua"),
            include_str!($body),
            include_str!("lua/epilogue.lua")
        )
    };
}

/// Reads a window; stands by itself, since it changes nothing.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/read.lua")));

/// The scripts in use.
pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::edited(str::to_owned));

impl Scripts {
    fn edited(edit: impl Fn(&str) -> String) -> Self {
        Self {
            open: Script::new(&edit(script!("lua/open.lua"))),
            apply: Script::new(&edit(script!("lua/apply.lua"))),
            tick: Script::new(&edit(script!("lua/tick.lua"))),
            tell: Script::new(&edit(script!("lua/tell.lua"))),
            give_up: Script::new(&edit(script!("lua/give_up.lua"))),
        }
    }

    /// The same scripts with some texts replaced, a clock for instance; what production runs has no such door.
    #[cfg(test)]
    pub(super) fn with(edits: &[(&str, &str)]) -> Self {
        Self::edited(|code| {
            edits.iter().fold(code.to_owned(), |code, (original, other)| {
                assert!(code.contains(original), "no {original}");
                code.replacen(original, other, 1)
            })
        })
    }
}

/// The names of a window's keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    all: [String; 10],
}

impl Keys {
    pub(super) fn of(window: &Window) -> Self {
        let prefix = window.prefix();
        let companion = |name: &str| format!("{prefix}{name}");
        let all = [
            window.key().to_owned(),
            companion("meta"),
            companion("positions"),
            companion("totals"),
            companion("buckets"),
            companion("future"),
            companion("draft"),
            companion("groups"),
            companion("sums"),
            companion("untold"),
        ];
        Self { prefix, all }
    }

    fn call(&self, script: &Script) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.hash).arg(self.all.len()).arg(&self.all).arg(&self.prefix);
        cmd
    }

    pub(super) fn open(
        &self,
        script: &Script,
        window: &Window,
        reset: i64,
        making: &Making,
        fields: &[String],
    ) -> Cmd {
        let mut cmd = self.call(script);
        cmd.arg(&making.incarnation).arg(window.length_s()).arg(window.members().as_str()).arg(reset);
        cmd.arg(making.whole_s).arg(making.base.as_deref().unwrap_or_default());
        cmd.arg(making.instead.as_deref().unwrap_or_default()).arg(making.doubted_us).arg(fields);
        cmd
    }

    /// `replayed_us` is there where the source was replayed: see [`Answer::Lost`].
    pub(super) fn give_up(&self, script: &Script, incarnation: &str, replayed_us: Option<i64>) -> Cmd {
        let mut cmd = self.call(script);
        cmd.arg(incarnation).arg(replayed_us.map_or_else(String::new, |us| us.to_string()));
        cmd
    }

    /// `number` is that of the tick: other buckets are looked after with each.
    pub(super) fn tick(&self, script: &Script, budget: u32, number: u32) -> Cmd {
        let mut cmd = self.call(script);
        cmd.arg(budget).arg(number);
        cmd
    }

    pub(super) fn read(&self, script: &Script) -> Cmd {
        self.call(script)
    }

    pub(super) fn tell<'c>(
        &self,
        script: &Script,
        contents: impl IntoIterator<Item = (Uuid, &'c Content)>,
    ) -> Cmd {
        let mut cmd = self.call(script);
        add_types(&mut cmd, contents);
        cmd
    }

    /// A batch for a leaderboard of `by`; `types` are told along, where it is one by content type.
    pub(super) fn apply<'c>(
        &self,
        script: &Script,
        incarnation: &str,
        moves: &[Move],
        (cells, by): (&Cells, By),
        types: impl IntoIterator<Item = (Uuid, &'c Content)>,
    ) -> Cmd {
        let cells: Vec<_> = cells.iter().filter(|((_, member), ms)| **ms != 0 && member.counts(by)).collect();
        let buckets = || cells.chunk_by(|((one, _), _), ((other, _), _)| one == other);
        let mut cmd = self.call(script);
        cmd.arg(incarnation).arg(moves.len()).arg(buckets().count());
        for Move { field, expected, to, reached } in moves {
            cmd.arg(field);
            match expected {
                Some(offset) => cmd.arg(*offset),
                None => cmd.arg(""),
            };
            cmd.arg(*to).arg(reached.as_deref().unwrap_or_default());
        }
        for bucket in buckets() {
            if let Some(((second, _), _)) = bucket.first() {
                cmd.arg(*second).arg(pack(bucket.iter().map(|((_, member), ms)| (member, **ms))));
            }
        }
        add_types(&mut cmd, types);
        cmd
    }
}

/// Content, version, type of each; a content of which no version is known can't be told.
fn add_types<'c>(cmd: &mut Cmd, contents: impl IntoIterator<Item = (Uuid, &'c Content)>) {
    let mut text = Uuid::encode_buffer();
    for (id, content) in contents {
        if let Some(version) = content.version {
            let content_type = content.content_type.as_deref().unwrap_or_default();
            cmd.arg(&*id.hyphenated().encode_lower(&mut text)).arg(version).arg(content_type);
        }
    }
}

/// How a window is to be made where there is none; by default it is not.
#[derive(Debug, Clone, Default)]
pub(super) struct Making {
    /// The incarnation to give it; empty where it is not to be made.
    pub(super) incarnation: String,
    /// The second from which it is whole; 0 where it is at once.
    pub(super) whole_s: i64,
    /// What it is based on.
    pub(super) base: Option<String>,
    /// A window that somebody has half filled, and that is given up for it.
    pub(super) instead: Option<String>,
    /// Up to when breaks in the order of the source are known of that can't be mended; 0 where there are none.
    pub(super) doubted_us: i64,
}

impl Making {
    /// Empty, and new.
    pub(super) fn anew() -> Self {
        Self { incarnation: super::new_incarnation(), ..Self::default() }
    }
}

/// A position to move, by compare and set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// The field that holds it.
    pub(super) field: String,
    /// What it must hold; none where it must hold nothing.
    pub(super) expected: Option<Offset>,
    /// What it holds afterwards.
    pub(super) to: Offset,
    /// How far the order of the source is followed then, where that is further than before.
    pub(super) reached: Option<String>,
}

/// What a tick tells of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticked {
    pub(super) incarnation: String,
    /// Whether more is due.
    pub(super) more: bool,
    /// Its positions, by field.
    pub(super) positions: BTreeMap<String, Offset>,
    /// The second from which it is whole; 0 where it is.
    pub(super) whole_s: i64,
    /// Whether until then it may hold some changes twice.
    pub(super) is_doubted: bool,
    /// Contents whose type it was not told yet.
    pub(super) untold: Vec<Uuid>,
}

/// What a script answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done (of `apply` and `tell`).
    Done,
    /// The window is there and was made from this (of `open`).
    Opened { incarnation: String, base: Option<String>, doubted_us: i64, held: Standing },
    /// There is no such window, or it is to be emptied (of `open`). `replayed_us` is there where it was given up because the
    /// source was replayed: since then the database has lived its present life; 0 where nothing can be said of that.
    Lost { replayed_us: Option<i64> },
    /// Somebody fills it, and has put in so many pieces (of `open`).
    Halfway { incarnation: String, pieces: Offset },
    /// Done (of `tick`).
    Ticked(Ticked),
    /// Call again (of `open`).
    Again,
    /// Nothing done: what is held is not what was expected.
    Held(Standing),
    /// Nothing done: there is no such window, or another incarnation of it.
    Gone,
    /// Nothing done: the window is kept with another length, or by something else.
    Other { length_s: i64, by: String },
}

impl Answer {
    /// Reads a script's answer; `None` is none that a script of ours gives.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Array(items) = value else {
            return None;
        };
        let mut items = items.into_iter();
        let kind: String = redis::from_redis_value(items.next()?).ok()?;
        Some(match kind.as_str() {
            "gone" => Self::Gone,
            "lost" => {
                let mark: String = redis::from_redis_value(items.next()?).ok()?;
                Self::Lost { replayed_us: mark.parse().ok() }
            }
            "halfway" => Self::Halfway {
                incarnation: redis::from_redis_value(items.next()?).ok()?,
                pieces: redis::from_redis_value(items.next()?).ok()?,
            },
            "more" => Self::Again,
            "held" => Self::Held(Standing::read(items)?),
            "other" => Self::Other {
                length_s: redis::from_redis_value(items.next()?).ok()?,
                by: redis::from_redis_value(items.next()?).ok()?,
            },
            "ok" => match items.next() {
                None => Self::Done,
                Some(incarnation) => Self::told(redis::from_redis_value(incarnation).ok()?, items)?,
            },
            _ => return None,
        })
    }

    fn told(incarnation: String, mut items: std::vec::IntoIter<Value>) -> Option<Self> {
        if let [Value::Int(more), ..] = items.as_slice() {
            let more = *more != 0;
            items.next();
            let positions = redis::from_redis_value(items.next()?).ok()?;
            // A content that is no UUID was put there by somebody else: nobody can tell its type.
            let content = |value| Uuid::try_parse(&redis::from_redis_value::<String>(value).ok()?).ok();
            let whole_s = redis::from_redis_value(items.next()?).ok()?;
            let is_doubted = redis::from_redis_value::<i64>(items.next()?).ok()? > 0;
            let untold = items.filter_map(content).collect();
            return Some(Self::Ticked(Ticked { incarnation, more, positions, whole_s, is_doubted, untold }));
        }
        let base: String = redis::from_redis_value(items.next()?).ok()?;
        let base = Some(base).filter(|base| !base.is_empty());
        let doubted_us = redis::from_redis_value(items.next()?).ok()?;
        Some(Self::Opened { incarnation, base, doubted_us, held: Standing::read(items)? })
    }
}

/// Where some partitions stand, in the order in which they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) offsets: Vec<Option<Offset>>,
    pub(super) reached: Vec<Reached>,
}

impl Standing {
    /// Pairs as the hashes hold them, empty where there is none: position, how far the order of the source was followed.
    fn read(mut values: std::vec::IntoIter<Value>) -> Option<Self> {
        let mut standing = Self::default();
        while let Some(offset) = values.next() {
            let offset: String = redis::from_redis_value(offset).ok()?;
            let offset = if offset.is_empty() { None } else { Some(offset.parse().ok()?) };
            let reached: String = redis::from_redis_value(values.next()?).ok()?;
            standing.offsets.push(offset);
            standing.reached.push(Reached::parse(&reached));
        }
        Some(standing)
    }
}
