//! The table and the charts for the docs, made from raw results.

use super::chart::{Bar, Colour, bars, grouped};
use super::line::Line;
use super::summary::{Spread, Summary, summaries};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::fs;
use std::path::PathBuf;

const OURS: Colour = Colour { name: "", fill: "#0072b2" };
const PEERS: Colour = Colour { name: "", fill: "#8c959f" };
/// What promises nothing is a limit and no choice.
const LIMITS: Colour = Colour { name: "", fill: "#d0d7de" };
/// In the order of a summary's costs.
const PROCESSES: [Colour; 4] = [
    Colour { name: "program", fill: "#0072b2" },
    Colour { name: "Kafka", fill: "#e69f00" },
    Colour { name: "Redis", fill: "#d55e00" },
    Colour { name: "receiver", fill: "#8c959f" },
];

/// What to make of raw results.
#[derive(Debug, Args)]
pub struct Report {
    /// Raw results of `peers`.
    #[arg(long)]
    results: PathBuf,
    /// The folder that peers.md and the charts are written into.
    #[arg(long)]
    into: PathBuf,
}

impl Report {
    /// Writes them.
    ///
    /// # Errors
    /// A file can't be read or written, or a line is no raw result.
    pub fn write(&self) -> Result<()> {
        let text = fs::read_to_string(&self.results).with_context(|| self.results.display().to_string())?;
        let lines = Line::all(&text)?;
        ensure!(!lines.is_empty(), "{} is empty", self.results.display());
        fs::create_dir_all(&self.into)?;
        for (name, content) in files(&lines) {
            fs::write(self.into.join(name), content)?;
        }
        Ok(())
    }
}

/// Lines that can be compared: of one size and one form of message.
struct Group<'a> {
    records: u32,
    partitions: i32,
    with_schema: bool,
    lines: Vec<&'a Line>,
}

fn groups(lines: &[Line]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for line in lines {
        let Line { records, partitions, with_schema, .. } = *line;
        let is_same = |group: &&mut Group<'_>| {
            (group.records, group.partitions, group.with_schema) == (records, partitions, with_schema)
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.lines.push(line),
            None => groups.push(Group { records, partitions, with_schema, lines: vec![line] }),
        }
    }
    groups
}

/// What is written: the page, and three charts for each size.
fn files(lines: &[Line]) -> Vec<(String, String)> {
    let mut page = "<!-- Made from the raw results by bench/run peers-report. Don't edit. -->\n\n# Peers side by side\n\n\
                    How each was configured, and what can't be compared: [bench/peers/README.md](../../bench/peers/README.md).\n"
        .to_owned();
    let mut files = Vec::new();
    for Group { records, partitions, with_schema, lines } in groups(lines) {
        let lines: Vec<_> = lines.into_iter().cloned().collect();
        let summaries = summaries(&lines);
        let load = Spread::of(lines.iter().map(|line| line.load_average));
        let load = load.map(|load| format!("{:.1} to {:.1}", load.least, load.most)).unwrap_or_default();
        let several = if partitions == 1 { "partition" } else { "partitions" };
        let (told, named) = if with_schema { (", with schema", "-schema") } else { ("", "") };
        let size = format!("{} records, {partitions} {several}{told}", grouped(f64::from(records)));
        let cores = lines.first().map_or(0, |line| line.cores);
        page += &format!(
            "\n## {size}\n\nMedians, and from least to most. A machine with {cores} cores; load average before each run {load}.\n\n{}",
            table(&lines)
        );
        for (what, chart) in charts(&size, &summaries) {
            let name = format!("peers-{records}-{partitions}{named}-{what}.svg");
            page += &format!("\n![{what}]({name})\n");
            files.push((name, chart));
        }
    }
    files.insert(0, ("peers.md".to_owned(), page));
    files
}

