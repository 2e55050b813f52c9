//! Leaderboards of other members than contents: devices and types of content.

use super::*;

const BY_TYPE: &str = "engagement:10min:types";
const BY_DEVICE: &str = "engagement:10min:devices";

fn boards(server: &Server, feed: &Arc<Feed>) -> Settings {
    let length = Duration::from_secs(600);
    let window = |key: &str, by| Window::new(key, length).expect("a window").by(by);
    let windows = vec![window(BY_TYPE, By::ContentType), window(BY_DEVICE, By::Device)];
    let settings = Settings::new(&server.url(), windows).expect("settings");
    Settings { contents: Arc::clone(feed) as _, ..settings }
}

/// A feed that knows these contents, as videos.
pub(super) fn known(contents: &[u128]) -> Feed {
    let feed = Feed::default();
    contents.iter().for_each(|content| feed.learn(*content, Some("video")));
    feed
}

fn types(shown: &[(String, f64)]) -> Vec<(&str, f64)> {
    shown.iter().map(|(name, score)| (name.as_str(), *score)).collect()
}

#[tokio::test]
async fn devices_are_summed_by_name_whatever_the_content() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&boards(&server, &Arc::default()), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    let image = |content, ms, device| Image { device, ..Image::new(content, 10_000, ms) };
    let events = [
        (None, Some(image(1, 1000, Some(r#""tv""#)))),
        (None, Some(image(2, 500, Some(r#""tv""#)))),
        (None, Some(Image { content: None, ..image(0, 7, Some(r#""t\u00e9l\u00e9""#)) })),
        (None, Some(image(1, 9, Some("5")))),
        (None, Some(image(1, 9, Some("null")))),
        (None, Some(image(1, 9, None))),
        (Some(image(2, 500, Some(r#""tv""#))), Some(image(2, 500, Some(r#""""#)))),
    ];
    let numbered = (0..).zip(events);
    let records: Vec<_> =
        numbered.map(|(offset, (before, after))| Record { offset, before, after }).collect();
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    let seen = shown(&mut redis, BY_DEVICE).await;
    assert_eq!(types(&seen), [("", 0.5), ("5", 0.009), ("tv", 1.0), ("télé", 0.007)]);
    set_clock(&mut redis, 10_601).await;
    drain(&mut ticker).await;
    assert_eq!(shown(&mut redis, BY_DEVICE).await, [], "they leave like any other");
}

/// Devices are as long as their rows say.
#[test]
fn a_write_is_full_at_a_mebibyte_of_names() {
    let long: &'static str = format!(r#""{}""#, "x".repeat(100_000)).leak();
    let image = Image { device: Some(long), ..Image::new(1, 10_000, 1) };
    let mut batch = WindowBatch::new(5000, super::super::encode::Wanted { contents: true, devices: true });
    for offset in 0..11 {
        assert!(!batch.is_full(), "at {offset}");
        push(&mut batch, 0, &Record { offset, before: None, after: Some(image) }).expect("taken");
    }
    assert!(batch.is_full());
    let tail = batch.split_off(1);
    assert!(!batch.is_full() && !tail.is_full(), "each half by its own names");
}

/// Whichever of its bounds it comes to first: members, seconds, or cells.
#[test]
fn a_write_is_full_of_members_of_seconds_and_of_cells() {
    let wanted = super::super::encode::Wanted { contents: true, devices: false };
    let events_of = |contents: i64, seconds: i64| {
        let mut batch = WindowBatch::new(5000, wanted);
        let records = (0..5000_i64).take_while(|offset| {
            let (content, second) =
                (u128::try_from(offset % contents).expect("small"), offset / contents % seconds);
            let is_full = batch.is_full();
            if !is_full {
                push(&mut batch, 0, &insert(*offset, content, 10_000 + second, 1)).expect("taken");
            }
            !is_full
        });
        let taken = records.count();
        let tail = batch.split_off(1);
        assert!(!batch.is_full() && !tail.is_full(), "each half by its own");
        taken
    };
    assert_eq!(events_of(10, 10), 5000, "by its records alone");
    assert_eq!(events_of(10_000, 1), 800);
    assert_eq!(events_of(1, 10_000), 200);
    assert_eq!(events_of(100, 100), 4000);
}

#[tokio::test]
async fn a_type_has_the_sum_of_its_contents_and_a_content_takes_its_sum_along() {
    let (server, feed) = (Server::start(&[]), Arc::new(Feed::default()));
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&boards(&server, &feed), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    feed.learn(1, Some("video"));
    feed.learn(2, Some("podcast"));
    let records = [insert(0, 1, 10_000, 1000), insert(1, 2, 9_999, 200), insert(2, 3, 10_000, 30)];
    assert_eq!(write(&mut sink, 0, 0, &records).await.expect("written"), DURABLE);
    let seen = shown(&mut redis, BY_TYPE).await;
    assert_eq!(types(&seen), [("podcast", 0.2), ("video", 1.0)], "known types count at once");

    feed.learn(3, Some("video"));
    drain(&mut ticker).await;
    let seen = shown(&mut redis, BY_TYPE).await;
    assert_eq!(types(&seen), [("podcast", 0.2), ("video", 1.03)], "a type learnt later");

    feed.learn(1, Some("podcast"));
    drain(&mut ticker).await;
    let seen = shown(&mut redis, BY_TYPE).await;
    assert_eq!(types(&seen), [("podcast", 1.2), ("video", 0.03)], "with no event of it");
    // Taken back after the type changed: from where it is now.
    let gone = Record { offset: 3, before: Some(Image::new(1, 10_000, 1000)), after: None };
    assert_eq!(write(&mut sink, 0, 3, &[gone]).await.expect("written"), DURABLE);
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("podcast", 0.2), ("video", 0.03)]);

    feed.learn(2, None);
    drain(&mut ticker).await;
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("video", 0.03)], "no type, no member");
    set_clock(&mut redis, 10_601).await;
    drain(&mut ticker).await;
    let left: Vec<String> = redis::cmd("KEYS").arg("*types*").query_async(&mut redis).await.expect("keys");
    assert_eq!(left.len(), 2, "positions and meta stay: {left:?}");
}

/// Two instances: the feed of one is behind.
#[tokio::test]
async fn an_older_type_is_passed_over() {
    let (server, feed, behind) = (Server::start(&[]), Arc::new(Feed::default()), Arc::new(Feed::default()));
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&boards(&server, &feed), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    feed.learn(1, Some("video"));
    feed.learn(1, Some("podcast"));
    behind.learn(1, Some("video"));
    assert_eq!(write(&mut sink, 0, 0, &[insert(0, 1, 10_000, 1000)]).await.expect("written"), DURABLE);
    let (mut other, mut other_ticker) = lane(&boards(&server, &behind), 1000);
    drain(&mut other_ticker).await;
    other.positions(&log(), &[0]).await.expect("positions");
    assert_eq!(write(&mut other, 0, 1, &[insert(1, 1, 10_000, 500)]).await.expect("written"), DURABLE);
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("podcast", 1.5)]);
    drain(&mut ticker).await;
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("podcast", 1.5)]);
}

/// A change of type is told while the content has no total, and a write that knew of it not yet comes after: the write of
/// an instance that is behind and then killed, or one that was on its way meanwhile.
#[tokio::test]
async fn an_older_type_that_comes_first_does_not_stay() {
    let (server, feed, behind) = (Server::start(&[]), Arc::new(Feed::default()), Arc::new(Feed::default()));
    let mut redis = server.connect().await;
    let (_, mut ticker) = lane(&boards(&server, &feed), 1000);
    let (mut sink, _) = lane(&boards(&server, &behind), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    feed.learn(1, Some("video"));
    behind.learn(1, Some("video"));
    feed.learn(1, Some("podcast"));
    drain(&mut ticker).await;
    assert_eq!(write(&mut sink, 0, 0, &[insert(0, 1, 10_000, 1000)]).await.expect("written"), DURABLE);
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("video", 1.0)], "as the write knows it");
    drain(&mut ticker).await;
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("podcast", 1.0)]);
}

/// Redis came back as it was before it was told: it is told again.
#[tokio::test]
async fn a_redis_that_went_back_learns_the_types_anew() {
    let (mut server, feed) = (Server::start(&["--appendonly", "no"]), Arc::new(Feed::default()));
    let mut redis = server.connect().await;
    let (mut sink, mut ticker) = lane(&boards(&server, &feed), 1000);
    set_clock(&mut redis, 10_000).await;
    sink.positions(&log(), &[0]).await.expect("positions");
    feed.learn(1, Some("video"));
    assert_eq!(write(&mut sink, 0, 0, &[insert(0, 1, 10_000, 1000)]).await.expect("written"), DURABLE);
    redis::cmd("SAVE").exec_async(&mut redis).await.expect("saved");
    feed.learn(1, Some("podcast"));
    drain(&mut ticker).await;
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("podcast", 1.0)]);
    server.kill();
    server.restart();
    let mut redis = server.connect().await;
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("video", 1.0)], "as it was saved");
    ticker.tick().await.expect_err("the connection broke");
    drain(&mut ticker).await;
    assert_eq!(types(&shown(&mut redis, BY_TYPE).await), [("podcast", 1.0)]);
}

#[tokio::test]
async fn a_window_of_other_members_is_not_taken_for_this_one() {
    let server = Server::start(&[]);
    let was = settings(&server, &[(BY_TYPE, 600)]);
    lane(&was, 1).0.positions(&log(), &[0]).await.expect("positions");
    let is = boards(&server, &Arc::default());
    let refused = lane(&is, 1).0.positions(&log(), &[0]).await.expect_err("kept by content");
    let said =
        "is kept there with a length of 600 s, by content; the configuration says 600 s, by content_type";
    assert!(refused.message.contains(said), "{refused}");
}
