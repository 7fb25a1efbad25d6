//! `sluicegate model`: which models there are, and whether the files on this machine are the right ones.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::model::{self, Config, Manifest, Runtime, Session};

/// A dependency is missing or is not what it should be.
const UNAVAILABLE: u8 = 69;

/// Arguments of `sluicegate model`.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
    /// Folder that holds models/ and runtime/; looked for when left out
    #[arg(long, global = true, value_name = "FOLDER")]
    assets: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// List the models that Sluicegate ships a manifest of
    List,
    /// Load models as `run` would, and say what is wrong with them
    Verify {
        /// Names of models or paths of manifests; all shipped ones when left out
        models: Vec<String>,
    },
}

/// Runs `sluicegate model`.
///
/// # Errors
/// When `out` cannot be written to.
pub(super) fn run(args: &ModelArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config { assets: args.assets.clone(), ..Config::default() };
    match &args.command {
        ModelCommand::List => list(&config, out),
        ModelCommand::Verify { models } if models.is_empty() => {
            let shipped: Vec<String> = Manifest::shipped().map(str::to_owned).collect();
            verify(&shipped, &config, out)
        }
        ModelCommand::Verify { models } => verify(models, &config, out),
    }
}

fn list(config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
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

fn verify(models: &[String], config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
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

fn load(model: &str, config: &Config) -> Result<Session, model::ModelError> {
    let manifest = Manifest::named(model)?;
    let runtime = Runtime::load(&model::find_runtime(config)?)?;
    Session::load(&runtime, manifest, config)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ModelArgs,
    }

    fn says(words: &[&str]) -> (String, bool) {
        let args = Cli::parse_from(["model"].iter().chain(words)).args;
        let mut out = Vec::new();
        let code = run(&args, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS))
    }

    #[test]
    fn the_list_names_labels_licences_and_where_the_file_is() {
        let (text, fine) = says(&["list", "--assets", "/nowhere"]);
        for part in ["safety: ", "nsfl, nsfw, sfw", "MIT", "undisclosed", "missing: run `make setup`"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert!(fine);
    }

    #[test]
    fn what_is_not_right_is_said_and_is_the_exit_code() {
        for (words, expected) in [
            (&["verify", "safty"][..], "no model called `safty`"),
            (&["verify", "--assets", "/nowhere", "safety"], "safety: no ONNX Runtime found"),
        ] {
            // An ORT_DYLIB_PATH of whoever runs the tests would be found instead of nothing.
            if std::env::var_os("ORT_DYLIB_PATH").is_none() || words.len() == 2 {
                let (text, fine) = says(words);
                assert!(text.contains(expected) && !fine, "{text}");
            }
        }
    }
}
