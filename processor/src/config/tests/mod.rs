//! What a configuration is read into, and what is never printed of it.

mod mistakes;
mod properties;

use std::{io::Write, num::NonZeroU64, time::Duration};

use super::{
    By, Config, LogFormat, Problems, SinkType, Start, Target, UnknownContent, default_text, group, load,
    parse, reference,
};

const KITCHEN_SINK: &str = include_str!("kitchen-sink.yaml");
const NEW_SECRET: &str = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldw==";
const OLD_SECRET: &str = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZA==";

/// The environment of all these tests: passwords with every character that could break something.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "WEBHOOK_SECRET" | "NEW_SECRET" => NEW_SECRET,
        "OLD_SECRET" => OLD_SECRET,
        "KAFKA_PASSWORD" => "kafkapw: {#} ${HOME} \"'",
        "DB_PASSWORD" => "dbpw%3A%23",
        "REDIS_PASSWORD" => "redispw",
        "CONNECT_PASSWORD" => "connectpw",
        "EMPTY" => "",
        "NUMBER" => "3",
        "NOT_A_NUMBER" => "topsecret",
        "TRICK" => "1\nkafka: {}",
        _ => return None,
    };
    Some(value.to_owned())
}

fn read(text: &str) -> Result<Config, Problems> {
    parse(text, "deltafan.yaml", &env)
}

#[test]
fn the_default_needs_nothing_but_the_webhook_secret() {
    let only = |name: &str| (name == "WEBHOOK_SECRET").then(|| NEW_SECRET.to_owned());
    let config = load(None, &only).unwrap();
    assert_eq!(config.kafka.brokers.to_string(), "127.0.0.1:9092");
    assert_eq!(config.postgres.url.expose(), "postgres://processor@127.0.0.1:5432/streaming_db");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9464");
    let (name, pipeline) = config.pipelines.iter().next().unwrap();
    let (sink_name, sink) = pipeline.sinks.iter().next().unwrap();
    assert_eq!(group(name, sink_name), "deltafan.engagement.redis");
    let Target::RedisWindow(redis) = &sink.target else { panic!("the first sink is Redis") };
    assert_eq!(redis.windows[0].key.as_str(), "engagement:10min");
    assert_eq!(redis.windows[0].length.seconds(), 600);
    assert_eq!(redis.max_records.get(), 4000);
    let files = pipeline.sinks.get("files").unwrap();
    assert_eq!((files.enabled, files.sink_type()), (false, SinkType::File), "the default writes no files");
}

#[test]
fn the_default_without_the_webhook_secret_says_so() {
    let problems = load(None, &|_| None).unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!(problems.iter().count(), 1);
    assert_eq!(problem.path(), "pipelines.engagement.sinks.webhook.secrets[0]");
    assert_eq!(problem.what(), "the environment variable WEBHOOK_SECRET is not set");
}

/// Keys that are left out have the values that the default file shows.
#[test]
fn the_default_file_shows_the_defaults() {
    let shown = read(default_text()).unwrap();
    let optional = |line: &&str| {
        let key = line.trim().split(':').next().unwrap_or_default();
        let switches = ["allow_private_targets", "content", "enabled", "topic"];
        let without = reference().iter().any(|known| {
            known.default.is_some()
                && !known.default.as_deref().is_some_and(|text| text.contains(' '))
                && known.path.rsplit('.').next() == Some(key)
        });
        !without || switches.contains(&key)
    };
    let shortened: String = default_text().lines().filter(optional).map(|line| format!("{line}\n")).collect();
    assert!(shortened.lines().count() < default_text().lines().count() - 15, "{shortened}");
    assert_eq!(read(&shortened).unwrap().describe(), shown.describe());
}

#[test]
fn the_default_file_documents_every_key() {
    for key in reference() {
        let name = key.path.rsplit('.').next().unwrap();
        let documented = default_text().lines().any(|line| line.contains(&format!("{name}:")));
        assert!(documented, "{} is not in config/deltafan.yaml", key.path);
        assert!(!key.doc.is_empty() && !key.kind.is_empty(), "{}", key.path);
    }
}

