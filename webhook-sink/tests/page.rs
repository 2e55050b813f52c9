//! The page in a real browser: what people see of the real receiver, without a reload.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that surprises shall fail loudly")]

mod browser;
mod common;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use browser::Browser;
use common::{Sink, event, event_with};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// Two browsers at once are slower than one after the other.
static ONE_BROWSER: Mutex<()> = Mutex::const_new(());
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

struct Place {
    browser: Browser,
    sink: Sink,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

async fn open(width: u32) -> Place {
    let turn = ONE_BROWSER.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(&folder.path().join("store.db"));
    let browser = Browser::start(width, 900).await;
    browser.open(&sink.url("/")).await;
    // A reload would forget it.
    browser.run("window.opened = true").await;
    watch_states(&browser).await;
    browser.until("document.querySelector('#feed').dataset.state !== 'connecting'").await;
    Place { browser, sink, folder, _turn: turn }
}

/// Notes every state of the feed from now on in `states`.
async fn watch_states(browser: &Browser) {
    let watch = "const state = document.querySelector('#feed_state'); window.states = []; \
        new MutationObserver(() => window.states.push(state.textContent)).observe(state, {childList: true})";
    browser.run(watch).await;
}

fn titled(id: &str, content: u8, title: &str, changes: &Value) -> Value {
    let content_id = format!("00000000-0000-0000-0000-0000000000{content:02}");
    let mut event = event_with(id, &json!({ "content_id": content_id, "content_title": title }));
    event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    event
}

/// The ids of the devices shown, from the top.
async fn devices(browser: &Browser) -> Vec<String> {
    let cells = browser
        .run("return [...document.querySelectorAll('#events td.device')].map(td => td.textContent)")
        .await;
    serde_json::from_value(cells).unwrap()
}

async fn shows(browser: &Browser, expected: &[&str]) {
    browser.until(&reads("#events td.device", expected)).await;
}

/// That the elements of a selector have these texts, in this order: an expression of the page.
fn reads(css: &str, expected: &[&str]) -> String {
    let texts =
        format!("JSON.stringify([...document.querySelectorAll({})].map(one => one.textContent))", json!(css));
    format!("{texts} === {}", json!(json!(expected).to_string()))
}

#[tokio::test]
async fn an_empty_store_shows_the_statement_and_the_first_event_appears_without_a_reload() {
    let Place { browser, sink, .. } = &open(1440).await;
    assert!(browser.sees("#empty").await && !browser.sees("#charts").await);
    assert_eq!(browser.text("#feed_state").await, "Idle");
    let statement = browser.text("#sql").await;
    let flat = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        include_str!("../../quick_start.sh").contains(&flat),
        "the statement is not the known one: {flat}"
    );
    let granted = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.cdp("Browser.grantPermissions", granted).await;
    browser.click("#copy").await;
    browser.until("document.querySelector('#copied').textContent === 'Copied.'").await;
    assert_eq!(browser.run("return navigator.clipboard.readText()").await, statement.as_str());
    // Where browsers know only the old way.
    browser
        .run("document.querySelector('#copied').textContent = ''; return navigator.clipboard.writeText('-')")
        .await;
    browser.run("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))").await;
    browser.click("#copy").await;
    browser.until("document.querySelector('#copied').textContent === 'Copied.'").await;
    assert_eq!(browser.run("return navigator.clipboard.readText()").await, statement.as_str());

