//! The main job, seen from outside: a real nginx-rtmp, real publishers, the real binary.
//!
//! Each test is a story with its own servers on free ports. Nothing sleeps for a fixed time: events are awaited.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::clips;
use rig::events::{Events, is};
use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::sluicegate::{POLICY, Sluicegate};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const LEAD: Duration = Duration::from_millis(2600);

/// nginx and a Sluicegate beside it that knows the banked clip, not started yet.
fn beside_nginx(hooks: Hooks) -> (Nginx, Sluicegate) {
    let sluicegate = Sluicegate::prepare().unwrap();
    let hook = sluicegate.hook();
    let nginx = Nginx::start((hooks == Hooks::On).then_some(hook.as_str())).unwrap();
    sluicegate.configure(&nginx, POLICY, "").unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    (nginx, sluicegate)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hooks {
    On,
    Off,
}

fn publish(nginx: &Nginx, clip: &Path, name: &str) -> Publisher {
    Publisher::start(clip, &format!("{}/live/{name}", nginx.rtmp()), Times::Forever).unwrap()
}

fn listed(nginx: &Nginx, name: &str) -> String {
    rig::until("the publisher to be listed", PATIENCE, || nginx.publisher(name)).unwrap()
}

fn await_verdict(events: &Events, name: &str, verdict: &str) -> Value {
    events.wait(0, "a verdict", PATIENCE, |event| is(event, "verdict", name) && event["verdict"] == verdict).unwrap().1
}

fn await_gone(events: &Events, name: &str) {
    let gone = |event: &Value| is(event, "action", name) && event["progress"] == "observed_gone";
    events.wait(0, "the publisher observed gone", PATIENCE, gone).unwrap();
}

/// Every picture that was chosen is accounted for.
fn assert_conserved(sluicegate: &Sluicegate) {
    let count =
        |outcome: &str| sluicegate.metric(&format!("sluicegate_pictures_total{{outcome=\"{outcome}\"}}")).unwrap();
    rig::until("offered = inspected + superseded + failed", PATIENCE, || {
        let accounted = count("inspected") + count("superseded") + count("failed");
        (count("offered") > 0.0 && (count("offered") - accounted).abs() < 0.5).then_some(())
    })
    .unwrap();
}

#[test]
fn a_banked_clip_is_cut_off_and_refused_while_an_innocent_stream_runs_on() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut innocent = publish(&nginx, &clips::innocent().unwrap(), "innocent");
    let session = listed(&nginx, "innocent");
    let turning = clips::incident(LEAD).unwrap();
    let mut publisher = publish(&nginx, &turning, "turning");

    await_verdict(&events, "turning", "cut");
    await_gone(&events, "turning");
    assert!(!publisher.wait(PATIENCE).unwrap().success());

    let mut again = publish(&nginx, &turning, "turning");
    assert!(!again.wait(PATIENCE).unwrap().success(), "let in again");
    events.wait(0, "the refusal", PATIENCE, |e| is(e, "admission", "turning") && e["answer"] == "refuse").unwrap();

    assert!(innocent.is_running());
    assert_eq!(nginx.publisher("innocent"), Some(session));
    assert!(!events.all().iter().any(|event| is(event, "verdict", "innocent")));
    drop(innocent);
    assert_conserved(&sluicegate);
    assert!(sluicegate.metric("sluicegate_cutoff_seconds_count").unwrap() >= 1.0);

    let decision = &sluicegate.get("/v1/decisions").unwrap()[0];
    assert_eq!((&decision["verdict"], &decision["rule"]), (&"cut".into(), &"known-content".into()));
    assert!(decision["evidence"].as_array().unwrap().len() >= 3, "{decision}");
    assert!(sluicegate.stop().unwrap().success());
    let log = sluicegate.log();
    assert!(!log.contains("live/turning") && !log.contains("live/innocent"), "a stream key in the log:\n{log}");
}

