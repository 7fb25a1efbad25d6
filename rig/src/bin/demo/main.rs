//! The demo: a live stream is watched, recognised and cut off, on a real media server, while another runs on untouched.
//!
//! Exit code 0 only if all of that happened. `--short` starts the incident after 2.6 s instead of 8.6 s.

mod picture;
mod story;
mod table;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rig::events::{Events, is};
use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::sluicegate::{POLICY, Sluicegate};
use rig::{clips, repository};
use serde_json::Value;

use crate::story::{Moments, Narrator};

const INCIDENT: &str = "evening-show";
const INNOCENT: &str = "garden-cam";
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let lead = if std::env::args().any(|arg| arg == "--short") { 2600 } else { 8600 };
    match run(Duration::from_millis(lead)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(lead: Duration) -> Result<()> {
    println!("Sluicegate demo: two live streams on nginx-rtmp; one turns into a banked clip after {lead:?}.\n");
    println!("  preparing two benign clips (the first time takes some seconds) ...");
    let (calm, turning) = (clips::innocent()?, clips::incident(lead)?);

    let mut sluicegate = Sluicegate::prepare()?;
    let nginx = Nginx::start(Some(&sluicegate.hook()))?;
    println!("  nginx-rtmp is up at {}", nginx.rtmp());
    let banked = clips::banked()?;
    let added = sluicegate.command(&["bank", "add", "demo", &banked.display().to_string()])?;
    println!("  {}", added.trim().replace('\n', "\n  "));
    let model = "\n[model]\nload = [\"safety\"]\n";
    sluicegate.configure(&nginx, POLICY, model)?;
    sluicegate.start()?;
    println!("  sluicegate is ready at {} (try {0}/metrics)\n", sluicegate.api());

    let result = watch(&nginx, &sluicegate, &calm, &turning, lead);
    if result.is_err() {
        println!("\nSluicegate's log:\n{}", sluicegate.log());
    }
    let (moments, events) = result?;
    let stopped = sluicegate.stop()?;
    ensure!(stopped.success(), "sluicegate ended with {stopped}; it said:\n{}", sluicegate.log());

    table::print(&moments);
    let svg = picture::draw(&moments, &events, &turning, &calm, [INCIDENT, INNOCENT])?;
    let folder = repository().join("demo-output");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("timeline.svg");
    std::fs::write(&file, svg)?;
    println!("\nThe timeline, as a picture: {}", file.display());
    let (after, goal) = (moments.after_banked_keyframe(), clips::KEYFRAME_INTERVAL + Duration::from_millis(1500));
    let total = moments.cut_off()?;
    println!(
        "The publisher was gone {:.2} s after its first banked frame, {:.2} s after the first banked keyframe arrived (goal: {:.1} s after the first frame).",
        total.as_secs_f64(),
        after.as_secs_f64(),
        goal.as_secs_f64()
    );
    Ok(())
}

/// Publishes both streams and tells what happens until the one is cut, refused, and the other found untouched.
fn watch(
    nginx: &Nginx,
    sluicegate: &Sluicegate,
    calm: &std::path::Path,
    turning: &std::path::Path,
    lead: Duration,
) -> Result<(Moments, Vec<Value>)> {
    let events = sluicegate.events()?;
    let url = |name: &str| format!("{}/live/{name}", nginx.rtmp());
    let mut innocent = Publisher::start(calm, &url(INNOCENT), Times::Forever)?;
    let started = SystemTime::now();
    let mut publisher = Publisher::start(turning, &url(INCIDENT), Times::Once)?;
    let narrator = Narrator::start(&events, started);

    rig::until("both streams to be published", PATIENCE, || nginx.publisher(INNOCENT).zip(nginx.publisher(INCIDENT)))?;
    let session = nginx.publisher(INNOCENT).context("the innocent stream is not listed")?;

    let (number, _) = events.wait(0, "a verdict", lead + PATIENCE, |event| is(event, "verdict", INCIDENT))?;
    // From the beginning: the outbox works beside the judge, and its events may overtake the judge's.
    events.wait(0, "the publisher observed gone", PATIENCE, |event| gone(event, INCIDENT))?;
    publisher.wait(PATIENCE).context("the publisher is still connected")?;
    let exited = SystemTime::now();

    let mut again = Publisher::start(turning, &url(INCIDENT), Times::Once)?;
    let retried = SystemTime::now();
    let status = again.wait(PATIENCE).context("the publisher was let in again")?;
    let refused = SystemTime::now();
    ensure!(!status.success(), "the publisher was let in again");
    events.wait(number, "the refusal", PATIENCE, |event| {
        is(event, "admission", INCIDENT) && event["answer"] == "refuse"
    })?;

    let before = nginx.bytes_in(INNOCENT).context("the innocent stream is gone")?;
    rig::until("the innocent stream to send on", PATIENCE, || {
        nginx.bytes_in(INNOCENT).filter(|bytes| *bytes > before)
    })?;
    ensure!(innocent.is_running(), "the innocent publisher ended: {}", innocent.log());
    ensure!(nginx.publisher(INNOCENT) == Some(session), "the innocent publisher had to connect again");
    ensure!(nginx.publisher(INCIDENT).is_none(), "the cut stream is published again");
    let all = events.all();
    let blamed = all.iter().find(|event| is(event, "verdict", INNOCENT) && event["verdict"] != "clear");
    ensure!(blamed.is_none(), "a verdict fell on the innocent stream: {blamed:?}");
    narrator.finish();

    let first_banked = publisher.sent(lead).context("ffmpeg did not report the first banked frame")?;
    let moments = Moments::of(&all, INCIDENT, started, first_banked, [exited, retried, refused])?;
    println!("\n  innocent stream: still up, same session, no verdict");
    Ok((moments, all))
}

fn gone(event: &Value, name: &str) -> bool {
    is(event, "action", name) && event["progress"] == "observed_gone"
}

/// All events so far, oldest first.
pub(crate) fn follow(events: &Events, from: usize) -> Vec<Value> {
    events.all().split_off(from.min(events.all().len()))
}