    sink.post(&[event_with("a", &json!({"device": "readme-test"}))]).await;
    shows(browser, &["readme-test"]).await;
    assert!(!browser.sees("#empty").await && browser.sees("#charts").await);
    browser.until("window.states.includes('Live')").await;
    assert_eq!(browser.run("return window.opened").await, true, "it was not loaded again");
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn figures_leaders_and_charts_follow_what_arrives() {
    let Place { browser, sink, .. } = &open(1440).await;
    let odd = "<img src=x onerror=alert(1)> & \"Ünï\"";
    sink.post(&[
        titled("a", 1, "Night Trains", &json!({})),
        titled("b", 1, "Night Trains", &json!({"op": "u"})),
        titled("c", 2, odd, &json!({"content_type": null, "engagement_pct": null})),
        titled("a", 1, "Night Trains", &json!({})),
        json!(7),
    ])
    .await;
    sink.client.post(sink.url("/webhook")).body("unsigned").send().await.unwrap();
    for (id, text) in
        [("total_events", "3"), ("duplicates", "1"), ("rejected", "1"), ("invalid_signatures", "1")]
    {
        browser.until(&format!("document.querySelector('#{id}').textContent === '{text}'")).await;
    }
    // A title is text, whatever it holds.
    browser.until(&reads("#top .name", &["Night Trains", odd])).await;
    // The table is asked for after the figures are shown.
    browser.until(&reads("#events .name", &[odd, "Night Trains", "Night Trains"])).await;
    browser.until(&reads("#events tr:nth-child(2) .op", &["updated"])).await;
    browser.until("document.querySelectorAll('.uplot canvas').length === 2").await;
    browser.until("document.querySelector('#rate_at').textContent !== '–'").await;
    let drawn = "[...document.querySelectorAll('#rate_chart canvas')].some(c => \
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value > 0))";
    browser.until(drawn).await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn filters_show_what_matches_now_and_later_and_are_remembered() {
    let Place { browser, sink, .. } = &open(1440).await;
    sink.post(&[
        titled("a", 1, "Night Trains", &json!({"device": "tv"})),
        titled("b", 2, "Tide Tables", &json!({"device": "ios", "event_type": "click"})),
        titled("c", 1, "Night Trains", &json!({"device": "ios-2", "event_type": "click"})),
    ])
    .await;
    shows(browser, &["ios-2", "ios", "tv"]).await;
    browser.keys("#event_type", "click").await;
    shows(browser, &["ios-2", "ios"]).await;
    assert_eq!(browser.text("#found").await, "2 found");
    sink.post(&[titled("d", 2, "Tide Tables", &json!({"device": "web", "event_type": "click"})), event("e")])
        .await;
    shows(browser, &["web", "ios-2", "ios"]).await;
    browser.keys("#content", &format!("Tide Tables{ENTER}")).await;
    shows(browser, &["web", "ios"]).await;
    browser.keys("#device", &format!("web{ENTER}")).await;
    shows(browser, &["web"]).await;
    browser.reload().await;
    browser.until("document.querySelector('#events')?.rows.length > 0").await;
    assert_eq!(devices(browser).await, ["web"], "the address remembers the filters");
    browser.click("#clear").await;
    shows(browser, &["ios", "web", "ios-2", "ios", "tv"]).await;
    browser.click("#top li:nth-child(1) button").await;
    let top = browser.text("#top li:nth-child(1) .name").await;
    browser.until(&format!("document.querySelector('#content').value === {}", json!(top))).await;
    browser.until("document.querySelector('#events').rows.length === 2").await;
    browser.click("#clear").await;
    browser.keys("#device", &format!("nobody{ENTER}")).await;
    browser.until("document.querySelector('#no_events').checkVisibility()").await;
    assert_eq!(browser.text("#found").await, "no match");
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn since_hides_what_is_older_also_as_time_passes() {
    let Place { browser, sink, .. } = &open(1440).await;
    sink.post(&[event_with("a", &json!({"device": "old"}))]).await;
    shows(browser, &["old"]).await;
    browser.keys("#since", "last hour").await;
    browser.until("location.search === '?since=3600'").await;
    sink.post(&[event_with("b", &json!({"device": "new"}))]).await;
    shows(browser, &["new", "old"]).await;
    // An hour is long for a test: the choice becomes a second, and nobody touches the page.
    browser.run("document.querySelector('#since').selectedOptions[0].value = '1'").await;
    browser.until("document.querySelector('#no_events').checkVisibility()").await;
    browser.click("#clear").await;
    shows(browser, &["new", "old"]).await;
}

#[tokio::test]
async fn paused_the_table_stands_still_and_then_catches_up() {
    let Place { browser, sink, .. } = &open(1440).await;
    sink.post(&[event_with("a", &json!({"device": "first"}))]).await;
    shows(browser, &["first"]).await;
    browser.click("#pause").await;
    sink.post(&[event_with("b", &json!({"device": "second"}))]).await;
    browser.until("document.querySelector('#total_events').textContent === '2'").await;
    assert_eq!(devices(browser).await, ["first"]);
    browser.click("#pause").await;
    shows(browser, &["second", "first"]).await;
}

#[tokio::test]
async fn two_thousand_events_a_second_are_shown_without_asking_more_often() {
    let Place { browser, sink, .. } = &open(1440).await;
    let watch = "window.long = []; window.frames_seen = 0; \
        new PerformanceObserver(list => window.long.push(...list.getEntries().map(one => Math.round(one.duration)))) \
            .observe({type: 'longtask', buffered: false}); \
        const frame = () => { window.frames_seen += 1; requestAnimationFrame(frame); }; frame(); \
        performance.setResourceTimingBufferSize(10000); performance.clearResourceTimings();";
    browser.run(watch).await;
    let started = Instant::now();
    let (rounds, per_batch) = (100, 200);
    for round in 0..rounds {
        let batch: Vec<Value> = (0..per_batch)
            .map(|n| {
                titled(
                    &format!("{round}-{n}"),
                    n % 10,
                    &format!("Title {}", n % 10),
                    &json!({"device": format!("d{round}")}),
                )
            })
            .collect();
        assert_eq!(sink.post(&batch).await.1["accepted"], per_batch);
        let due = started + Duration::from_millis(100) * (round + 1);
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
    }
    let took_ms = started.elapsed().as_millis();
    browser.until("document.querySelector('#total_events').textContent === '20,000'").await;
    shows(browser, &["d99"; 50]).await;
    let seen = browser
        .run("return [performance.getEntriesByType('resource').length, window.frames_seen, window.long.length, Math.max(0, ...window.long), performance.now()]")
        .await;
    // Each look is at most two requests, and the next comes half a second later at the earliest.
    let most = 2 * (started.elapsed().as_millis() / 500 + 2);
    assert!(u128::from(seen[0].as_u64().unwrap()) <= most, "{seen} requests, {most} are allowed");
    assert!(seen[1].as_u64().unwrap() > 0, "frames are painted");
    println!("20,000 events in {took_ms} ms: requests, frames, long tasks, longest in ms: {seen}");
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_receivers_restart_is_shown_and_survived() {
    let mut place = open(1440).await;
    place.sink.post(&[event_with("a", &json!({"device": "before"}))]).await;
    shows(&place.browser, &["before"]).await;
    let address = place.sink.address.clone();
    place.sink.kill();
    place.browser.until("document.querySelector('#feed_state').textContent === 'Reconnecting'").await;
    watch_states(&place.browser).await;
    let binary = Command::new(env!("CARGO_BIN_EXE_webhook-sink"));
    place.sink = Sink::start_at(binary, &place.folder.path().join("store.db"), &address);
    place.sink.post(&[event_with("b", &json!({"device": "after"}))]).await;
    shows(&place.browser, &["after", "before"]).await;
    place.browser.until("window.states.includes('Live')").await;
    assert_eq!(place.browser.run("return window.opened").await, true, "it was not loaded again");
    // An emptied store is another one: what was shown is gone.
    place.sink.kill();
    let binary = Command::new(env!("CARGO_BIN_EXE_webhook-sink"));
    place.sink = Sink::start_at(binary, &place.folder.path().join("other.db"), &address);
    place.browser.until("document.querySelector('#empty').checkVisibility()").await;
    place.sink.post(&[event_with("c", &json!({"device": "anew"}))]).await;
    shows(&place.browser, &["anew"]).await;
}

#[tokio::test]
async fn everything_is_reached_and_used_by_keyboard() {
    let Place { browser, sink, .. } = &open(1440).await;
    sink.post(&[event_with("a", &json!({"device": "tv"}))]).await;
    shows(browser, &["tv"]).await;
    // Each is said by a name and seen when it has the focus.
    let look = "const e = document.activeElement; const style = getComputedStyle(e); \
        return [e.id || e.className || e.tagName, \
            !!(e.getAttribute('aria-label') || e.getAttribute('title') || e.textContent.trim() || e.labels?.[0]?.textContent), \
            style.outlineStyle !== 'none' || e.matches('.skip')]";
    let mut reached = Vec::new();
    for _ in 0..30 {
        browser.press(TAB).await;
        let focus = browser.run(look).await;
        if focus[0] == "BODY" || reached.contains(&focus[0]) {
            break;
        }
        assert_eq!((&focus[1], &focus[2]), (&json!(true), &json!(true)), "{focus}");
        reached.push(focus[0].clone());
    }
    let names = json!(reached).to_string();
    for id in ["skip", "theme", "pause", "event_type", "device", "content", "since", "link"] {
        assert!(names.contains(&format!("\"{id}\"")), "{id} is not reached: {names}");
    }
    browser.run("document.querySelector('#events button').focus()").await;
    browser.press(ENTER).await;
    browser.until("document.querySelector('#details').open").await;
    assert!(browser.text("#json").await.contains("\"event_id\": \"a\""));
    browser.press(ESCAPE).await;
    browser.until("!document.querySelector('#details').open").await;
    assert_eq!(browser.run("return document.activeElement.className").await, "link", "the focus is back");
}

#[tokio::test]
async fn the_theme_follows_the_system_until_one_is_chosen() {
    let Place { browser, .. } = &open(1440).await;
    let back = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("light").await;
    let light = browser.run(&format!("return {back}")).await;
    browser.prefer("dark").await;
    browser.until(&format!("{back} !== {light}")).await;
    browser.run("document.querySelector('#theme').focus()").await;
    browser.press(ENTER).await;
    browser.until(&format!("{back} === {light}")).await;
    browser.reload().await;
    browser.until("document.querySelector('#feed').dataset.state === 'idle'").await;
    assert_eq!(browser.run(&format!("return {back}")).await, light, "the choice is kept");
    assert_eq!(
        browser.run("return document.querySelector('#theme').getAttribute('aria-label')").await,
        "Switch to the dark theme"
    );
}

#[tokio::test]
async fn nothing_is_wider_than_a_phone() {
    let Place { browser, sink, .. } = &open(390).await;
    sink.post(&[
        titled(
            "a",
            1,
            &"Long ".repeat(40),
            &json!({"device": "d".repeat(200), "event_type": "t".repeat(60)}),
        ),
        titled("b", 2, &"Unbroken".repeat(20), &json!({})),
    ])
    .await;
    browser.until("document.querySelector('#events').rows.length === 2").await;
    browser.until("document.querySelectorAll('.uplot canvas').length === 2").await;
    for width in [320, 390, 768, 1440] {
        browser.resize(width, 800).await;
        browser.until(&format!("innerWidth === {width}")).await;
        browser.until(&format!("document.scrollingElement.scrollWidth <= {width}")).await;
    }
}

#[tokio::test]
async fn the_first_load_is_small_and_asks_nobody_else() {
    let Place { browser, sink, .. } = &open(1440).await;
    sink.post(&[event("a")]).await;
    shows(browser, &["ios"]).await;
    browser.reload().await;
    browser.until("document.querySelector('#events')?.rows.length === 1").await;
    let loaded = browser
        .run("return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].map(one => [one.name, one.transferSize])")
        .await;
    let loaded: Vec<(String, u64)> = serde_json::from_value(loaded).unwrap();
    assert!(loaded.len() > 8, "{loaded:?}");
    for (name, _) in &loaded {
        assert!(name.starts_with(&sink.url("/")), "{name} is asked");
    }
    let bytes: u64 = loaded.iter().map(|(_, bytes)| bytes).sum();
    assert!((50_000..150_000).contains(&bytes), "{bytes} bytes: {loaded:?}");
    let shown = "return Math.round(performance.getEntriesByName('shown')[0].startTime)";
    let (shown, requests) = (browser.run(shown).await, loaded.len());
    println!(
        "first load: {bytes} bytes, uncompressed, in {requests} requests; figures shown after {shown} ms"
    );
    // The policy is in force, not only in the header.
    let inline = "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s); return !!window.ran";
    assert_eq!(browser.run(inline).await, false);
    let elsewhere = "return fetch('http://127.0.0.1:1/').then(() => 'asked', error => error.name)";
    assert_eq!(browser.run(elsewhere).await, "TypeError");
    let told = browser.console().await;
    assert!(!told.is_empty(), "both were refused by the policy");
    assert!(told.iter().all(|line| line.contains("Content Security Policy")), "{told:?}");
}
