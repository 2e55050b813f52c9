//! Reads a group of keys: each key is declared once, with name, type, default and meaning, and every mistake is kept.
//!
//! The accessors answer `None` after they have noted a problem, so that reading goes on and one run tells all.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use super::{
    interpolate::Env,
    kinds::{Fault, Kind},
    problem::Problem,
    scalar,
    source::{Place, Show, Source},
    suggest::nearest,
    yaml::{Entry, Node, Value},
};

/// One key of the configuration as the reference lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Where it stands, with `<name>` for names that users choose: `pipelines.<name>.topic`.
    pub path: String,
    /// What its value looks like, such as `a duration, as 500ms, 10s, 10min or 1h`.
    pub kind: String,
    /// What holds where the key is absent; `None` where it must be given.
    pub default: Option<String>,
    /// What it means.
    pub doc: String,
}

/// What all sections of one file share.
pub(super) struct Reader<'a> {
    pub(super) env: Env<'a>,
    pub(super) source: &'a Source<'a>,
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) declared: RefCell<Vec<Declaration>>,
    /// Things that only one key may name, with the path of the key that does.
    claims: RefCell<BTreeMap<String, String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: Env<'a>, source: &'a Source<'a>) -> Self {
        Self {
            env,
            source,
            problems: RefCell::default(),
            declared: RefCell::default(),
            claims: RefCell::default(),
        }
    }

    pub(super) fn report(&self, place: Place, path: &str, (what, remedy): (&str, &str), show: Show) {
        self.problems.borrow_mut().push(self.source.problem(place, path, what, remedy, show));
    }

    /// Takes a thing for a key; the path of the key that has it already, if one has.
    pub(super) fn claim(&self, thing: String, path: &str) -> Option<String> {
        let mut claims = self.claims.borrow_mut();
        let owner = claims.get(&thing).cloned();
        claims.entry(thing).or_insert_with(|| path.to_owned());
        owner
    }

    /// A scalar read without noting anything.
    pub(super) fn peek<K: Kind>(&self, node: &Node, kind: &K) -> Option<K::Value> {
        scalar::read(node, kind, self.env).ok()
    }

    /// A scalar, its variables put in and its text parsed.
    pub(super) fn scalar<K: Kind>(&self, node: &Node, path: &str, kind: &K) -> Option<K::Value> {
        let show = if kind.secret() { Show::Nothing } else { Show::Value };
        let note = |fault: &Fault| self.report(node.place, path, (&fault.what, &fault.remedy), show);
        scalar::read(node, kind, self.env).map_err(|faults| faults.iter().for_each(note)).ok()
    }
}

/// A group of keys being read.
pub(super) struct Section<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) entries: &'r [Entry],
    /// Where it stands: its key, or itself in a list.
    pub(super) place: Place,
    pub(super) path: String,
    /// The path with `<name>` for names that users choose.
    pattern: RefCell<String>,
    known: RefCell<Vec<&'static str>>,
    excused: Cell<bool>,
}

impl<'r> Section<'r> {
    /// A section over a node; a missing one reads as an empty one, so that what is missing in it is named key by key.
    pub(super) fn open(
        reader: &'r Reader<'r>,
        node: Option<&'r Node>,
        place: Place,
        path: String,
        pattern: String,
    ) -> Option<Self> {
        let entries = match node.map(|node| (&node.value, node.place)) {
            None | Some((Value::Null, _)) => &[][..],
            Some((Value::Mapping(entries), _)) => entries,
            Some((Value::Refused, _)) => return None,
            Some((other, at)) => {
                let what = format!("is {}, wanted is a group of keys", other.noun());
                reader.report(
                    at,
                    &path,
                    (&what, "write the keys below it, indented, each as `key: value`"),
                    Show::Nothing,
                );
                return None;
            }
        };
        let section = Self {
            reader,
            entries,
            place,
            path,
            pattern: RefCell::new(pattern),
            known: RefCell::default(),
            excused: Cell::new(false),
        };
        section.report_duplicates();
        Some(section)
    }

    fn report_duplicates(&self) {
        for (i, entry) in self.entries.iter().enumerate() {
            if let Some(first) = self.entries.iter().take(i).find(|earlier| earlier.key == entry.key) {
                let what = format!("is given twice, first in line {}", first.place.line);
                self.report(entry.place, &self.child(&entry.key), &what, "keep one of the two");
            }
        }
    }

    pub(super) fn report(&self, place: Place, path: &str, what: &str, remedy: &str) {
        self.reader.report(place, path, (what, remedy), Show::Value);
    }

