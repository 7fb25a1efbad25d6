//! `sluicegate bank`: makes banks of known content, changes them, exchanges them, and says what is in them.

mod add;
mod bench;
pub(super) mod content;
mod edit;
mod exchange;
pub(super) mod progress;
mod reader;
mod settings;
mod show;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::bank::{Bank, BankError, BankName, Compaction, Store};
use crate::finding::Opinion;

/// Banks of known content: make, fill, exchange, list, show, try out and verify them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BankArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    folder: BanksFolder,
    /// Answer in JSON, one object.
    #[arg(long, global = true)]
    json: bool,
}

/// Where the banks are.
#[derive(Debug, Args)]
pub(super) struct BanksFolder {
    /// Folder that holds the banks.
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        env = "SLUICEGATE_BANKS",
        default_value = "/var/lib/sluicegate/banks"
    )]
    pub(super) banks: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  sluicegate bank create attack-2026-11 --label terrorism --disabled
  sluicegate bank add attack-2026-11 leaked.mp4 stills/
  sluicegate bank test attack-2026-11 our-usual-streams/
  sluicegate bank enable attack-2026-11
  sluicegate bank import shared hashes.csv
  sluicegate bank show attack-2026-11
  sluicegate bank verify

A running Sluicegate has a change in force within a second.";

#[derive(Debug, Subcommand)]
enum Command {
    Create(edit::CreateArgs),
    Set(edit::SetArgs),
    Add(add::AddArgs),
    Import(exchange::ImportArgs),
    Export(exchange::ExportArgs),
    /// List all banks.
    #[command(after_help = "Example:\n  sluicegate bank list --json")]
    List,
    /// Show a bank's settings, and the files that its signals were taken from.
    #[command(after_help = "Example:\n  sluicegate bank show demo\n  sluicegate bank show demo --signals")]
    Show {
        /// The bank.
        name: BankName,
        /// Show each signal too, with its number but without its hash.
        #[arg(long)]
        signals: bool,
    },
    Remove(edit::RemoveArgs),
    Release(edit::ReleaseArgs),
    /// Have streams compared with a bank again.
    #[command(after_help = "Example:\n  sluicegate bank enable attack-2026-11")]
    Enable {
        /// The bank.
        name: BankName,
    },
    /// Keep a bank, but have no stream compared with it.
    #[command(after_help = "Example:\n  sluicegate bank disable attack-2026-11")]
    Disable {
        /// The bank.
        name: BankName,
    },
    Test(bench::TestArgs),
    /// Make the search of a large bank quick again, or of every bank, after many changes.
    ///
    /// A running Sluicegate does so by itself, and so does whoever adds, imports or removes much.
    #[command(after_help = "Example:\n  sluicegate bank compact demo")]
    Compact {
        /// The bank; all of them when left out.
        name: Option<BankName>,
    },
    /// Check that a bank, or every bank, is exactly what was written.
    #[command(after_help = "Example:\n  sluicegate bank verify demo")]
    Verify {
        /// The bank; all of them when left out.
        name: Option<BankName>,
    },
}

impl Command {
    /// The bank that it may leave with much that is not in its base.
    const fn changes(&self) -> Option<&BankName> {
        match self {
            Self::Add(add) => Some(&add.name),
            Self::Import(import) => Some(&import.name),
            Self::Remove(remove) => Some(&remove.name),
            _ => None,
        }
    }
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
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) json: Value,
}

