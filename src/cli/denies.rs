//! `sluicegate denies`: who may not publish, and since when.

use std::io::Write;
use std::process::ExitCode;

use super::bank::tell;
use super::core::{Core, CoreArgs};
use super::table::{Listing, Names, harmless};
use crate::decision::{Deny, Target};

/// List the denies in force: which streams and who may not publish, until when, and after which decision.
///
/// `sluicegate decisions release ID` lifts those of a decision.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sluicegate denies\n  sluicegate denies --names --json")]
pub(super) struct Args {
    /// Show names whole: on most servers a stream's name is its publisher's key.
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    core: CoreArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let denies = Core::new(&args.core)?.get("/v1/denies")?;
    let listing =
        Listing { heading: ["STREAM", "REFUSES", "SINCE", "UNTIL", "DECISION"], row, nothing: "no deny is in force" };
    tell(&listing.answers(denies, Names::asked(args.names), args.core.json)?, &[], args.core.json, out)
}

fn row(deny: &Deny, names: Names) -> [String; 5] {
    [
        names.of(&deny.stream),
        refuses(&deny.target, names),
        deny.since.to_string(),
        deny.until.map_or_else(|| "lifted by somebody".to_owned(), |until| until.to_string()),
        deny.decision.to_string(),
    ]
}

/// Whom: an account or an address only where names are asked for, and a key never, for it is kept as a digest.
fn refuses(target: &Target, names: Names) -> String {
    match (target, names) {
        (Target::Account(value) | Target::Address(value), Names::Whole) => {
            format!("{} {}", target.word(), harmless(value))
        }
        _ => target.word().to_owned(),
    }
}
