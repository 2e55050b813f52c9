//! A small disk of a run's own, to be filled and freed: a file system in memory. Only root may mount one.

use anyhow::{Context, Result, bail};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// More than the store of any run takes, and small enough for the memory of a small machine.
const MIB: u64 = 128;
/// What a filler writes at once: at first much, in the end so little that no page of a file finds room.
const PIECES: [usize; 2] = [1 << 20, 1 << 12];

/// A disk that is there until it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `folder`, which is made; or says why this account can't.
    pub fn mount(folder: &Path) -> Result<Result<Self, String>> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let options = format!("size={MIB}m,mode=700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "deltafan-e2e"]).arg(folder);
        let ended = command.output().context("mount can't be started")?;
        if ended.status.success() {
            return Ok(Ok(Self { folder: folder.to_owned() }));
        }
        Ok(Err(format!("no disk can be mounted: {}", String::from_utf8_lossy(&ended.stderr).trim())))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Fills it to the last page; how many bytes that took.
    pub fn fill(&self) -> Result<usize> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.filler())?;
        let mut bytes = 0;
        for piece in PIECES {
            let zeros = vec![0; piece];
            // A write may take a part of it.
            loop {
                match file.write(&zeros) {
                    Ok(0) => {
                        bail!("{} takes nothing, and does not say that it is full", self.folder.display())
                    }
                    Ok(written) => bytes += written,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling the disk"),
                }
            }
        }
        Ok(bytes)
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        std::fs::remove_file(self.filler()).context("freeing the disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.folder);
    }
}

/// Takes away the disks below `folder` that a run left which was killed.
pub fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours = mounts.lines().filter_map(|line| line.strip_prefix("deltafan-e2e ")?.split(' ').next());
    for mounted in ours.map(Path::new).filter(|mounted| mounted.starts_with(folder)) {
        unmount(mounted);
    }
}

fn unmount(folder: &Path) {
    // Whoever still has a file open there keeps that file alone. Where it fails, the next run says what is in its way.
    let _ = Command::new("umount").arg("-l").arg(folder).status();
}
