//! `sluicegate model verify`: whether the models on this machine are what their manifests say.

use std::io::Write;
use std::process::ExitCode;

use super::UNAVAILABLE;
use crate::model::{self, Config, Manifest, ModelError, Runtime, Session};

/// Load models as `run` would, and say what is wrong with them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sluicegate model verify\n  sluicegate model verify safety my-model.toml")]
pub(super) struct Args {
    /// Names of models or paths of manifests; all shipped ones when left out.
    models: Vec<String>,
}

/// Runs `sluicegate model verify`.
///
/// # Errors
/// When `out` cannot be written to.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let shipped: Vec<String> = Manifest::shipped().map(str::to_owned).collect();
    let models = if args.models.is_empty() { &shipped } else { &args.models };
    let mut outcome = ExitCode::SUCCESS;
    for model in models {
        match load(model, config) {
            Ok(session) => writeln!(out, "{model}: right, sha256 {}", session.manifest().file.sha256)?,
            Err(error) => {
                writeln!(out, "{model}: {error}")?;
                outcome = ExitCode::from(UNAVAILABLE);
            }
        }
    }
    Ok(outcome)
}

fn load(model: &str, config: &Config) -> Result<Session, ModelError> {
    let manifest = Manifest::named(model)?;
    let runtime = Runtime::load(&model::find_runtime(config)?)?;
    Session::load(&runtime, manifest, config)
}
