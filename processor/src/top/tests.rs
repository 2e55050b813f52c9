//! What is shown, from readings as Redis gives them.

use super::boards::{self, Board};
use super::draw::{self, Style};
use super::read::Away;
use super::screen;
use super::view::{Before, BoardView, State, View};
use crate::config;
use proptest::prelude::*;
use std::collections::HashMap;
use unicode_width::UnicodeWidthStr;

const CONTENT: &str = "5b1f0c5e-0001-4a6e-9c1d-0d5a3c7e1001";

fn board() -> Board {
    Board {
        pipeline: "engagement".to_owned(),
        sink: "redis".to_owned(),
        key: "engagement:10min".to_owned(),
        length: "10min".to_owned(),
        length_seconds: 600,
    }
}

fn members(of: &[(&str, f64)]) -> Vec<(String, f64)> {
    of.iter().map(|(member, seconds)| ((*member).to_owned(), *seconds)).collect()
}

fn shown(before: &mut Before, of: &[(&str, f64)]) -> BoardView {
    before.board("localhost:6379", &board(), Ok(members(of)), |member| {
        (member == CONTENT).then(|| "The Cables Under the Sea".to_owned())
    })
}

fn view(boards: Vec<BoardView>) -> View {
    View { at_unix_ms: 1, boards, notes: Vec::new(), is_live: true }
}

fn text(view: &View, width: usize, height: usize) -> String {
    draw::lines(view, width, height).into_iter().map(|(_, line)| line + "\n").collect()
}

#[test]
fn ranks_titles_and_changes() {
    let mut before = Before::default();
    let first = shown(&mut before, &[(CONTENT, 7.9 + 0.1 + 0.2), ("web", 3.0)]);
    assert_eq!((first.entries[0].seconds, first.entries[0].change), (8.2, None), "whole milliseconds");
    assert_eq!(first.entries[1].title, None, "a word is its own label");
    assert!(!first.entries[0].new, "of what was before nothing is known");
    let second = shown(&mut before, &[("web", 5.5), (CONTENT, 8.2), ("tv", 0.25)]);
    let changes: Vec<_> = second.entries.iter().map(|entry| (entry.rank, entry.change)).collect();
    assert!(second.entries[2].new && !second.entries[1].new);
    assert_eq!(changes, [(1, Some(2.5)), (2, Some(0.0)), (3, None)]);

    let text = text(&view(vec![second]), 80, 24);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("engagement:10min") && lines[1].contains("10min"), "{text}");
    assert!(lines[3].contains("1  web ") && lines[3].contains("5.5") && lines[3].contains("+2.5"), "{text}");
    assert!(lines[4].contains("2  The Cables Under the Sea ") && !lines[4].contains("+0"), "{text}");
    assert!(lines[5].contains("3  tv ") && lines[5].contains("new"), "{text}");
}

#[test]
fn a_board_that_is_away_keeps_what_was_before() {
    let mut before = Before::default();
    shown(&mut before, &[(CONTENT, 8.0)]);
    let away = Away { cause: "connection refused".to_owned(), needs_action: false };
    let gone = before.board("localhost:6379", &board(), Err(away), |_| None);
    assert_eq!(gone.state, State::Unreadable);
    assert!(text(&view(vec![gone]), 80, 24).contains("connection refused; trying again"));
    assert_eq!(shown(&mut before, &[(CONTENT, 9.0)]).entries[0].change, Some(1.0));
}

#[test]
fn a_missing_key_is_empty() {
    let empty = shown(&mut Before::default(), &[]);
    assert_eq!(empty.state, State::Empty);
    assert!(text(&view(vec![empty]), 80, 24).contains("empty"));
}

#[test]
fn boards_of_one_key_on_two_servers_are_two() {
    let mut before = Before::default();
    before.board("one:6379", &board(), Ok(members(&[("web", 1.0)])), |_| None);
    let other = before.board("other:6379", &board(), Ok(members(&[("web", 5.0)])), |_| None);
    assert_eq!(other.entries[0].change, None);
}

