//! The command line. `deltafan --help` says what there is; [`cli`] is where it is said.
//!
//! Exit status: 0 when done or stopped in order, 2 when the configuration, the options or the source are not as they must
//! be (the message names cause and remedy), 1 for anything else; `verify` says more by its own (see its help).

mod cli;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(status) => status,
        Err(cli::Failure { error, status }) => {
            // The last resort: there is nobody left to tell where even this fails.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            status
        }
    }
}
