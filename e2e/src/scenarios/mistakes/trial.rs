//! One mistake is made, and what is said of it is judged.

use super::place::{PASSWORD, Place};
use super::row::{Mistake, Trial};
use crate::harness::kafka::{DEAD_LETTERS, Kafka, Record};
use crate::harness::process::Recipe;
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Plan, Processor, check};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// What ends by itself and takes longer hangs. Generous: `generate` gives a host name that is not found some time.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a lane may take to say what is the matter.
const SAID: Duration = Duration::from_secs(60);
/// The default of `shutdown_timeout`, and what the program adds at most.
const STOP: Duration = Duration::from_secs(15);
/// So much of the end of a wrong answer is shown.
const SHOWN_CHARS: usize = 600;
const SINKS: [(&str, &str); 2] = [("redis", "type: redis_window"), ("webhook", "type: webhook")];

/// Makes the mistake; `number` tells its files from those of others.
pub async fn made(place: &Place, number: usize, mistake: &Mistake) -> Result<()> {
    let says: Vec<String> = mistake.says.iter().map(|part| place.fill(part)).collect();
    let said = match mistake.trial {
        Trial::Ends { command, env, status } => ended(place, number, command, env, status, &says).await,
        Trial::Letter { value } => buried(place, number, value, &says).await,
        Trial::Lane { sink, edits } => told(place, number, sink, edits, &says).await,
    };
    let said = said.with_context(|| mistake.did)?;
    harmless(place, &said).with_context(|| mistake.did)
}

/// Whether `text` holds the parts in this order.
fn holds(text: &str, parts: &[String]) -> Result<(), String> {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part.as_str()) else {
            let end = text.char_indices().rev().nth(SHOWN_CHARS).map_or(0, |(at, _)| at);
            return Err(format!(
                "{part:?} is not, or not at its place, in: {}",
                text.get(end..).unwrap_or_default()
            ));
        };
        rest = after;
    }
    Ok(())
}

/// No panic, and no secret.
fn harmless(place: &Place, said: &str) -> Result<()> {
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    for secret in [PASSWORD, place.stack.get("WEBHOOK_SECRET")?, place.stack.get("POSTGRES_URL")?] {
        ensure!(!said.contains(secret), "a secret is told: {said}");
    }
    Ok(())
}

fn recipe(place: &Place, number: usize, program: &str, arguments: &[&str]) -> Result<Recipe> {
    let mut env = place.stack.env().clone();
    env.insert("ADMIN_LISTEN".to_owned(), place.stack.free_address()?);
    env.insert("WEBHOOK_LISTEN".to_owned(), place.stack.free_address()?);
    env.insert("WEBHOOK_STORE".to_owned(), place.folder.join(format!("{number}.db")).display().to_string());
    env.insert("HOME".to_owned(), place.folder.display().to_string());
    Ok(Recipe {
        name: "it".to_owned(),
        program: PathBuf::from(place.fill(program)),
        arguments: arguments.iter().map(|argument| place.fill(argument).into()).collect(),
        env,
        log: place.folder.join(format!("{number}.txt")),
    })
}

async fn ended(
    place: &Place,
    number: usize,
    command: &[&str],
    env: &[(&str, Option<&str>)],
    status: i32,
    says: &[String],
) -> Result<String> {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut recipe = recipe(place, number, program, arguments)?;
    for (name, value) in env {
        match value {
            Some(value) => recipe.env.insert((*name).to_owned(), place.fill(value)),
            None => recipe.env.remove(*name),
        };
    }
    let (ended, said) = recipe.run(LONGEST).await?;
    check::equal(format!("exit status ({said})"), ended.code(), Some(status))?;
    holds(&said, says).map_err(anyhow::Error::msg)?;
    Ok(said)
}

