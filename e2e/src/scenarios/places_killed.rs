//! kill -9 of Connect amid records that share a place in the log: the rows of a COPY that lie on one page, and the delete,
//! tombstone and create of a changed key. Each change must lie in the topic once.
//!
//! Some kills by default; `DELTAFAN_E2E_KILLS=20` makes it that many, with one record a batch and with Debezium's own size of
//! batches. `DELTAFAN_E2E_CONNECTOR` names another class for the connector: Debezium's own loses records here.
//! `DELTAFAN_E2E_VICTIMS=kafka-connect,kafka` kills these parts in turns.

use crate::harness::bench::COMPLETE;
use crate::harness::changes::{self, Changes};
use crate::harness::connect::Connect;
use crate::harness::follow::{Arrived, Following};
use crate::harness::kafka::EVENTS;
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names the moments of the kills, to run them again.
const SEED: &str = "DELTAFAN_E2E_SEED";
/// How many kills of each kind.
const KILLS: &str = "DELTAFAN_E2E_KILLS";
/// The connector's class.
const CONNECTOR: &str = "DELTAFAN_E2E_CONNECTOR";
/// What is killed, in turns, as the stack calls it.
const VICTIMS: &str = "DELTAFAN_E2E_VICTIMS";
const CONNECT: &str = "kafka-connect";
/// The class around Debezium's own, which is the default.
const RESUMING: &str = "deltafan.connect.ResumingPostgresConnector";
/// Looks follow each other closely: a load is through within a second.
const PAUSE: Duration = Duration::from_millis(2);
/// How long all that came in may take to be through on a machine that has other things to do.
const THROUGH: Duration = Duration::from_secs(240);
/// What a kill that came too late is allowed to happen in a row.
const MOST_LATE: usize = 5;
/// Makes a row as wide as one can be without its value moving out of the page: four fill a page.
const WIDE: &str =
    "(SELECT string_agg(md5(random()::text || filler), '') FROM generate_series(1, 54) AS filler)";

/// How the connector cuts its records into transactions of Kafka, and how much comes in between two kills.
struct Setting {
    max_batch: &'static str,
    rows: u32,
    keys: u32,
}

/// Each record is a transaction: whatever the moment of the kill, it falls between two records.
const SINGLY: Setting = Setting { max_batch: "1", rows: 400, keys: 150 };
/// Debezium's default.
const BATCHES: Setting = Setting { max_batch: "2048", rows: 12_000, keys: 4000 };

/// What comes in before a kill.
#[derive(Debug, Clone, Copy)]
enum Load {
    Copy,
    Keys,
    Both,
}

/// In turns.
const LOADS: [Load; 3] = [Load::Copy, Load::Keys, Load::Both];

struct Scene<'b> {
    bench: &'b Bench,
    connect: Connect,
    changes: Changes<'b>,
    topic: Following,
    dice: StdRng,
    victims: Vec<String>,
}

/// What came of one kill that struck.
#[derive(Default)]
struct Tally {
    kills: usize,
    losing: usize,
    in_flight: usize,
    arrived: usize,
    lost: i64,
    doubled: i64,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    let settings = match std::env::var(KILLS) {
        Ok(kills) => vec![(SINGLY, kills.parse()?), (BATCHES, kills.parse()?)],
        Err(_) => vec![(SINGLY, LOADS.len())],
    };
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::random::<u32>().into(),
    };
    let connect = Connect::new(&bench.stack)?;
    let changes = Changes::watch(bench).await?;
    let topic = Following::start(&bench.kafka, EVENTS, &bench.kafka.ends(EVENTS).await?)?;
    let victims = std::env::var(VICTIMS).unwrap_or_else(|_| CONNECT.to_owned());
    let victims = victims.split(',').map(str::to_owned).collect();
    let mut scene = Scene { bench, connect, changes, topic, dice: StdRng::seed_from_u64(seed), victims };
    let ended = scene.all(settings, seed).await;
    scene.changes.forget().await?;
    // A failure may have left it dead; the connector gets its own settings back.
    let as_before = bench.stack.run(&["up", "kafka-connect"]).await;
    let measured = ended?;
    as_before?;
    Ok(measured)
}