fn charts(size: &str, summaries: &[Summary]) -> [(&'static str, String); 3] {
    let colour = |summary: &Summary| match summary.contender.split('-').next() {
        Some("deltafan") => OURS,
        Some("bare") => LIMITS,
        _ => PEERS,
    };
    let single = |figure: fn(&Summary) -> Spread| {
        let bar = |summary: &Summary| {
            let spread = figure(summary);
            Bar {
                label: label(&summary.contender).to_owned(),
                parts: vec![(colour(summary), spread.median)],
                spread: Some((spread.least, spread.most)),
                figure: grouped(spread.median),
            }
        };
        summaries.iter().map(bar).collect::<Vec<_>>()
    };
    let stacked: Vec<_> = summaries
        .iter()
        .map(|summary| Bar {
            label: label(&summary.contender).to_owned(),
            parts: PROCESSES.into_iter().zip(summary.cpu_seconds.map(|spread| spread.median)).collect(),
            spread: None,
            figure: format!("{:.1}", summary.cpu_seconds.iter().map(|spread| spread.median).sum::<f64>()),
        })
        .collect();
    [
        (
            "events",
            bars(&format!("Events per second, in both sinks ({size})"), &single(|one| one.events_per_second)),
        ),
        ("cpu", bars(&format!("CPU-seconds per million events ({size})"), &stacked)),
        (
            "memory",
            bars(&format!("Most resident memory of the program, MiB ({size})"), &single(|one| one.peak_mib)),
        ),
    ]
}

/// As Markdown: medians, and from least to most where there are several runs.
pub(super) fn table(lines: &[Line]) -> String {
    let summaries = summaries(lines);
    let ours = summaries.iter().find(|summary| summary.contender == "deltafan");
    let mut table =
        "| | runs | events/s | Deltafan does | CPU-seconds per million: program | Kafka | Redis | receiver | MiB at most | sent again | sums and ids | promises of Redis |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for summary in &summaries {
        let Summary { contender, runs, events_per_second, cpu_seconds, peak_mib, repeats, faulty } = summary;
        let times = ours.map_or_else(String::new, |ours| {
            format!("{:.2} times", ours.events_per_second.median / events_per_second.median)
        });
        let [program, kafka, redis, receiver] =
            cpu_seconds.map(|spread| told(spread, |value| format!("{value:.2}")));
        let right = if *faulty == 0 { "right".to_owned() } else { format!("wrong in {faulty} of {runs}") };
        table += &format!(
            "| {} | {runs} | {} | {times} | {program} | {kafka} | {redis} | {receiver} | {} | {} | {right} | {} |\n",
            label(contender),
            told(*events_per_second, grouped),
            told(*peak_mib, |value| format!("{value:.0}")),
            told(*repeats, grouped),
            promises(contender),
        );
    }
    table
}

/// The median, and the spread behind it where there is one.
fn told(spread: Spread, number: impl Fn(f64) -> String) -> String {
    let [median, least, most] = [spread.median, spread.least, spread.most].map(number);
    if least == most { median } else { format!("{median} ({least} to {most})") }
}

/// As it is called in the docs.
fn label(contender: &str) -> &str {
    match contender {
        "deltafan" => "Deltafan",
        "deltafan-again" => "Deltafan again (A/A)",
        "redpanda-connect" => "Redpanda Connect",
        "redpanda-connect-tuned" => "Redpanda Connect, tuned",
        "kafka-streams-cold" => "Kafka Streams, cold",
        "kafka-streams" => "Kafka Streams, warm",
        "bare-loop" => "bare loop (no guarantees)",
        "bare-lanes" => "two bare lanes (likewise)",
        other => other,
    }
}

/// What it keeps to in Redis when something fails, and what its window is.
fn promises(contender: &str) -> &'static str {
    match contender.split('-').next() {
        Some("deltafan") => "exactly once, rolling hour",
        Some("bare") => "none, a set for each minute",
        _ => "at least once, a set for each minute",
    }
}

/// For tests of the docs: what the folder must hold for these raw results.
#[cfg(test)]
fn differs(folder: &std::path::Path, lines: &[Line]) -> Option<String> {
    let differs = |(name, content): &(String, String)| {
        fs::read_to_string(folder.join(name)).ok().as_ref() != Some(content)
    };
    files(lines).iter().find(|file| differs(file)).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::line;
    use super::*;

    #[test]
    fn the_table_tells_medians_spreads_and_faults() {
        let mut lines = vec![
            line("deltafan", 1, 200_000.0),
            line("deltafan", 2, 210_000.0),
            line("deltafan", 3, 190_000.0),
            line("kafka-streams", 1, 100_000.0),
        ];
        if let Some(line) = lines.last_mut() {
            line.fault = Some("one is missing".to_owned());
        }
        let table = table(&lines);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| Deltafan | 3 | 200,000 (190,000 to 210,000) | 1.00 times | 4.00 | 3.00 | 2.00 | 1.00 | 100 | 0 | right | exactly once, rolling hour |",
                "| Kafka Streams, warm | 1 | 100,000 | 2.00 times | 4.00 | 3.00 | 2.00 | 1.00 | 100 | 0 | wrong in 1 of 1 | at least once, a set for each minute |",
            ]
        );
    }

    #[test]
    fn sizes_are_not_mixed() {
        let mut other = line("deltafan", 1, 1.0);
        other.partitions = 1;
        let mut with_schema = other.clone();
        with_schema.with_schema = true;
        let files = files(&[line("deltafan", 1, 2.0), other, with_schema]);
        let names: std::collections::BTreeSet<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 10, "{names:?}");
        let (_, page) = files.first().cloned().unwrap_or_default();
        assert!(page.contains("4 partitions") && page.contains("1 partition\n"), "{page}");
        assert!(page.contains("1 partition, with schema\n"), "{page}");
        assert_eq!(page.matches("| Deltafan | 1 |").count(), 3, "{page}");
    }

    /// The page is what the raw results beside it say, and there is none without them.
    #[test]
    fn docs_are_current() -> Result<()> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
        if !folder.join("peers.jsonl").exists() {
            assert!(!folder.join("peers.md").exists(), "docs/benchmarks/peers.jsonl is missing");
            return Ok(());
        }
        let lines = Line::all(&fs::read_to_string(folder.join("peers.jsonl"))?)?;
        assert_eq!(
            differs(&folder, &lines),
            None,
            "bench/run peers-report --results docs/benchmarks/peers.jsonl --into docs/benchmarks"
        );
        Ok(())
    }
}
