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
    attention: Attention,
    pictures_inspected: u64,
    last_inspected: Option<Timestamp>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let streams = Core::new(&args.core)?.get("/v1/streams")?;
    let heading = ["STREAM", "STATE", "SINCE", "ATTENTION", "PICTURES", "LAST PICTURE"];
    let listing = Listing { heading, row, nothing: "no stream is being watched" };
    tell(&listing.answers(streams, Names::asked(args.names), args.core.json)?, &[], args.core.json, out)
}

fn row(stream: &Watched, names: Names) -> [String; 6] {
    let state = match stream.state {
        StreamState::Uninspectable(reason) => format!("uninspectable ({})", reason.word()),
        state => state.word().to_owned(),
    };
    let last = stream.last_inspected.map_or_else(|| "none yet".to_owned(), |at| at.to_string());
    [
        names.of(&parsed(&stream.stream)),
        state,
        stream.since.to_string(),
        json!(stream.attention).as_str().unwrap_or_default().to_owned(),
        stream.pictures_inspected.to_string(),
        last,
    ]
}

/// The other way of [`StreamId::full`]. An application may hold slashes, a stream's name holds none.
fn parsed(stream: &str) -> StreamId {
    let (server, rest) = stream.split_once('/').unwrap_or(("", stream));
    let (app, name) = rest.rsplit_once('/').unwrap_or(("", rest));
    StreamId::new(server, app, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shortened_as_in_the_log() {
        for id in [StreamId::new("main", "live", "secret-key"), StreamId::new("main", "a/b", "abc-key")] {
            assert_eq!(parsed(&id.full()), id);
            assert!(!Names::Shortened.of(&id).contains("key"));
        }
    }

    #[test]
    fn a_row_says_why_a_stream_cannot_be_inspected() {
        let stream: Watched = serde_json::from_value(json!({
            "stream": "main/live/a", "session": "1", "state": "uninspectable", "reason": "no_video", "since": 1_000_000,
            "attention": "calm", "pictures_inspected": 0, "last_inspected": null,
        }))
        .unwrap();
        let [name, state, since, attention, pictures, last] = row(&stream, Names::Whole);
        assert_eq!(
            [name, state, attention, pictures, last],
            ["main/live/a", "uninspectable (no_video)", "calm", "0", "none yet"]
        );
        assert_eq!(since, "1970-01-01T00:00:01.000Z");
    }
}
