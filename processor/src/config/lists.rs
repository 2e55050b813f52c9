//! Reads the keys that hold several things: named groups, lists, and keys passed on to another system.

use super::{
    collections::{Named, NonEmpty},
    kinds::Kind,
    names::{Name, NameKind},
    section::Section,
    source::Show,
    yaml::{Entry, Node, Value},
};

impl<'r> Section<'r> {
    /// Things with names that the user chooses, at least one.
    pub(super) fn named<T>(
        &self,
        key: &'static str,
        doc: &str,
        read: fn(&Section<'_>) -> Option<T>,
    ) -> Option<Named<T>> {
        self.declare(key, "groups of keys, each under a name", None, doc);
        let (path, pattern) = (self.child(key), format!("{}.<name>", self.pattern(key)));
        let place = self.entry(key).map_or(self.place, |entry| entry.place);
        let node = self.entry(key).map(|entry| &entry.node);
        let list = Section::open(self.reader, node, place, path.clone(), pattern.clone())?;
        let mut values = Vec::with_capacity(list.entries.len());
        for entry in list.entries {
            let path = list.child(&entry.key);
            let name = self.name(entry, &path);
            let value = list.read_child(Some(&entry.node), entry.place, (path, pattern.clone()), read);
            values.push(name.zip(value));
        }
        if values.is_empty() {
            self.report(place, &path, "names nothing", "add at least one, as `name:` with its keys below it");
        }
        Named::new(values.into_iter().collect::<Option<Vec<_>>>()?)
    }

    fn name(&self, entry: &Entry, path: &str) -> Option<Name> {
        let parsed = NameKind.parse(&entry.key);
        if let Err(fault) = &parsed {
            self.report(
                entry.place,
                path,
                &format!("the name `{}` {}", entry.key, fault.what),
                &fault.remedy,
            );
        }
        parsed.ok()
    }

    /// A list of single values, at least one.
    pub(super) fn list<K: Kind>(&self, key: &'static str, doc: &str, kind: &K) -> Option<NonEmpty<K::Value>> {
        self.declare(key, format!("a list, each item {}", kind.name()), None, doc);
        let items = self.items(key, &kind.name())?;
        let values: Vec<_> = items.iter().map(|(path, node)| self.reader.scalar(node, path, kind)).collect();
        NonEmpty::new(values.into_iter().collect::<Option<Vec<_>>>()?)
    }

    /// A list of groups of keys, at least one; `read` gets each.
    pub(super) fn sections<T>(
        &self,
        key: &'static str,
        doc: &str,
        mut read: impl FnMut(&Section<'_>) -> Option<T>,
    ) -> Option<NonEmpty<T>> {
        self.declare(key, "a list of groups of keys", None, doc);
        let pattern = format!("{}[]", self.pattern(key));
        let mut values = Vec::new();
        for (path, node) in self.items(key, "at least one group of keys")? {
            let section = Section::open(self.reader, Some(node), node.place, path, pattern.clone());
            values.push(section.and_then(|section| {
                let value = read(&section);
                section.finish();
                value
            }));
        }
        NonEmpty::new(values.into_iter().collect::<Option<Vec<_>>>()?)
    }

    fn items(&self, key: &str, wanted: &str) -> Option<Vec<(String, &'r Node)>> {
        let path = self.child(key);
        let Some(entry) = self.entry(key) else {
            self.missing(key, &format!("a list: {wanted}"));
            return None;
        };
        let fail = |what: &str, remedy: &str| {
            self.reader.report(entry.node.place, &path, (what, remedy), Show::Nothing);
        };
        match &entry.node.value {
            Value::Refused => return None,
            Value::Sequence(items) if !items.is_empty() => {
                return Some(
                    items.iter().enumerate().map(|(i, node)| (format!("{path}[{i}]"), node)).collect(),
                );
            }
            Value::Sequence(_) | Value::Null => fail("is an empty list", &format!("give it {wanted}")),
            other => fail(
                &format!("is {}, wanted is a list", other.noun()),
                "write its items below it, each after `- `, or as `[one, two]`",
            ),
        }
        None
    }

    /// Keys of another system with their values, passed on as they are; `refused` tells why one must not be set.
    pub(super) fn passed_on<K: Kind>(
        &self,
        key: &'static str,
        doc: &str,
        kind: &K,
        refused: fn(&str) -> Option<&'static str>,
    ) -> Option<Vec<(String, K::Value)>> {
        self.declare(key, format!("keys with values, each {}", kind.name()), Some("{}"), doc);
        let Some(entry) = self.entry(key) else {
            return Some(Vec::new());
        };
        let path = self.child(key);
        let section = Section::open(self.reader, Some(&entry.node), entry.place, path, String::new())?;
        let mut values = Vec::with_capacity(section.entries.len());
        for entry in section.entries {
            let path = section.child(&entry.key);
            let value = self.reader.scalar(&entry.node, &path, kind);
            if let Some(why) = refused(&entry.key) {
                self.report(entry.place, &path, &format!("may not be set: {why}"), "remove it");
            }
            values.push(value.map(|value| (entry.key.clone(), value)));
        }
        values.into_iter().collect()
    }
}
