//! `sluicegate run`: watch until told to stop.

use std::path::PathBuf;

use clap::ValueEnum;

use super::LogFormat;
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
    /// How many processes inspect streams; 0: this one does. Instead of `processes` in `[inspector]`.
    #[arg(long, value_name = "N")]
    inspectors: Option<usize>,
}

pub(super) fn run(args: &Args, log_format: LogFormat) -> Outcome {
    let mut config = Config::load(&args.config).or_exit(Exit::Usage)?;
    if args.inspectors.is_some() {
        config.inspector.processes = args.inspectors;
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    app::run(&config, inspector(log_format))
        .map_err(|error| (app_exit(&error), error))
        .or_else(|(exit, error)| Err(error).or_exit(exit))
}

/// How this program is started as an inspector.
fn inspector(log_format: LogFormat) -> app::Program {
    let word = log_format.to_possible_value().map(|value| value.get_name().to_owned());
    let format = word.into_iter().flat_map(|word| ["--log-format".into(), word.into()]);
    app::Program { path: super::ITSELF.into(), arguments: ["inspector".into()].into_iter().chain(format).collect() }
}

/// What a failure of the service means to whoever started it.
const fn app_exit(error: &app::Error) -> Exit {
    match error.fault() {
        app::Fault::Configuration => Exit::Usage,
        app::Fault::Machine => Exit::Missing,
        app::Fault::Bug => Exit::Bug,
    }
}
