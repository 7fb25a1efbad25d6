//! What cannot be seen, and who comes after whom: the real binary beside a real nginx-rtmp.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::time::Duration;

use rig::clips;
use rig::events::is;
use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::sluicegate::Sluicegate;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

fn stream(sluicegate: &Sluicegate) -> Option<Value> {
    sluicegate.get("/v1/streams").ok()?.as_array()?.first().cloned()
}

#[test]
fn a_publisher_that_freezes_is_blind_and_a_rule_acts_on_it() {
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(Some(&sluicegate.hook())).unwrap();
    let policy = "[[policy.rule]]\nname = \"gone-blind\"\nstate = \"blind\"\nlasting = \"1s\"\nverdict = \"hold\"\n";
    sluicegate.configure(&nginx, policy, "").unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let url = format!("{}/live/frozen", nginx.rtmp());
    let publisher = Publisher::start(&clips::innocent().unwrap(), &url, Times::Forever).unwrap();
    let state =
        |wanted: &'static str| move |event: &Value| is(event, "stream_state", "frozen") && event["state"] == wanted;
    let (seen, _) = events.wait(0, "pictures", PATIENCE, state("inspected")).unwrap();
    assert!(!events.all().iter().any(|event| is(event, "verdict", "frozen")));
    publisher.process().signal("STOP").unwrap();

    let (blind, _) = events.wait(seen, "blind", PATIENCE, state("blind")).unwrap();
    let held =
        |event: &Value| is(event, "verdict", "frozen") && event["rule"] == "gone-blind" && event["verdict"] == "hold";
    events.wait(blind, "the hold", PATIENCE, held).unwrap();
    let missed = "sluicegate_stream_seconds_total{coverage=\"missed\"}";
    rig::until("the time missed", PATIENCE, || (sluicegate.metric(missed).unwrap() > 1.0).then_some(())).unwrap();

    publisher.process().signal("CONT").unwrap();
    events.wait(blind, "pictures again", PATIENCE, state("inspected")).unwrap();
}

#[test]
fn whoever_publishes_next_under_a_suspected_name_is_looked_at_as_closely_on_evidence_of_their_own() {
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(Some(&sluicegate.hook())).unwrap();
    let policy = "[policy]\nsuspicious_for = \"5m\"\n[[policy.rule]]\nname = \"never\"\nbank = \"*\"\npictures = 512\nwithin = \"10m\"\nverdict = \"cut\"\n";
    sluicegate.configure(&nginx, policy, "").unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let url = format!("{}/live/name", nginx.rtmp());
    let first = Publisher::start(&clips::copy().unwrap(), &url, Times::Forever).unwrap();
    let suspected =
        rig::until("suspicion", PATIENCE, || stream(&sluicegate).filter(|it| it["attention"] == "suspicious"));
    let suspected = suspected.unwrap();
    rig::until("its own decoder", PATIENCE, || (promoted(&sluicegate) > 0.5).then_some(())).unwrap();
    drop(first);
    let (ended, _) = events.wait(0, "its end", PATIENCE, |event| is(event, "stream_ended", "name")).unwrap();
    rig::until("its decoder is given up", PATIENCE, || (promoted(&sluicegate) < 0.5).then_some(())).unwrap();

    let _second = Publisher::start(&clips::innocent().unwrap(), &url, Times::Forever).unwrap();
    let next = rig::until("the next session", PATIENCE, || stream(&sluicegate)).unwrap();
    assert_ne!(next["session"], suspected["session"]);
    assert_eq!(next["attention"], "suspicious");
    // Five pictures a second and not one every half: it is really looked at.
    let inspected = || stream(&sluicegate).and_then(|it| it["pictures_inspected"].as_u64()).unwrap_or(0);
    rig::until("pictures", PATIENCE, || (inspected() >= 20).then_some(())).unwrap();
    let attached = |event: &Value| is(event, "stream_attached", "name");
    let (begun, attached) = events.wait(ended, "the next session's beginning", PATIENCE, attached).unwrap();
    // What the first session showed may still be found after its end; it is told by when it arrived.
    let matched = |event: &Value| is(event, "finding", "name") && event["observation"]["kind"] == "match";
    let of_the_next = |event: &&Value| matched(event) && event["arrived"].as_u64() > attached["at"].as_u64();
    assert_eq!(events.all()[begun..].iter().find(of_the_next), None, "it has nothing of the other");
}

fn promoted(sluicegate: &Sluicegate) -> f64 {
    sluicegate.metric("sluicegate_streams_promoted").unwrap()
}
