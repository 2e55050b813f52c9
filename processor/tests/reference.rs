//! The reference pages hold what the program knows. `UPDATE_DOCS=1 cargo test -p deltafan --test reference` writes them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that surprises shall fail loudly")]

use std::fs;
use std::path::Path;

fn check(name: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, made).expect("written");
    }
    let held = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        held == made,
        "docs/{name} is not what the program says; UPDATE_DOCS=1 cargo test -p deltafan --test reference writes it"
    );
}

#[test]
fn the_page_of_the_configuration_is_current() {
    check("configuration.md", &deltafan::reference::configuration());
}

#[test]
fn the_page_of_the_metrics_is_current() {
    check("metrics.md", &deltafan::reference::metrics());
}

/// A metric that is named but not described would be missing on the page, and at `/metrics`.
#[test]
fn every_name_of_a_metric_is_described() {
    let source = include_str!("../src/metrics.rs");
    let named: Vec<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \"deltafan_"))
        .map(|(_, rest)| format!("deltafan_{}", rest.trim_end_matches("\";")))
        .collect();
    let described: Vec<_> = deltafan::metrics::METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(named, described);
    assert!(!named.is_empty());
}
