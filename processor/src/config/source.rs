//! The text of a configuration and places in it; makes excerpts that show no value but the one they are about.

use std::borrow::Cow;

use saphyr_parser::{Marker, Span};

use super::problem::{Excerpt, Problem};

/// What stands for a value that an excerpt leaves out.
const BLANK: &str = "***";
/// How a webhook secret is recognised wherever it turns up.
pub(super) const SECRET_PREFIX: &str = "whsec_";

/// A stretch of the text: lines from 1, columns in characters from 0, the end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    end_line: usize,
    end_column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 0, end_line: 1, end_column: 1 };

    pub(super) fn at(marker: &Marker) -> Self {
        let (line, column) = (marker.line().max(1), marker.col());
        Self { line, column, end_line: line, end_column: column + 1 }
    }

    /// A stretch within one line.
    pub(super) fn within(line: usize, column: usize, width: usize) -> Self {
        Self { line, column, end_line: line, end_column: column + width }
    }

    fn starts_with(&self, other: &Self) -> bool {
        (self.line, self.column) == (other.line, other.column)
    }

    /// The columns it takes of a line, if it touches it.
    fn columns(&self, line: usize) -> Option<(usize, usize)> {
        if line < self.line || line > self.end_line {
            return None;
        }
        let from = if line == self.line { self.column } else { 0 };
        let to = if line == self.end_line { self.end_column } else { usize::MAX };
        (from < to).then_some((from, to))
    }
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        let start = Self::at(&span.start);
        Self { end_line: span.end.line().max(start.line), end_column: span.end.col(), ..start }
    }
}

/// Whether the value a problem is about may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Value,
    Nothing,
}

/// The text with what is known of its structure.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    /// Where the values stand; nothing is known of a text that is no YAML.
    pub(super) values: Option<Vec<Place>>,
    pub(super) keys: Vec<Place>,
}

impl Source<'_> {
    /// A problem at a place, with its excerpt.
    pub(super) fn problem(&self, place: Place, path: &str, what: &str, remedy: &str, show: Show) -> Problem {
        Problem {
            line: place.line,
            column: place.column + 1,
            path: scrub(path).into_owned(),
            what: scrub(what).into_owned(),
            remedy: scrub(remedy).into_owned(),
            excerpt: self.excerpt(place, show),
        }
    }

    fn excerpt(&self, place: Place, show: Show) -> Option<Excerpt> {
        let line = self.text.lines().nth(place.line.checked_sub(1)?)?;
        let line: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match &self.values {
            Some(values) => Some(self.masked(&line, values, place, show)),
            None => Some(outline(&line, place)),
        }
    }

    /// The line with every value but the shown one blanked, and without its comment.
    fn masked(&self, line: &[char], values: &[Place], place: Place, show: Show) -> Excerpt {
        let hidden = |value: &&Place| show == Show::Nothing || !value.starts_with(&place);
        let spans: Vec<(usize, usize)> =
            values.iter().filter(hidden).filter_map(|value| value.columns(place.line)).collect();
        let known = values.iter().chain(&self.keys).filter_map(|span| span.columns(place.line));
        let comment = comment_after(line, known.map(|(_, to)| to).max().unwrap_or(0));
        let (from, to) = place.columns(place.line).unwrap_or((place.column, place.column + 1));
        let (mut text, mut offset, mut end) = (String::new(), 0, 0);
        for (at, c) in line.iter().enumerate().take(comment) {
            if at == from {
                offset = text.chars().count();
            }
            match spans.iter().find(|(from, to)| (*from..*to).contains(&at)) {
                Some((first, _)) if *first == at => text.push_str(BLANK),
                Some(_) => {}
                None => text.push(*c),
            }
            if at < to {
                end = text.chars().count();
            }
        }
        let text = scrub(text.trim_end()).into_owned();
        Excerpt { width: end.saturating_sub(offset).max(1), offset, text }
    }
}

/// Where the comment of a line begins, given the end of its last key or value.
fn comment_after(line: &[char], last: usize) -> usize {
    let comment = line.iter().enumerate().skip(last).find(|(_, c)| **c == '#');
    comment.map_or(line.len(), |(at, _)| at)
}

/// Of a text that is no YAML only the indentation and the first key are sure to be no secret.
fn outline(line: &[char], place: Place) -> Excerpt {
    let text: String = line.iter().collect();
    let start: usize = text.chars().take_while(|c| matches!(c, ' ' | '-')).count();
    let word: String = text
        .chars()
        .skip(start)
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .collect();
    let is_key = text.chars().nth(start + word.chars().count()) == Some(':');
    let mut shown: String = text.chars().take(start).collect();
    if is_key {
        shown.push_str(&word);
        shown.push_str(": ");
    }
    if shown.chars().count() < text.trim_end().chars().count() {
        shown.push('…');
    }
    let offset = place.column.min(shown.chars().count().saturating_sub(1));
    Excerpt { text: scrub(shown.trim_end()).into_owned(), offset, width: 1 }
}

/// A text without webhook secrets, wherever they were put by mistake.
fn scrub(text: &str) -> Cow<'_, str> {
    if !text.contains(SECRET_PREFIX) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(SECRET_PREFIX);
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let secret = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
        let rest = part.trim_start_matches(secret);
        clean.push_str(SECRET_PREFIX);
        clean.push_str(if rest.len() < part.len() { BLANK } else { "" });
        clean.push_str(rest);
    }
    Cow::Owned(clean)
}
