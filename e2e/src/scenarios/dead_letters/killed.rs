//! `deltafan dlq replay` and `purge`, killed with kill -9 within their transaction and right behind it: all of it was done, or
//! nothing, and whoever repeats the command completes it without a second effect.
//!
//! Where nothing was committed, the command has a queue of one record: it hands over one at a time, which takes it seconds. So it
//! is known to be within: some of its records are there, not all, and none is committed. Where all is committed, nobody reads what it
//! prints: it stands still at its first word.

use super::ask::{Dlq, text};
use super::{REPLAYS, replayed, rows};
use crate::harness::bench::COMPLETE;
use crate::harness::config::By;
use crate::harness::kafka::{DEAD_LETTERS, Record};
use crate::harness::process::Process;
use crate::harness::stand_in::{Manner, StandIn};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Plan, check, effects};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Of each part. One command does something about all of them, in one transaction. All parts together stay below the number that has a
/// sink count as failing.
const LETTERS: usize = 20;
const OPEN: &str = "--sink webhook";

/// What the parts share.
struct Parts<'b> {
    bench: &'b Bench,
    dlq: Dlq<'b>,
    plan: &'b Plan,
    receiver: &'b StandIn,
    /// The configuration of a command that takes its time.
    slow: PathBuf,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    bench.kafka.empty(DEAD_LETTERS).await?;
    let receiver = StandIn::start(&bench.stack.free_address()?).await?;
    let plan = Plan::new(&bench.stack, &bench.name, &receiver.address)?;
    let mut processor = bench.processor(&plan).await?;
    let slow = slow(&bench.folder)?;
    let parts = Parts { bench, dlq: Dlq::new(bench), plan: &plan, receiver: &receiver, slow };
    let from = bench.kafka.ends(REPLAYS).await?;
    let mut measured = Measured::default();

    parts.within_a_replay(&mut measured).await?;
    parts.behind_a_replay(&mut measured).await?;
    let records = bench.kafka.records(REPLAYS, from).await?;
    check::equal("records that were committed for a replay", records.len(), 2 * LETTERS)?;
    let ids: BTreeSet<_> =
        records.iter().filter_map(|record: &Record| record.header("deltafan.id")).collect();
    check::equal("letters among them", ids.len(), 2 * LETTERS)?;
    parts.within_a_purge(&mut measured).await?;
    parts.taken_over(&mut measured).await?;
    // The other sink had each row when it came, and nothing since.
    let leaderboard = (plan.key()?, By::Content);
    effects::board_equals_sql(&bench.db, &bench.redis, leaderboard, "1 hour", COMPLETE).await?;
    anyhow::ensure!(processor.process.runs(), "the processor has ended");
    Ok(measured)
}

/// The configuration of the processor, with a queue that takes one record: whoever finds it full waits for a tenth of a second.
fn slow(folder: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(folder.join("deltafan.yaml"))?;
    let path = folder.join("slow.yaml");
    let properties = "kafka:\n  properties:\n    queue.buffering.max.messages: 1\n";
    std::fs::write(&path, text.replacen("kafka:\n", properties, 1))?;
    Ok(path)
}

