//! `deltafan dlq`, as a user types it.

use crate::harness::process::Recipe;
use crate::harness::wait::{self, Look};
use crate::harness::{Bench, check};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ENDS: Duration = Duration::from_secs(60);

/// A command line on the pipeline of a bench.
pub struct Dlq<'b> {
    bench: &'b Bench,
    /// Each has a log of its own.
    asked: AtomicUsize,
}

impl<'b> Dlq<'b> {
    pub fn new(bench: &'b Bench) -> Self {
        Self { bench, asked: AtomicUsize::new(0) }
    }

    /// How to run it with the configuration of this name.
    pub fn recipe(&self, words: &str, config: &Path) -> Result<Recipe> {
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let mut arguments = vec!["dlq"];
        arguments.extend(words.split_whitespace());
        arguments.extend(["--config", config]);
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.bench.deltafan(&format!("dlq-{number}"), &arguments))
    }

    /// The exit status and what is printed.
    pub async fn run(&self, words: &str) -> Result<(i32, Vec<u8>)> {
        let recipe = self.recipe(words, &self.bench.folder.join("deltafan.yaml"))?;
        let log = recipe.log.clone();
        let status = recipe.start()?.ended(ENDS).await?;
        Ok((status.code().unwrap_or(-1), std::fs::read(log)?))
    }

    /// What is printed by a command that must succeed.
    pub async fn done(&self, words: &str) -> Result<Vec<u8>> {
        let (status, said) = self.run(words).await?;
        let shown = String::from_utf8_lossy(&said).chars().take(500).collect::<String>();
        check::equal(format!("exit status of dlq {words} ({shown})"), status, 0)?;
        Ok(said)
    }

    /// The letters that `list --json` names under these conditions.
    pub async fn list(&self, conditions: &str) -> Result<Vec<Value>> {
        let said = self.done(&format!("list --json {conditions}")).await?;
        let said = String::from_utf8(said)?;
        said.lines().map(|line| serde_json::from_str(line).context("no JSON")).collect()
    }

    /// Waits until there are so many under these conditions.
    pub async fn await_list(&self, conditions: &str, wanted: usize) -> Result<Vec<Value>> {
        wait::until(&format!("{wanted} letters of `{conditions}`"), ENDS, async || {
            let letters = self.list(conditions).await?;
            Ok(if letters.len() == wanted {
                Look::Seen(letters)
            } else {
                Look::NotYet(format!("{} are listed", letters.len()))
            })
        })
        .await
    }
}

/// A field of a letter, as text.
pub fn text<'l>(letter: &'l Value, field: &str) -> &'l str {
    letter.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field of a letter, as a number.
pub fn number(letter: &Value, field: &str) -> i64 {
    letter.get(field).and_then(Value::as_i64).unwrap_or(-1)
}