#[test]
fn the_reference_knows_name_type_default_and_meaning() {
    let keys = reference();
    let workers = keys.iter().find(|key| key.path == "pipelines.<name>.sinks.<name>.workers").unwrap();
    assert_eq!(workers.kind, "a whole number from 1 to 64");
    assert_eq!(workers.default.as_deref(), Some("2"));
    assert_eq!(workers.doc, "How many consumers (threads) its lane runs; they share the partitions.");
    let paths: Vec<_> = keys.iter().map(|key| key.path.as_str()).collect();
    for path in [
        "kafka.brokers",
        "pipelines.<name>.sinks.<webhook>.max_body",
        "pipelines.<name>.sinks.<file>.keep_files",
        "pipelines.<name>.sinks.<redis_window>.windows[].key",
    ] {
        assert_eq!(paths.iter().filter(|known| **known == path).count(), 1, "{path} in {paths:#?}");
    }
}

#[test]
fn the_kitchen_sink_parses() {
    let config = read(KITCHEN_SINK).unwrap();
    assert_eq!(config.kafka.brokers.iter().last(), Some(("[::1]", 9094)));
    let properties: Vec<_> =
        config.kafka.properties.iter().map(|(key, value)| (key, value.expose())).collect();
    assert_eq!(
        properties[3],
        ("sasl.password", "kafkapw: {#} ${HOME} \"'"),
        "a variable's content is never parsed"
    );
    assert_eq!(properties[4], ("statistics.interval.ms", "5000"));
    assert_eq!(config.postgres.lookup_timeout, Duration::from_millis(500));
    assert_eq!((config.postgres.url.host(), config.postgres.url.port()), ("db.example", 5432));
    let connect = config.connect.as_ref().unwrap();
    assert_eq!((connect.url.host(), connect.connector.as_str()), ("connect.example", "shop.changes"));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(60));
    assert_eq!(config.pipelines.len(), 2);

    let pipeline = config.pipelines.get("engagement").unwrap();
    assert_eq!(pipeline.start, Start::Latest);
    assert_eq!(pipeline.content.as_ref().unwrap().unknown, UnknownContent::DeadLetter);
    let redis = pipeline.sinks.get("redis-1").unwrap();
    assert_eq!((redis.enabled, redis.workers.get()), (true, 4));
    let Target::RedisWindow(windows) = &redis.target else { panic!("a Redis sink") };
    let windows: Vec<_> =
        windows.windows.iter().map(|w| (w.key.as_str(), w.length.seconds(), w.by)).collect();
    let expected = [
        ("engagement:1s", 1, By::Content),
        ("engagement:1h", 3600, By::Content),
        ("price:$1", 86_400, By::Device),
        ("types", 60, By::ContentType),
    ];
    assert_eq!(windows, expected);
    let webhook = pipeline.sinks.get("webhook_eu").unwrap();
    let Target::Webhook(webhook) = &webhook.target else { panic!("a webhook sink") };
    assert_eq!((webhook.secrets.len(), webhook.url.port()), (2, 443));
    assert_eq!((webhook.max_events.get(), webhook.max_body.get()), (1, 2048));

    let files = |name| match &pipeline.sinks.get(name).unwrap().target {
        Target::Files(files) => (files.path.as_str(), files.max_file.get(), files.keep_files.get()),
        _ => panic!("a file sink"),
    };
    assert_eq!(files("files"), ("/srv/events: #1", 1 << 30, NonZeroU64::new(9)));
    assert_eq!(files("more-files"), ("/srv/events/more/", 64 << 20, None));

    assert_eq!(pipeline.sinks.get("nothing").unwrap().sink_type(), SinkType::Discard);

    let other = config.pipelines.get("leaderboard_only").unwrap();
    assert!(other.content.is_none());
    let off = other.sinks.get("off").unwrap();
    assert_eq!((off.enabled, off.sink_type()), (false, SinkType::RedisWindow));
}

#[test]
fn a_leaderboard_by_content_type_needs_the_contents() {
    let by_type = KITCHEN_SINK.replace(
        r#"[{key: "engagement:1h", length: 1h}]"#,
        r#"[{key: "types:1h", length: 1h, by: content_type}]"#,
    );
    assert_ne!(by_type, KITCHEN_SINK);
    let problems = read(&by_type).unwrap_err();
    let said: Vec<_> = problems.iter().map(|problem| (problem.path(), problem.what())).collect();
    let what = "is missing: a leaderboard of the sink `off` is by content type";
    assert_eq!(said, [("pipelines.leaderboard_only.content", what)]);
}

