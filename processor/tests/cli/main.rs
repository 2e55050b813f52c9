//! The program as a user calls it: what it says, and its exit status.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that surprises shall fail loudly"
)]

mod generate;
mod redis_server;
mod stranger;
mod top;

use std::process::{Command, Output};

/// The program with an empty environment, but for what `configured` gives.
fn deltafan(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments, environment).output().expect("the program runs")
}

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltafan"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A port on which nobody listens for the moment.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    socket.local_addr().expect("an address").port()
}

#[test]
fn help_goes_to_standard_output_and_is_no_error() {
    let help = deltafan(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["validate", "run", "generate", "top", "Exit status", "Examples", "WEBHOOK_SECRET"] {
        assert!(out(&help).contains(word), "{word} is missing:\n{}", out(&help));
    }
}

#[test]
fn without_a_command_it_says_what_there_is() {
    let said = deltafan(&[], &[]);
    assert_eq!(said.status.code(), Some(2));
    assert!(err(&said).contains("generate") && err(&said).contains("top"), "{}", err(&said));
}
