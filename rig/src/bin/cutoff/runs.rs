//! From the first banked picture published to the publisher observed gone, run by run: with look-back, and, as the peer of
//! the same run, with nothing but keyframes.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rig::clips;
use rig::events::is;
use rig::publisher::{Publisher, Times};
use serde_json::{Value, json};

use crate::house::{House, at, seconds};

/// Where in its group of pictures the content changes, run after run: everywhere, the worst place (just after a keyframe)
/// included.
const LEADS: [u64; 6] = [2040, 2400, 2800, 3200, 3600, 3960];

/// No frames kept, after a finding no more of them looked at than before, and no stream decoded continuously.
const KEYFRAMES_ONLY: &str = "\n[sample]\nlookback_bytes = 0\nburst_fps = 0.1\nmax_promoted = 0\n";

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(count: u32) -> Result<Value> {
    let ours = series("look-back", count, "")?;
    let peer = series("keyframes only", (count / 5).max(1), KEYFRAMES_ONLY)?;
    Ok(json!({ "lookback": ours, "keyframes_only": peer, "keyframe_interval": clips::KEYFRAME_INTERVAL.as_secs_f64() }))
}

fn series(what: &str, count: u32, more: &str) -> Result<Vec<Value>> {
    let house = House::start(more)?;
    let events = house.sluicegate.events()?;
    let mut runs = Vec::new();
    for (run, lead) in (1..=count).zip(LEADS.into_iter().cycle()) {
        let lead = Duration::from_millis(lead);
        let name = format!("run-{run}");
        let mut publisher = Publisher::start(&clips::incident(lead)?, &house.url(&name), Times::Once)?;
        let gone = |event: &Value| is(event, "action", &name) && event["progress"] == "observed_gone";
        let (_, gone) = events.wait(0, "the publisher observed gone", PATIENCE, gone)?;
        publisher.wait(PATIENCE).context("the publisher is still connected")?;
        let (_, verdict) = events.wait(0, "the verdict", PATIENCE, |event| is(event, "verdict", &name))?;
        let matched = |event: &Value| is(event, "finding", &name) && event["observation"]["kind"] == "match";
        let (_, found) = events.wait(0, "a match", PATIENCE, matched)?;
        let first_banked = publisher.sent(lead).context("ffmpeg did not report the first banked frame")?;
        let judged = match (at(&verdict), found["arrived"].as_u64()) {
            (Some(at), Some(arrived)) => seconds(UNIX_EPOCH + Duration::from_micros(arrived), at),
            _ => bail!("events without times"),
        };
        let after = |event: &Value| at(event).map(|at| seconds(first_banked, at)).context("an event without a time");
        let (found, verdict, gone) = (after(&found)?, after(&verdict)?, after(&gone)?);
        eprintln!("  {what} {run}/{count}: first match {found:.2} s, verdict {verdict:.2} s, gone {gone:.2} s");
        runs.push(
            json!({ "lead": lead.as_secs_f64(), "found": found, "verdict": verdict, "judged": judged, "gone": gone }),
        );
    }
    Ok(runs)
}
