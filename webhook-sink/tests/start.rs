//! What stops the receiver from starting: each named with its remedy, exit code 2, and no secret in it.
#![allow(clippy::unwrap_used, reason = "a test that surprises shall fail loudly")]

mod common;

use std::{net::TcpListener, path::Path, process::Command};

use common::{SECRET, Sink};

fn refused(change: impl FnOnce(&mut Command) -> &mut Command) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_webhook-sink"));
    command.env("WEBHOOK_SECRET", SECRET).env("WEBHOOK_LISTEN", "127.0.0.1:0");
    command.env("WEBHOOK_STORE", folder.path().join("store.db"));
    change(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!text.contains("MfKQ9r8"), "{text}");
    text
}

fn refused_with(variable: &str, value: impl AsRef<std::ffi::OsStr>) -> String {
    refused(|command| command.env(variable, value))
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn without_a_usable_secret() {
    says(&refused(|command| command.env_remove("WEBHOOK_SECRET")), &["WEBHOOK_SECRET", "openssl rand"]);
    says(&refused_with("WEBHOOK_SECRET", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &["WEBHOOK_SECRET", "whsec_"]);
    says(&refused_with("WEBHOOK_SECRET", format!("{SECRET},whsec_AAAA")), &["number 2", "3 bytes"]);
}

#[test]
fn with_a_bad_address_or_one_in_use() {
    says(&refused_with("WEBHOOK_LISTEN", "localhost"), &["localhost", "listen"]);
    says(&refused_with("WEBHOOK_LISTEN", "192.0.2.1:5001"), &["192.0.2.1:5001", "WEBHOOK_LISTEN"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = refused_with("WEBHOOK_LISTEN", address.to_string());
    says(&text, &[&format!("port {}", address.port()), "in use", "WEBHOOK_LISTEN"]);
}

#[test]
fn with_bounds_that_are_none_or_contradict_each_other() {
    says(&refused_with("WEBHOOK_KEEP_EVENTS", "1week"), &["1week", "keep-events", "36h"]);
    says(&refused_with("WEBHOOK_KEEP_BYTES", "5GB"), &["5GB", "keep-bytes", "500MiB"]);
    says(&refused_with("WEBHOOK_KEEP_IDS", "3d"), &["WEBHOOK_KEEP_IDS", "WEBHOOK_KEEP_EVENTS", "259200 s"]);
}

#[test]
fn with_a_store_that_cannot_be_used() {
    says(&refused_with("WEBHOOK_STORE", "/proc/nowhere/store.db"), &["/proc/nowhere/store.db", "writable"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let running = Sink::start(&path);
    says(&refused_with("WEBHOOK_STORE", &path), &["in use by another receiver", "store.db"]);
    drop(running);
    set_version(&path, 99);
    says(&refused_with("WEBHOOK_STORE", &path), &["version 99", "store.db", "newer"]);
}

#[test]
fn with_a_file_of_another_program_which_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (text, database) = (folder.path().join("notes.txt"), folder.path().join("other.db"));
    std::fs::write(&text, "dear diary, today I learned a lot about databases and their files").unwrap();
    rusqlite::Connection::open(&database).unwrap().execute_batch("CREATE TABLE precious (a)").unwrap();
    for path in [text, database] {
        let before = std::fs::read(&path).unwrap();
        says(&refused_with("WEBHOOK_STORE", &path), &["not a store", "WEBHOOK_STORE"]);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

fn set_version(path: &Path, version: i32) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
}
