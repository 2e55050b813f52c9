//! A table of mistakes, each with the exact answer: place, path, what is wrong, remedy.

use super::{super::Problem, read};

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
      files:
        type: file
        path: /var/lib/deltafan/events
";

const MISTAKES: &str = include_str!("mistakes.txt");

fn told(problem: &Problem) -> String {
    let (line, column) = (problem.line(), problem.column());
    format!("{line}:{column} {}: {} = {}", problem.path(), problem.what(), problem.remedy())
}

#[test]
fn every_mistake_has_its_exact_answer() {
    read(GOOD).unwrap();
    let mut seen = 0;
    for block in MISTAKES.split("\n\n").filter(|block| block.starts_with("- ")) {
        let mut lines = block.lines();
        let mut change = |sign| lines.next().unwrap().strip_prefix(sign).unwrap().replace("\\n", "\n");
        let (from, to) = (change("- "), change("+ "));
        let text = GOOD.replacen(&from, &to, 1);
        assert_ne!(text, GOOD, "{from:?} is not in the text");
        let expected: Vec<&str> = lines.map(str::trim_start).collect();
        let problems = read(&text).expect_err(&to);
        assert_eq!(problems.iter().map(told).collect::<Vec<_>>(), expected, "{from:?} made {to:?}");
        seen += 1;
    }
    assert!(seen >= 50, "{seen} mistakes were tried");
}

/// The whole answer as a person reads it.
#[test]
fn problems_are_rendered_with_their_lines() {
    let text = GOOD
        .replace("windows:", "window:")
        .replace("[\"${WEBHOOK_SECRET}\"]", "[\"${WEBHOOK_SECERT}\", whsec_c2VjcmV0] # and one more")
        .replace("{topic: content}", "{topic: content, unknwon: nulls}");
    let expected = r#"5 problems in the configuration

deltafan.yaml:9:31: pipelines.engagement.content.unknwon: unknown key
    9 |     content: {topic: ***, unknwon: ***}
      |                           ^^^^^^^
  = did you mean `unknown`?

deltafan.yaml:12:7: pipelines.engagement.sinks.redis.windows: is missing
   12 |       redis:
      |       ^^^^^
  = add `windows:` with a list: at least one group of keys

deltafan.yaml:15:9: pipelines.engagement.sinks.redis.window: unknown key
   15 |         window:
      |         ^^^^^^
  = did you mean `windows`?

deltafan.yaml:21:19: pipelines.engagement.sinks.webhook.secrets[0]: the environment variable WEBHOOK_SECERT is not set
   21 |         secrets: [***, ***]
      |                   ^^^
  = set WEBHOOK_SECERT in `.env` or the environment

deltafan.yaml:21:40: pipelines.engagement.sinks.webhook.secrets[1]: the value is refused: the webhook secret holds 6 bytes, allowed are 24 to 64
   21 |         secrets: [***, ***]
      |                        ^^^
  = make one with: echo "whsec_$(openssl rand -base64 32)""#;
    assert_eq!(read(&text).unwrap_err().to_string(), expected);
}