#[test]
fn what_does_not_fit_is_told() {
    let full = || shown(&mut Before::default(), &[("a", 3.0), ("b", 2.0), ("c", 1.0)]);
    let lines = draw::lines(&view((0..9).map(|_| full()).collect()), 80, 10);
    assert_eq!(lines.len(), 10);
    assert!(lines[9].0 == Style::Dim && lines[9].1.contains("more leaderboards"), "{:?}", lines[9]);
}

#[test]
fn the_boards_of_the_default_configuration() {
    let env = |name: &str| {
        (name == "WEBHOOK_SECRET").then(|| "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned())
    };
    let config = config::load(None, &env).unwrap();
    let servers = boards::servers(&config, &[]).unwrap();
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].address, "127.0.0.1:6379");
    assert!(servers[0].boards.contains(&board()), "{:?}", servers[0].boards);
    let only = boards::servers(&config, &["engagement:10min".to_owned()]).unwrap();
    assert_eq!(only[0].boards, [board()]);
    let Err(unknown) = boards::servers(&config, &["engagement:10m".to_owned()]) else { panic!("found") };
    assert!(unknown.needs_action() && unknown.to_string().contains("engagement:10min"), "{unknown}");
}

#[test]
fn a_full_line_keeps_its_last_character() {
    let lines = [(Style::Plain, "one".to_owned()), (Style::Trouble, "other".to_owned())];
    for is_coloured in [false, true] {
        let mut out = Vec::new();
        screen::put(&mut out, &lines, is_coloured, 24).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.matches("\u{1b}[K").count(), lines.len(), "what stood there before goes: {out:?}");
        for (at, _) in out.match_indices("\u{1b}[K") {
            assert!(out[..at].ends_with('H'), "cleared where the cursor was not put: {out:?}");
        }
    }
}

proptest! {
    /// Titles are anybody's text: none makes a line too wide, moves the cursor or turns the writing round.
    #[test]
    fn everything_fits(
        titles in proptest::collection::vec("\\PC{0,80}|[\u{0}-\u{1f}\u{202e}漢🎧é]{0,80}", 0..30),
        width in 0usize..140,
        height in 0usize..60,
    ) {
        let titles: HashMap<String, String> =
            (0..).map(|i: u32| i.to_string()).zip(titles).collect();
        let members = titles.keys().map(|member| (member.clone(), 1234.5)).collect();
        let full = Before::default().board("localhost:6379", &board(), Ok(members), |member| titles.get(member).cloned());
        let cause: String = titles.into_values().collect();
        let away = Away { cause: cause.clone(), needs_action: false };
        let away = Before::default().board("localhost:6379", &board(), Err(away), |_| None);
        let view = View { notes: vec![cause], ..view(vec![full, away]) };
        let (lines, framed) = (draw::lines(&view, width, height), draw::framed(&view, width, height));
        prop_assert!(lines.len() <= height && framed.len() <= height);
        for (_, line) in lines.into_iter().chain(framed) {
            prop_assert!(line.width() <= width, "{} columns of {width}: {line:?}", line.width());
            prop_assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
    }

    #[test]
    fn a_change_is_the_difference(steps in proptest::collection::vec((0u32..5, -5_000_000i32..5_000_000), 1..60)) {
        let mut before = Before::default();
        let mut last: HashMap<String, i32> = HashMap::new();
        for step in steps.chunks(3) {
            let now: HashMap<String, i32> = step.iter().map(|(member, ms)| (member.to_string(), *ms)).collect();
            let reading = now.iter().map(|(member, ms)| (member.clone(), f64::from(*ms) / 1000.0)).collect();
            for entry in before.board("localhost:6379", &board(), Ok(reading), |_| None).entries {
                let expected = last.get(&entry.member).map(|before| f64::from(now[&entry.member] - before) / 1000.0);
                prop_assert_eq!(entry.change, expected);
            }
            last = now;
        }
    }
}
