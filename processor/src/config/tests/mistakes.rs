//! A table of mistakes, each with the exact answer: place, path, what is wrong, remedy.

use super::{read, super::Problem};

/// What is replaced in [`GOOD`], by what, and every problem that this makes.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

const GOOD: &str = "\
kafka:
  brokers: 127.0.0.1:9092
postgres:
  url: postgres://processor@127.0.0.1/streaming_db
pipelines:
  engagement:
    topic: engagement_events
    dead_letters: engagement_events.dlq
    content: {topic: content}
    transform: engagement
    sinks:
      redis:
        type: redis_window
        url: redis://127.0.0.1:6379
        windows:
          - {key: \"engagement:10min\", length: 10min}
        workers: 2
      webhook:
        type: webhook
        url: http://127.0.0.1:5001/webhook
        secrets: [\"${WEBHOOK_SECRET}\"]
";

const MISTAKES: &[Mistake] = &[
    // Keys
    ("windows:", "window:", &[]),
    ("windows:", "colours:", &[]),
    ("kafka:", "kafak:", &[]),
    ("topic: engagement_events\n", "", &[]),
    ("workers: 2", "workers: 2\n        workers: 3\n        workers: 4", &[]),
    ("pipelines:\n", "pipelines: {}\nold:\n", &[]),
    ("type: redis_window", "type: redis_windows", &[]),
    ("        type: webhook\n", "", &[]),
    // Types
    ("workers: 2", "workers: two", &[]),
    ("workers: 2", "workers: \"2\"", &[]),
    ("workers: 2", "workers: [2]", &[]),
    ("workers: 2", "workers:", &[]),
    ("workers: 2", "workers: 0", &[]),
    ("workers: 2", "workers: 65", &[]),
    ("workers: 2", "enabled: yes", &[]),
    ("kafka:\n  brokers: 127.0.0.1:9092", "kafka: 127.0.0.1:9092", &[]),
    ("[\"${WEBHOOK_SECRET}\"]", "\"${WEBHOOK_SECRET}\"", &[]),
    ("[\"${WEBHOOK_SECRET}\"]", "[]", &[]),
    // Values
    ("length: 10min", "length: 10", &[]),
    ("length: 10min", "length: 25h", &[]),
    ("length: 10min", "length: 1500ms", &[]),
    ("length: 10min", "length: ten minutes", &[]),
    ("workers: 2", "batch: {max_bytes: 2MB}", &[]),
    ("workers: 2", "batch: {max_bytes: 1GiB, max_records: 0}", &[]),
    ("topic: content", "topic: \"my content\"", &[]),
    ("brokers: 127.0.0.1:9092", "brokers: 127.0.0.1", &[]),
    ("postgres:\n", "admin: {listen: localhost}\npostgres:\n", &[]),
    ("postgres:\n", "log: {level: inof, format: xml}\npostgres:\n", &[]),
    ("redis://127.0.0.1:6379", "http://user:hookpw@127.0.0.1", &[]),
    ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379/events", &[]),
    ("http://127.0.0.1:5001/webhook", "127.0.0.1:5001/webhook", &[]),
    ("engagement:10min", "engagement 10min", &[]),
    ("engagement:10min", "{engagement}", &[]),
    ("  engagement:\n", "  Engagement:\n", &[]),
    ("${WEBHOOK_SECRET}", "whsec_c2hvcnQ=", &[]),
    ("${WEBHOOK_SECRET}", "hunter2", &[]),
    // Variables
    ("${WEBHOOK_SECRET}", "${WEBHOOK_SECERT}", &[]),
    ("workers: 2", "workers: ${NOT_A_NUMBER}", &[]),
    ("workers: 2", "workers: ${NUMBER", &[]),
    ("workers: 2", "workers: ${1}", &[]),
    ("workers: 2", "workers: ${EMPTY}", &[]),
    ("topic: content", "topic: ${ONE}-${TWO}", &[]),
    // What no single key can tell
    ("events.dlq", "events", &[]),
    ("topic: content", "topic: engagement_events", &[]),
    ("    content: {topic: content}\n", "", &[]),
    ("        workers: 2\n", "      copy:\n        type: redis_window\n        url: redis://LOCALHOST\n        windows: [{key: \"engagement:10min\", length: 1h}]\n", &[]),
    ("  brokers: 127.0.0.1:9092", "  brokers: 127.0.0.1:9092\n  properties: {group.id: mine, isolation.level: read_uncommitted}", &[]),
    // YAML
    ("    topic: engagement_events\n", "\ttopic: engagement_events\n", &[]),
    ("url: redis:", "url: a: redis:", &[]),
    ("[\"${WEBHOOK_SECRET}\"]", "[\"${WEBHOOK_SECRET}\"", &[]),
    ("topic: content", "topic: &name content", &[]),
    ("topic: content", "topic: *name", &[]),
    ("topic: content", "topic: !!str content", &[]),
    ("kafka:\n", "---\nkafka: {}\n---\nkafka:\n", &[]),
    ("    transform: engagement\n", "    transform engagement\n", &[]),
];

fn told(problem: &Problem) -> String {
    let (line, column) = (problem.line(), problem.column());
    format!("{line}:{column} {}: {} = {}", problem.path(), problem.what(), problem.remedy())
}

#[test]
fn every_mistake_has_its_exact_answer() {
    read(GOOD).unwrap();
    for (from, to, expected) in MISTAKES {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from:?} is not in the text");
        let problems = read(&text).err();
        let told: Vec<String> = problems.iter().flat_map(|problems| problems.iter().map(told)).collect();
        if std::env::var("SHOW").is_ok() { println!("@@{}", serde(&told)); for l in &told { println!("    {l}"); } continue; }
        assert_eq!(told, *expected, "{from:?} made {to:?}");
    }
}
fn serde(t: &[String]) -> String { t.join("\u{1}").replace('\n', "\\n") }
