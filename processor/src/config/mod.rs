//! The configuration: one YAML file with variables, read into types that cannot be wrong.
//!
//! Text → tree with places ([`yaml`]) → keys ([`section`], [`lists`]) → variables ([`scalar`], [`interpolate`]) → values
//! ([`kinds`], [`names`], [`url`], [`secret`]) → the groups of keys ([`service`], [`pipeline`], [`sink`]). All problems
//! come in one answer ([`Problems`]). It knows nothing of the rest of the processor, and connects to nothing.
//!
//! A new key is one line in a `settings!` block, and a comment in `config/deltafan.yaml`.

mod collections;
mod describe;
mod interpolate;
mod kafka_properties;
mod kinds;
mod lists;
mod names;
mod pipeline;
mod problem;
mod rate;
mod scalar;
mod secret;
mod section;
mod service;
mod settings;
mod sink;
mod source;
mod suggest;
mod url;
mod yaml;

#[cfg(test)]
mod tests;

use std::{fs::File, io::Read, path::Path, time::Duration};

pub use self::{
    collections::{Named, NonEmpty},
    kafka_properties::Properties,
    kinds::Bytes,
    names::{Brokers, Connector, Folder, Name, RedisKey, Topic},
    pipeline::{Content, Pipeline, Start, Transform, UnknownContent, group},
    problem::{Problem, Problems},
    secret::Secret,
    section::Declaration,
    service::{Admin, Connect, Kafka, Log, LogFormat, LogLevel, Postgres},
    sink::{
        By, Files, KeepFiles, RedisWindow, Sink, SinkType, Target, Webhook, Window, WindowLength, Windows,
    },
    url::{HttpUrl, PostgresUrl, RedisUrl},
};

use self::{
    describe::{Describe, Outline},
    kinds::DurationIn,
    section::{Reader, Section},
    settings::settings,
    source::{Place, Show, Source},
    yaml::Flaw,
};

/// The default configuration, which documents every key.
const DEFAULT: &str = include_str!("../../../config/deltafan.yaml");
/// What problems of the default call their file.
const DEFAULT_NAME: &str = "the embedded default";
/// A configuration has a few kilobytes; more is some other file.
const MAX_FILE_BYTES: u64 = 1 << 20;

const SHUTDOWN_TIMEOUT: DurationIn = DurationIn {
    min: Duration::from_secs(1),
    max: Duration::from_secs(300),
    why: "a write in flight needs a moment, and whoever stops the process kills it in the end",
};

settings! {
    /// Everything that `deltafan` is told.
    pub struct Config {
        /// How Kafka is reached.
        pub kafka: Kafka = section(Kafka::read),
        /// How the database is reached.
        pub postgres: Postgres = section(Postgres::read),
        /// Kafka Connect, whose connector is watched.
        pub connect: Option<Connect> = section_if_given(Connect::read),
        /// The port for health, metrics and administration.
        pub admin: Admin = section(Admin::read),
        /// What is logged, and how.
        pub log: Log = section(Log::read),
        /// How long a stop may take: writes in flight are finished and positions committed.
        pub shutdown_timeout: Duration = optional(&SHUTDOWN_TIMEOUT, "10s"),
        /// The pipelines, each under a name.
        pub pipelines: Named<Pipeline> = named(Pipeline::checked),
    }
}

impl Config {
    /// The configuration as it holds, in YAML, defaults filled in and secrets left out.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut out = Outline::default();
        Describe::describe(self, &mut out);
        out.finish()
    }
}

/// The text of the default configuration, which documents every key.
#[must_use]
pub fn default_text() -> &'static str {
    DEFAULT
}

/// Reads a file, or the embedded default without one, taking variables from `env`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    let Some(path) = path else {
        return parse(DEFAULT, DEFAULT_NAME, env);
    };
    let name = path.display().to_string();
    match read_file(path) {
        Ok(text) => parse(&text, &name, env),
        Err((what, remedy)) => Err(Problems::new(name, vec![Problem::of_file(what, remedy)])),
    }
}

/// The text of a file, or what is wrong with it and the remedy.
fn read_file(path: &Path) -> Result<String, (String, &'static str)> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let remedy = "check the path and its permissions; without a path the embedded default is used";
        return Err((format!("cannot be read: {error}"), remedy));
    }
    if bytes.len() > usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX) {
        return Err(("is larger than 1 MiB".to_owned(), "name the file with the configuration"));
    }
    String::from_utf8(bytes).map_err(|_| ("is no UTF-8 text".to_owned(), "save it as UTF-8"))
}

/// Reads a text; `file` is what problems call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    read(text, env).0.map_err(|problems| Problems::new(file.to_owned(), problems))
}

/// Every key there is, in the order of the default file: what a reference document is made of.
#[must_use]
pub fn reference() -> Vec<Declaration> {
    let mut keys: Vec<Declaration> = Vec::new();
    for key in read(DEFAULT, &|_| None).1 {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn read(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Result<Config, Vec<Problem>>, Vec<Declaration>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = match yaml::parse(text) {
        Ok(document) => document,
        Err(flaw) => return (Err(syntax_problems(text, &flaw)), Vec::new()),
    };
    let source = Source { text, values: Some(document.values), keys: document.keys };
    let reader = Reader::new(env, &source);
    for flaw in &document.flaws {
        reader.report(flaw.place, "", (&flaw.what, flaw.remedy), Show::Nothing);
    }
    let root = Section::open(&reader, Some(&document.root), Place::START, String::new(), String::new());
    let config = root.and_then(|root| {
        let config = Config::read(&root);
        root.finish();
        config
    });
    let problems = reader.problems.take();
    let result = match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    };
    (result, reader.declared.take())
}

/// A text that is no YAML has one problem, or as many as lines are indented with tabs.
fn syntax_problems(text: &str, flaw: &Flaw) -> Vec<Problem> {
    let source = Source { text, values: None, keys: Vec::new() };
    let problem = |place, what: &str, remedy: &str| source.problem(place, "", what, remedy, Show::Nothing);
    let tab = |line: &str| line.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t');
    let tabs: Vec<Problem> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .filter_map(|(number, line)| Some(Place::within(number, tab(line)?, 1)))
        .map(|place| {
            problem(place, "is indented with a tab", "indent with spaces; YAML allows no tabs there")
        })
        .collect();
    if tabs.is_empty() { vec![problem(flaw.place, &flaw.what, flaw.remedy)] } else { tabs }
}
