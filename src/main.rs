//! The `sluicegate` command: parse, run, map the outcome to an exit code; nothing else.

use std::panic::catch_unwind;
use std::process::ExitCode;

use sluicegate::cli::{self, Exit, Failure};

fn main() -> ExitCode {
    let outcome = catch_unwind(|| cli::parse(std::env::args_os()).and_then(|args| cli::run(&args)));
    match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => failure.report(),
        Err(_panic) => Failure::told(Exit::Bug).report(),
    }
}
