//! `sluicegate decisions`: what was decided, what it rests on, what became of it, and how to take it back.

mod show;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::bank::{Answer, tell};
use super::core::{Core, CoreArgs};
use super::table::{Listing, Names};
use crate::decision::Decision;

/// Decisions of the running core: list them, show what one rests on, release who was wrongly cut off.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate decisions list --limit 20
  sluicegate decisions show 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f
  sluicegate decisions release 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Show names whole: on most servers a stream's name is its publisher's key.
    #[arg(long, global = true)]
    names: bool,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the latest decisions, newest first.
    #[command(after_help = "Example:\n  sluicegate decisions list --limit 20")]
    List {
        /// At most so many.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show a decision: the findings that it rests on, and every attempt to carry it out.
    #[command(after_help = "Example:\n  sluicegate decisions show 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f")]
    Show {
        /// The decision.
        id: Uuid,
    },
    /// Lift the denies that follow from a decision, so that the publisher may come back at once.
    ///
    /// The decision itself stays in the ledger. What matches a rule again is decided on again.
    #[command(after_help = "Example:\n  sluicegate decisions release 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f")]
    Release {
        /// The decision.
        id: Uuid,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let core = Core::new(&args.core)?;
    let answers = match args.command {
        Command::List { limit } => list(&core, limit, args)?,
        Command::Show { id } => vec![show::shown(core.get(&format!("/v1/decisions/{id}"))?, Names::asked(args.names))?],
        Command::Release { id } => vec![release(&core, id)?],
    };
    tell(&answers, &[], args.core.json, out)
}

fn list(core: &Core, limit: u16, args: &Args) -> anyhow::Result<Vec<Answer>> {
    let decisions = core.get(&format!("/v1/decisions?limit={limit}"))?;
    let heading = ["DECISION", "DECIDED", "VERDICT", "RULE", "STREAM"];
    let listing = Listing { heading, row, nothing: "nothing was decided yet" };
    listing.answers(decisions, Names::asked(args.names), args.core.json)
}

fn row(decision: &Decision, names: Names) -> [String; 5] {
    [
        decision.id.to_string(),
        decision.decided.to_string(),
        decision.verdict.to_string(),
        decision.rule.to_string(),
        names.of(&decision.session.stream),
    ]
}

fn release(core: &Core, id: Uuid) -> anyhow::Result<Answer> {
    core.delete(&format!("/v1/denies/{id}"))?;
    let text = format!("released: no deny follows from {id} any more, its publisher may come back");
    Ok(Answer { text, json: json!({ "decision": id, "released": true }) })
}
