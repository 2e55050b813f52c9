//! The same rows are in Redis and at the receiver.

use super::{Attached, SOON};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Measured, check, load};
use anyhow::Result;
use std::collections::BTreeSet;

const ROWS: u32 = 600;

pub async fn run(attached: &Attached) -> Result<Measured> {
    let device = format!("{}-multi-sink", attached.tag);
    let contents: Vec<_> = attached.contents.iter().map(|content| content.id.clone()).collect();
    let lines = load::lines(&contents, ROWS, &device);
    let copied = attached.db.copy(load::COPY, lines).await?;
    check::equal("rows copied", copied, u64::from(ROWS))?;

    let board = attached.board_is_right().await?;
    check::equal("contents in Redis", board.len(), contents.len())?;
    let conditions = format!("device={device}&");
    wait::until("all rows are at the receiver", SOON, async || {
        let events = attached.receiver.page(&conditions).await?.len();
        Ok(seen_if(events >= usize::try_from(ROWS)?, || format!("{events} of {ROWS}")))
    })
    .await?;
    let events = attached.receiver.page(&conditions).await?;
    let rows = attached.db.rows("SELECT id FROM engagement_events WHERE device = $1", &[&device]).await?;
    let expected: BTreeSet<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    check::equal("events at the receiver", events.len(), expected.len())?;
    let ids: BTreeSet<i64> = events.iter().map(|event| event.id).collect();
    check::equal(
        "rows of the table that are at the receiver",
        ids.intersection(&expected).count(),
        expected.len(),
    )?;
    let mut measured = Measured::default();
    let seconds = board.values().sum::<i64>() / 1000;
    measured.add(format!(
        "{ROWS} rows: each once at the receiver, {seconds} s over {} contents in Redis",
        board.len()
    ));
    Ok(measured)
}
