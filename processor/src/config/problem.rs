//! What is wrong with a configuration, told so that a person can mend it: the place, the key, the fault, the remedy.
//!
//! An excerpt shows keys and the one value it is about, never another value: a secret may stand beside the mistake.

use std::fmt;

/// Longer lines are cut in excerpts: a terminal shows no more, and a pasted certificate helps nobody.
const EXCERPT_CHARS: usize = 100;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) path: String,
    pub(super) what: String,
    pub(super) remedy: String,
    pub(super) excerpt: Option<Excerpt>,
}

/// The line of the file that a problem is in, with other values than its own blanked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    /// Characters before the caret.
    pub(super) offset: usize,
    /// How many characters the caret underlines, at least one.
    pub(super) width: usize,
}

impl Problem {
    /// The line in the file, from 1; 0 where the problem is the file itself.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1; 0 where the problem is the file itself.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// The path of the key, such as `pipelines.engagement.sinks.redis.windows[0].key`; empty for the file as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// A problem with the file as a whole.
    pub(super) fn of_file(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            line: 0,
            column: 0,
            path: String::new(),
            what: what.into(),
            remedy: remedy.into(),
            excerpt: None,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        write!(f, "{file}")?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        writeln!(f, ": {}", self.what)?;
        if let Some(excerpt) = &self.excerpt {
            excerpt.write(f, self.line)?;
        }
        write!(f, "  = {}", self.remedy)
    }
}

impl Excerpt {
    fn write(&self, f: &mut fmt::Formatter<'_>, line: usize) -> fmt::Result {
        let shown: String = self.text.chars().take(EXCERPT_CHARS).collect();
        writeln!(f, "{line:>5} | {shown}")?;
        if self.offset < EXCERPT_CHARS {
            let width = self.width.clamp(1, EXCERPT_CHARS - self.offset);
            writeln!(f, "      | {}{}", " ".repeat(self.offset), "^".repeat(width))?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file. Never empty; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: String, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| (problem.line, problem.column));
        Self { file, list }
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{count} {noun} in the configuration")?;
        for problem in &self.list {
            write!(f, "\n\n")?;
            problem.write(f, &self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
