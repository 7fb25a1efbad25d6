//! `sluicegate model list`: the models that Sluicegate ships a manifest of, and where their files are.

use std::io::Write;
use std::process::ExitCode;

use crate::model::{self, Config, Manifest};

/// List the models that Sluicegate ships a manifest of.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate model list")]
pub(super) struct Args {}

/// Runs `sluicegate model list`.
///
/// # Errors
/// When `out` cannot be written to.
pub(super) fn run(_args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    for name in Manifest::shipped() {
        let manifest = Manifest::named(name)?;
        writeln!(out, "{name}: {}", manifest.about)?;
        writeln!(out, "  labels   {}", manifest.labels().map(|label| &**label).collect::<Vec<_>>().join(", "))?;
        writeln!(
            out,
            "  licence  {} (weights); training data: {}",
            manifest.licence.weights, manifest.licence.training_data
        )?;
        match model::find_file(config, &manifest) {
            Ok(path) => writeln!(out, "  file     {}", path.display())?,
            Err(_) => writeln!(out, "  file     missing: run `make setup`")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
