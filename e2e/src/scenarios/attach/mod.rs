//! Scenarios on a pipeline that somebody has started with the default configuration.
//!
//! They work with contents of their own, so that other traffic does not disturb them, and take every row back.

pub mod end_to_end;
pub mod enrichment;
pub mod health;
pub mod latency;
pub mod multi_sink;
pub mod taken_back;

use crate::harness::config::By;
use crate::harness::db::{CONTENT_PREFIX, Db};
use crate::harness::processor::Admin;
use crate::harness::receiver::Remote;
use crate::harness::redis::{Board, Redis};
use crate::harness::wait::{self, Look};
use crate::harness::{Stack, effects};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::time::Duration;

/// The leaderboard of the default configuration.
pub const KEY: &str = "engagement:10min";
/// Its window, in SQL.
pub const INTERVAL: &str = "10 minutes";
/// How long an effect may take to be there; what it takes is measured elsewhere.
pub const SOON: Duration = Duration::from_secs(30);

/// A content of ours.
pub struct Content {
    /// Its key.
    pub id: String,
    /// Its type.
    pub kind: &'static str,
    /// Its length.
    pub length_seconds: Option<i32>,
}

/// The running pipeline, and what we have put into it.
pub struct Attached {
    /// The stack.
    pub stack: Arc<Stack>,
    /// Postgres.
    pub db: Db,
    /// Redis.
    pub redis: Redis,
    /// The receiver.
    pub receiver: Remote,
    /// The processor.
    pub admin: Admin,
    /// What the devices of our rows begin with.
    pub tag: String,
    /// Our contents: one of each type.
    pub contents: Vec<Content>,
    /// Rows of `engagement_events` and `content` that were there before.
    pub rows_before: (i64, i64),
    /// The last row of `engagement_events` before.
    pub last_before: i64,
}

impl Attached {
    /// Finds everything and adds the contents.
    pub async fn begin(stack: Arc<Stack>) -> Result<Self> {
        let db = Db::connect(stack.get("POSTGRES_URL")?).await?;
        let receiver = stack.get("WEBHOOK_URL")?.trim_end_matches("/webhook").to_owned();
        let mut attached = Self {
            redis: Redis::new(stack.get("REDIS_URL")?)?,
            receiver: Remote::new(&receiver)?,
            admin: Admin::new(stack.get("ADMIN_LISTEN")?)?,
            tag: format!("{CONTENT_PREFIX}{:08x}", rand::random::<u32>()),
            contents: Vec::new(),
            rows_before: (0, 0),
            last_before: 0,
            stack,
            db,
        };
        attached.rows_before = attached.count_rows().await?;
        let last = "SELECT coalesce(max(id), 0) FROM engagement_events";
        attached.last_before = attached.db.value(last, &[]).await?;
        for (kind, length_seconds) in [("podcast", Some(1800)), ("video", Some(7)), ("newsletter", None)] {
            let id =
                attached.db.insert_content(&format!("{}-{kind}", attached.tag), kind, length_seconds).await?;
            attached.contents.push(Content { id, kind, length_seconds });
        }
        Ok(attached)
    }

    /// Rows of `engagement_events` and `content`.
    pub async fn count_rows(&self) -> Result<(i64, i64)> {
        let contents = self.db.value("SELECT count(*) FROM content", &[]).await?;
        Ok((self.db.count_events().await?, contents))
    }

    /// The content of type `kind`.
    pub fn content(&self, kind: &str) -> Result<&Content> {
        self.contents
            .iter()
            .find(|content| content.kind == kind)
            .with_context(|| format!("no content of type {kind}"))
    }

    /// Inserts one row; its id.
    pub async fn insert(&self, content: &Content, duration_ms: i32, device: &str) -> Result<i64> {
        ensure!(device.starts_with(&self.tag), "the row of {device} would not be taken back");
        self.db
            .value(
                "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
                 VALUES (uuid_generate_v4(), $1::text::uuid, 'play', $2, $3) RETURNING id",
                &[&content.id, &duration_ms, &device],
            )
            .await
    }

    /// Our part of the leaderboard: `actual` without the members that are not ours.
    pub fn ours(&self, board: Board) -> Board {
        let is_ours = |member: &String| self.contents.iter().any(|content| content.id == *member);
        board.into_iter().filter(|(member, _)| is_ours(member)).collect()
    }

    /// Waits until our part of the leaderboard is what SQL computes.
    pub async fn board_is_right(&self) -> Result<Board> {
        wait::until("our members of the leaderboard equal SQL", SOON, async || {
            let expected = self.ours(effects::board_by_sql(&self.db, INTERVAL, By::Content).await?);
            let actual = self.ours(self.redis.board(KEY).await?);
            Ok(match effects::board_differences(&actual, &expected).first() {
                None => Look::Seen(actual),
                Some(first) => Look::NotYet(first.clone()),
            })
        })
        .await
    }
}
