//! The configuration as it holds, defaults filled in and secrets left out: what `deltafan validate` can print.

use std::{fmt::Display, fmt::Write, net::SocketAddr, num::NonZeroUsize, time::Duration};

use super::{
    collections::{Named, NonEmpty},
    kinds::{Bytes, ms},
    names::{Brokers, Connector, Folder, Name, RedisKey, Topic},
    secret::Secret,
    url::{HttpUrl, PostgresUrl, RedisUrl},
};

/// Something with a printed form that holds no secret.
pub(super) trait Describe {
    fn describe(&self, out: &mut Outline);
}

/// Text being written as YAML, group by group.
#[derive(Debug, Default)]
pub(super) struct Outline {
    text: String,
    depth: usize,
}

impl Outline {
    pub(super) fn entry(&mut self, key: &str, value: &dyn Describe) {
        self.line(format_args!("{key}:"));
        value.describe(self);
    }

    /// An item of a list.
    pub(super) fn item(&mut self, item: impl Display) {
        self.line(format_args!("- {item}"));
    }

    fn line(&mut self, text: impl Display) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&"  ".repeat(self.depth.saturating_sub(1)));
        let _ = write!(self.text, "{text}");
    }

    pub(super) fn group(&mut self, write: impl FnOnce(&mut Self)) {
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    pub(super) fn value(&mut self, value: impl Display) {
        let _ = write!(self.text, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.text + "\n"
    }
}

macro_rules! by_display {
    ($($type:ty),+) => {
        $(impl Describe for $type {
            fn describe(&self, out: &mut Outline) {
                out.value(self);
            }
        })+
    };
}

by_display!(
    bool,
    Bytes,
    Connector,
    HttpUrl,
    Name,
    NonZeroUsize,
    PostgresUrl,
    RedisKey,
    RedisUrl,
    Secret,
    Topic
);

/// An IPv6 address begins with a bracket, which YAML would take for a list; a path may hold anything.
macro_rules! by_quoted_display {
    ($($type:ty),+) => {
        $(impl Describe for $type {
            fn describe(&self, out: &mut Outline) {
                out.value(format_args!("\"{self}\""));
            }
        })+
    };
}

by_quoted_display!(Brokers, Folder, SocketAddr);

impl Describe for Duration {
    fn describe(&self, out: &mut Outline) {
        out.value(ms(*self));
    }
}

impl<T: Describe> Describe for Option<T> {
    fn describe(&self, out: &mut Outline) {
        match self {
            Some(value) => value.describe(out),
            None => out.value("# absent"),
        }
    }
}

impl<T: Describe> Describe for Named<T> {
    fn describe(&self, out: &mut Outline) {
        out.group(|out| self.iter().for_each(|(name, item)| out.entry(name.as_str(), item)));
    }
}

/// A list of single values.
impl<T: Display> Describe for NonEmpty<T> {
    fn describe(&self, out: &mut Outline) {
        let items: Vec<String> = self.iter().map(|item| format!("\"{item}\"")).collect();
        out.value(format_args!("[{}]", items.join(", ")));
    }
}
