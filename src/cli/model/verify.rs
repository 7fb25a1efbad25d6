//! `sluicegate model verify`: whether the models on this machine are what their manifests say.

use std::io::Write;
use std::process::ExitCode;

use super::{UNAVAILABLE, open_one};
use crate::model::{self, Agreement, Config, Described, Manifest, ModelError, OutputOf};

/// Load models as `run` would, and say what is wrong with them.
///
/// Looked at are the file's digest, whether inputs and outputs are those of the manifest, and whether the model says of a few
/// reference pictures what its manifest records: a wrong range, layout or colour order makes no error otherwise, only wrong
/// scores. Ends with 69 when a model cannot be used.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sluicegate model verify\n  sluicegate model verify safety my-model.toml")]
pub(super) struct Args {
    /// Names of models or paths of manifests; all shipped ones when left out, those that `make setup` does not fetch only
    /// where they are.
    models: Vec<String>,
}

/// Runs `sluicegate model verify`.
///
/// # Errors
/// When `out` cannot be written to.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let asked: Vec<String> =
        if args.models.is_empty() { expected(config).map(str::to_owned).collect() } else { args.models.clone() };
    let mut outcome = ExitCode::SUCCESS;
    for model in &asked {
        match verified(model, config) {
            Ok(text) => writeln!(out, "{model}: {text}")?,
            Err(error) => {
                writeln!(out, "{model}: {error}")?;
                outcome = ExitCode::from(UNAVAILABLE);
            }
        }
    }
    Ok(outcome)
}

/// The shipped models that should be on this machine: whoever has not accepted the licence of one has not fetched it.
fn expected(config: &Config) -> impl Iterator<Item = &'static str> {
    Manifest::shipped().filter(|name| {
        let Ok(manifest) = Manifest::named(name) else { return true };
        let restricted = manifest.source.as_ref().is_some_and(|source| source.restricted.is_some());
        !restricted || model::find_file(config, &manifest).is_ok()
    })
}

fn verified(named: &str, config: &Config) -> Result<String, ModelError> {
    let mut session = open_one(named, config)?;
    match Described::named(named)? {
        // Its model's own scores are not asked for, so that only the probe itself is verified.
        Described::Probe(probe) => Ok(format!("right, sha256 {}, on {}", probe.file.sha256, &*session.manifest().name)),
        Described::Model(manifest) => {
            let agreements = model::agreement(&mut session)?;
            Ok(format!(
                "right, sha256 {}\n  runs on     {}\n  {}",
                manifest.file.sha256,
                session.placement(),
                told(&agreements)
            ))
        }
    }
}

fn told(agreements: &[Agreement]) -> String {
    if agreements.is_empty() {
        return "references  none in its manifest: a wrong range, layout or colour order would go unnoticed".to_owned();
    }
    let each = agreements.iter().map(|Agreement { picture, of, off, within }| {
        let of = match of {
            OutputOf::Scores => "",
            OutputOf::Embedding => " (embedding)",
        };
        format!("{picture}{of} {off:.3} off, of {within} allowed")
    });
    format!("references  {}", each.collect::<Vec<_>>().join("; "))
}
