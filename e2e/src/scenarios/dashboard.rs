//! A row inserted by SQL appears on the receiver's page without a reload, in a real browser. What else the page does is
//! tested beside it (`webhook-sink/tests/page.rs`).

use crate::harness::browser::Browser;
use crate::harness::db::CONTENT_PREFIX;
use crate::harness::{Bench, Measured, check};
use anyhow::Result;
use std::time::{Duration, Instant};

/// What is promised of a row.
const ON_THE_PAGE: Duration = Duration::from_secs(2);
const LOADED: Duration = Duration::from_secs(20);
/// The first row finds connections and caches cold; the others are measured.
const ROWS: u32 = 10;

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let _processor = bench.processor(&plan).await?;
    let title = format!("{CONTENT_PREFIX}a title");
    let content = bench.db.insert_content(&title, "podcast", Some(1800)).await?;
    let browser = Browser::start(bench).await?;
    browser.open(&format!("http://{}/", receiver.address)).await?;
    browser.until("document.querySelector('#empty')?.checkVisibility()", LOADED).await?;
    browser.value("window.opened = true").await?;
    let mut took_ms = Vec::new();
    for row in 0..=ROWS {
        let device = format!("row-{row}");
        let insert = "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
            VALUES (uuid_generate_v4(), $1::text::uuid, 'play', 8000, $2)";
        bench.db.execute(insert, &[&content, &device]).await?;
        let committed = Instant::now();
        let first = "document.querySelector('#events').rows[0]";
        let within = if row == 0 { LOADED } else { ON_THE_PAGE };
        browser
            .until(&format!("{first}?.querySelector('.device').textContent === '{device}'"), within)
            .await?;
        if row > 0 {
            took_ms.push(committed.elapsed().as_millis());
        }
    }
    took_ms.sort_unstable();
    let shown = browser.value("document.querySelector('#events .name').textContent").await?;
    check::equal("the title on the page", shown.as_str(), Some(title.as_str()))?;
    let opened = browser.value("window.opened").await?;
    check::equal("loaded once", opened.as_bool(), Some(true))?;
    check::no_differences("lines on the console", &browser.console().await?)?;
    let mut measured = Measured::default();
    let (median, worst) = (took_ms.get(took_ms.len() / 2), took_ms.last());
    measured.add(format!(
        "{ROWS} rows on the page without a reload: median {} ms, worst {} ms after the commit",
        median.copied().unwrap_or_default(),
        worst.copied().unwrap_or_default()
    ));
    Ok(measured)
}
