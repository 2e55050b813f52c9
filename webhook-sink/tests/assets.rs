//! The page's files by themselves: nothing inline, the library as it was published, colours that can be read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that surprises shall fail loudly")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use sha2::{Digest, Sha256};

/// What text needs against what lies behind it (WCAG 2, AA).
const MIN_CONTRAST: f64 = 4.5;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("page")
}

#[test]
fn the_library_is_what_its_manifest_says() {
    let vendor = page().join("vendor");
    let manifest = fs::read_to_string(vendor.join("README.md")).unwrap();
    let mut listed = 0;
    for entry in fs::read_dir(&vendor).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        let sum: String =
            Sha256::digest(fs::read(&path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
        let row = manifest.lines().find(|line| line.contains(&format!("`{name}`")));
        assert!(row.is_some_and(|row| row.contains(&sum)), "{name} has {sum}, the manifest says {row:?}");
        listed += 1;
    }
    assert_eq!(listed, 3);
    let version = manifest.split("uPlot ").nth(1).unwrap().split_whitespace().next().unwrap();
    let script = fs::read_to_string(vendor.join("uPlot.iife.min.js")).unwrap();
    assert!(script.lines().next().unwrap().contains(&format!("v{version}")), "{version}");
}

#[test]
fn nothing_is_inline_and_no_text_becomes_markup() {
    for entry in fs::read_dir(page()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "https://",
            " style=\"",
            " onclick=",
            "<style",
        ];
        for word in banned {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
        let scripts = text.matches("<script").count();
        assert_eq!(scripts, text.matches("<script src=").count(), "{}", path.display());
    }
}

/// A colour of the style sheet in one of the themes.
fn colours(theme: usize) -> BTreeMap<String, [f64; 3]> {
    let css = fs::read_to_string(page().join("app.css")).unwrap();
    let declared = css.lines().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("--")?.split_once(": light-dark(")?;
        let hex = value.trim_end_matches(");").split(", ").nth(theme)?.trim_start_matches('#').to_owned();
        let channel = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        Some((name.to_owned(), [channel(0), channel(2), channel(4)]))
    });
    declared.collect()
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|c| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126f64.mul_add(linear[0], 0.7152f64.mul_add(linear[1], 0.0722 * linear[2]))
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn what_is_text_can_be_read_in_both_themes() {
    let on_surfaces = ["ink", "faint", "accent", "bad"];
    let pairs = ["play", "pause", "finish", "click"].map(|kind| (kind, format!("{kind}-back")));
    for theme in [0, 1] {
        let colours = colours(theme);
        let surfaces = ["back", "card", "raised"].map(str::to_owned);
        let all = on_surfaces.iter().flat_map(|text| surfaces.iter().map(|back| (*text, back.clone())));
        for (text, back) in all.chain(pairs.clone()).chain([("on-accent", "accent".to_owned())]) {
            let found = contrast(colours[text], colours[&back]);
            assert!(found >= MIN_CONTRAST, "--{text} on --{back}, theme {theme}: {found:.2}");
        }
        // Lines of charts and bars are no text: 3 is asked.
        for line in ["rate", "p50", "p99"] {
            assert!(contrast(colours[line], colours["card"]) >= 3.0, "--{line}, theme {theme}");
        }
    }
}
