//! `sluicegate decisions`: what was decided, what it rests on, what became of it, and how to take it back.

mod show;

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr as _;

use clap::Subcommand;
use serde::Deserialize as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bank::{Answer, tell};
use super::core::{Core, CoreArgs};
use super::orders::By;
use super::table::{Listing, Names, harmless};
use crate::decision::{Decision, Mode, Verdict};
use crate::stream::StreamId;

/// Decisions of the running core: list them, show what one rests on, release who was wrongly cut off, and decide yourself.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate decisions list --limit 20
  sluicegate decisions show 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f
  sluicegate decisions release 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f --reason 'a rehearsal'
  sluicegate decisions cut main/live/cam1 --reason 'court order 12/26'")]
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
    /// Take a decision back: its denies are lifted and its hold is over, so that the publisher may come back at once.
    ///
    /// The decision itself stays in the ledger, and no rule counts it as an earlier one any more.
    #[command(after_help = "\
Example:
  sluicegate decisions release 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f --reason 'a rehearsal'")]
    Release {
        /// The decision.
        id: Uuid,
        #[command(flatten)]
        by: By,
    },
    /// Hold a stream: webhooks are told to hide it until it is released or the hold runs out.
    #[command(after_help = "Example:\n  sluicegate decisions hold main/live/cam1 --reason 'please look' --for 30m")]
    Hold(OnStream),
    /// Cut a stream's publisher off, and refuse the return for a while. Where nobody publishes, the return alone.
    #[command(
        after_help = "Example:\n  sluicegate decisions cut main/live/cam1 --reason 'court order 12/26' --deny name,account"
    )]
    Cut(OnStream),
    /// Cut a stream's publisher off, and refuse the return until somebody releases it.
    #[command(
        after_help = "Example:\n  sluicegate decisions ban main/live/cam1 --reason 'third time' --deny account,key"
    )]
    Ban(OnStream),
}

/// A verdict on a stream.
#[derive(Debug, clap::Args)]
struct OnStream {
    /// The stream's whole name, `server/app/name`.
    #[arg(value_name = "STREAM", value_parser = stream)]
    stream: StreamId,
    #[command(flatten)]
    by: By,
    /// How long it lasts, such as `30m`; as long as the policy says where left out.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    lasts: Option<u32>,
    /// By what the publisher is refused: `name`, `key`, `account`, `address`; what is not known of them is left out.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = ["name", "key", "account", "address"])]
    deny: Vec<String>,
}

/// `server/app/name`; an app may have slashes.
fn stream(text: &str) -> Result<StreamId, &'static str> {
    let parts = text.split_once('/').and_then(|(server, rest)| Some((server, rest.rsplit_once('/')?)));
    match parts {
        Some((server, (app, name))) if !server.is_empty() && !name.is_empty() => Ok(StreamId::new(server, app, name)),
        _ => Err("write it as server/app/name, as `sluicegate streams --names` shows it"),
    }
}

fn seconds(text: &str) -> Result<u32, String> {
    let span = jiff::SignedDuration::from_str(text).map_err(|error| error.to_string())?;
    u32::try_from(span.as_secs()).ok().filter(|seconds| *seconds > 0).ok_or_else(|| "from a second upwards".to_owned())
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let core = Core::new(&args.core)?;
    let answers = match &args.command {
        Command::List { limit } => list(&core, *limit, args)?,
        Command::Show { id } => vec![show::shown(core.get(&format!("/v1/decisions/{id}"))?, Names::asked(args.names))?],
        Command::Release { id, by } => vec![release(&core, *id, by)?],
        Command::Hold(order) => ordered(&core, Verdict::Hold, order, args)?,
        Command::Cut(order) => ordered(&core, Verdict::Cut, order, args)?,
        Command::Ban(order) => ordered(&core, Verdict::Ban, order, args)?,
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
        verdict(decision),
        decision.rule.to_string(),
        names.of(&decision.session.stream),
    ]
}

/// The verdict, and that nothing follows where nothing does.
fn verdict(decision: &Decision) -> String {
    match decision.mode {
        Mode::Enforced => decision.verdict.to_string(),
        Mode::Shadow => format!("({})", decision.verdict),
    }
}

fn release(core: &Core, id: Uuid, by: &By) -> anyhow::Result<Answer> {
    core.post(&format!("/v1/decisions/{id}/release"), &by.and(json!({})))?;
    let text = format!("released: nothing of {id} stands any more, its publisher may come back");
    Ok(Answer { text, json: json!({ "decision": id, "released": true }) })
}

fn ordered(core: &Core, verdict: Verdict, order: &OnStream, args: &Args) -> anyhow::Result<Vec<Answer>> {
    let OnStream { stream, by, lasts, deny } = order;
    let body = by.and(json!({ "stream": stream, "verdict": verdict, "for_seconds": lasts, "deny": deny }));
    let made = core.post("/v1/decisions", &body)?;
    let stream = Names::asked(args.names).of(stream);
    let answer = |json: &Value| {
        let decision = Decision::deserialize(json)?;
        let live = decision.session.id.0.is_empty();
        let whom = if live { "nobody publishes it now".to_owned() } else { format!("session {}", decision.session.id) };
        let text = format!("{verdict}: {stream}, {}: {}", harmless(&whom), decision.id);
        Ok(Answer { text, json: json.clone() })
    };
    made.as_array().into_iter().flatten().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_as_the_list_shows_it() {
        for (text, expected) in [
            ("main/live/cam", Some(("main", "live", "cam"))),
            ("main/a/b/cam", Some(("main", "a/b", "cam"))),
            ("main//cam", Some(("main", "", "cam"))),
            ("main/cam", None),
            ("cam", None),
            ("main/live/", None),
            ("/live/cam", None),
        ] {
            let expected = expected.map(|(server, app, name)| StreamId::new(server, app, name));
            assert_eq!(stream(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_is_written_as_in_the_configuration() {
        for (text, expected) in [("30m", Some(1800)), ("1 h", Some(3600)), ("0s", None), ("-5s", None), ("soon", None)]
        {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }
}
