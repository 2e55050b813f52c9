//! What a file sink is told: where its folder is, how large a file grows, how many stay.

use std::num::NonZeroU64;
use std::path::PathBuf;

/// Settings of one file sink.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder, which exists and belongs to this sink alone.
    pub folder: PathBuf,
    /// What the names of its files begin with: `partition`, or `replay` for what is delivered again.
    pub stem: &'static str,
    /// A file is finished before a write that would take it beyond so many bytes.
    pub max_file_bytes: NonZeroU64,
    /// How many finished files of each partition stay; `None` for all of them.
    pub keep_files: Option<NonZeroU64>,
}
