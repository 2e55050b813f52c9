//! The reference pages: what docs/configuration.md and docs/metrics.md hold, made from what the program knows.

use crate::config;
use crate::metrics::{Kind, METRICS, Metric};
use std::collections::BTreeMap;
use std::fmt::Write;

/// docs/configuration.md.
#[must_use]
pub fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Every key of the file, as `deltafan validate` knows it; [config/deltafan.yaml](../config/deltafan.yaml) is the default with \
         comments.\nThis page is made by the program and checked by its tests.\n",
    );
    let keys = config::reference();
    let groups: BTreeMap<usize, &str> = first_places(keys.iter().map(|key| split(&key.path).0));
    for group in groups.values() {
        let title = if group.is_empty() { "The file".to_owned() } else { format!("`{group}`") };
        add(&mut page, format_args!("\n## {title}\n\n| key | value | default | |\n|---|---|---|---|\n"));
        for key in keys.iter().filter(|key| split(&key.path).0 == *group) {
            let default = match key.default.as_deref() {
                None => "must be given".to_owned(),
                // What holds for a group that is left out is told with its keys.
                Some(text) if text.contains(' ') => String::new(),
                Some(text) => format!("`{text}`"),
            };
            let (name, kind, doc) = (split(&key.path).1, cell(&key.kind), cell(&key.doc));
            add(&mut page, format_args!("| `{name}` | {kind} | {default} | {doc} |\n"));
        }
    }
    page
}

/// Each of some texts once, by the place where it comes first.
fn first_places<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeMap<usize, &'a str> {
    let mut places = BTreeMap::new();
    for (place, text) in texts.enumerate() {
        if !places.values().any(|known| *known == text) {
            places.insert(place, text);
        }
    }
    places
}

/// The group of a key, and its name in there.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// docs/metrics.md.
#[must_use]
pub fn metrics() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         What the processor serves at `/metrics` of its admin port, for Prometheus. This page is made by the program and \
         checked by its\ntests.\n\n| metric | type | labels | |\n|---|---|---|---|\n",
    );
    for Metric { name, kind, labels, help } in METRICS {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram, seconds",
        };
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        add(&mut page, format_args!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }
    page
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}