async fn told(
    place: &Place,
    number: usize,
    sink: &str,
    edits: &[(&str, &str)],
    says: &[String],
) -> Result<String> {
    let (plan, mut processor, log) = started(place, number, sink, edits)?;
    let workers = wait::until("the lane says what is the matter", SAID, async || {
        ensure!(processor.process.runs(), "the processor has ended: {}", std::fs::read_to_string(&log)?);
        let workers = processor.admin.workers(&plan.pipeline, sink).await?;
        let text = workers.iter().map(Value::to_string).collect::<String>().replace("\\\"", "\"");
        Ok(match holds(&text, says) {
            Ok(()) => Look::Seen(text),
            Err(instead) => Look::NotYet(instead),
        })
    })
    .await?;
    // The log says it too, for those who do not look at `/readyz`.
    let first = says.first().map(String::as_str).unwrap_or_default();
    wait::until("the log says it too", SAID, async || {
        let said = std::fs::read_to_string(&log)?;
        Ok(seen_if(said.contains(first), || format!("no {first:?} in the log")))
    })
    .await?;
    let status = processor.process.terminate(STOP).await?;
    check::equal("exit status after SIGTERM", status.code(), Some(0))?;
    Ok(format!("{workers}\n{}", std::fs::read_to_string(&log)?))
}

/// A processor of which one lane runs, with one thing exchanged for another; its plan and its log.
fn started(
    place: &Place,
    number: usize,
    sink: &str,
    edits: &[(&str, &str)],
) -> Result<(Plan, Processor, PathBuf)> {
    let mut plan = place.plan.clone();
    plan.pipeline = format!("{}-{number}", plan.pipeline);
    for window in &mut plan.windows {
        window.key = format!("{}:1h", plan.pipeline);
    }
    let admin = place.stack.free_address()?;
    let mut yaml = plan.yaml(&place.stack, &admin)?;
    for (other, kind) in SINKS.iter().filter(|(name, _)| *name != sink) {
        yaml = exchanged(&yaml, kind, &format!("{kind}\n        enabled: false")).context(*other)?;
    }
    for (right, wrong) in edits {
        yaml = exchanged(&yaml, right, &place.fill(wrong))?;
    }
    let file = place.folder.join(format!("{number}.yaml"));
    std::fs::write(&file, yaml)?;
    let file = file.to_str().context("the folder's name is no UTF-8")?;
    let recipe = recipe(place, number, "{deltafan}", &["run", "--config", file])?;
    let log = recipe.log.clone();
    Ok((plan, Processor::start(recipe, &admin)?, log))
}

/// The reason with which a record goes to the dead letters, from a topic of its own.
async fn buried(place: &Place, number: usize, value: &str, says: &[String]) -> Result<String> {
    let kafka = Kafka::new(place.stack.get("KAFKA_BROKERS")?);
    let topic = format!("{}-{number}", place.plan.pipeline);
    kafka.create_topic(&topic, 1, &[]).await?;
    let from = kafka.ends(DEAD_LETTERS).await?;
    let bytes = value.as_bytes().to_vec();
    let record = Record { key: None, value: Some(bytes), headers: Vec::new(), written_ms: None };
    kafka.produce(&topic, 0, &[record]).await?;
    let line = format!("topic: {topic}");
    let (_, mut processor, log) = started(place, number, "redis", &[("topic: engagement_events", &line)])?;
    let reason = wait::until("the dead letter", SAID, async || {
        let letters = kafka.records(DEAD_LETTERS, from.clone()).await?;
        let own = letters.iter().filter(|letter| letter.value.as_deref() == Some(value.as_bytes()));
        let reason = own.into_iter().find_map(|letter| letter.header("deltafan.reason"));
        Ok(reason.map_or(Look::NotYet("none".to_owned()), |reason| Look::Seen(reason.to_owned())))
    })
    .await?;
    holds(&reason, says).map_err(anyhow::Error::msg)?;
    processor.admin.ready().await.context("the lane goes on")?;
    let status = processor.process.terminate(STOP).await?;
    check::equal("exit status after SIGTERM", status.code(), Some(0))?;
    kafka.delete_topic(&topic).await?;
    Ok(format!("{reason}\n{}", std::fs::read_to_string(&log)?))
}

/// The text with the first line that begins with `right`, blanks aside, exchanged.
fn exchanged(yaml: &str, right: &str, wrong: &str) -> Result<String> {
    let line = yaml.lines().find(|line| line.trim_start().starts_with(right));
    let line = line.with_context(|| format!("no line begins with {right:?}"))?;
    let blanks = line.len().saturating_sub(line.trim_start().len());
    let new = format!("{}{wrong}", " ".repeat(blanks));
    Ok(yaml.replacen(line, &new, 1))
}
