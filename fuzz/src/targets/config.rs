//! The configuration: read, or refused with a place and a remedy for each problem; secrets are never printed.

use super::{Outcome, Target};
use crate::mutate;
use anyhow::{Result, ensure};
use deltafan::config::{default_text, parse};
use rand::RngExt;
use rand::rngs::StdRng;

/// What the environment holds; it must not come out again.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The words of the parser of YAML, by which its refusal is told from those of the configuration.
const NO_YAML: &str = "no valid YAML";

pub struct Configuration;

fn variable(name: &str) -> Option<String> {
    matches!(name, "WEBHOOK_SECRET" | "SECRET").then(|| SECRET.to_owned())
}

impl Target for Configuration {
    fn make(&mut self, random: &mut StdRng) -> Vec<u8> {
        let made = mutate::lines(default_text(), random).into_bytes();
        if random.random_ratio(1, 10) { mutate::bytes(&made, random) } else { made }
    }

    fn throw(&mut self, input: &[u8]) -> Result<Outcome> {
        // What is no UTF-8 is refused before.
        let Ok(text) = std::str::from_utf8(input) else {
            return Ok(Outcome { parsed: false, accepted: false });
        };
        let lines = text.lines().count().max(1);
        match parse(text, "fuzzed.yaml", &variable) {
            Ok(config) => {
                let described = config.describe();
                ensure!(!described.contains(SECRET), "a secret is printed:\n{described}");
                Ok(Outcome { parsed: true, accepted: true })
            }
            Err(problems) => {
                let mut parsed = true;
                ensure!(problems.iter().next().is_some(), "refused without a reason");
                for problem in problems.iter() {
                    ensure!(problem.line() <= lines + 1, "line {} of {lines}", problem.line());
                    ensure!(
                        !problem.what().is_empty() && !problem.remedy().is_empty(),
                        "no remedy: {problem:?}"
                    );
                    parsed &= !problem.what().contains(NO_YAML);
                }
                ensure!(!problems.to_string().contains(SECRET), "a secret is printed:\n{problems}");
                Ok(Outcome { parsed, accepted: false })
            }
        }
    }
}
