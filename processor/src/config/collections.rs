//! Collections that cannot be empty.

use std::ops::Deref;

use super::names::Name;

/// A list with at least one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonEmpty<T>(Vec<T>);

impl<T> NonEmpty<T> {
    /// `None` for an empty list.
    #[must_use]
    pub fn new(items: Vec<T>) -> Option<Self> {
        (!items.is_empty()).then_some(Self(items))
    }
}

impl<T> Deref for NonEmpty<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a NonEmpty<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Things under unique names, at least one, in the order of the file.
#[derive(Debug, Clone)]
pub struct Named<T>(Vec<(Name, T)>);

impl<T> Named<T> {
    /// `None` for an empty list. The names are unique: keys of one YAML mapping.
    pub(super) fn new(items: Vec<(Name, T)>) -> Option<Self> {
        (!items.is_empty()).then_some(Self(items))
    }

    /// Names and things, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &T)> {
        self.0.iter().map(|(name, item)| (name, item))
    }

    /// The thing of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.iter().find_map(|(known, item)| (known.as_str() == name).then_some(item))
    }

    /// How many there are: at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
