//! `sluicegate run`: watch until told to stop.

use std::path::PathBuf;

use super::failure::{Exit, OrExit, Outcome};
use crate::app;
use crate::config::Config;

/// Watch the configured media servers until interrupted.
///
/// Ends in good order on SIGINT and SIGTERM: what was decided is kept, and carried out on the next start where it could
/// not be any more.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluicegate run --config /etc/sluicegate/sluicegate.toml --log-format json")]
pub(super) struct Args {
    /// The configuration; `sluicegate init` writes one.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = Config::load(&args.config).or_exit(Exit::Usage)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    app::run(&config).map_err(|error| (app_exit(&error), error)).or_else(|(exit, error)| Err(error).or_exit(exit))
}

/// What a failure of the service means to whoever started it.
const fn app_exit(error: &app::Error) -> Exit {
    match error.fault() {
        app::Fault::Configuration => Exit::Usage,
        app::Fault::Machine => Exit::Missing,
        app::Fault::Bug => Exit::Bug,
    }
}