impl Parts<'_> {
    /// Nothing was replayed, and the next command replays at once, each letter once.
    async fn within_a_replay(&self, measured: &mut Measured) -> Result<()> {
        self.refused().await?;
        self.receiver.set(Manner::Takes);
        let sent = self.killed_within("replay --all", &[REPLAYS, DEAD_LETTERS]).await?;
        check::equal("letters that are open after the kill", self.dlq.list(OPEN).await?.len(), LETTERS)?;
        check::equal("those that were replayed", self.dlq.list("--state replayed").await?.len(), 0)?;
        check::equal("events at the receiver", self.receiver.events().len(), 0)?;
        // One that only says what it would do ends nothing that another has begun.
        self.dlq.done("replay --all --dry-run").await?;
        self.dlq.done("purge --all --dry-run").await?;
        let open = self.bench.kafka.uncommitted(REPLAYS).await?;
        check::equal("records that are not committed after dry runs", open, sent)?;

        let began = Instant::now();
        self.dlq.done("replay --all").await?;
        let took_ms = began.elapsed().as_millis();
        self.delivered(LETTERS).await?;
        measured.add(format!(
            "killed with {sent} of {LETTERS} letters sent: none replayed; replayed again within {took_ms} ms, each once"
        ));
        Ok(())
    }

    /// All was replayed, although nobody was told, and the next command finds nothing to do.
    async fn behind_a_replay(&self, measured: &mut Measured) -> Result<()> {
        self.receiver.set(Manner::Picky);
        self.refused().await?;
        self.receiver.set(Manner::Takes);
        let letters = self.dlq.list(OPEN).await?;
        let config = self.bench.folder.join("deltafan.yaml");
        let (mut command, unheard) = self.dlq.recipe("replay --all", &config)?.start_unheard()?;
        self.dlq.await_list("--state replayed", 2 * LETTERS).await?;
        command.kill()?;
        check::equal("bytes that it has printed", unheard.printed()?, 0)?;
        check::equal("records that are not committed", self.bench.kafka.uncommitted(REPLAYS).await?, 0)?;
        self.delivered(2 * LETTERS).await?;

        let id = text(letters.first().context("no letter")?, "id");
        let (status, said) = self.dlq.run(&format!("replay {id}")).await?;
        check::equal("exit status of a second replay", status, 2)?;
        check::contains("what it says", &String::from_utf8_lossy(&said), "it was replayed at")?;
        measured.add(format!("killed before its first word: {LETTERS} letters replayed, each once"));
        Ok(())
    }

    /// Nothing was purged. Nobody repeats the command: Kafka ends what it has left open, and what lies behind that is seen.
    async fn within_a_purge(&self, measured: &mut Measured) -> Result<()> {
        self.receiver.set(Manner::Picky);
        self.refused().await?;
        let sent = self.killed_within("purge --all", &[DEAD_LETTERS]).await?;
        check::equal("letters that are open after the kill", self.dlq.list(OPEN).await?.len(), LETTERS)?;

        let began = Instant::now();
        rows(self.bench, "poison", 1).await?;
        self.dlq.await_list(OPEN, LETTERS + 1).await?;
        let took_s = began.elapsed().as_secs_f64();
        check::equal("marks that are not committed", self.bench.kafka.uncommitted(DEAD_LETTERS).await?, 0)?;
        check::equal("letters that were purged", self.dlq.list("--state purged").await?.len(), 0)?;
        self.dlq.done("purge --all").await?;
        check::equal("letters after a purge", self.dlq.list(OPEN).await?.len(), 0)?;
        check::equal("events at the receiver", self.receiver.events().len(), 2 * LETTERS)?;
        measured.add(format!(
            "a purge killed with {sent} of {LETTERS} marks written: none purged; the next letter was listed after {took_s:.1} s"
        ));
        Ok(())
    }

    /// A command that another one has overtaken has done nothing, and says so.
    async fn taken_over(&self, measured: &mut Measured) -> Result<()> {
        self.refused().await?;
        let (mut slow, log) = self.within("purge --all", &[DEAD_LETTERS]).await?;
        // It stands still where it is, and not for so long that Kafka ends its transaction.
        slow.freeze(COMPLETE).await?;
        self.dlq.done("purge --all").await?;
        slow.thaw()?;
        let status = slow.ended(COMPLETE).await?.code();
        let said = std::fs::read_to_string(log)?;
        check::contains("what the former says", &said, "another `deltafan dlq` command")?;
        check::equal("its exit status", status, Some(2))?;
        let purged = self.dlq.list("--state purged").await?.len();
        check::equal("letters that were purged, all in all", purged, 2 * LETTERS + 1)?;
        check::equal("letters that are open", self.dlq.list(OPEN).await?.len(), 0)?;
        measured.add("a purge within its transaction, taken over by another one: says so".to_owned());
        Ok(())
    }

    /// Rows that the receiver refuses; no other letter is open.
    async fn refused(&self) -> Result<()> {
        rows(self.bench, "poison", i64::try_from(LETTERS)?).await?;
        self.dlq.await_list(OPEN, LETTERS).await?;
        Ok(())
    }

    /// Kills a command that writes a record for each letter into each of `topics` once it has written some of them; how many are
    /// in the first.
    async fn killed_within(&self, words: &str, topics: &[&str]) -> Result<i64> {
        self.within(words, topics).await?.0.kill()?;
        // It commits once all is sent: where something is missing, it had not yet asked for that. What is open in several topics
        // is one transaction, as a producer has no second one.
        let sent = self.uncommitted(topics).await?;
        for records in &sent {
            check::at_least("records that it has sent and not committed", *records, 1)?;
            check::at_most(
                "records that it has sent and not committed",
                *records,
                i64::try_from(LETTERS)? - 1,
            )?;
        }
        sent.first().copied().context("no topic")
    }

    /// Starts a command and waits until it has written something into each of `topics`; where it prints.
    async fn within(&self, words: &str, topics: &[&str]) -> Result<(Process, PathBuf)> {
        let before = self.uncommitted(topics).await?;
        check::equal("records that are not committed before it", before, vec![0; topics.len()])?;
        let recipe = self.dlq.recipe(words, &self.slow)?;
        let log = recipe.log.clone();
        let mut command = recipe.start()?;
        wait::until("the command is within its transaction", COMPLETE, async || {
            anyhow::ensure!(command.runs(), "it has ended");
            let sent = self.uncommitted(topics).await?;
            Ok(seen_if(sent.iter().all(|records| *records > 0), || format!("{sent:?} records are there")))
        })
        .await?;
        Ok((command, log))
    }

    async fn uncommitted(&self, topics: &[&str]) -> Result<Vec<i64>> {
        let mut records = Vec::new();
        for topic in topics {
            records.push(self.bench.kafka.uncommitted(topic).await?);
        }
        Ok(records)
    }

    /// Waits until so many letters were replayed: the receiver has them, a further command has nothing to do.
    async fn delivered(&self, letters: usize) -> Result<()> {
        wait::until("the receiver has what was replayed", COMPLETE, async || {
            let there = self.receiver.events().len();
            Ok(seen_if(there >= letters, || format!("{there} are there")))
        })
        .await?;
        check::equal("letters that are open", self.dlq.list(OPEN).await?.len(), 0)?;
        check::equal("letters that were replayed", self.dlq.list("--state replayed").await?.len(), letters)?;
        let before = self.bench.kafka.ends(REPLAYS).await?;
        let said = self.dlq.done("replay --all").await?;
        check::contains("what the next says", &String::from_utf8_lossy(&said), "no such dead letter")?;
        check::equal("where the replays end after it", self.bench.kafka.ends(REPLAYS).await?, before)?;
        replayed(self.bench, self.plan).await?;
        check::equal("events at the receiver", self.receiver.events().len(), letters)
    }
}
