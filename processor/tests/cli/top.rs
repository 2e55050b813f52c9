//! `deltafan top` against a real Redis.

use super::redis_server::Redis;
use super::stranger::{Does, HTTP, stranger};
use super::{command, deltafan, err, free_port, out};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

const SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const ID: &str = "5b1f0c5e-0001-4a6e-9c1d-0d5a3c7e1001";
const KEY: &str = "engagement:10min";

fn with_redis<T>(url: &str, run: impl Fn(&[(&str, &str)]) -> T) -> T {
    let database = format!("postgres://nobody@127.0.0.1:{}/none", free_port());
    run(&[("REDIS_URL", url), ("PROCESSOR_DATABASE_URL", &database), ("WEBHOOK_SECRET", SECRET)])
}

fn top(url: &str, arguments: &[&str]) -> Output {
    with_redis(url, |environment| deltafan(&[&["top", "--once"], arguments].concat(), environment))
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn one_look_as_json() {
    let redis = Redis::start(&[]);
    redis.run(&["ZADD", KEY, "8.001", ID, "12.5", "web", "0.25", "tv"]);
    let looked = top(&redis.url(), &["--json", "--count", "2"]);
    assert_eq!(looked.status.code(), Some(0), "{}", err(&looked));
    let view = json(&looked);
    let board = &view["boards"][0];
    assert_eq!((&board["key"], &board["length_seconds"]), (&Value::from(KEY), &Value::from(600)));
    assert_eq!(board["state"], "ok");
    let entry = |rank: usize| &board["entries"][rank - 1];
    assert_eq!((&entry(1)["member"], &entry(1)["seconds"]), (&Value::from("web"), &Value::from(12.5)));
    assert_eq!((&entry(2)["member"], &entry(2)["seconds"]), (&Value::from(ID), &Value::from(8.001)));
    assert_eq!(entry(2)["rank"], 2);
    assert!(entry(3).is_null(), "two were asked for");
    // The database is away: that costs titles and nothing else.
    assert!(entry(2)["title"].is_null());
    let notes = view["notes"].to_string();
    assert!(notes.contains("no titles") && notes.contains("refused"), "{notes}");
}

#[test]
fn one_look_as_a_table() {
    let redis = Redis::start(&[]);
    let empty = top(&redis.url(), &["--board", KEY]);
    assert_eq!(empty.status.code(), Some(0), "a missing key is no error: {}", err(&empty));
    assert!(out(&empty).contains("empty"), "{}", out(&empty));
    redis.run(&["ZADD", KEY, "8", "web"]);
    let looked = top(&redis.url(), &[]);
    let line = out(&looked).lines().find(|line| line.contains("web")).map(ToOwned::to_owned);
    assert!(line.is_some_and(|line| line.contains('1') && line.contains("8.0")), "{}", out(&looked));
    assert!(!out(&looked).contains('\u{1b}'), "no control sequences where there is no terminal");
}

#[test]
fn what_cannot_be_read_is_told() {
    let away = top(&format!("redis://127.0.0.1:{}", free_port()), &["--json"]);
    assert_eq!(away.status.code(), Some(1), "it may come back");
    assert_eq!(json(&away)["boards"][0]["state"], "unreadable");
    assert!(err(&away).contains("refused") && err(&away).contains("see whether it runs"), "{}", err(&away));

    let redis = Redis::start(&["--requirepass", "right"]);
    let denied = top(&redis.url().replace("//", "//:wrong@"), &[]);
    assert_eq!(denied.status.code(), Some(2), "somebody must act");
    assert!(err(&denied).contains("correct user and password"), "{}", err(&denied));
    assert!(!err(&denied).contains("wrong@"), "the password is told: {}", err(&denied));

    let redis = Redis::start(&[]);
    redis.run(&["SET", KEY, "1"]);
    let other = top(&redis.url(), &[]);
    assert_eq!(other.status.code(), Some(2));
    assert!(err(&other).contains("no sorted set"), "{}", err(&other));

    let unknown = top(&redis.url(), &["--board", "engagement:10m"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("`engagement:10m`") && err(&unknown).contains(KEY), "{}", err(&unknown));
}

#[test]
fn what_listens_may_be_no_redis() {
    for (does, status, cause) in [
        (HTTP, 2, "what answers there does not speak like Redis"),
        (Does::HangsUp, 1, "may be no Redis"),
        (Does::KeepsSilent, 1, "may be no Redis"),
    ] {
        let port = stranger(does);
        let looked = top(&format!("redis://127.0.0.1:{port}"), &["--board", KEY]);
        let said = err(&looked);
        assert_eq!(looked.status.code(), Some(status), "{said}");
        assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains(cause), "{said}");
        assert!(said.contains("correct host and port"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Without `--once` it goes on: while Redis is away too.
#[test]
fn it_goes_on_and_tells_changes() {
    let redis = Redis::start(&[]);
    redis.run(&["ZADD", KEY, "8", "web"]);
    let started = with_redis(&redis.url(), |environment| {
        command(&["top", "--json"], environment).stdout(Stdio::piped()).spawn()
    });
    let mut child = started.expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("text");
        serde_json::from_str::<Value>(&line).expect("JSON")["boards"][0].take()
    };
    assert!(next()["entries"][0]["change"].is_null());
    redis.run(&["ZINCRBY", KEY, "2.5", "web"]);
    // The look after the first may have been under way.
    let changed =
        std::iter::repeat_with(&mut next).take(10).find(|board| board["entries"][0]["seconds"] == 10.5);
    assert_eq!(changed.expect("it is seen")["entries"][0]["change"], 2.5);
    drop(redis);
    let gone = std::iter::repeat_with(&mut next).take(10).find(|board| board["state"] == "unreadable");
    assert!(gone.is_some());
    assert_eq!(next()["state"], "unreadable", "it goes on");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// On a terminal (that `script` makes) it draws in place until `q`, and gives the terminal back.
#[test]
fn q_ends_it_and_the_terminal_is_as_before() {
    const ENTERED: &str = "\u{1b}[?1049h";
    const LEFT: &str = "\u{1b}[?1049l";
    let redis = Redis::start(&[]);
    redis.run(&["ZADD", KEY, "8", "web"]);
    let started = with_redis(&redis.url(), |environment| {
        // Where the key does not end it, the time does, with another status.
        let program = concat!(
            "timeout --foreground 60 ",
            env!("CARGO_BIN_EXE_deltafan"),
            " top; echo status $?; stty -a"
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", program, "/dev/null"]);
        script.envs(environment.iter().copied()).env("TERM", "xterm");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    });
    let mut child = started.expect("script is installed");
    let (mut keys, mut screen) = (child.stdin.take().expect("keys"), child.stdout.take().expect("a screen"));
    let (mut seen, mut some) = (String::new(), [0; 4096]);
    let mut read_until = |what: &str| {
        while !seen.contains(what) {
            let count = screen.read(&mut some).expect("a screen");
            assert!(count > 0, "{what} is not seen: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&some[..count]));
        }
        seen.clone()
    };
    assert!(read_until("web").contains(ENTERED));
    keys.write_all(b"q").expect("a key");
    let all = read_until(" icanon");
    assert!(all.contains(LEFT) && all.contains("status 0"), "{all:?}");
    assert!(!all.contains("-icanon"), "the terminal is left raw: {all:?}");
    drop(keys);
    child.wait().expect("it ends");
}
