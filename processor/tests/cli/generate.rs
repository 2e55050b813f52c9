//! `deltafan generate` where it can't begin. What it writes is tested where there is a Postgres: in e2e/.

use super::{deltafan, err, free_port};

/// Exit status, and what was said.
fn generate(arguments: &[&str], database_url: Option<&str>) -> (Option<i32>, String) {
    let environment: Vec<_> = database_url.into_iter().map(|url| ("POSTGRES_URL", url)).collect();
    let output = deltafan(&[&["generate"], arguments].concat(), &environment);
    assert!(output.stdout.is_empty(), "nothing was done: {output:?}");
    (output.status.code(), err(&output))
}

#[test]
fn bad_options_name_the_good_ones() {
    let url = Some("postgres://nobody@127.0.0.1:1/none");
    for (arguments, remedy) in [
        (["--rate", "0"], "0.01 to 1000000"),
        (["--rate", "fast"], "0.01 to 1000000"),
        (["--duration", "5m"], "5min"),
        (["--null-share", "10%"], "0.1 for a tenth"),
        (["--delete-share", "0.5"], "at most 0.444"),
        (["--contents", "0"], "1 to 100000"),
        (["--zipf", "9"], "0 to 4"),
        (["--seed", "x"], "--seed"),
    ] {
        let (status, said) = generate(&arguments, url);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(remedy), "{arguments:?}: {said}");
    }
}

#[test]
fn a_database_must_be_named() {
    let (status, said) = generate(&[], None);
    assert_eq!(status, Some(2));
    assert!(said.contains("POSTGRES_URL") && said.contains("--database-url"), "{said}");
    for wrong in ["nonsense", "postgres://user:hunter2@host:port/database"] {
        let (status, said) = generate(&[], Some(wrong));
        assert_eq!(status, Some(2), "{wrong}: {said}");
        assert!(said.contains("postgres://user:password@host:port/database"), "{wrong}: {said}");
        assert!(!said.contains("hunter2"), "the password is told: {said}");
    }
}

#[test]
fn a_database_that_is_away_may_come_back() {
    let url = format!("postgres://user:hunter2@127.0.0.1:{}/none", free_port());
    let (status, said) = generate(&["--rows", "1"], Some(&url));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("can't be reached") && said.contains("see whether it runs"), "{said}");
    assert!(!said.contains("hunter2"), "the password is told: {said}");
}
