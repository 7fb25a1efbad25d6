//! `sluicegate bank create`, `set`, `remove`, `release`, `enable` and `disable`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::Answer;
use super::settings::SettingsArgs;
use crate::bank::{BankName, Changes, Removed, Store, Which};
use crate::clock::Clock;

/// Make a bank with nothing in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate bank create attack-2026-11 --label terrorism --until 2027-06-01T00:00:00Z
  sluicegate bank create title-cards --kind benign --max-distance 20")]
pub(super) struct CreateArgs {
    /// The bank: 1 to 64 of a-z, 0-9, _ and -.
    name: BankName,
    /// Compare no stream with it yet: fill it, try it out with `sluicegate bank test`, then `sluicegate bank enable` it.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn create(store: &Store, args: &CreateArgs) -> anyhow::Result<Answer> {
    let name = &args.name;
    let changes = Changes { enabled: Some(!args.disabled), ..args.settings.changes() };
    let revision = store.create(name, &changes, Clock::system().now())?;
    Ok(Answer {
        text: format!("{name}: made (revision {revision})"),
        json: json!({ "bank": name, "revision": revision, "enabled": !args.disabled }),
    })
}

/// Change what a bank says of itself.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate bank set attack-2026-11 --until never --quorum 2
  sluicegate bank set unreviewed --at-most hold")]
pub(super) struct SetArgs {
    /// The bank.
    name: BankName,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn set(store: &Store, args: &SetArgs) -> anyhow::Result<Answer> {
    let (name, changes) = (&args.name, args.settings.changes());
    if changes == Changes::default() {
        bail!("nothing to set for `{name}`: give what is to change, such as --at-most hold");
    }
    let revision = store.set(name, &changes, Clock::system().now())?;
    Ok(Answer {
        text: format!("{name}: set (revision {revision})"),
        json: json!({ "bank": name, "revision": revision }),
    })
}

pub(super) fn enable(store: &Store, name: &BankName, enabled: bool) -> anyhow::Result<Answer> {
    let changes = Changes { enabled: Some(enabled), ..Changes::default() };
    let revision = store.set(name, &changes, Clock::system().now())?;
    let word = if enabled { "enabled" } else { "disabled" };
    Ok(Answer {
        text: format!("{name}: {word} (revision {revision})"),
        json: json!({ "bank": name, "revision": revision, "enabled": enabled }),
    })
}

/// Remove signals from a bank: all of one file, or some by their numbers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate bank remove demo --file clip.mp4
  sluicegate bank remove demo --id 17 --id 18")]
pub(super) struct RemoveArgs {
    /// The bank.
    pub(super) name: BankName,
    /// The file that they were taken from or imported with: its name or its SHA-256.
    #[arg(long, required_unless_present = "ids", conflicts_with = "ids")]
    file: Option<PathBuf>,
    /// The number of a signal, as `sluicegate bank show --signals` and match records give it; may be repeated.
    #[arg(long = "id", value_name = "NUMBER")]
    ids: Vec<u64>,
}

pub(super) fn remove(store: &Store, args: &RemoveArgs) -> anyhow::Result<Answer> {
    let name = &args.name;
    let which = match &args.file {
        // Signals know the name of their file, not its folder.
        Some(file) => Which::File(file.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        None => Which::Ids(args.ids.clone()),
    };
    let Removed { signals, revision } = store.remove(name, &which, Clock::system().now())?;
    Ok(Answer {
        text: format!("{name}: {signals} signals removed (revision {revision})"),
        json: json!({ "bank": name, "removed": signals, "revision": revision }),
    })
}

/// Let signals that were set aside count again.
///
/// A signal that matches many unrelated streams is set aside by itself: look at what it was taken from before you release it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sluicegate bank release demo --id 17")]
pub(super) struct ReleaseArgs {
    /// The bank.
    name: BankName,
    /// The number of a signal that `sluicegate bank show` lists as set aside; may be repeated.
    #[arg(long = "id", value_name = "NUMBER", required = true)]
    ids: Vec<u64>,
}

pub(super) fn release(store: &Store, args: &ReleaseArgs) -> anyhow::Result<Answer> {
    let ReleaseArgs { name, ids } = args;
    let ids: Vec<u64> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let revision = store.release(name, &ids, Clock::system().now())?;
    Ok(Answer {
        text: format!("{name}: {} signals released (revision {revision})", ids.len()),
        json: json!({ "bank": name, "released": ids, "revision": revision }),
    })
}
