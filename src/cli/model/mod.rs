//! `sluicegate model`: which models there are, whether the files on this machine are the right ones, and what they say.

mod calibrate;
mod eval;
mod list;
mod material;
#[cfg(test)]
mod tests;
mod train_probe;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::model::Config;

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
    Verify(verify::Args),
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
        Command::Verify(args) => verify::run(args, &config, out),
        Command::Eval(args) => eval::run(args, &config, out),
        Command::Calibrate(args) => calibrate::run(args, &config, out),
        Command::TrainProbe(args) => train_probe::run(args, &config, out),
    }
}
