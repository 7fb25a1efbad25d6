//! Inspector processes, seen from outside: killed, stopped, broken and left alone, beside a real nginx-rtmp with real
//! publishers.
//!
//! Each test is a story with its own servers on free ports. Nothing sleeps for a fixed time: events are awaited.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]
#![expect(clippy::panic, reason = "and say all that is known of it")]
#![expect(clippy::print_stdout, reason = "what was measured is told")]
#![expect(clippy::disallowed_methods, reason = "a test measures by the clock on the wall")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rig::clips;
use rig::events::is;
use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::sluicegate::{POLICY, Sluicegate};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

/// No model: what is looked at here is who inspects.
const NO_MODEL: &str = "[model]\nload = []\n";

fn beside_nginx(more: &str) -> (Nginx, Sluicegate) {
    let sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(Some(&sluicegate.hook())).unwrap();
    sluicegate.configure(&nginx, POLICY, &format!("{NO_MODEL}{more}")).unwrap();
    (nginx, sluicegate)
}

/// A small and cheap clip, 160x90 at 10 frames a second with a keyframe every second.
fn small() -> PathBuf {
    clips::encode("small", |to| {
        let picture = "-f lavfi -i testsrc2=size=160x90:rate=10 -t 20 -c:v libx264 -preset veryfast -pix_fmt yuv420p";
        let keyframes = "-g 10 -keyint_min 10 -sc_threshold 0 -b:v 60k -f flv";
        let words = picture.split(' ').chain(keyframes.split(' ')).map(String::from);
        words.chain([to.display().to_string()]).collect()
    })
    .unwrap()
}

/// One ffmpeg that publishes the same clip under many names.
struct Many(Child);

