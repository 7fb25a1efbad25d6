//! `sluicegate model`: which models there are, whether the files on this machine are the right ones, and what they say.

mod bench;
mod calibrate;
mod eval;
mod fetch;
mod list;
mod material;
mod references;
#[cfg(test)]
mod tests;
mod train_probe;
mod try_;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::model::{self, Config, Manifest, ModelError, Session, WhenBroken};

/// A dependency is missing or is not what it should be.
const UNAVAILABLE: u8 = 69;

/// Arguments of `sluicegate model`.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: Command,
    /// Folder that holds models/ and runtime/; looked for when left out.
    #[arg(long, global = true, value_name = "FOLDER")]
    assets: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Fetch(fetch::Args),
    Verify(verify::Args),
    Try(try_::Args),
    Bench(bench::Args),
    References(references::Args),
    Eval(eval::Args),
    Calibrate(calibrate::Args),
    TrainProbe(train_probe::Args),
}

/// Runs `sluicegate model`.
///
/// # Errors
/// When what was asked for cannot be done, or `out` cannot be written to.
pub(super) fn run(args: &ModelArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config { assets: args.assets.clone(), ..Config::default() };
    match &args.command {
        Command::List(args) => list::run(args, &config, out),
        Command::Fetch(args) => fetch::run(args, &config, out),
        Command::Verify(args) => verify::run(args, &config, out),
        Command::Try(args) => try_::run(args, &config, out),
        Command::Bench(args) => bench::run(args, &config, out),
        Command::References(args) => references::run(args, out),
        Command::Eval(args) => eval::run(args, &config, out),
        Command::Calibrate(args) => calibrate::run(args, &config, out),
        Command::TrainProbe(args) => train_probe::run(args, &config, out),
    }
}

/// What fetches the shipped model called `name`.
pub(super) fn fetch_command(name: &str) -> String {
    let source = Manifest::named(name).ok().and_then(|manifest| manifest.source);
    let accept = if source.is_some_and(|source| source.restricted.is_some()) { " --accept-licence" } else { "" };
    format!("sluicegate model fetch {name}{accept}")
}

/// Every model of `config`, loaded as `run` would, but with no patience for one that is broken.
///
/// # Errors
/// The first thing that is missing or not right.
fn opened(config: &Config) -> Result<Vec<Session>, ModelError> {
    model::open(&Config { when_broken: WhenBroken::Refuse, ..config.clone() }).map(|opened| opened.sessions)
}

/// The one model that `named` is the name of or the path of a manifest, and nothing else of `config`.
///
/// # Errors
/// The first thing that is missing or not right.
fn open_one(named: &str, config: &Config) -> Result<Session, ModelError> {
    let alone = Config { load: vec![named.to_owned()], ..config.clone() };
    let mut sessions = opened(&alone)?;
    sessions.pop().ok_or_else(|| ModelError::Unknown { name: named.to_owned(), known: String::new() })
}
