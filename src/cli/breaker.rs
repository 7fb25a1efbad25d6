//! `sluicegate breaker`: whether too much was cut by itself, what is at fault, and how to let rules cut again.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::bank::{Answer, tell};
use super::core::{Core, CoreArgs};
use super::orders::By;
use crate::api::BreakerView;

/// Show the breaker of the running core, or close it.
///
/// The breaker opens when more is cut by itself than `[policy.breaker]` allows. While it is open, what rules would cut is
/// held instead; what people order is carried out all the same.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate breaker
  sluicegate breaker close --reason 'the bank `events` is mended'")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Close it: what rules cut is cut again.
    #[command(after_help = "Example:\n  sluicegate breaker close --reason 'the bank `events` is mended'")]
    Close {
        #[command(flatten)]
        by: By,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let core = Core::new(&args.core)?;
    let answer = match &args.command {
        None => {
            let breaker: BreakerView = core.get("/v1/breaker")?;
            Answer { text: shown(&breaker), json: json!(breaker) }
        }
        Some(Command::Close { by }) => {
            let was: Value = core.post("/v1/breaker/close", &by.and(json!({})))?;
            let open = was["open"] == true;
            let text = if open { "closed: what rules cut is cut again" } else { "it was closed already" };
            Answer { text: text.to_owned(), json: json!({ "was": was }) }
        }
    };
    tell(&[answer], &[], args.core.json, out)
}

fn shown(breaker: &BreakerView) -> String {
    let Some(since) = breaker.since.filter(|_| breaker.open) else {
        return "closed: what rules cut is cut".to_owned();
    };
    let closes = breaker.until.map_or_else(|| "when somebody closes it".to_owned(), |until| until.to_string());
    let mut lines = vec![
        format!("open since  {since}: what rules would cut is held"),
        format!("closes      {closes}"),
        format!("because of  {} cuts, with {} streams left live", breaker.cuts, breaker.live),
    ];
    for (what, name) in [("rule", &breaker.rule), ("bank", &breaker.bank), ("model", &breaker.model)] {
        lines.extend(name.as_ref().map(|name| format!("mostly      the {what} `{name}`")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn an_open_breaker_names_what_is_at_fault() {
        let open = BreakerView {
            open: true,
            since: Some(Timestamp::from_millis(0)),
            cuts: 100,
            live: 9,
            rule: Some("known-content".into()),
            bank: Some("events".into()),
            ..BreakerView::closed()
        };
        let text = shown(&open);
        for part in ["100 cuts", "the rule `known-content`", "the bank `events`", "when somebody closes it"] {
            assert!(text.contains(part), "{part} is missing from\n{text}");
        }
        assert!(!text.contains("model"), "{text}");
        assert!(shown(&BreakerView::closed()).starts_with("closed"));
    }
}