impl Scene<'_> {
    async fn all(&mut self, settings: Vec<(Setting, usize)>, seed: u64) -> Result<Measured> {
        let mut measured = Measured::default();
        let mut differences = Vec::new();
        for (setting, kills) in settings {
            let mut wanted = vec![("max.batch.size", setting.max_batch)];
            let class = std::env::var(CONNECTOR).unwrap_or_else(|_| RESUMING.to_owned());
            wanted.push(("connector.class", class.as_str()));
            self.connect.set(&wanted).await?;
            // Which has the new settings for sure.
            self.kill(CONNECT).await?;
            self.start_again(CONNECT).await?;
            self.settle().await?;
            let tally = self.kills(&setting, kills).await?;
            let figure = tally.to_string();
            if tally.lost + tally.doubled > 0 {
                differences.push(format!("max.batch.size={}: {figure}", setting.max_batch));
            }
            measured.add(format!("max.batch.size={}: {figure}", setting.max_batch));
        }
        measured.add(format!("{SEED}={seed}"));
        ensure!(differences.is_empty(), "{} ({SEED}={seed})", differences.join("; "));
        Ok(measured)
    }

    async fn kills(&mut self, setting: &Setting, kills: usize) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut late = 0;
        let mut loads = LOADS.iter().cycle();
        let victims = self.victims.clone();
        let mut victims = victims.iter().cycle();
        while tally.kills < kills {
            let load = loads.next().copied().context("no load")?;
            let victim = victims.next().context("nothing to kill")?;
            if self.one_kill(victim, setting, load, &mut tally).await? {
                late = 0;
            } else {
                late += 1;
                ensure!(late < MOST_LATE, "{late} kills came when nothing was in flight any more");
            }
        }
        check::at_least("records", tally.arrived, 1)?;
        Ok(tally)
    }

    /// Lets changes come in, kills the victim when some of them lie in the topic, starts it again, and compares all that
    /// happened with all that arrived. Whether some were in flight when it was killed.
    async fn one_kill(
        &mut self,
        victim: &str,
        setting: &Setting,
        load: Load,
        tally: &mut Tally,
    ) -> Result<bool> {
        self.changes.start_over().await?;
        let most = load.records(setting);
        let target = self.dice.random_range(most / 20..most / 2);
        self.come_in(setting, load).await?;
        wait::until_every(PAUSE, "records flow", COMPLETE, async || {
            // Connect's own start may leave an orphan of the task behind, which fails the new one; the watcher would restart it.
            self.connect.restart_failed().await?;
            let count = self.topic.count();
            Ok(seen_if(count >= target, || format!("{count} of {target}")))
        })
        .await?;
        self.kill(victim).await?;
        let killed_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        self.start_again(victim).await?;
        let arrived = self.settle().await?;
        let in_flight = arrived.iter().filter(|record| record.written_ms > killed_ms).count();
        check::at_least("records that had flowed before the kill", arrived.len() - in_flight, 1)?;
        let struck = in_flight > 1;
        let (lost, doubled) = self.compare(arrived.clone()).await?;
        self.note(&format!(
            "{victim}, {load:?}: {} records, {in_flight} in flight, {lost} lost, {doubled} doubled",
            arrived.len()
        ))?;
        if struck {
            tally.kills += 1;
            tally.in_flight += in_flight;
        }
        tally.arrived += arrived.len();
        tally.lost += lost;
        tally.doubled += doubled;
        tally.losing += usize::from(lost > 0);
        Ok(struck)
    }

    /// Starts transactions that are under way at the same time, and waits for their commits.
    async fn come_in(&self, setting: &Setting, load: Load) -> Result<()> {
        let db = &self.bench.db;
        let other = crate::harness::db::Db::connect(self.bench.stack.get("POSTGRES_URL")?).await?;
        let copy =
            async { if matches!(load, Load::Keys) { Ok(()) } else { copy(&other, setting.rows).await } };
        let keys =
            async { if matches!(load, Load::Copy) { Ok(()) } else { change_keys(db, setting.keys).await } };
        tokio::try_join!(copy, keys)?;
        Ok(())
    }

    async fn kill(&self, victim: &str) -> Result<()> {
        self.bench.stack.kill(victim).await
    }

    async fn start_again(&self, victim: &str) -> Result<()> {
        self.bench.stack.run(&["start", victim]).await.map(drop)
    }

    /// Waits for a row that comes behind all the others; all that has come with it. A task that failed without its broker is
    /// restarted.
    async fn settle(&self) -> Result<Vec<Arrived>> {
        let sql = "INSERT INTO engagement_events (user_id, event_type, device)
                   VALUES (uuid_generate_v4(), 'click', 'mark') RETURNING id";
        let mark: i64 = self.bench.db.value(sql, &[]).await?;
        wait::until("a row that comes last is through", THROUGH, async || {
            self.connect.restart_failed().await?;
            Ok(seen_if(self.topic.has(mark), || format!("{} others are", self.topic.count())))
        })
        .await?;
        self.topic.take(&self.bench.kafka.ends(EVENTS).await?, THROUGH).await
    }

    /// A line of the scenario's own log.
    fn note(&self, line: &str) -> Result<()> {
        let mut log =
            OpenOptions::new().create(true).append(true).open(self.bench.folder.join("kills.log"))?;
        Ok(writeln!(log, "{line}")?)
    }

    /// How many records are missing, and how many are there too often.
    async fn compare(&self, arrived: Vec<Arrived>) -> Result<(i64, i64)> {
        let mut happened = self.changes.all().await?;
        let tombstones: Vec<_> = happened.iter().filter(|change| change.op == "d").cloned().collect();
        happened.extend(tombstones.into_iter().map(|deleted| changes::Change {
            op: "t".to_owned(),
            duration_ms: None,
            ..deleted
        }));
        let arrived = arrived.into_iter().map(|record| record.change).collect();
        let differences = changes::differences(happened, arrived);
        let sum = |wanted: fn(i64) -> i64| differences.iter().map(|(_, count)| wanted(*count)).sum();
        Ok((sum(|count| count.max(0)), sum(|count| (-count).max(0))))
    }
}

