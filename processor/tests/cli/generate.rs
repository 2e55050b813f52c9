//! `deltafan generate` where it can't begin. What it writes is tested where there is a Postgres: in e2e/.

use super::stranger::{Does, HTTP, stranger};
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

#[test]
fn what_listens_may_be_no_postgres() {
    for does in [HTTP, Does::HangsUp, Does::KeepsSilent, Does::Says(b"SSH-2.0-OpenSSH\r\n")] {
        let url = format!("postgres://user:hunter2@127.0.0.1:{}/none", stranger(does));
        let (status, said) = generate(&["--rows", "1"], Some(&url));
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("may be no Postgres") && said.contains("check host and port"), "{said}");
        assert!(!said.contains("hunter2"), "the password is told: {said}");
    }
}

#[test]
fn what_an_address_lacks_is_told() {
    // As Postgres asks for a password.
    let asking = stranger(Does::Says(b"R\0\0\0\x08\0\0\0\x03"));
    let without_password = format!("postgres://user@127.0.0.1:{asking}/none");
    for (url, lacks) in [("", "host"), (&without_password, "password missing")] {
        let (status, said) = generate(&["--rows", "1"], Some(url));
        assert_eq!(status, Some(2), "{url:?}: {said}");
        assert!(said.contains(lacks), "{url:?}: {said}");
        assert!(said.contains("postgres://user:password@host:port/database"), "{url:?}: {said}");
    }
}

/// What stands behind a bare `@` of the password would be taken for the host, and told.
#[test]
fn a_password_with_an_at_sign_is_not_told() {
    for wrong in
        ["postgres://user:hun@ter2@127.0.0.1:1/none", "postgres://user:hun@x?ter2=1@127.0.0.1:1/none"]
    {
        let (status, said) = generate(&["--rows", "1"], Some(wrong));
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("write %40"), "{said}");
        assert!(!said.contains("ter2"), "the password is told: {said}");
    }
}
