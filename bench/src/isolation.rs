//! Isolation: one sink is dead, then frozen, then a hundred times slower, in turns with stretches in which it is sound; what
//! becomes of the other one's own share of the latency, and of the processor's memory. A sound stretch lasts half as long as a
//! faulty one.

use crate::cost::Watched;
use crate::pipeline::{Addresses, say};
use crate::steady::{Common, Load, Manner, Quantiles, Scene, Sink, Watch};
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

/// Each direction is this much later: a call that takes half a millisecond then takes a hundred times that.
const SLOW: Duration = Duration::from_millis(25);
/// At the beginning nothing is counted: caches are filled, connections made, pages touched.
const WARM_UP: Duration = Duration::from_secs(20);
/// After a fault the sink catches up, and then a little is waited.
const SETTLE: Duration = Duration::from_secs(2);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// What the fault may add: the larger of these, and of how far the sound stretches lie from each other.
const ALLOWED_MS: f64 = 2.0;
const ALLOWED_SHARE: f64 = 0.1;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// The sink that is at fault; the other one is measured.
    #[arg(long)]
    victim: Sink,
    /// Records per second.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// For how long each fault lasts, all its stretches together, in seconds.
    #[arg(long, default_value_t = 180)]
    seconds: u32,
    /// In how many stretches.
    #[arg(long, default_value_t = 5)]
    stretches: u32,
    #[command(flatten)]
    common: Common,
}

struct Fault {
    name: &'static str,
    manner: Manner,
}

const FAULTS: [Fault; 3] = [
    Fault { name: "dead", manner: Manner::Dead },
    Fault { name: "frozen", manner: Manner::Frozen },
    Fault { name: "100 times slower", manner: Manner::Slow(SLOW) },
];

/// What a fault did.
#[derive(Default)]
struct Measured {
    sound: Vec<Quantiles>,
    faulty: Vec<Quantiles>,
    /// What the processor held beyond what it had held when the fault began, in MiB.
    grown_mib: f64,
    /// How long the sink took to catch up, in seconds, each time.
    caught_up: Vec<f64>,
}

/// Sets the scene, prints a line for each fault.
///
/// # Errors
/// Something does not answer, a record is missing, or a fault did not strike.
pub async fn measure(addresses: &Addresses, options: &Options) -> Result<()> {
    let scene = Scene::set(&options.common, addresses, "1h").await?;
    let measured = faults(&scene, options).await;
    let taken_back = scene.take_back().await;
    measured.and(taken_back)
}

async fn faults(scene: &Scene<'_>, options: &Options) -> Result<()> {
    let (_running, processor) = scene.processor(&Sink::ALL)?;
    let watch = scene.watch().await?;
    let load = scene.load(0, options.rate)?;
    tokio::time::sleep(WARM_UP).await;
    watch.all_in(&Sink::ALL, load.next()).await?;
    for fault in &FAULTS {
        let measured = one(scene, options, (&watch, &load), &processor, fault).await?;
        measured.say(options, fault)?;
        if let Some(path) = &options.common.results {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", measured.json(options, fault))?;
        }
    }
    let repeats = watch.finish(&load).await?;
    say(&format!("{} records, each in both sinks; {repeats} came to the receiver again", load.next()))
}

async fn one(
    scene: &Scene<'_>,
    options: &Options,
    (watch, load): (&Watch, &Load),
    processor: &Watched,
    fault: &Fault,
) -> Result<Measured> {
    let (victim, other) = (options.victim, options.victim.other());
    let stretch = Duration::from_secs(u64::from(options.seconds)) / options.stretches;
    let mut measured = Measured::default();
    for _ in 0..options.stretches {
        let from = Instant::now();
        tokio::time::sleep(stretch / 2).await;
        let to = Instant::now();
        let held = processor.resident_mib()?;
        let proxy = scene.proxy(victim);
        let struck = proxy.struck();
        proxy.set(fault.manner);
        let mut most: f64 = held;
        while to.elapsed() < stretch {
            tokio::time::sleep(LOOK).await;
            most = most.max(processor.resident_mib()?);
        }
        let end = Instant::now();
        ensure!(proxy.struck() > struck, "{} was never {}", victim.name(), fault.name);
        proxy.set(Manner::Sound);
        measured.caught_up.push(watch.all_in(&[victim], load.next()).await?.as_secs_f64());
        tokio::time::sleep(SETTLE).await;
        measured.sound.push(watch.own_share(load, other, from, to));
        measured.faulty.push(watch.own_share(load, other, to, end));
        measured.grown_mib = measured.grown_mib.max(most - held);
    }
    Ok(measured)
}

fn median(of: &[Quantiles], value: fn(&Quantiles) -> f64) -> f64 {
    let mut values: Vec<_> = of.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How far apart the largest and the smallest are.
fn spread(of: &[Quantiles], value: fn(&Quantiles) -> f64) -> f64 {
    let most = of.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
    most - of.iter().map(value).fold(f64::INFINITY, f64::min)
}

impl Measured {
    fn allowed_ms(&self) -> f64 {
        let sound = median(&self.sound, |quantiles| quantiles.p99);
        (sound * ALLOWED_SHARE).max(ALLOWED_MS).max(spread(&self.sound, |quantiles| quantiles.p99))
    }

    fn say(&self, options: &Options, fault: &Fault) -> Result<()> {
        let p50 = |of: &[Quantiles]| median(of, |quantiles| quantiles.p50);
        let p99 = |of: &[Quantiles]| median(of, |quantiles| quantiles.p99);
        let (sound, faulty) = (p99(&self.sound), p99(&self.faulty));
        let verdict = if faulty - sound <= self.allowed_ms() { "within" } else { "BEYOND" };
        say(&format!(
            "{} {}: {}'s own share p50 {:.2} → {:.2} ms, p99 {sound:.2} → {faulty:.2} ms, {verdict} the {:.2} ms allowed; \
             memory at most {:+.1} MiB; caught up within {:.1} s",
            options.victim.name(),
            fault.name,
            options.victim.other().name(),
            p50(&self.sound),
            p50(&self.faulty),
            self.allowed_ms(),
            self.grown_mib,
            self.caught_up.iter().copied().fold(0.0, f64::max),
        ))
    }

    fn json(&self, options: &Options, fault: &Fault) -> serde_json::Value {
        let p50 = |of: &[Quantiles]| of.iter().map(|quantiles| quantiles.p50).collect::<Vec<_>>();
        let p99 = |of: &[Quantiles]| of.iter().map(|quantiles| quantiles.p99).collect::<Vec<_>>();
        json!({
            "measured": "isolation", "victim": options.victim.name(), "fault": fault.name, "rate": options.rate,
            "seconds": options.seconds, "sound_p50_ms": p50(&self.sound), "sound_p99_ms": p99(&self.sound),
            "faulty_p50_ms": p50(&self.faulty), "faulty_p99_ms": p99(&self.faulty), "allowed_ms": self.allowed_ms(),
            "grown_mib": self.grown_mib, "caught_up_seconds": self.caught_up,
        })
    }
}
