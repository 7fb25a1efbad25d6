//! `sluicegate doctor`: what this machine lacks, and how to get it.

mod checks;

use std::path::PathBuf;

use serde::Serialize;

use super::failure::{Exit, Failure, OrExit, Outcome};
use super::say;
use crate::config::Config;

/// Say what this machine lacks to run Sluicegate, and how to get it.
///
/// Without a configuration, what the defaults need is looked at. Ends with 0 when all is well, with 1 when something is
/// missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sluicegate doctor
  sluicegate doctor --config /etc/sluicegate/sluicegate.toml --json")]
pub(super) struct Args {
    /// Look at what this configuration needs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer as JSON: `{"well": ..., "checks": [{"what", "state", "detail", "next"}]}`.
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Well,
    Missing,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// The thing.
    what: String,
    state: State,
    /// What was seen.
    detail: String,
    /// How to get it; only where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn well(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Well, detail: detail.into(), next: None }
    }

    fn missing(what: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Missing, detail: detail.into(), next: Some(next.into()) }
    }
}

#[derive(Serialize)]
struct Report {
    well: bool,
    checks: Vec<Check>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = match &args.config {
        Some(path) => Config::load(path).or_exit(Exit::Usage)?,
        None => Config::default(),
    };
    let checks = checks::all(&config, args.config.as_deref());
    let report = Report { well: checks.iter().all(|check| check.state == State::Well), checks };
    if args.json {
        let text = serde_json::to_string_pretty(&report).or_exit(Exit::Bug)?;
        say(&format!("{text}\n"))?;
    } else {
        say(&report.checks.iter().map(line).collect::<Vec<_>>().concat())?;
    }
    if report.well { Ok(()) } else { Err(Failure::told(Exit::Unwell)) }
}

fn line(check: &Check) -> String {
    let word = match check.state {
        State::Well => "ok     ",
        State::Missing => "MISSING",
    };
    let next = check.next.as_ref().map(|next| format!("\n         {next}")).unwrap_or_default();
    format!("{word}  {}: {}{next}\n", check.what, check.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_the_way_to_get_it() {
        assert_eq!(line(&Check::well("disk", "9 GiB free")), "ok       disk: 9 GiB free\n");
        let missing = Check::missing("element rtmp2src", "not installed", "apt install gstreamer1.0-plugins-bad");
        assert_eq!(
            line(&missing),
            "MISSING  element rtmp2src: not installed\n         apt install gstreamer1.0-plugins-bad\n"
        );
    }
}
