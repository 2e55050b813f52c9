//! What the folder of a sink is asked for: a few blocking steps, each durable when it returns.
//!
//! Names are those of files in the folder. After a crash within a step a file may have been appended to in part, a
//! replaced file is the old or the new one, and a renamed file has either name.

use super::error::from_io;
use crate::sink::SinkError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The folder, as far as this sink needs it.
pub(super) trait Disk {
    /// Holds a lock until it is dropped.
    type Lock;

    /// The path of a file, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// Locks a file against everybody else; makes it where it is missing. Never waits.
    fn lock(&self, name: &str) -> Result<Self::Lock, SinkError>;
    /// The first `most` bytes of a file, where it exists.
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, SinkError>;
    /// The size of a file in bytes, where it exists.
    fn len(&self, name: &str) -> Result<Option<u64>, SinkError>;
    /// The names of all files.
    fn names(&self) -> Result<Vec<String>, SinkError>;
    /// Cuts a file.
    fn truncate(&self, name: &str, bytes: u64) -> Result<(), SinkError>;
    /// Writes at the end of a file; makes it where it is missing.
    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError>;
    /// Puts a file in the place of another one in one step.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError>;
    /// Renames a file, if it exists.
    fn rename(&self, from: &str, to: &str) -> Result<(), SinkError>;
    /// Removes a file, if it exists.
    fn remove(&self, name: &str) -> Result<(), SinkError>;
}

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub(super) struct Folder(pub PathBuf);

impl Folder {
    fn run<T>(
        &self,
        doing: &str,
        name: &str,
        work: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, SinkError> {
        let path = self.0.join(name);
        work(&path).map_err(|error| from_io(doing, &path, error))
    }

    /// Makes durable which files there are, and under which names.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl Disk for Folder {
    type Lock = File;

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn lock(&self, name: &str) -> Result<File, SinkError> {
        self.run("locking", name, |path| {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            match file.try_lock() {
                Ok(()) => Ok(file),
                Err(fs::TryLockError::WouldBlock) => {
                    Err(io::Error::new(ErrorKind::WouldBlock, "somebody else is writing to this partition"))
                }
                Err(fs::TryLockError::Error(error)) => Err(error),
            }
        })
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, SinkError> {
        self.run("reading", name, |path| {
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
            Ok(if_there(read)?.map(|_| bytes))
        })
    }

    fn len(&self, name: &str) -> Result<Option<u64>, SinkError> {
        self.run("looking at", name, |path| Ok(if_there(fs::metadata(path))?.map(|file| file.len())))
    }

    fn names(&self) -> Result<Vec<String>, SinkError> {
        self.run("listing", "", |path| {
            fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        })
    }

    fn truncate(&self, name: &str, bytes: u64) -> Result<(), SinkError> {
        self.run("cutting", name, |path| {
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(bytes)?;
            file.sync_all()
        })
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        self.run("writing to", name, |path| {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            let is_new = file.metadata()?.len() == 0;
            file.write_all(bytes)?;
            file.sync_data()?;
            if is_new { self.sync() } else { Ok(()) }
        })
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        self.run("replacing", name, |path| {
            let draft = self.0.join(format!("{name}.new"));
            let mut file = File::create(&draft)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&draft, path)?;
            self.sync()
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), SinkError> {
        self.run("renaming", from, |path| {
            let renamed = if_there(fs::rename(path, self.0.join(to)))?;
            if renamed.is_some() { self.sync() } else { Ok(()) }
        })
    }

    fn remove(&self, name: &str) -> Result<(), SinkError> {
        self.run("removing", name, |path| if_there(fs::remove_file(path)).map(drop))
    }
}

/// `None` where a file is missing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
