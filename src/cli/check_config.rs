//! `sluicegate check-config`: what is wrong with a configuration, or what would run with it.

use std::path::PathBuf;

use super::failure::{Exit, OrExit, Outcome};
use super::say;
use crate::config::Config;

/// Say what is wrong with a configuration and where, or what would run with it.
///
/// Every problem is listed, one a line, as `file:line:column: what is wrong`. Nothing is started and nothing written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluicegate check-config /etc/sluicegate/sluicegate.toml")]
pub(super) struct Args {
    /// The configuration to check.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = Config::load(&args.file).or_exit(Exit::Usage)?;
    let mut lines = vec![format!("{}: ok", args.file.display())];
    lines.extend(config.summary().iter().map(|(what, how)| format!("  {what:<10} {how}")));
    lines.extend(config.warnings().iter().map(|warning| format!("warning: {warning}")));
    say(&(lines.join("\n") + "\n"))
}