impl Many {
    fn start(nginx: &Nginx, clip: &Path, names: &[String]) -> Self {
        let outputs: Vec<String> =
            names.iter().map(|name| format!("[f=flv:onfail=ignore]{}/live/{name}", nginx.rtmp())).collect();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "ffmpeg", "-v", "error", "-nostdin", "-stream_loop", "-1", "-re", "-i"])
            .arg(clip)
            .args(["-map", "0:v", "-c", "copy", "-f", "tee", &outputs.join("|")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
}

/// When the picture was inspected that was inspected last, of each stream, in microseconds.
fn last_inspected(sluicegate: &Sluicegate) -> Vec<(String, u64)> {
    let streams = sluicegate.get("/v1/streams").unwrap();
    let streams = streams.as_array().unwrap();
    streams
        .iter()
        .map(|view| (view["stream"].as_str().unwrap().to_owned(), view["last_inspected"].as_u64().unwrap_or(0)))
        .collect()
}

/// Waits until all of so many streams were inspected later than `since`.
fn all_inspected(sluicegate: &Sluicegate, streams: usize, since: u64) {
    let all = || {
        let last = last_inspected(sluicegate);
        (last.len() == streams && last.iter().all(|(_, at)| *at > since)).then_some(())
    };
    if let Err(error) = rig::until("every stream to be inspected", PATIENCE, all) {
        panic!("{error}; {:?}\n{}", last_inspected(sluicegate), sluicegate.log());
    }
}

/// When whatever was inspected by now was inspected at the latest.
fn now(sluicegate: &Sluicegate) -> u64 {
    last_inspected(sluicegate).iter().map(|(_, at)| *at).max().unwrap_or(0)
}

fn restarts(sluicegate: &Sluicegate, reason: &str) -> f64 {
    sluicegate.metric(&format!("sluicegate_inspector_restarts_total{{reason=\"{reason}\"}}")).unwrap()
}

/// Fifty streams on two inspectors, one of which `harm` comes to; how long until each stream is inspected again.
fn fifty_streams(harm: &str, reason: &str) {
    const STREAMS: usize = 50;
    let (nginx, mut sluicegate) = beside_nginx("[inspector]\nprocesses = 2\n");
    sluicegate.start().unwrap();
    let core = sluicegate.process().unwrap().id();
    let events = sluicegate.events().unwrap();
    let names: Vec<String> = (0..STREAMS).map(|number| format!("cam{number}")).collect();
    let clip = small();
    let _publishers: Vec<Many> = names.chunks(10).map(|names| Many::start(&nginx, &clip, names)).collect();
    all_inspected(&sluicegate, STREAMS, 0);
    let before = sluicegate.inspectors().unwrap();
    assert_eq!(before.len(), 2, "{}", sluicegate.log());
    let told = events.all().len();

    signal(before[0], harm);
    let (harmed, since) = (Instant::now(), now(&sluicegate));
    rig::until("the inspector to be missed", PATIENCE, || (restarts(&sluicegate, reason) > 0.5).then_some(())).unwrap();
    let missed = harmed.elapsed();
    all_inspected(&sluicegate, STREAMS, since + missed.as_micros() as u64);
    println!("{harm}: noticed after {missed:?}, all {STREAMS} streams inspected again after {:?}", harmed.elapsed());

    let after = rig::until("another inspector", PATIENCE, || {
        let after = sluicegate.inspectors().unwrap();
        (after.len() == 2 && after != before).then_some(after)
    });
    assert!(after.unwrap().contains(&before[1]), "the other one runs on");
    assert_eq!(sluicegate.process().unwrap().id(), core);
    assert!(sluicegate.process().unwrap().is_running());
    let lost = |event: &&Value| event["type"] == "stream_ended" || event["type"] == "stream_attached";
    assert_eq!(events.all().iter().skip(told).filter(lost).count(), 0, "sessions go on as they were");
    assert!(sluicegate.stop().unwrap().success(), "{}", sluicegate.log());
}

#[test]
fn an_inspector_that_is_killed_costs_its_streams_a_moment_and_the_others_nothing() {
    fifty_streams("KILL", "killed");
}

#[test]
fn an_inspector_that_is_silent_is_killed_and_its_streams_go_to_another() {
    fifty_streams("STOP", "stalled");
}

/// Evidence is the core's: it outlives whoever found it.
#[test]
fn what_an_inspector_found_before_it_was_killed_counts_with_what_another_finds() {
    let (nginx, mut sluicegate) = beside_nginx("");
    let policy = "[[policy.rule]]\nname = \"known\"\nbank = \"*\"\npictures = 40\nwithin = \"5m\"\nverdict = \"cut\"\n";
    sluicegate.configure(&nginx, policy, &format!("{NO_MODEL}[inspector]\nprocesses = 1\n")).unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let url = format!("{}/live/cam", nginx.rtmp());
    let mut publisher = Publisher::start(&clips::copy().unwrap(), &url, Times::Forever).unwrap();
    let matched = |event: &Value| is(event, "finding", "cam") && event["observation"]["kind"] == "match";
    let (_, first) = events.wait(0, "a match", PATIENCE, matched).unwrap();
    let some = || (events.all().iter().filter(|event| matched(event)).count() >= 10).then_some(());
    rig::until("some more", PATIENCE, some).unwrap();
    signal(sluicegate.inspectors().unwrap()[0], "KILL");
    let missed = || (restarts(&sluicegate, "killed") > 0.5).then_some(());
    rig::until("the inspector to be missed", PATIENCE, missed).unwrap();
    // It is dead, and all that it said was heard.
    let arrived = |finding: &Value| finding["arrived"].as_u64().unwrap();
    let told = events.all().len();
    let last = events.all().iter().filter(|event| matched(event)).map(arrived).max().unwrap();
    assert!(!events.all().iter().any(|event| event["type"] == "verdict"), "it came before anything was killed");

    let verdict = |event: &Value| is(event, "verdict", "cam") && event["verdict"] == "cut";
    events.wait(told, "the verdict", PATIENCE, verdict).unwrap();
    let decision = &sluicegate.get("/v1/decisions").unwrap()[0];
    let evidence = decision["evidence"].as_array().unwrap();
    let (before, after): (Vec<_>, Vec<_>) = evidence.iter().map(arrived).partition(|at| *at <= last);
    println!("{} matches from before, {} from after", before.len(), after.len());
    assert!(before.contains(&arrived(&first)), "{first} is forgotten: {before:?}");
    assert!(before.len() >= 10 && !after.is_empty(), "{before:?} {after:?}");
    assert!(!publisher.wait(PATIENCE).unwrap().success());
    assert!(restarts(&sluicegate, "killed") < 1.5, "one was killed, and one alone");
}

/// What has come to the judge by then is judged, recorded and carried out, however long the ledger had nobody in.
#[test]
fn whoever_is_told_to_stop_first_brings_to_an_end_what_is_due() {
    const STREAMS: u32 = 6;
    let (nginx, mut sluicegate) = beside_nginx("");
    let policy = "[[policy.rule]]\nname = \"known\"\nbank = \"*\"\npictures = 3\nwithin = \"1m\"\nverdict = \"cut\"\n";
    sluicegate.configure(&nginx, policy, NO_MODEL).unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    sluicegate.start().unwrap();
    let ledger = rusqlite::Connection::open(sluicegate.folder().join("ledger.sqlite")).unwrap();
    ledger.busy_timeout(PATIENCE).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let names: Vec<String> = (0..STREAMS).map(|number| format!("cam{number}")).collect();
    let clip = clips::copy().unwrap();
    let publish = |name: &String| Publisher::start(&clip, &format!("{}/live/{name}", nginx.rtmp()), Times::Forever);
    let mut publishers: Vec<Publisher> = names.iter().map(|name| publish(name).unwrap()).collect();
    let wait = || sluicegate.metric("sluicegate_decisions_unrecorded").unwrap();
    let all = || (wait() > f64::from(STREAMS) - 0.5).then_some(());
    rig::until("a decision on each of them to wait", PATIENCE, all).unwrap();

    sluicegate.process().unwrap().signal("TERM").unwrap();
    let deaf = || ureq::get(format!("{}/readyz", sluicegate.api())).call().is_err().then_some(());
    rig::until("it to take no more orders", PATIENCE, deaf).unwrap();
    assert!(sluicegate.process().unwrap().is_running(), "it left with decisions that are not recorded");
    ledger.execute_batch("ROLLBACK").unwrap();
    assert!(sluicegate.process().unwrap().wait(PATIENCE).unwrap().success(), "{}", sluicegate.log());
    let decided: u32 = ledger.query_row("SELECT count(*) FROM decisions", [], |row| row.get(0)).unwrap();
    assert_eq!(decided, STREAMS, "{}", sluicegate.log());
    // And carried out, now or at the next start.
    sluicegate.start().unwrap();
    for publisher in &mut publishers {
        assert!(!publisher.wait(PATIENCE).unwrap().success());
    }
}

/// Whether a process broke or was sent the signal of one that breaks cannot be told from outside it: so this needs no
/// decoder that breaks, and holds for every build. With nothing else on the process, what it had is the culprit.
#[test]
fn a_name_that_brought_inspectors_down_is_not_inspected_when_it_comes_again() {
    let (nginx, mut sluicegate) = beside_nginx("[inspector]\nprocesses = 1\n");
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let clip = small();
    let publish = || Publisher::start(&clip, &format!("{}/live/cam", nginx.rtmp()), Times::Forever).unwrap();
    let publisher = publish();
    let mut since = 0;
    for crash in 1_u32..=2 {
        all_inspected(&sluicegate, 1, since);
        signal(sluicegate.inspectors().unwrap()[0], "ABRT");
        let missed = || (restarts(&sluicegate, "crashed") > f64::from(crash) - 0.5).then_some(());
        rig::until("the inspector to be missed", PATIENCE, missed).unwrap();
        since = now(&sluicegate);
    }
    let crashed = |event: &Value| is(event, "stream_state", "cam") && event["reason"] == "crashed";
    let (at, _) = events.wait(0, "the stream to be named", PATIENCE, crashed).unwrap();
    drop(publisher);
    let ended = |event: &Value| is(event, "stream_ended", "cam");
    let (at, _) = events.wait(at, "the session to end", PATIENCE, ended).unwrap();
    let _publisher = publish();
    events.wait(at, "its next session to be refused", PATIENCE, crashed).unwrap();
    assert!((restarts(&sluicegate, "crashed") - 2.0).abs() < 0.5, "{}", sluicegate.log());
}

/// A decoder that breaks is had by a hook that is compiled into builds with debug assertions alone.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "breaks a decoder by a hook that this build does not have")]
fn a_stream_that_brings_inspectors_down_is_not_inspected_any_more_and_the_others_are() {
    let (nginx, mut sluicegate) = beside_nginx("[inspector]\nprocesses = 2\n");
    sluicegate.set("SLUICEGATE_TEST_ABORT_ON", "culprit");
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let clip = small();
    let innocent: Vec<String> = (0..6).map(|number| format!("cam{number}")).collect();
    let _many = Many::start(&nginx, &clip, &innocent);
    all_inspected(&sluicegate, innocent.len(), 0);
    let _culprit = Publisher::start(&clip, &format!("{}/live/culprit", nginx.rtmp()), Times::Forever).unwrap();
    let crashed = |event: &Value| is(event, "stream_state", "culprit") && event["reason"] == "crashed";
    events.wait(0, "the culprit to be found", PATIENCE, crashed).unwrap();
    assert!((restarts(&sluicegate, "crashed") - 2.0).abs() < 0.5, "{}", sluicegate.log());

    let since = now(&sluicegate);
    let inspected = || {
        let last = last_inspected(&sluicegate);
        last.iter().filter(|(name, at)| !name.ends_with("/culprit") && *at > since).count()
    };
    rig::until("the others to be inspected", PATIENCE, || (inspected() == innocent.len()).then_some(())).unwrap();
    assert!((restarts(&sluicegate, "crashed") - 2.0).abs() < 0.5, "{}", sluicegate.log());
    let uninspectable = sluicegate.metric("sluicegate_streams_uninspectable{reason=\"crashed\"}").unwrap();
    assert!((uninspectable - 1.0).abs() < 0.5, "{uninspectable}");
    assert!(!sluicegate.log().contains("live/culprit"), "a stream key in the log");
}

#[test]
fn inspectors_end_with_the_core() {
    let (_nginx, mut sluicegate) = beside_nginx("[inspector]\nprocesses = 3\n");
    sluicegate.start().unwrap();
    let inspectors = sluicegate.inspectors().unwrap();
    assert_eq!(inspectors.len(), 3);
    sluicegate.kill().unwrap();
    let lives = |id: &u32| {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        state.contains("sluicegate") && !state.contains(") Z ")
    };
    rig::until("the inspectors to end", PATIENCE, || (!inspectors.iter().any(lives)).then_some(())).unwrap();
}

#[test]
fn a_stream_for_which_there_is_no_place_is_said_and_gets_the_next_one_that_is_free() {
    let (nginx, mut sluicegate) = beside_nginx("[sample]\nmax_streams = 1\n");
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let clip = small();
    let publish =
        |name: &str| Publisher::start(&clip, &format!("{}/live/{name}", nginx.rtmp()), Times::Forever).unwrap();
    let state = |name: &'static str, state: &'static str| {
        move |event: &Value| is(event, "stream_state", name) && event["state"] == state
    };
    let first = publish("first");
    events.wait(0, "the first to be inspected", PATIENCE, state("first", "inspected")).unwrap();
    let _second = publish("second");
    let (at, told) = events.wait(0, "the second to have no place", PATIENCE, state("second", "uninspectable")).unwrap();
    assert_eq!(told["reason"], "no_place", "{told}");
    drop(first);
    events.wait(at, "the second to be inspected", PATIENCE, state("second", "inspected")).unwrap();
}

#[test]
fn pictures_that_are_too_large_are_not_decoded_and_that_is_said() {
    let (nginx, mut sluicegate) = beside_nginx("[decode]\nmax_pixels = 10000\n");
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let _publisher = Publisher::start(&small(), &format!("{}/live/cam", nginx.rtmp()), Times::Forever).unwrap();
    let too_large = |event: &Value| is(event, "stream_state", "cam") && event["reason"] == "too_large";
    events.wait(0, "the stream to be called too large", PATIENCE, too_large).unwrap();
}

#[test]
fn an_inspector_in_its_sandbox_is_refused_whatever_it_need_not_do() {
    let sluicegate = Sluicegate::prepare().unwrap();
    let found: Value = serde_json::from_str(&sluicegate.command(&["inspector", "--self-check"]).unwrap()).unwrap();
    assert_eq!(found["lacks"], serde_json::json!([]), "{found}");
    let tried = found["tried"].as_array().unwrap();
    assert!(tried.len() >= 8 && tried.iter().all(|tried| tried[1] == true), "{found}");
}