impl Load {
    fn records(self, setting: &Setting) -> usize {
        let (rows, keys) = (setting.rows as usize, setting.keys as usize * 3);
        match self {
            Self::Copy => rows,
            Self::Keys => keys,
            Self::Both => rows + keys,
        }
    }
}

/// Rows of about 1.8 kB in one COPY.
async fn copy(db: &crate::harness::db::Db, rows: u32) -> Result<()> {
    // Made by Postgres, whose random texts compress as little as real ones do.
    let lines = db
        .texts(
            &format!(
                "SELECT concat_ws(E'\\t', uuid_generate_v4(), 'play', n, {WIDE}) FROM generate_series(1, {rows}) AS n"
            ),
            &[],
        )
        .await?;
    let statement = "COPY engagement_events (user_id, event_type, duration_ms, device) FROM STDIN";
    let copied = db.copy(statement, lines.join("\n") + "\n").await?;
    check::equal("rows copied", copied, u64::from(rows))
}

/// New keys for rows that are there.
async fn change_keys(db: &crate::harness::db::Db, keys: u32) -> Result<()> {
    let sql = format!(
        "UPDATE engagement_events SET id = nextval('engagement_events_id_seq')
         WHERE id IN (SELECT id FROM engagement_events WHERE event_type = 'play' ORDER BY id DESC LIMIT {keys})"
    );
    let changed = db.execute(&sql, &[]).await?;
    check::at_least("keys changed", changed, 1)
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills with {} records in flight, {} records in all: {} lost (by {} kills), {} doubled",
            self.kills, self.in_flight, self.arrived, self.lost, self.losing, self.doubled
        )
    }
}
