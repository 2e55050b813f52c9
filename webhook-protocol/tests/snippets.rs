//! The functions of docs/webhook.md that verify a signature, run as they stand there.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that surprises shall fail loudly"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use webhook_protocol::{Secret, sign};

const PAGE: &str = include_str!("../../docs/webhook.md");
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_SECRET: &str = "whsec_YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
/// Bytes that a text handled wrongly would not survive.
const BODY: &str = "{\"events\":[{\"title\":\"Größe 🎧\\u0000\", \"n\": 1.50}]}\n";

/// A language: how its blocks are marked, what runs a file, and what calls `verify` with the environment's SECRET, ID,
/// TIMESTAMP and SIGNATURE and standard input as the body, ending with 0 only where it believes.
struct Language {
    mark: &'static str,
    program: &'static str,
    call: &'static str,
}

const LANGUAGES: [Language; 5] = [
    Language {
        mark: "python",
        program: "python3",
        call: r#"
import os, sys
e = os.environ
headers = {"webhook-id": e["ID"], "webhook-timestamp": e["TIMESTAMP"], "webhook-signature": e["SIGNATURE"]}
verify(e["SECRET"], headers, sys.stdin.buffer.read())
"#,
    },
    Language {
        mark: "javascript",
        program: "node",
        call: r#"
const e = process.env;
const headers = { "webhook-id": e.ID, "webhook-timestamp": e.TIMESTAMP, "webhook-signature": e.SIGNATURE };
verify(e.SECRET, headers, require("node:fs").readFileSync(0));
"#,
    },
    Language {
        mark: "php",
        program: "php",
        call: r#"
$headers = ['webhook-id' => getenv('ID'), 'webhook-timestamp' => getenv('TIMESTAMP'),
    'webhook-signature' => getenv('SIGNATURE')];
exit(verify(getenv('SECRET'), $headers, file_get_contents('php://stdin')) ? 0 : 1);
"#,
    },
    Language {
        mark: "ruby",
        program: "ruby",
        call: r#"
headers = { "webhook-id" => ENV["ID"], "webhook-timestamp" => ENV["TIMESTAMP"],
            "webhook-signature" => ENV["SIGNATURE"] }
verify(ENV["SECRET"], headers, $stdin.binmode.read)
"#,
    },
    Language {
        mark: "perl",
        program: "perl",
        call: r#"
binmode STDIN;
my $body = do { local $/; <STDIN> };
verify($ENV{SECRET}, {'webhook-id' => $ENV{ID}, 'webhook-timestamp' => $ENV{TIMESTAMP},
    'webhook-signature' => $ENV{SIGNATURE}}, $body);
"#,
    },
];

/// A request as it came.
struct Request {
    timestamp: String,
    signature: String,
    body: String,
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn signed(secrets: &[&str], timestamp_s: u64) -> Request {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| secret.parse().expect("a secret")).collect();
    let signature = sign(&secrets, "msg_1", timestamp_s, BODY.as_bytes());
    Request { timestamp: timestamp_s.to_string(), signature, body: BODY.to_owned() }
}

/// The block of the page in a language.
fn block(mark: &str) -> &'static str {
    let begin = format!("```{mark}\n");
    let (_, rest) = PAGE.split_once(&begin).unwrap_or_else(|| panic!("no block of {mark}"));
    rest.split_once("```").expect("the block ends").0
}

fn believes(language: &Language, file: &Path, request: &Request) -> bool {
    let mut child = Command::new(language.program)
        .arg(file)
        .envs([("SECRET", SECRET), ("ID", "msg_1"), ("TIMESTAMP", &request.timestamp)])
        .env("SIGNATURE", &request.signature)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", language.program));
    // One that refuses by the headers alone does not read it.
    let _ = child.stdin.take().expect("piped").write_all(request.body.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || !said.contains("yntax"), "{}: {said}", language.program);
    output.status.success()
}

fn written(folder: &Path, language: &Language) -> PathBuf {
    let file = folder.join(format!("verify.{}", language.mark));
    fs::write(&file, [block(language.mark), language.call].concat()).expect("written");
    file
}

#[test]
fn every_language_of_the_page_believes_what_is_ours_and_nothing_else() {
    let folder = std::env::temp_dir().join(format!("deltafan-snippets-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let good = || signed(&[SECRET], now_s());
    let cases = [
        ("signed just now", good(), true),
        ("signed with the new and the old secret", signed(&[OTHER_SECRET, SECRET], now_s()), true),
        ("four minutes ago", signed(&[SECRET], now_s() - 240), true),
        ("with another secret", signed(&[OTHER_SECRET], now_s()), false),
        ("six minutes ago", signed(&[SECRET], now_s() - 360), false),
        ("dated ahead", signed(&[SECRET], now_s() + 360), false),
        ("another body", Request { body: BODY.replace("1.50", "1.5"), ..good() }, false),
        ("another time", Request { timestamp: (now_s() - 1).to_string(), ..good() }, false),
        ("a time that is none", Request { timestamp: "soon".to_owned(), ..good() }, false),
        ("an empty signature", Request { signature: String::new(), ..good() }, false),
        ("a signature cut short", Request { signature: good().signature[..20].to_owned(), ..good() }, false),
        ("another version", Request { signature: good().signature.replace("v1,", "v2,"), ..good() }, false),
    ];
    for language in &LANGUAGES {
        let file = written(&folder, language);
        for (what, request, expected) in &cases {
            assert_eq!(believes(language, &file, request), *expected, "{}: {what}", language.mark);
        }
    }
    fs::remove_dir_all(&folder).expect("removed");
}
