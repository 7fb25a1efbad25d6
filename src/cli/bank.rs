//! `sluicegate bank`: makes banks of known content, and says what is in them.

mod content;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::bank::{Added, Bank, BankName, Changes, Content, Provenance, Store, dense};
use crate::clock::Clock;
use crate::finding::Opinion;

/// Banks of known content: add to them, list, show and verify them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BankArgs {
    #[command(subcommand)]
    command: Command,
    /// Folder that holds the banks.
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        env = "SLUICEGATE_BANKS",
        default_value = "/var/lib/sluicegate/banks"
    )]
    banks: PathBuf,
    /// Answer in JSON, one object.
    #[arg(long, global = true)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sluicegate bank add attack-2026-11 leaked.mp4 still.jpg --label terrorism
  sluicegate bank show attack-2026-11
  sluicegate bank verify";

#[derive(Debug, Subcommand)]
enum Command {
    Add(AddArgs),
    /// List all banks.
    #[command(after_help = "Example:\n  sluicegate bank list --json")]
    List,
    /// Show a bank's settings, and the files that its signals were taken from.
    #[command(after_help = "Example:\n  sluicegate bank show demo")]
    Show {
        /// The bank.
        name: BankName,
    },
    /// Check that a bank, or every bank, is exactly what was written.
    #[command(after_help = "Example:\n  sluicegate bank verify demo")]
    Verify {
        /// The bank; all of them when left out.
        name: Option<BankName>,
    },
}

/// Add pictures and videos to a bank, and make it if it is not there.
///
/// Each file is added whole or not at all; one that fails does not stop the others.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sluicegate bank add demo clip.mp4 --description 'Stands in for harmful content'")]
struct AddArgs {
    /// The bank: 1 to 64 of a-z, 0-9, _ and -.
    name: BankName,
    /// Pictures (JPEG, PNG, WebP) and videos.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the bank holds, for people.
    #[arg(long)]
    description: Option<String>,
    /// What its content is called in reports, such as `terrorism`.
    #[arg(long)]
    label: Option<String>,
    /// How many bits a picture may differ from a signal and still match it; 31 in a new bank.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=64))]
    max_distance: Option<u32>,
    /// The PDQ quality below which pictures are neither banked nor matched; 50 in a new bank.
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_quality: Option<u8>,
    /// Leave out a video's pictures that are within this many bits of the last one kept.
    #[arg(long, value_name = "BITS", default_value_t = dense::EVERY_BITS, value_parser = clap::value_parser!(u32).range(0..=256))]
    every_bits: u32,
    /// How far you vouch for the content. Only `positive` may cut a stream on its own.
    #[arg(long, value_enum, default_value_t = Vouch::Positive)]
    opinion: Vouch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Vouch {
    /// It is what the bank says it is.
    Positive,
    /// It is known not to be.
    Negative,
    /// Somebody should look.
    InvestigationSeed,
    /// Its owners disagree.
    Disputed,
}

impl From<Vouch> for Opinion {
    fn from(vouch: Vouch) -> Self {
        match vouch {
            Vouch::Positive => Self::Positive,
            Vouch::Negative => Self::Negative,
            Vouch::InvestigationSeed => Self::InvestigationSeed,
            Vouch::Disputed => Self::Disputed,
        }
    }
}

/// An answer for people and the same for programs.
struct Answer {
    text: String,
    json: Value,
}

/// Runs `sluicegate bank`; results go to `out`, progress to a terminal on standard error.
///
/// # Errors
/// When a file or a bank is not what it should be, each named with what to do next; or when `out` cannot be written to.
/// What could be done has been done and told by then.
pub(super) fn run(args: &BankArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let store = Store::open(&args.banks)?;
    let (answers, failures) = match &args.command {
        Command::Add(add_args) => add(&store, add_args),
        Command::List => each_bank(&store, &store.names()?, listed),
        Command::Show { name } => each_bank(&store, std::slice::from_ref(name), shown),
        Command::Verify { name: Some(name) } => each_bank(&store, std::slice::from_ref(name), verified),
        Command::Verify { name: None } => each_bank(&store, &store.names()?, verified),
    };
    if args.json {
        let results: Vec<_> = answers.iter().map(|answer| &answer.json).collect();
        let errors: Vec<_> = failures.iter().map(|failure| format!("{failure:#}")).collect();
        writeln!(out, "{}", json!({ "results": results, "errors": errors }))?;
    } else {
        for answer in &answers {
            writeln!(out, "{}", answer.text)?;
        }
        if answers.is_empty() && failures.is_empty() {
            writeln!(out, "no banks in {}: `sluicegate bank add` makes one", args.banks.display())?;
        }
    }
    match failures.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        [failure] => bail!("{failure:#}"),
        several => {
            let lines: Vec<_> = several.iter().map(|failure| format!("\n  {failure:#}")).collect();
            bail!("{} of {} failed:{}", several.len(), answers.len() + several.len(), lines.concat())
        }
    }
}

type Results = (Vec<Answer>, Vec<anyhow::Error>);

fn parted(results: impl Iterator<Item = anyhow::Result<Answer>>) -> Results {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(answer) => answers.push(answer),
            Err(failure) => failures.push(failure),
        }
    }
    (answers, failures)
}

fn each_bank(store: &Store, names: &[BankName], answer: fn(&Bank) -> Answer) -> Results {
    parted(names.iter().map(|name| Ok(answer(&store.load(name)?))))
}

