//! Makes the pictures of the page in `docs/images/`: `cargo test -p webhook-sink --test screenshots -- --ignored`, then
//! `pngquant --ext .png --force docs/images/*.png`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss, reason = "a tool")]

mod browser;
mod common;

use std::{f64::consts::TAU, path::Path, time::Duration};

use browser::Browser;
use common::{Sink, event_with};
use serde_json::{Value, json};
use webhook_protocol::format_instant;
use webhook_sink::clock;

const CONTENTS: [(&str, &str, Option<i64>); 10] = [
    ("Small Hours: Radio After Midnight", "podcast", Some(1835)),
    ("Night Trains of Europe", "video", Some(742)),
    ("The Cables Under the Sea", "podcast", Some(2710)),
    ("Bread and Patience", "podcast", Some(3120)),
    ("How a Lens Is Ground", "video", Some(486)),
    ("The Week in Ports, No. 112", "newsletter", None),
    ("Café Müller at Forty", "video", Some(1265)),
    ("Reading Tide Tables in Four Minutes", "video", Some(240)),
    ("Letters From the Lab: Slow Glass", "newsletter", None),
    ("Sunday Long Read: A Map of Every Bench", "newsletter", Some(660)),
];
const TYPES: [&str; 7] = ["play", "play", "play", "pause", "finish", "click", "play"];
const DEVICES: [&str; 6] = ["ios", "web", "android", "tv", "web", "car"];
const HISTORY: usize = 18_000;

/// Plausible numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn below(&mut self, end: usize) -> usize {
        (0..end).rev().find(|n| self.0 != 0 && self.share(*n, end)).unwrap_or(0)
    }

    fn share(&mut self, n: usize, end: usize) -> bool {
        self.roll() < 1.0 / ((n + 1).min(end) as f64)
    }
}

fn made(dice: &mut Dice, n: usize) -> Value {
    // Popularity falls as one over the rank.
    let rank = ((11.0_f64.powf(dice.roll()) - 1.0).floor()).min(9.0);
    let at = (0..10_u32).find(|at| f64::from(*at) >= rank).unwrap();
    let (title, kind, length) = CONTENTS[usize::try_from(at).unwrap()];
    let event_type = dice.pick(&TYPES);
    let ms = (dice.roll() * 90_000.0).floor();
    let seconds = (event_type != "click").then_some(ms / 1000.0);
    event_with(
        &format!("0190b5a4-7c1e-7abc-8def-{n:012x}"),
        &json!({
            "op": if dice.roll() < 0.06 { "u" } else { "c" }, "id": n, "event_type": event_type,
            "content_id": format!("5b1f0c5e-{at:04}-4a6e-9c1d-0d5a3c7e1001"), "content_title": title,
            "content_type": kind, "length_seconds": length, "device": dice.pick(&DEVICES),
            "duration_ms": seconds.map(|seconds| seconds * 1000.0), "engagement_seconds": seconds,
            "engagement_pct": seconds.zip(length).map(|(seconds, length)| {
                (seconds / f64::from(i32::try_from(length).unwrap()) * 10_000.0).round() / 10_000.0
            }),
            "committed_at": format_instant(clock::now_us() - late_us(dice, 1.0)),
        }),
    )
}

fn late_us(dice: &mut Dice, factor: f64) -> i64 {
    let ms = factor * (5.0 + 6.0 * dice.roll() + 3.0 / (dice.roll() + 0.06));
    whole_us(ms)
}

fn whole_us(ms: f64) -> i64 {
    i64::try_from(Duration::from_secs_f64(ms / 1000.0).as_micros()).unwrap()
}

/// Spreads what is stored over the last ten minutes, in waves.
fn spread(store: &Path, dice: &mut Dice) {
    let mut connection = rusqlite::Connection::open(store).unwrap();
    let transaction = connection.transaction().unwrap();
    let mut last_us = 0;
    let start_us = clock::now_us() - 597_000_000;
    for n in 0..HISTORY {
        let share = n as f64 / HISTORY as f64;
        let wave = (share * TAU * 3.0).sin() / 50.0 + (share * TAU * 11.0).sin() / 400.0;
        let at_us = start_us + whole_us((share + wave).clamp(0.0, 1.0) * 594_000.0);
        // As the store has it: in the order of arrival.
        last_us = at_us.max(last_us) + whole_us(dice.roll() * 4.0);
        let at_us = last_us;
        let factor = if (0.62..0.66).contains(&share) { 6.0 } else { 1.0 };
        let values = [at_us, at_us - late_us(dice, factor), i64::try_from(n).unwrap() + 1];
        transaction
            .execute("UPDATE events SET received_at = ?1, committed_at = ?2 WHERE seq = ?3", values)
            .unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
#[ignore = "makes pictures"]
async fn pictures() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let mut dice = Dice(7);
    let mut sink = Sink::start(&store);
    let all: Vec<Value> = (0..HISTORY).map(|n| made(&mut dice, n)).collect();
    for batch in all.chunks(1_000) {
        sink.post(batch).await;
    }
    sink.post(&all[..14]).await;
    sink.client.post(sink.url("/webhook")).body("unsigned").send().await.unwrap();
    sink.ask_to_stop();
    sink.wait();
    spread(&store, &mut dice);
    let sink = Sink::start(&store);
    let browser = Browser::start(1440, 900).await;
    browser.open(&sink.url("/")).await;
    for n in HISTORY..HISTORY + 160 {
        sink.post(&[made(&mut dice, n)]).await;
        tokio::time::sleep(Duration::from_millis(33)).await;
    }
    browser.until("document.querySelector('#total_events').textContent === '18,160'").await;
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    std::fs::create_dir_all(&images).unwrap();
    for (width, height) in [(1440, 1080), (390, 1900)] {
        browser.resize(width, height).await;
        for scheme in ["light", "dark"] {
            browser.prefer(scheme).await;
            for n in 0..20 {
                sink.post(&[made(
                    &mut dice,
                    HISTORY + 1000 + n + usize::try_from(width).unwrap() * 100 + scheme.len() * 30,
                )])
                .await;
                tokio::time::sleep(Duration::from_millis(33)).await;
            }
            browser.until("document.querySelector('#feed_state').textContent === 'Live'").await;
            let png = browser.screenshot(width, height).await;
            std::fs::write(images.join(format!("dashboard-{width}-{scheme}.png")), png).unwrap();
        }
    }
}
