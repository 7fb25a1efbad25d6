//! Reports, seen from outside: a real nginx-rtmp, a real publisher, the real binary, and a crowd.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::thread;
use std::time::Duration;

use rig::clips;
use rig::events::is;
use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::sluicegate::{POLICY, Sluicegate};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// People report, and the severest that follows from that is a hold.
const RULE: &str = r#"
[[policy.rule]]
name = "reported"
reports = 5
within = "10m"
verdict = "hold"

[reports]
per_second = 100000
per_reporter = 3

[[class]]
name = "news"
streams = ["main/live/inno*"]
"#;

/// How a crowd's letters are posted: over one connection a thread.
struct Post {
    agent: ureq::Agent,
    at: String,
}

impl Post {
    fn to(sluicegate: &Sluicegate) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, at: sluicegate.api() }
    }

    fn send(&self, path: &str, body: &Value) -> (u16, Value) {
        let mut answer = self.agent.post(format!("{}{path}", self.at)).send_json(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }
}

fn notice(from: &str, imminent: bool) -> Value {
    json!({
        "stream": "main/live/innocent", "category": "terrorism", "imminent": imminent,
        "explanation": "I do not like this one", "good_faith": true,
        "notifier": { "name": "A Viewer", "email": format!("{from}@example.org") },
    })
}

/// nginx with an innocent publisher, and a Sluicegate that has looked at it.
fn watched() -> (Nginx, Sluicegate, Publisher) {
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(Some(&sluicegate.hook())).unwrap();
    sluicegate.configure(&nginx, POLICY, RULE).unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let address = format!("{}/live/innocent", nginx.rtmp());
    let publisher = Publisher::start(&clips::innocent().unwrap(), &address, Times::Forever).unwrap();
    let inspected = |event: &Value| is(event, "stream_state", "innocent") && event["state"] == "inspected";
    events.wait(0, "the stream to be inspected", PATIENCE, inspected).unwrap();
    (nginx, sluicegate, publisher)
}

/// Resident memory, in MiB.
fn memory(sluicegate: &mut Sluicegate) -> u64 {
    let id = sluicegate.process().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn ten_thousand_reports_alone_never_cut() {
    const SENDERS: usize = 20;
    const EACH: usize = 500;
    let (nginx, mut sluicegate, mut publisher) = watched();
    let session = nginx.publisher("innocent");
    let before = memory(&mut sluicegate);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let post = Post::to(&sluicegate);
            scope.spawn(move || {
                for number in 0..EACH {
                    let (status, answer) =
                        post.send("/v1/reports", &notice(&format!("v{sender}-{number}"), number % 2 == 0));
                    assert_eq!(status, 202, "{answer}");
                    assert!(answer["live"] == true && answer["repeated"] == false, "{answer}");
                }
            });
        }
    });
    let stream = rig::until("the stream to be looked at closely", PATIENCE, || {
        let stream = sluicegate.get("/v1/streams").unwrap()[0].clone();
        (stream["attention"] == "imminent").then_some(stream)
    });
    let stream = stream.unwrap();
    assert_eq!((&stream["reports"], &stream["class"]), (&(SENDERS * EACH).into(), &"news".into()));
    assert_eq!(sluicegate.get("/v1/reports?open=true&limit=1000").unwrap().as_array().unwrap().len(), 1000);
    let received = "sluicegate_reports_total{category=\"terrorism\",outcome=\"received\"}";
    assert!((sluicegate.metric(received).unwrap() - (SENDERS * EACH) as f64).abs() < 0.5);

    // The judge has heard them, and a hold is all that follows.
    let decisions = rig::until("the reports to be weighed", PATIENCE, || {
        let decisions = sluicegate.get("/v1/decisions").unwrap();
        (!decisions.as_array().unwrap().is_empty()).then_some(decisions)
    });
    for decision in decisions.unwrap().as_array().unwrap() {
        assert_eq!((&decision["verdict"], &decision["rule"]), (&"hold".into(), &"reported".into()), "{decision}");
    }
    assert!(sluicegate.get("/v1/denies").unwrap().as_array().unwrap().is_empty());
    assert!(publisher.is_running());
    assert_eq!(nginx.publisher("innocent"), session);
    let after = memory(&mut sluicegate);
    assert!(after < before + 64, "memory grew from {before} to {after} MiB");
    assert!(!sluicegate.log().contains("example.org"), "a reporter's address in the log");
    assert!(sluicegate.metric("sluicegate_stream_seconds_total{coverage=\"inspected\"}").unwrap() > 0.0);
}

#[test]
fn a_report_that_was_answered_for_survives_a_crash_and_so_does_what_its_sender_is_known_for() {
    let (_nginx, mut sluicegate, _publisher) = watched();
    let post = Post::to(&sluicegate);
    let (status, receipt) = post.send("/v1/reports", &notice("ann", false));
    assert_eq!(status, 202, "{receipt}");
    let path = format!("/v1/reports/{}", receipt["id"].as_str().unwrap());
    let (status, judged) = post.send(&format!("{path}/outcome"), &json!({ "outcome": "unfounded" }));
    assert_eq!((status, &judged["outcome"]), (200, &"unfounded".into()));
    sluicegate.kill().unwrap();
    sluicegate.start().unwrap();
    assert_eq!(sluicegate.get(&path).unwrap(), judged);
    // What is repeated is told of a stream that is known to be live again.
    let listed = || (!sluicegate.get("/v1/streams").ok()?.as_array()?.is_empty()).then_some(());
    rig::until("the stream to be listed again", PATIENCE, listed).unwrap();
    // The same reporter, by the key beside the ledger; a third report within the hour is the last.
    for (imminent, status, repeated) in [(false, 202, Some(true)), (true, 202, Some(false))] {
        let (found, answer) = post.send("/v1/reports", &notice("ann", imminent));
        assert_eq!((found, answer["repeated"].as_bool()), (status, repeated), "{answer}");
    }
    let elsewhere = |stream: &str| {
        let mut notice = notice("ann", false);
        notice["stream"] = json!(stream);
        post.send("/v1/reports", &notice).0
    };
    assert_eq!([elsewhere("main/live/a"), elsewhere("main/live/b")], [202, 429]);
}