/// Runs `sluicegate bank`; results go to `out`, progress to a terminal on standard error.
///
/// # Errors
/// When a file or a bank is not what it should be, each named with what to do next; or when `out` cannot be written to.
/// What could be done has been done and told by then.
pub(super) fn run(args: &BankArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if let Command::Export(export) = &args.command
        && export.to.is_none()
        && !args.json
    {
        let store = Store::open(&args.folder.banks)?;
        exchange::write(&store, export, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (answers, failures) = match Store::open(&args.folder.banks) {
        Ok(store) => compacted(&store, &args.command, results(&store, &args.command)),
        Err(error) => (Vec::new(), vec![error.into()]),
    };
    if answers.is_empty() && failures.is_empty() && !args.json {
        writeln!(out, "no banks in {}: `sluicegate bank add` makes one", args.folder.banks.display())?;
    }
    tell(&answers, &failures, args.json, out)
}

fn results(store: &Store, command: &Command) -> Results {
    match command {
        Command::Create(create) => one(edit::create(store, create)),
        Command::Set(set) => one(edit::set(store, set)),
        Command::Add(add_args) => add::add(store, add_args),
        Command::Import(import) => exchange::import(store, import),
        Command::Export(export) => one(exchange::export(store, export)),
        Command::List => each_bank(store, store.names(), show::listed),
        Command::Show { name, signals: false } => each_bank(store, Ok(vec![name.clone()]), show::shown),
        Command::Show { name, signals: true } => each_bank(store, Ok(vec![name.clone()]), show::with_signals),
        Command::Remove(remove) => one(edit::remove(store, remove)),
        Command::Release(release) => one(edit::release(store, release)),
        Command::Enable { name } => one(edit::enable(store, name, true)),
        Command::Disable { name } => one(edit::enable(store, name, false)),
        Command::Test(test) => bench::test(store, test),
        Command::Verify { name: Some(name) } => checked(store, Ok(vec![name.clone()])),
        Command::Verify { name: None } => checked(store, store.names()),
        Command::Compact { name: Some(name) } => compact(store, Ok(vec![name.clone()])),
        Command::Compact { name: None } => compact(store, store.names()),
    }
}

/// Writes the answers, and makes one failure of the failures.
pub(super) fn tell(
    answers: &[Answer],
    failures: &[anyhow::Error],
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if as_json {
        let results: Vec<_> = answers.iter().map(|answer| &answer.json).collect();
        let errors: Vec<_> = failures.iter().map(|failure| format!("{failure:#}")).collect();
        writeln!(out, "{}", json!({ "results": results, "errors": errors }))?;
    } else {
        for answer in answers {
            writeln!(out, "{}", answer.text)?;
        }
    }
    match failures {
        [] => Ok(ExitCode::SUCCESS),
        [failure] => bail!("{failure:#}"),
        several => {
            let lines: Vec<_> = several.iter().map(|failure| format!("\n  {failure:#}")).collect();
            bail!("{} of {} failed:{}", several.len(), answers.len() + several.len(), lines.concat())
        }
    }
}

pub(super) type Results = (Vec<Answer>, Vec<anyhow::Error>);

pub(super) fn parted(results: impl IntoIterator<Item = anyhow::Result<Answer>>) -> Results {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(answer) => answers.push(answer),
            Err(failure) => failures.push(failure),
        }
    }
    (answers, failures)
}

fn one(result: anyhow::Result<Answer>) -> Results {
    parted([result])
}

fn checked(store: &Store, names: Result<Vec<BankName>, BankError>) -> Results {
    each_name(names, |name| show::verified(&store.load(name)?))
}

fn compact(store: &Store, names: Result<Vec<BankName>, BankError>) -> Results {
    each_name(names, |name| {
        let compaction = store.compact(name)?;
        let (word, text) = match compaction {
            Compaction::Done { in_base: 0 } => ("done", "small enough to do without a base".to_owned()),
            Compaction::Done { in_base } => ("done", format!("a new base of {in_base} signals")),
            Compaction::Indexed => ("indexed", "its index is written again".to_owned()),
            Compaction::Idle => ("idle", "nothing to do".to_owned()),
            Compaction::Overtaken => ("overtaken", "somebody else has made a new base of it meanwhile".to_owned()),
        };
        Ok(Answer { text: format!("{name}: {text}"), json: json!({ "bank": name, "compaction": word }) })
    })
}

/// Compacts a bank that a command has left with much that is not in its base.
fn compacted(store: &Store, command: &Command, (answers, mut failures): Results) -> Results {
    match command.changes().map(|name| store.compact_if_due(name)) {
        // One that could not be made, or read, was told already.
        None | Some(Ok(_) | Err(BankError::NoBank { .. })) => {}
        Some(Err(_)) if !failures.is_empty() => {}
        Some(Err(error)) => {
            failures.push(anyhow::Error::new(error).context("the bank is changed, but was not compacted"));
        }
    }
    (answers, failures)
}

fn each_bank(store: &Store, names: Result<Vec<BankName>, BankError>, answer: fn(&Bank) -> Answer) -> Results {
    each_name(names, |name| Ok(answer(&store.load(name)?)))
}

fn each_name(names: Result<Vec<BankName>, BankError>, answer: impl Fn(&BankName) -> anyhow::Result<Answer>) -> Results {
    match names {
        Ok(names) => parted(names.iter().map(answer)),
        Err(error) => one(Err(error.into())),
    }
}

#[cfg(test)]
mod tests;
