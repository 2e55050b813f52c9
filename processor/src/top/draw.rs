//! The leaderboards as lines of text that fit a terminal. Pure.

use super::view::{BoardView, Entry, State, View};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rank, seconds and change with what is between them.
const FIGURES: usize = 4 + 2 + 2 + 12 + 1 + 10;
/// A title is cut before it is shorter than this.
const SHORTEST_TITLE: usize = 12;
/// A wider column makes the eye lose its line.
const LONGEST_TITLE: usize = 60;
/// A board's own lines: a blank one, its name, its columns.
const AROUND: usize = 3;

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Heading,
    Plain,
    /// Of less interest.
    Dim,
    Trouble,
}

/// A line, without its end.
pub(super) type Line = (Style, String);

/// The whole view, at most `width` columns wide and `height` lines high.
pub(super) fn lines(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = view.notes.iter().map(|note| (Style::Trouble, note.clone())).collect();
    let free = height.saturating_sub(lines.len());
    let each = (free / view.boards.len().max(1)).saturating_sub(AROUND).max(1);
    for board in &view.boards {
        lines.extend(of_board(board, view.is_live, width, each));
    }
    if lines.len() > height {
        lines.truncate(height.saturating_sub(1));
        let more = "… more leaderboards than fit: make the terminal higher, or name some with --board KEY";
        lines.push((Style::Dim, more.to_owned()));
    }
    lines.truncate(height);
    lines.into_iter().map(|(style, line)| (style, cut(clean(&line).trim_end(), width))).collect()
}

/// The same below a line that says how to leave.
pub(super) fn framed(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut framed = vec![(Style::Dim, "deltafan top · q quits".to_owned())];
    framed.extend(lines(view, width, height.saturating_sub(1)));
    framed.truncate(height);
    framed.into_iter().map(|(style, line)| (style, cut(&line, width))).collect()
}

fn of_board(board: &BoardView, is_live: bool, width: usize, most: usize) -> Vec<Line> {
    let name = format!("{}  the last {}", board.key, board.length);
    let place = format!("  {} › {} at {}", board.pipeline, board.sink, board.redis);
    let mut lines = vec![(Style::Plain, String::new()), (Style::Heading, name + &place)];
    match board.state {
        State::Empty => lines.push((Style::Dim, "   empty: nothing counts in this window".to_owned())),
        State::Unreadable => {
            let why = board.error.as_deref().unwrap_or("it can't be read");
            let again = if is_live { "; trying again" } else { "" };
            lines.push((Style::Trouble, format!("   {why}{again}")));
        }
        State::Ok => {
            let widest = width.saturating_sub(FIGURES).clamp(SHORTEST_TITLE, LONGEST_TITLE);
            let shown = || board.entries.iter().take(most);
            let titles = shown().map(|entry| clean(entry.label()).width()).max().unwrap_or_default();
            let column = titles.clamp(SHORTEST_TITLE, widest);
            let head = format!("   #  {}  {:>12} {:>10}", padded("title", column), "seconds", "change");
            lines.push((Style::Dim, head));
            lines.extend(shown().map(|entry| (Style::Plain, of_entry(entry, column))));
        }
    }
    lines
}

fn of_entry(entry: &Entry, column: usize) -> String {
    let change = match entry.change {
        None if entry.new => "new".to_owned(),
        None | Some(0.0) => String::new(),
        Some(change) => format!("{change:+.1}"),
    };
    let title = padded(&clean(entry.label()), column);
    format!("{:>4}  {title}  {:>12.1} {change:>10}", entry.rank, entry.seconds)
}

impl Entry {
    /// The title, or the member itself: it may be an id whose title is not known, or a plain word.
    fn label(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.member)
    }
}

/// Without what moves the cursor or turns the direction of writing: titles are written by anybody.
fn clean(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harmful(c) { '·' } else { c }).collect()
}

fn padded(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns.saturating_sub(text.width());
    text + &" ".repeat(missing)
}

fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or_default();
        used <= columns
    };
    let kept: String = text.chars().take_while(fits).collect();
    if columns == 0 { String::new() } else { kept + "…" }
}
