//! The command line: one file a subcommand, and how each outcome becomes an exit code.
//!
//! It promises: results go to standard output, everything else to standard error; a message says what happened and what to
//! do next; the exit code is 0, 64 (usage or configuration), 69 (something this machine lacks) or 70 (a bug), for
//! `doctor`, `replay` and `policy test` also 1, and for `scan` 0, 1 or 2 and no other.

mod bank;
mod breaker;
mod check_config;
mod core;
mod decisions;
mod denies;
mod doctor;
mod failure;
mod hash;
mod init;
mod inspector;
mod r#match;
mod model;
mod orders;
mod policy;
mod quarantine;
mod replay;
mod run;
mod scan;
mod streams;
mod table;
mod webhook;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub use failure::{Exit, Failure};
use failure::{OrExit, Outcome};

const ENVIRONMENT: &str = "SLUICEGATE_LOG";

/// This program itself, also where its file was replaced meanwhile.
const ITSELF: &str = "/proc/self/exe";

/// Watches live streams and closes the gate on known or likely harmful content.
///
/// Sluicegate runs beside a media server, pulls each stream as a viewer would, compares its pictures with banks of known
/// content and gives them to models, and when the evidence holds, has the server cut the publisher off and refuses the
/// return.
#[derive(Debug, Parser)]
#[command(version, after_long_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// How the log on standard error is written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

const AFTER_HELP: &str = "\
Examples:
  sluicegate init                              write sluicegate.toml, commented
  sluicegate check-config sluicegate.toml      what is wrong with it, and what would run
  sluicegate doctor --config sluicegate.toml   what this machine lacks, and how to get it
  sluicegate run --config sluicegate.toml      watch
  sluicegate streams                           what is being watched
  sluicegate decisions list                    what was decided, and what it rests on

Environment:
  SLUICEGATE_LOG   what is logged, for example `info` or `warn,sluicegate::source=debug`

Exit codes:
  0 done   1 `doctor` found something missing, `replay` or `policy test` something else
  64 usage or configuration   69 something this machine lacks   70 a bug
  `scan` has its own: 0 clear   1 findings   2 something could not be inspected";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    #[command(hide = true)]
    Inspector(inspector::Args),
    Init(init::Args),
    CheckConfig(check_config::Args),
    Doctor(doctor::Args),
    Streams(streams::Args),
    Decisions(decisions::Args),
    Denies(denies::Args),
    Policy(policy::Args),
    Replay(replay::Args),
    Breaker(breaker::Args),
    Webhook(webhook::Args),
    Quarantine(quarantine::Args),
    Bank(bank::BankArgs),
    Hash(hash::HashArgs),
    Match(r#match::MatchArgs),
    Scan(scan::Args),
    /// List the models that come with Sluicegate, and verify those on this machine.
    #[command(after_long_help = "Examples:\n  sluicegate model list\n  sluicegate model verify safety")]
    Model(model::ModelArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Reads the command line. Help and version are a failure too: told already, exit code 0.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Whoever calls `scan` from a script asks for one of three codes.
    let scans = arguments.iter().skip(1).find(|word| !word.to_string_lossy().starts_with('-'));
    let wrong = if scans.is_some_and(|word| word == "scan") { Exit::NotInspected } else { Exit::Usage };
    Args::try_parse_from(arguments).map_err(|error| {
        // Where even this cannot be written there is nobody left to tell.
        error.print().ok();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Failure::told(Exit::Done),
            _ => Failure::told(wrong),
        }
    })
}

/// Does what the command line asks for.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    log_as(args.log_format, &args.command)?;
    let log_format = args.log_format;
    let done = match &args.command {
        Command::Run(args) => run::run(args, log_format),
        Command::Inspector(args) => inspector::run(args),
        Command::Init(args) => init::run(args),
        Command::CheckConfig(args) => check_config::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Streams(args) => return answered(streams::run(args, &mut io::stdout().lock())),
        Command::Decisions(args) => return answered(decisions::run(args, &mut io::stdout().lock())),
        Command::Denies(args) => return answered(denies::run(args, &mut io::stdout().lock())),
        Command::Policy(args) => return answered(policy::run(args, &mut io::stdout().lock())),
        Command::Replay(args) => return answered(replay::run(args, &mut io::stdout().lock())),
        Command::Breaker(args) => return answered(breaker::run(args, &mut io::stdout().lock())),
        Command::Webhook(args) => return answered(webhook::run(args, &mut io::stdout().lock())),
        Command::Quarantine(args) => return answered(quarantine::run(args, &mut io::stdout().lock())),
        Command::Bank(args) => return answered(bank::run(args, &mut io::stdout().lock())),
        Command::Hash(args) => return answered(hash::run(args, &mut io::stdout().lock())),
        Command::Match(args) => return answered(r#match::run(args, &mut io::stdout().lock())),
        Command::Scan(args) => return scan::run(args, &mut io::stdout().lock()).or_exit(Exit::NotInspected),
        Command::Model(args) => return answered(model::run(args, &mut io::stdout().lock())),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The outcome of a command that writes its answer as it goes. A reader that has gone away is no failure.
fn answered(outcome: anyhow::Result<ExitCode>) -> Result<ExitCode, Failure> {
    let gone = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match outcome {
        Err(error) if gone(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<core::Unreachable>() => Err(error).or_exit(Exit::Missing),
        outcome => outcome.or_exit(Exit::Usage),
    }
}

fn log_as(format: LogFormat, command: &Command) -> Outcome {
    // A tool's output is its answer; a service's log is what it tells at all.
    let usual =
        if matches!(command, Command::Run(_) | Command::Inspector(_)) { LevelFilter::INFO } else { LevelFilter::WARN };
    let filter = EnvFilter::builder().with_default_directive(usual.into()).with_env_var(ENVIRONMENT);
    let filter = match std::env::var_os(ENVIRONMENT) {
        Some(_) => filter.from_env().map_err(anyhow::Error::new).or_exit(Exit::Usage)?,
        None => filter.parse_lossy(""),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    // A host program, such as a test, may have its own log already; ours is not needed then.
    started.ok();
    Ok(())
}

/// Writes a result to standard output. A reader that has gone away, as `head` does, is no failure.
fn say(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output")).or_exit(Exit::Usage)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_an_example() {
        for command in Args::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