    /// The path of a key of this section.
    pub(super) fn child(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The same for the reference.
    pub(super) fn pattern(&self, key: &str) -> String {
        join(&self.pattern.borrow(), key)
    }

    /// From here on the reference says of which type of thing the keys are: the last `<name>` becomes `<type>`.
    pub(super) fn narrow(&self, type_name: &str) {
        let mut pattern = self.pattern.borrow_mut();
        if let Some(start) = pattern.strip_suffix("<name>") {
            *pattern = format!("{start}<{type_name}>");
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'r Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The entries of a group of keys, unread.
    pub(super) fn children(&self, key: &str) -> &'r [Entry] {
        self.entry(key).map_or(&[], |entry| entry.node.entries())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Where a key's value stands, else where the section does.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entry(key).map_or(self.place, |entry| entry.node.place)
    }

    pub(super) fn declare(
        &self,
        key: &'static str,
        kind: impl Into<String>,
        default: Option<&str>,
        doc: &str,
    ) {
        self.known.borrow_mut().push(key);
        self.reader.declared.borrow_mut().push(Declaration {
            path: self.pattern(key),
            kind: kind.into(),
            default: default.map(str::to_owned),
            doc: doc.trim().to_owned(),
        });
    }

    pub(super) fn missing(&self, key: &str, kind: &str) {
        self.report(self.place, &self.child(key), "is missing", &format!("add `{key}:` with {kind}"));
    }

    /// A key that must be there.
    pub(super) fn required<K: Kind>(&self, key: &'static str, doc: &str, kind: &K) -> Option<K::Value> {
        self.declare(key, kind.name(), None, doc);
        let Some(entry) = self.entry(key) else {
            self.missing(key, &kind.name());
            return None;
        };
        self.reader.scalar(&entry.node, &self.child(key), kind)
    }

    /// A key with a default, which is written as it would be in the file.
    pub(super) fn optional<K: Kind>(
        &self,
        key: &'static str,
        doc: &str,
        kind: &K,
        default: &str,
    ) -> Option<K::Value> {
        self.declare(key, kind.name(), Some(default), doc);
        match self.entry(key) {
            Some(entry) => self.reader.scalar(&entry.node, &self.child(key), kind),
            None => self.default(key, kind, default),
        }
    }

    fn default<K: Kind>(&self, key: &str, kind: &K, default: &str) -> Option<K::Value> {
        let parsed = kind.parse(default);
        if let Err(fault) = &parsed {
            let what = format!("its built-in default {}", fault.what);
            self.report(
                self.place,
                &self.child(key),
                &what,
                "report this bug; give the key a value meanwhile",
            );
        }
        parsed.ok()
    }

    /// A value read without noting anything, for checks across keys.
    pub(super) fn peek<K: Kind>(&self, key: &str, kind: &K) -> Option<K::Value> {
        self.reader.peek(&self.entry(key)?.node, kind)
    }

    /// A group of keys; where it is absent, that of its defaults.
    pub(super) fn section<T>(
        &self,
        key: &'static str,
        doc: &str,
        read: fn(&Section<'_>) -> Option<T>,
    ) -> Option<T> {
        self.declare(key, "a group of keys", Some("that of its keys"), doc);
        let entry = self.entry(key);
        let place = entry.map_or(self.place, |entry| entry.place);
        self.read_child(entry.map(|entry| &entry.node), place, (self.child(key), self.pattern(key)), read)
    }

    /// A group of keys that may be absent as a whole.
    pub(super) fn section_if_given<T>(
        &self,
        key: &'static str,
        doc: &str,
        read: fn(&Section<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.has(key) {
            return self.section(key, doc, read).map(Some);
        }
        self.declare(key, "a group of keys", Some("absent"), doc);
        Some(None)
    }

    pub(super) fn read_child<T>(
        &self,
        node: Option<&Node>,
        place: Place,
        (path, pattern): (String, String),
        read: fn(&Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let section = Section::open(self.reader, node, place, path, pattern)?;
        let value = read(&section);
        section.finish();
        value
    }

    /// Reports the keys that nothing asked for.
    pub(super) fn finish(&self) {
        if self.excused.get() {
            return;
        }
        let known = self.known.borrow();
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let free = known.iter().copied().filter(|key| !self.has(key));
            let remedy = match nearest(&entry.key, free) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.report(entry.place, &self.child(&entry.key), "unknown key", &remedy);
        }
    }

    /// Takes all keys for known: which ones are depends on something that is wrong itself.
    pub(super) fn excuse_unknown(&self) {
        self.excused.set(true);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
