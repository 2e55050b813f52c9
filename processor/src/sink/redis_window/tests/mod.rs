//! The sink against a real Redis.

mod boards;
mod faults;
mod model;
mod moved;
mod once;
mod past;
mod reading;
mod replayed;
mod server;
mod speed;
mod stories;
mod window;

use super::encode::WindowBatch;
use super::script::Scripts;
use super::{By, Contents, Learnt, RedisWindow, Settings, Standing, Ticker, Window};
use crate::decode::row::EngagementRow;
use crate::decode::timestamp::Timestamp;
use crate::decode::{Op, Source};
use crate::position::{LogId, Offset, Partition, Positions, Reset, Spans};
use crate::sink::{Batch, Event, Refusal, Sink, SinkError, Write, Written};
use crate::transform::{Content, Transformed};
use redis::aio::MultiplexedConnection;
use server::Server;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// A clock that is set by a key, where it is there.
const CLOCK: &str = "local function time()
    return tonumber(redis.call('GET', 'test:clock') or redis.call('TIME')[1])
end
";

const EDITED_CLOCK: (&str, &str) = (include_str!("../lua/clock.lua"), CLOCK);

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::with(&[EDITED_CLOCK]));

fn log() -> LogId {
    LogId::new("cluster", "topic")
}

fn settings(server: &Server, windows: &[(&str, u64)]) -> Settings {
    let window =
        |(key, length): &(&str, u64)| Window::new(*key, Duration::from_secs(*length)).expect("a window");
    Settings::new(&server.url(), windows.iter().map(window).collect()).expect("settings")
}

/// Contents as a feed learns them, in the hands of a test.
#[derive(Default)]
struct Feed(Mutex<Vec<Learnt>>);

impl Feed {
    /// A content gets a type, or loses it; the version grows.
    fn learn(&self, content: u128, content_type: Option<&str>) {
        let mut learnt = self.0.lock().expect("not poisoned");
        let seen = learnt.last().map_or(1, |last| last.seen + 1);
        let content_type = content_type.map(Into::into);
        let is = Content { content_type, version: Some(100 + seen), ..Content::default() };
        learnt.push(Learnt { seen, id: Uuid::from_u128(content), content: Arc::new(is) });
    }
}

impl Contents for Feed {
    fn get(&self, id: Uuid) -> Option<Arc<Content>> {
        let learnt = self.0.lock().expect("not poisoned");
        learnt.iter().rfind(|learnt| learnt.id == id).map(|learnt| Arc::clone(&learnt.content))
    }

    fn learnt_after(&self, seen: u64, limit: usize) -> Vec<Learnt> {
        let learnt = self.0.lock().expect("not poisoned");
        learnt.iter().filter(|learnt| learnt.seen > seen).take(limit).cloned().collect()
    }
}

/// A sink and a ticker that look at the test's clock.
fn lane(settings: &Settings, budget: u32) -> (RedisWindow, Ticker) {
    lane_with(settings, budget, &SCRIPTS)
}

fn lane_with(settings: &Settings, budget: u32, scripts: &'static Scripts) -> (RedisWindow, Ticker) {
    let (ticker, seen) = Ticker::with(settings, scripts, budget);
    (RedisWindow::with(settings, seen, scripts), ticker)
}

/// The cells of a bucket, pack by pack.
async fn cells_of(redis: &mut MultiplexedConnection, bucket: &str) -> Vec<Vec<(String, i64)>> {
    const READ: &str = "local packs = redis.call('LRANGE', KEYS[1], 0, -1)
        for i, pack in ipairs(packs) do packs[i] = cmsgpack.unpack(pack) end
        return packs";
    redis::cmd("EVAL").arg(READ).arg(1).arg(bucket).query_async(redis).await.expect("packs")
}

async fn set_clock(redis: &mut MultiplexedConnection, second: i64) {
    redis::cmd("SET").arg("test:clock").arg(second).exec_async(redis).await.expect("set");
}

/// One image of a row, as far as a window cares.
#[derive(Debug, Clone, Copy)]
struct Image {
    content: Option<u128>,
    ts: Option<Timestamp>,
    ms: Option<i64>,
    /// As JSON.
    device: Option<&'static str>,
}

impl Image {
    fn new(content: u128, second: i64, ms: i64) -> Self {
        let ts = Some(Timestamp::At { secs: second, micros: 123_456 });
        Self { content: Some(content), ts, ms: Some(ms), device: None }
    }

    fn row(self) -> EngagementRow<'static> {
        EngagementRow {
            json: "{}",
            id: 1,
            content_id: self.content.map(Uuid::from_u128),
            event_ts: self.ts,
            has_event_ts: true,
            duration_ms: self.ms,
            device: self.device,
            clashes: false,
        }
    }
}

/// A record of the log: what it says was before and is after.
#[derive(Debug, Clone, Copy)]
struct Record {
    offset: Offset,
    before: Option<Image>,
    after: Option<Image>,
}

fn insert(offset: Offset, content: u128, second: i64, ms: i64) -> Record {
    Record { offset, before: None, after: Some(Image::new(content, second, ms)) }
}

fn push(batch: &mut WindowBatch, partition: Partition, record: &Record) -> Result<(), Refusal> {
    let op = match (record.before, record.after) {
        (None, _) => Op::Create,
        (Some(_), Some(_)) => Op::Update,
        (Some(_), None) => Op::Delete,
    };
    let text = Cow::Borrowed("x");
    let source = Source {
        db: text.clone(),
        schema: text.clone(),
        table: text,
        lsn: 1,
        tx_id: Some(1),
        place: None,
        committed_us: 1,
    };
    let (before, after) = (record.before.map(Image::row), record.after.map(Image::row));
    let change = Transformed { op, source, before, after };
    batch.push(&Event { partition, offset: record.offset, change: &change, content: None })
}

/// Writes records of one partition from a position on.
async fn write(
    sink: &mut RedisWindow,
    partition: Partition,
    from: Offset,
    records: &[Record],
) -> Result<Written, SinkError> {
    let (mut spans, mut batch) = (Spans::default(), sink.batch());
    for record in records {
        spans.extend(partition, from, record.offset);
        push(&mut batch, partition, record).expect("taken");
    }
    sink.write(Write { log: &log(), spans: &spans, batch: &batch }).await
}

const DURABLE: Written = Written::Durable { rejected: Vec::new() };

/// What clients see, by name.
async fn shown(redis: &mut MultiplexedConnection, key: &str) -> Vec<(String, f64)> {
    let call = redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES").query_async(redis).await;
    let mut members: Vec<(String, f64)> = call.expect("a sorted set");
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    members
}

/// What clients see, by number of content.
async fn board(redis: &mut MultiplexedConnection, key: &str) -> Vec<(u128, f64)> {
    let number = |member: &str| Uuid::try_parse(member).expect("a UUID").as_u128();
    shown(redis, key).await.iter().map(|(member, score)| (number(member), *score)).collect()
}

async fn drain(ticker: &mut Ticker) {
    while ticker.tick().await.expect("a tick") {}
}

fn at(positions: &[(Partition, Offset)]) -> crate::position::Held {
    crate::position::Held::At(positions.iter().copied().collect::<Positions>())
}