fn add(store: &Store, args: &AddArgs) -> Results {
    // A bank that cannot be read is better known before hours of video are than after.
    match store.load(&args.name) {
        Ok(_) | Err(crate::bank::BankError::NoBank { .. }) => {}
        Err(unreadable) => return (Vec::new(), vec![unreadable.into()]),
    }
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {pos} pictures in {elapsed}") {
        progress.set_style(style);
    }
    let results = parted(args.files.iter().map(|file| add_file(store, args, file, &progress)));
    progress.finish_and_clear();
    results
}

fn add_file(store: &Store, args: &AddArgs, file: &Path, progress: &ProgressBar) -> anyhow::Result<Answer> {
    progress.set_message(file.display().to_string());
    progress.set_position(0);
    let (provenance, frames) = content::read(file, &mut || progress.inc(1))?;
    let (pictures, source) = (frames.len(), provenance.clone());
    let changes = Changes {
        description: args.description.clone(),
        label: args.label.clone(),
        max_distance: args.max_distance,
        min_quality: args.min_quality,
    };
    let content = Content { provenance, opinion: args.opinion.into(), frames, every_bits: args.every_bits };
    let added = store
        .add(&args.name, &changes, content, Clock::system().now())
        .with_context(|| format!("{} was not added", file.display()))?;
    Ok(told(&args.name, &source, pictures, &added))
}

fn told(bank: &BankName, Provenance { file, sha256 }: &Provenance, pictures: usize, added: &Added) -> Answer {
    let Added { revision, chosen } = added;
    let Some(chosen) = chosen else {
        return Answer {
            text: format!("{file}: already in `{bank}` (revision {revision}), nothing added"),
            json: json!({ "file": file, "sha256": sha256, "bank": bank, "revision": revision, "added": 0, "already": true }),
        };
    };
    let count = chosen.kept.len();
    let mut parts = vec![format!("{file}: {count} of {pictures} pictures added to `{bank}` (revision {revision})")];
    if chosen.alike > 0 {
        parts.push(format!("{} like the one kept before", chosen.alike));
    }
    if !chosen.refused.is_empty() {
        parts.push(format!("refused {}", chosen.reasons()));
    }
    let refused: Vec<_> = chosen
        .refused
        .iter()
        .map(|(frame, reason)| json!({ "at": frame.at.map(|at| at.as_secs_f64()), "reason": reason }))
        .collect();
    let json = json!({
        "file": file, "sha256": sha256, "bank": bank, "revision": revision, "pictures": pictures, "added": count,
        "already": false, "alike": chosen.alike, "refused": refused,
    });
    Answer { text: parts.join("; "), json }
}

fn listed(bank: &Bank) -> Answer {
    let (signals, files) = (bank.signals().len(), sources(bank).len());
    let described = match bank.settings().description.as_str() {
        "" => String::new(),
        description => format!(", {description}"),
    };
    let text = format!("{}: {signals} signals of {files} files, revision {}{described}", bank.name(), bank.revision());
    Answer { text, json: summary(bank) }
}

fn verified(bank: &Bank) -> Answer {
    let text = format!("{}: whole, {} signals, revision {}", bank.name(), bank.signals().len(), bank.revision());
    Answer { text, json: summary(bank) }
}

fn summary(bank: &Bank) -> Value {
    let settings = bank.settings();
    json!({
        "bank": bank.name(), "revision": bank.revision(), "created": bank.created().to_string(),
        "description": settings.description, "label": settings.label, "max_distance": settings.max_distance,
        "min_quality": settings.min_quality, "signals": bank.signals().len(), "files": sources(bank).len(),
    })
}

/// Never shows a hash: what is printed ends up in tickets.
fn shown(bank: &Bank) -> Answer {
    let settings = bank.settings();
    let mut lines = vec![
        format!("bank          {}", bank.name()),
        format!("description   {}", settings.description),
        format!("label         {}", settings.label),
        format!("max distance  {} bits", settings.max_distance),
        format!("min quality   {}", settings.min_quality),
        format!("revision      {}, created {}", bank.revision(), bank.created()),
        format!("signals       {}", bank.signals().len()),
    ];
    let mut files = Vec::new();
    for (Provenance { file, sha256 }, source) in sources(bank) {
        let last = source.last.as_secs_f64();
        lines.push(format!("  {file}: {} signals to {last:.1} s, added {}", source.signals, source.added));
        lines.push(format!("    sha256 {sha256}"));
        files.push(json!({ "file": file, "sha256": sha256, "signals": source.signals, "last": last }));
    }
    let mut json = summary(bank);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("sources".to_owned(), files.into());
    }
    Answer { text: lines.join("\n"), json }
}

struct Source {
    signals: usize,
    last: Duration,
    added: crate::clock::Timestamp,
}

fn sources(bank: &Bank) -> BTreeMap<&Provenance, Source> {
    let mut sources = BTreeMap::new();
    for signal in bank.signals() {
        let source = sources.entry(signal.provenance.as_ref()).or_insert(Source {
            signals: 0,
            last: Duration::ZERO,
            added: signal.added,
        });
        source.signals += 1;
        source.last = source.last.max(signal.banked_at.unwrap_or_default());
    }
    sources
}

#[cfg(test)]
mod tests;
