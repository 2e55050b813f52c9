//! The events in the files of a sink: what their manifests say counts.

use super::VerifyError;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// An event made of the largest record still fits.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What is needed of a manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    file: u64,
    bytes: u64,
}

/// Hands every line that counts to `take`, in the order of each partition; files that were last written before `since_us`
/// (since 1970) are left out. Answers whether any was left out, or is there no more.
pub(super) fn read(folder: &Path, since_us: i64, mut take: impl FnMut(&str)) -> Result<bool, VerifyError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        VerifyError::Away(format!(
            "{} can't be read: {error}; files are compared where they lie: run verify there, or leave \
             the sink out by --sink",
            path.display()
        ))
    };
    let mut left_out = false;
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "manifest")) {
        let text = fs::read(path).map_err(|error| failed(path, &error))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| failed(path, &error))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for number in 1..=manifest.file {
            let finished = folder.join(format!("{stem}.{number:08}.jsonl"));
            let open = folder.join(format!("{stem}.{number:08}.jsonl.open"));
            let path = if finished.exists() { finished } else { open };
            let Ok(file) = File::open(&path) else {
                // Removed by `keep_files`, or not begun yet.
                left_out = true;
                continue;
            };
            if number < manifest.file && is_older(&file, since_us) {
                left_out = true;
                continue;
            }
            let most = if number == manifest.file { manifest.bytes } else { u64::MAX };
            lines(file.take(most), &mut take).map_err(|error| failed(&path, &error))?;
        }
    }
    Ok(left_out)
}

fn is_older(file: &File, since_us: i64) -> bool {
    let written = file.metadata().and_then(|file| file.modified()).ok();
    let since = u64::try_from(since_us).map(Duration::from_micros).unwrap_or_default();
    written.is_some_and(|written| written < UNIX_EPOCH + since)
}

fn lines(file: impl Read, take: &mut impl FnMut(&str)) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = String::new();
    while reader.by_ref().take(MAX_LINE_BYTES).read_line(&mut line)? > 0 {
        take(line.trim_end());
        line.clear();
    }
    Ok(())
}
