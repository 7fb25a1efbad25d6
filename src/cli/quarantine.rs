//! `sluicegate quarantine`: files that outlived a cut and were moved out of reach, and the way back.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::bank::{Answer, tell};
use super::table::{Names, harmless, table};
use crate::act::aftermath::{self, Kept, Shelf};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;

/// Files that outlived a cut and were moved out of reach: list them, bring them back.
///
/// Reads the folder itself, on the machine of the service, whether the service runs or not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate quarantine list --config /etc/sluicegate/sluicegate.toml
  sluicegate quarantine restore 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The configuration of the service: its folders are used.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder, where no configuration names it.
    #[arg(long, global = true, value_name = "FOLDER", default_value_os_t = usual(), conflicts_with = "config")]
    dir: PathBuf,
    /// Show names whole: on most servers a stream's name is its publisher's key.
    #[arg(long, global = true)]
    names: bool,
    /// Answer in JSON, one object.
    #[arg(long, global = true)]
    json: bool,
}

fn usual() -> PathBuf {
    aftermath::Config::default().quarantine
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List whose files were moved, after which decision, and how many are still here.
    #[command(after_help = "Example:\n  sluicegate quarantine list --names")]
    List,
    /// Bring the files of a decision back to where they were, as far as nothing else is there now.
    ///
    /// Nothing more of that decision is moved from then on. The deny is another matter: `sluicegate decisions release`.
    #[command(after_help = "Example:\n  sluicegate quarantine restore 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f")]
    Restore {
        /// The decision.
        decision: Uuid,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let folders = match &args.config {
        Some(path) => Config::load(path)?.server.into_iter().map(|server| server.after_cut.quarantine).collect(),
        None => BTreeSet::from([args.dir.clone()]),
    };
    let answers = match args.command {
        Command::List => list(&folders, args)?,
        Command::Restore { decision } => vec![restore(&folders, decision, Clock::system().now())?],
    };
    tell(&answers, &[], args.json, out)
}

fn list(folders: &BTreeSet<PathBuf>, args: &Args) -> anyhow::Result<Vec<Answer>> {
    let mut shelves = Vec::new();
    for folder in folders {
        shelves.extend(Shelf::all(folder).with_context(|| format!("cannot read {}", folder.display()))?);
    }
    let names = Names::asked(args.names);
    if args.json {
        let json = |(decision, shelf): &(Uuid, Shelf)| {
            let of = shelf.of().map(|(session, at)| json!({ "session": session, "at": at }));
            json!({ "decision": decision, "of": of, "restored": shelf.restored(), "files": shelf.files() })
        };
        return Ok(shelves.iter().map(|shelf| Answer { text: String::new(), json: json(shelf) }).collect());
    }
    let rows: Vec<_> = shelves.iter().map(|(decision, shelf)| row(*decision, shelf, names)).collect();
    let heading = ["DECISION", "SINCE", "STREAM", "FILES", "BYTES", "RESTORED"];
    Ok(vec![Answer { text: table(heading, &rows, "nothing was moved"), json: json!({}) }])
}

fn row(decision: Uuid, shelf: &Shelf, names: Names) -> [String; 6] {
    let files: Vec<&Kept> = shelf.files();
    let bytes: u64 = files.iter().map(|kept| kept.bytes).sum();
    let (stream, since) =
        shelf.of().map_or_else(Default::default, |(session, at)| (names.of(&session.stream), at.to_string()));
    let restored = shelf.restored().map_or_else(|| "no".to_owned(), |at| at.to_string());
    [decision.to_string(), since, stream, files.len().to_string(), bytes.to_string(), restored]
}

fn restore(folders: &BTreeSet<PathBuf>, decision: Uuid, now: Timestamp) -> anyhow::Result<Answer> {
    for folder in folders {
        let found = Shelf::open(folder, decision).with_context(|| format!("cannot read {}", folder.display()))?;
        let Some(mut shelf) = found else { continue };
        let restored = shelf.restore(now).with_context(|| format!("cannot write to {}", folder.display()))?;
        let shown = |path: &Path| harmless(&path.display().to_string());
        let mut text = format!("{} files of {decision} are back where they were", restored.back.len());
        for (path, reason) in &restored.kept {
            text = format!("{text}\nkept: {}: {reason}", shown(path));
        }
        let kept: Vec<_> = restored.kept.iter().map(|(path, why)| json!({ "file": path, "reason": why })).collect();
        return Ok(Answer { text, json: json!({ "decision": decision, "back": restored.back, "kept": kept }) });
    }
    bail!("nothing was moved after decision {decision}: see `sluicegate quarantine list`")
}
