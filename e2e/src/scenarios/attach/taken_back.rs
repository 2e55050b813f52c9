//! What the others have inserted is deleted, and everything is as it was.

use super::{Attached, KEY, SOON};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Measured, check};
use anyhow::Result;

pub async fn run(attached: &Attached) -> Result<Measured> {
    let db = &attached.db;
    let events =
        db.execute("DELETE FROM engagement_events WHERE starts_with(device, $1)", &[&attached.tag]).await?;
    let contents = db.execute("DELETE FROM content WHERE starts_with(slug, $1)", &[&attached.tag]).await?;
    check::equal("contents taken back", contents, u64::try_from(attached.contents.len())?)?;
    wait::until("nothing of ours is in Redis", SOON, async || {
        let left = attached.ours(attached.redis.board(KEY).await?);
        Ok(seen_if(left.is_empty(), || format!("{left:?}")))
    })
    .await?;
    let after = attached.count_rows().await?;
    check::equal("rows of engagement_events and content", after, attached.rows_before)?;
    let mut measured = Measured::default();
    measured.add(format!(
        "{events} events and {contents} contents deleted; {} and {} rows as before",
        after.0, after.1
    ));
    Ok(measured)
}
