//! `sluicegate model list`: the models that Sluicegate ships a manifest of, and where their files are.

use std::io::Write;
use std::process::ExitCode;

use crate::model::{self, Config, Licence, Manifest};

/// List the models that Sluicegate ships a manifest of: what they say, who allows what, and where their files are.
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
        writeln!(out, "  gives    {}", gives(&manifest))?;
        if let Some(source) = &manifest.source {
            writeln!(out, "  package  {} {}", source.package, source.version)?;
        }
        let Licence { weights, wrapper, training_data } = &manifest.licence;
        let wrapper = wrapper.as_ref().map(|wrapper| format!(", {wrapper} (package)")).unwrap_or_default();
        writeln!(out, "  licence  {weights} (weights){wrapper}; training data: {training_data}")?;
        let restricted = manifest.source.as_ref().and_then(|source| source.restricted.as_ref());
        if let Some(restricted) = restricted {
            writeln!(out, "  terms    {restricted}")?;
        }
        if let Ok(path) = model::find_file(config, &manifest) {
            writeln!(out, "  file     {}", path.display())?;
        } else {
            writeln!(out, "  file     missing: `{}` fetches it", super::fetch_command(name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Its labels and its embedding.
fn gives(manifest: &Manifest) -> String {
    let labels = manifest.labels().map(|label| &**label).collect::<Vec<_>>().join(", ");
    let embedding = manifest.embedding.as_ref().map(|embedding| format!("an embedding of {} values", embedding.size));
    let parts = [(!labels.is_empty()).then_some(labels), embedding];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
