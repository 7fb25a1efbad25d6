//! `sluicegate streams`: what is being watched, and how it is doing.

use std::io::Write;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::json;

use super::bank::tell;
use super::core::{Core, CoreArgs};
use super::table::{Listing, Names};
use crate::clock::Timestamp;
use crate::stream::{Attention, StreamId, StreamState};

/// List the streams that the running core watches.
///
/// On most servers a stream's name is its publisher's key, so it is shortened unless you ask for it; in JSON it is whole.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate streams
  sluicegate streams --config /etc/sluicegate/sluicegate.toml --json")]
pub(super) struct Args {
    /// Show names whole.
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Deserialize)]
struct Watched {
    stream: String,
    #[serde(flatten)]
    state: StreamState,
    since: Timestamp,
    class: Option<String>,
    reports: u64,
    attention: Attention,
    pictures_inspected: u64,
    last_inspected: Option<Timestamp>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let streams = Core::new(&args.core)?.get("/v1/streams")?;
    let heading = ["STREAM", "STATE", "SINCE", "CLASS", "ATTENTION", "REPORTS", "PICTURES", "LAST PICTURE"];
    let listing = Listing { heading, row, nothing: "no stream is being watched" };
    tell(&listing.answers(streams, Names::asked(args.names), args.core.json)?, &[], args.core.json, out)
}

fn row(stream: &Watched, names: Names) -> [String; 8] {
    let state = match stream.state {
        StreamState::Uninspectable(reason) => format!("uninspectable ({})", reason.word()),
        state => state.word().to_owned(),
    };
    let last = stream.last_inspected.map_or_else(|| "none yet".to_owned(), |at| at.to_string());
    [
        names.of(&StreamId::parse(&stream.stream)),
        state,
        stream.since.to_string(),
        stream.class.clone().unwrap_or_else(|| "-".to_owned()),
        json!(stream.attention).as_str().unwrap_or_default().to_owned(),
        stream.reports.to_string(),
        stream.pictures_inspected.to_string(),
        last,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shortened_as_in_the_log() {
        for id in [StreamId::new("main", "live", "secret-key"), StreamId::new("main", "a/b", "abc-key")] {
            assert!(!Names::Shortened.of(&id).contains("key"));
        }
    }

    #[test]
    fn a_row_says_why_a_stream_cannot_be_inspected() {
        let stream: Watched = serde_json::from_value(json!({
            "stream": "main/live/a", "session": "1", "state": "uninspectable", "reason": "no_video", "since": 1_000_000,
            "class": "news", "reports": 3, "attention": "reported", "pictures_inspected": 0, "last_inspected": null,
        }))
        .unwrap();
        let [name, state, since, class, attention, reports, pictures, last] = row(&stream, Names::Whole);
        assert_eq!(
            [name, state, class, attention, reports, pictures, last],
            ["main/live/a", "uninspectable (no_video)", "news", "reported", "3", "0", "none yet"]
        );
        assert_eq!(since, "1970-01-01T00:00:01.000Z");
    }
}
