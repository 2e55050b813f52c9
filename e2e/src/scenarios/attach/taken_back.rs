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
    let left: i64 = db
        .value(
            "SELECT (SELECT count(*) FROM engagement_events WHERE starts_with(device, $1)) \
                  + (SELECT count(*) FROM content WHERE starts_with(slug, $1))",
            &[&attached.tag],
        )
        .await?;
    check::equal("rows of ours that are left", left, 0)?;
    let mut measured = Measured::default();
    measured.add(format!("{events} events and {contents} contents deleted"));
    let after = attached.count_rows().await?;
    let others: i64 =
        db.value("SELECT count(*) FROM engagement_events WHERE id > $1", &[&attached.last_before]).await?;
    if others == 0 {
        check::equal("rows of engagement_events and content", after, attached.rows_before)?;
        measured.add(format!("{} and {} rows as before", after.0, after.1));
    } else {
        // Somebody else writes: the counts say nothing of us.
        measured.add(format!("nothing of ours is left; {others} rows of others have come meanwhile"));
    }
    Ok(measured)
}