#[test]
fn what_is_described_is_a_configuration_that_holds_no_secret() {
    let config = read(KITCHEN_SINK).unwrap();
    let described = config.describe();
    assert!(described.contains("  lookup_timeout: 500ms\n"), "{described}");
    assert!(described.contains("    sasl.password: [redacted]\n"), "{described}");
    assert!(described.contains("url: redis://[redacted]@cache.example:6380/3\n"), "{described}");
    assert!(described.contains("url: https://[redacted]@hooks.example:443/in?[redacted]\n"), "{described}");
    assert!(described.contains("- {key: \"engagement:1h\", length: 1h, by: content}\n"), "{described}");
    let tree = super::yaml::parse(&described.replace("[redacted]", "redacted")).unwrap();
    assert!(tree.flaws.is_empty() && tree.root.child("pipelines").is_some());
}

const SECRETS: [&str; 8] = ["kafkapw", "dbpw", "redispw", "connectpw", "hookpw", "hooktoken", "bmV3", "b2xk"];

fn assert_silent(printed: &str) {
    for secret in SECRETS.iter().chain(&["topsecret"]) {
        assert!(!printed.contains(secret), "{secret} in:\n{printed}");
    }
}

#[test]
fn no_secret_is_printed_of_a_good_configuration() {
    let config = read(KITCHEN_SINK).unwrap();
    assert_silent(&config.describe());
    assert_silent(&format!("{config:?} {config:#?}"));
    let Some((_, password)) = config.kafka.properties.iter().nth(3) else { panic!("four properties") };
    assert_eq!(format!("{password} {password:?}"), "[redacted] [redacted]");
}

/// Secrets written into the file itself, beside mistakes of every sort.
#[test]
fn no_secret_is_printed_with_a_problem() {
    let inlined: String = ["KAFKA_PASSWORD", "DB_PASSWORD", "REDIS_PASSWORD", "NEW_SECRET", "OLD_SECRET"]
        .iter()
        .fold(KITCHEN_SINK.to_owned(), |text, name| {
            text.replace(&format!("${{{name}}}"), env(name).unwrap().split([':', '%']).next().unwrap())
        });
    read(&inlined).unwrap();
    for (from, to) in [
        ("sasl.password: ", "group.id: "),
        ("lookup_timeout", "lookuptimeout"),
        ("postgresql://", "mysql://"),
        ("postgresql://", "postgresql:"),
        ("redis://", "redis//"),
        ("@cache.example:6380/3\n", "@cache.example:0\n"),
        ("secrets:", "secretes:"),
        ("secrets:", "secrets: {a: 1}\n        secrets:"),
        ("          - whsec_", "          - wsec_"),
        ("          - whsec_", "         - whsec_"),
        ("          - whsec_", "\t- whsec_"),
        ("https://user", "\"https://user"),
        ("https://user:hookpw@", "https://user:1/hookpw@"),
        ("topic: content", "topic: whsec_bmV3bmV3"),
        ("url: redis", "url: !x redis"),
        ("url: redis", "url: &x redis"),
        ("shutdown_timeout: 1min", "shutdown_timeout: 1min # topsecret"),
        ("shutdown_timeout: 1min", "shutdown_timeout: ${NOT_A_NUMBER}"),
        ("${WORKERS:-4}", "${NOT_A_NUMBER}"),
        ("kafka:", "kafka: whsec_b2xk\nkafkaa:"),
    ] {
        let text = inlined.replacen(from, to, 1);
        assert_ne!(text, inlined, "{from} is not in the text");
        if to.contains('#') {
            read(&text).unwrap();
            continue;
        }
        let problems = read(&text).expect_err(to);
        assert_silent(&problems.to_string());
        assert_silent(&format!("{problems:?} {problems:#?}"));
    }
}

#[test]
fn files_are_read_and_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("\u{feff}".as_bytes()).unwrap();
    file.write_all(default_text().replace('\n', "\r\n").as_bytes()).unwrap();
    load(Some(file.path()), &env).unwrap();

    file.write_all(b"extra: 1\n").unwrap();
    let problems = load(Some(file.path()), &env).unwrap_err().to_string();
    let line = default_text().lines().count() + 1;
    assert!(
        problems.contains(&format!("{}:{line}:1: extra: unknown key", file.path().display())),
        "{problems}"
    );
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(Some(&folder.path().join("none.yaml")), &env).unwrap_err().to_string();
    assert!(missing.contains("none.yaml: cannot be read: No such file"), "{missing}");
    let big = folder.path().join("big.yaml");
    std::fs::write(&big, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(load(Some(&big), &env).unwrap_err().to_string().contains("is larger than 1 MiB"));
    std::fs::write(&big, [0xff, 0xfe]).unwrap();
    assert!(load(Some(&big), &env).unwrap_err().to_string().contains("is no UTF-8 text"));
}
