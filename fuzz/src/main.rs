//! Throws mutated fixtures at everything that reads what strangers write, and holds it to more than not to panic.
//!
//! `cargo run --release -p fuzz` runs every target with a million inputs; `--target NAME --seed S --first N --count 1` makes
//! the N-th input of a seed again. Each input is made from its seed and number alone.
//!
//! No coverage guides it: the mutations know the forms instead (JSON values, lines of YAML, headers), so that most inputs
//! come past the first parse, which is counted.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's output")]

mod mutate;
mod targets;

use anyhow::{Result, ensure};
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use targets::{TARGETS, Target};

/// The part of the inputs that must come past the first parse: fewer, and it is the parser of JSON that is tested.
const PARSED_PERCENT: u64 = 50;

#[derive(Debug, Parser)]
#[command(about = "Throws mutated fixtures at everything that reads what strangers write")]
struct Cli {
    /// Only these: decode, config, signature, receiver
    #[arg(long)]
    target: Vec<String>,
    /// Inputs for each target
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// The number of the first input
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// The same seed makes the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    for name in &cli.target {
        ensure!(TARGETS.iter().any(|(known, _)| known == name), "there is no target {name:?}");
    }
    for (name, make) in TARGETS {
        if cli.target.is_empty() || cli.target.iter().any(|wanted| wanted == name) {
            run(name, make()?.as_mut(), &cli)?;
        }
    }
    Ok(())
}

/// Runs one target and prints its counts.
fn run(name: &'static str, target: &mut dyn Target, cli: &Cli) -> Result<()> {
    let input = Arc::new(Mutex::new((0, Vec::new())));
    tell_the_input(name, cli.seed, &input);
    let began = Instant::now();
    let (mut parsed, mut accepted) = (0, 0);
    for number in cli.first..cli.first.saturating_add(cli.count) {
        let mut random = StdRng::seed_from_u64(cli.seed.rotate_left(32) ^ number);
        let made = target.make(&mut random);
        *input.lock().unwrap_or_else(PoisonError::into_inner) = (number, made.clone());
        match target.throw(&made) {
            Ok(outcome) => {
                parsed += u64::from(outcome.parsed);
                accepted += u64::from(outcome.accepted);
            }
            Err(error) => {
                let text = String::from_utf8_lossy(&made);
                anyhow::bail!("{name}: input {number} of seed {}: {error:#}\n{text}", cli.seed);
            }
        }
    }
    println!(
        "{name:<10} {} inputs, {parsed} past the first parse, {accepted} accepted, no panic; {:.0} s",
        cli.count,
        began.elapsed().as_secs_f64()
    );
    // A single input that is made again need not be typical.
    ensure!(
        cli.count < 1000 || parsed * 100 >= cli.count * PARSED_PERCENT,
        "{name}: fewer than {PARSED_PERCENT} % came past the first parse: the mutations are too wild"
    );
    Ok(())
}

/// A panic ends the process: let it name the input first.
fn tell_the_input(name: &'static str, seed: u64, input: &Arc<Mutex<(u64, Vec<u8>)>>) {
    let input = Arc::clone(input);
    std::panic::set_hook(Box::new(move |panic| {
        let (number, bytes) = &*input.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("{panic}\n{name}: input {number} of seed {seed}:\n{}", String::from_utf8_lossy(bytes));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every target, a few thousand inputs: the long run is for the command line.
    #[test]
    fn no_target_falls() {
        for (name, make) in TARGETS {
            let cli = Cli { target: Vec::new(), count: 2000, first: 0, seed: rand::random() };
            run(name, make().unwrap().as_mut(), &cli).unwrap();
        }
    }
}