#[test]
fn a_cut_that_a_crash_interrupted_is_carried_out_once_at_the_next_start() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut publisher = publish(&nginx, &clips::incident(LEAD).unwrap(), "turning");
    let matched = |event: &Value| is(event, "finding", "turning") && event["observation"]["kind"] == "match";
    events.wait(0, "a finding", PATIENCE, matched).unwrap();
    // From here on the server answers nobody: what is decided cannot be carried out.
    nginx.process().signal("STOP").unwrap();
    await_verdict(&events, "turning", "cut");
    sluicegate.kill().unwrap();
    nginx.process().signal("CONT").unwrap();
    assert!(publisher.is_running());

    sluicegate.start().unwrap();
    assert!(!publisher.wait(PATIENCE).unwrap().success());
    let decisions = sluicegate.get("/v1/decisions").unwrap();
    assert_eq!(decisions.as_array().unwrap().len(), 1, "{decisions}");
    let path = format!("/v1/decisions/{}", decisions[0]["id"].as_str().unwrap());
    let done = rig::until("the kick to be recorded as done", PATIENCE, || {
        let decision = sluicegate.get(&path).unwrap();
        let attempts = decision["actions"][0]["attempts"].as_array().cloned().unwrap_or_default();
        let done = attempts.iter().filter(|attempt| attempt["outcome"] == "done").count();
        (done > 0).then_some(done)
    });
    assert_eq!(done.unwrap(), 1);
    let mut again = publish(&nginx, &clips::innocent().unwrap(), "turning");
    assert!(!again.wait(PATIENCE).unwrap().success(), "the deny did not survive");
}

#[test]
fn a_stream_that_no_hook_announced_is_found_and_cut_and_cut_again_when_it_comes_back() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::Off);
    let turning = clips::incident(LEAD).unwrap();
    let mut publisher = publish(&nginx, &turning, "turning");
    listed(&nginx, "turning");
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    await_verdict(&events, "turning", "cut");
    assert!(!publisher.wait(PATIENCE).unwrap().success());

    let mut again = publish(&nginx, &turning, "turning");
    let standing = |event: &Value| is(event, "verdict", "turning") && event["rule"] == "standing-deny";
    events.wait(0, "the standing deny to be enforced", PATIENCE, standing).unwrap();
    assert!(!again.wait(PATIENCE).unwrap().success());
}

#[test]
fn a_lifted_deny_lets_the_publisher_in_again() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut publisher = publish(&nginx, &clips::incident(LEAD).unwrap(), "turning");
    let decision = await_verdict(&events, "turning", "cut")["decision"].as_str().unwrap().to_owned();
    publisher.wait(PATIENCE).unwrap();
    let url = format!("{}/v1/denies/{decision}", sluicegate.api());
    assert_eq!(ureq::delete(&url).call().unwrap().status(), 204);
    let mut again = publish(&nginx, &clips::innocent().unwrap(), "turning");
    listed(&nginx, "turning");
    let inspected = |event: &Value| is(event, "stream_state", "turning") && event["state"] == "inspected";
    let from = events.all().len().saturating_sub(1);
    events.wait(from, "the stream to be inspected again", PATIENCE, inspected).unwrap();
    assert!(again.is_running());
}

#[test]
fn what_cannot_be_inspected_is_said_and_never_counted_as_inspected() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let tone = encoded("tone", "-f lavfi -i sine=440 -t 30 -c:a aac");
    let noise = encoded("noise", "-f lavfi -i testsrc2=s=320x240:r=25 -t 30 -c:v libx264 -g 50 -bsf:v noise=amount=2");
    let _silent = publish(&nginx, &tone, "audio-only");
    let _garbage = publish(&nginx, &noise, "garbage");
    for (name, reason) in [("audio-only", "no_video"), ("garbage", "undecodable")] {
        let said = |event: &Value| is(event, "stream_state", name) && event["reason"] == reason;
        events.wait(0, &format!("{name} to be called {reason}"), PATIENCE, said).unwrap();
    }
    let streams = sluicegate.get("/v1/streams").unwrap();
    for stream in streams.as_array().unwrap() {
        assert_eq!(stream["state"], "uninspectable", "{stream}");
    }
    assert!(sluicegate.metric("sluicegate_streams_uninspectable{reason=\"no_video\"}").unwrap() >= 1.0);
}

#[test]
fn a_server_that_is_away_is_said_so_and_picked_up_when_it_is_back() {
    let (mut nginx, mut sluicegate) = beside_nginx(Hooks::On);
    nginx.process().signal("KILL").unwrap();
    sluicegate.start().unwrap();
    rig::until("the error to be counted", PATIENCE, || {
        let errors = sluicegate.metric("sluicegate_errors_total{kind=\"unreachable\",stage=\"act\"}").unwrap();
        (errors >= 1.0).then_some(())
    })
    .unwrap();
    let events = sluicegate.events().unwrap();
    nginx.restart().unwrap();
    let _publisher = publish(&nginx, &clips::innocent().unwrap(), "innocent");
    let inspected = |event: &Value| is(event, "stream_state", "innocent") && event["state"] == "inspected";
    events.wait(0, "the stream to be inspected", PATIENCE, inspected).unwrap();
}

fn encoded(name: &str, args: &str) -> PathBuf {
    clips::encode(name, |to| {
        let words = args.split(' ').map(String::from);
        words.chain(["-f".into(), "flv".into(), to.display().to_string()]).collect()
    })
    .unwrap()
}
