//! Webhooks as a receiver and an operator see them: every body is as its schema says, the example verifiers believe what is
//! genuine and nothing else, and what was given up is listed and replayed.
#![cfg(test)]

#[path = "webhooks/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rig::sluicegate::Sluicegate;
use rig::webhook::Delivery;
use serde_json::{Value, json};
use sluicegate::act::webhook::{Algorithm, Webhook, event, generate};
use sluicegate::act::{self, webhook};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Action, Actor, Context, Decision, Earlier, Lowered, LoweredBecause, SetAside, Verdict};
use sluicegate::finding::{Finding, Match, Observation, Opinion, Report, Scores};
use sluicegate::ledger::{self, Ledger};
use sluicegate::stream::{Session, StreamId, StreamState, UninspectableReason};
use uuid::Uuid;

use schema::Schemas;

const PATIENCE: Duration = Duration::from_secs(30);
const SOURCE: &str = "/sluicegate/edge-1";

fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(path)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn session() -> Session {
    Session { stream: StreamId::new("main", "live", "a&\"b"), id: "17".into() }
}

fn report() -> Report {
    Report { id: Uuid::now_v7(), reporter: "00ff".into(), category: "terrorism".into(), imminent: true, weight: 0.5 }
}

/// A decision that says all that a decision can say.
fn full(verdict: Verdict) -> Decision {
    let matched = Match {
        bank: "demo".into(),
        bank_revision: 3,
        signal: 9,
        distance: 12,
        quality: 98,
        opinion: Opinion::Positive,
        provenance: "clip.mp4".into(),
        banked_at: Some(Duration::from_secs(2)),
        quorum: 3,
        at_most: Verdict::Hold,
        quarantined: true,
    };
    let scores = Scores {
        model: "safety".into(),
        digest: "ab".into(),
        scores: vec![("nsfl".into(), 0.75)],
        ..Scores::default()
    };
    let seen = [
        Observation::Match(matched),
        Observation::Scores(scores),
        Observation::State(StreamState::Uninspectable(UninspectableReason::NoVideo)),
        Observation::Report(report()),
    ];
    let finding = |observation| Finding {
        session: session(),
        sequence: 42,
        pts: Some(Duration::from_millis(1400)),
        arrived: at(900),
        found: at(950),
        observation,
    };
    Decision {
        capped_by: Some("demo".into()),
        policy: "0123".into(),
        until: Some(at(90_000)),
        actor: Actor::Operator { name: "Ada".into(), reason: "seen by two people".into() },
        lowered: Some(Lowered { from: Verdict::Ban, because: LoweredBecause::ReviewFirst { class: "news".into() } }),
        before: Verdict::Watch,
        context: Context {
            class: Some("news".into()),
            earlier: vec![Earlier { decision: Uuid::now_v7(), verdict: Verdict::Hold, decided: at(1) }],
            breaker_open: true,
        },
        evidence: seen.map(finding).into(),
        ..Decision::new(session(), verdict, "known", at(1000))
    }
}

/// Every kind of event, sparse and full: the schema's file and the body.
fn bodies() -> Vec<(&'static str, String)> {
    let (id, decision) = (Uuid::now_v7(), Uuid::now_v7());
    let sparse = Decision::new(session(), Verdict::Hold, "known", at(1000));
    let leftovers = [
        (event::LeftoverKind::Playlist, true),
        (event::LeftoverKind::Segment, true),
        (event::LeftoverKind::Recording, false),
        (event::LeftoverKind::Thumbnail, false),
    ]
    .map(|(kind, moved)| event::Leftover { kind, place: "/srv/hls/a.m3u8".into(), moved });
    let opened = |fault, until| event::BreakerOpened { cuts: 20, within_seconds: 60.0, live: 50, fault, until };
    let set_aside = SetAside {
        bank: "demo".into(),
        signal: 17,
        provenance: "clip.mp4".into(),
        streams: vec![session().stream],
        within: Duration::from_mins(10),
    };
    let mut bodies = vec![
        ("decision.json", event::decided(&sparse, None, SOURCE)),
        ("stream.held.json", event::held(id, &sparse, None, SOURCE)),
        ("stream.held.json", event::held(id, &sparse, Some(at(9)), SOURCE)),
        ("stream.quarantine.json", event::quarantine(id, decision, &session(), &leftovers, at(5), SOURCE)),
        ("cut.failed.json", event::cut_failed(id, decision, &session(), 6, "it stays", at(5), SOURCE)),
        ("breaker.opened.json", event::breaker_opened(id, &opened(None, None), at(5), SOURCE)),
        ("signal.quarantined.json", event::signal_quarantined(id, &set_aside, at(5), SOURCE)),
        ("report.received.json", event::report_received(id, &session().stream, &report(), at(5), SOURCE)),
        ("webhook.test.json", event::test(id, "ops", at(5), SOURCE)),
    ];
    for verdict in [Verdict::Watch, Verdict::Hold, Verdict::Cut, Verdict::Ban] {
        bodies.push(("decision.json", event::decided(&full(verdict), Some("account-7"), SOURCE)));
    }
    for because in [event::Released::Expired, event::Released::Operator] {
        bodies.push(("stream.released.json", event::released(id, decision, &session(), because, at(5), SOURCE)));
    }
    for fault in [event::Fault::Rule("r".into()), event::Fault::Bank("b".into()), event::Fault::Model("m".into())] {
        let opened = opened(Some(fault), Some(at(9)));
        bodies.push(("breaker.opened.json", event::breaker_opened(id, &opened, at(5), SOURCE)));
    }
    bodies
}

#[test]
fn every_body_is_as_its_schema_says_and_nothing_in_a_schema_is_made_up() {
    let mut schemas = Schemas::read(&docs("schemas"));
    let mut checked = BTreeSet::from(["envelope.json".to_owned()]);
    for (name, body) in bodies() {
        let body: Value = serde_json::from_str(&body).unwrap();
        for document in ["envelope.json", name] {
            assert_eq!(schemas.problems(document, &body), Vec::<String>::new(), "{document}: {body:#}");
        }
        checked.insert(name.to_owned());
    }
    assert_eq!(checked, schemas.names());
    assert_eq!(schemas.unmet(), Vec::<String>::new(), "described, and in no body");
    let page = std::fs::read_to_string(docs("webhooks.md")).unwrap();
    for name in checked {
        assert!(page.contains(&format!("schemas/{name}")), "docs/webhooks.md does not name {name}");
    }
}

#[test]
fn a_restriction_is_recommended_after_a_cut_and_a_ban_and_always_ends() {
    for (verdict, seconds) in
        [(Verdict::Watch, None), (Verdict::Hold, None), (Verdict::Cut, Some(86_400)), (Verdict::Ban, Some(604_800))]
    {
        let body: Value = serde_json::from_str(&event::decided(&full(verdict), Some("account-7"), SOURCE)).unwrap();
        let expected = seconds.map(|seconds| {
            let until = at(1000) + Duration::from_secs(seconds);
            json!({ "action": "account.restrict", "account": "account-7", "until": until })
        });
        assert_eq!(body["data"]["recommended"], json!(Vec::from_iter(expected)), "{verdict}");
    }
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let schema = json!({
        "type": "object", "required": ["id"], "allOf": [{ "properties": { "shared": { "type": "string" } } }],
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "count": { "type": ["integer", "null"], "minimum": 1 },
            "one": { "oneOf": [{ "const": 1 }, { "type": "integer" }] },
            "list": { "items": { "enum": ["a"] } },
        },
    });
    let id = Uuid::nil().to_string();
    for (value, problem) in [
        (json!({ "id": id, "count": null, "shared": "x", "one": 2, "list": ["a"] }), None),
        (json!([]), Some("$: not \"object\"")),
        (json!({}), Some("$: `id` is missing")),
        (json!({ "id": "x" }), Some("$.id: no \"uuid\"")),
        (json!({ "id": id, "count": 0 }), Some("$.count: less than 1")),
        (json!({ "id": id, "count": "1" }), Some("$.count: not [\"integer\",\"null\"]")),
        (json!({ "id": id, "shared": 1 }), Some("$.shared: not \"string\"")),
        (json!({ "id": id, "one": 1 }), Some("$.one: fits 2 of the choices: ")),
        (json!({ "id": id, "list": ["a", "b"] }), Some("$.list[1]: not one of [\"a\"]")),
        (json!({ "id": id, "new": 1 }), Some("$: `new` is not described")),
    ] {
        let mut schemas = Schemas::new([("s.json".to_owned(), schema.clone())]);
        assert_eq!(schemas.problems("s.json", &value), Vec::from_iter(problem), "{value}");
    }
}

/// What the example in one language says of a delivery: `Ok` where it believes it.
fn judged(verifier: &[&str], delivery: &Delivery, keys: &[&str]) -> Result<(), String> {
    let (program, arguments) = verifier.split_first().unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .args([&delivery.id, &delivery.timestamp, &delivery.signature])
        .args(keys)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may refuse before it has read the body.
    child.stdin.take().unwrap().write_all(delivery.body.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "genuine\n");
        return Ok(());
    }
    // `openssl` has its own to say before.
    let why = said.lines().last().and_then(|last| last.strip_prefix("refused: "));
    Err(why.unwrap_or_else(|| panic!("{verifier:?} broke: {said}")).to_owned())
}

/// Delivers `body` to a receiver of its own, signed with `secret`.
fn delivered(secret: &str, body: &str, now: Timestamp) -> Delivery {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config: webhook::Config = toml::from_str(&format!(
        "name = \"ops\"\nurl = \"http://{}/\"\nsecret = \"\"\"{secret}\"\"\"\nallow_private = true",
        listener.local_addr().unwrap()
    ))
    .unwrap();
    let webhook = Webhook::new(&config, &act::Config::default()).unwrap();
    let receiver = std::thread::spawn(move || Delivery::receive(&listener, "204 No Content", PATIENCE).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(webhook.deliver(Uuid::now_v7(), body, now)).unwrap();
    receiver.join().unwrap()
}

#[test]
fn the_example_verifiers_believe_what_is_genuine_and_nothing_else() {
    let (shared, _) = generate(Algorithm::Hmac).unwrap();
    let (private, public) = generate(Algorithm::Ed25519).unwrap();
    let (public, (foreign, _)) = (public.unwrap(), generate(Algorithm::Hmac).unwrap());
    let foreign_public = generate(Algorithm::Ed25519).unwrap().1.unwrap();
    let now = Clock::system().wall();
    let body = event::decided(&full(Verdict::Cut), None, "/sluicegate/ä");
    let genuine = delivered(&format!("{private}\n{shared}"), &body, now);
    assert_eq!(genuine.signature.split(' ').count(), 2, "one signature a key");
    let old = delivered(&format!("{private} {shared}"), &body, now.minus(Duration::from_mins(6)));
    let tampered = Delivery { body: body.replace("cut", "ban"), ..genuine.clone() };
    let renamed = Delivery { id: Uuid::now_v7().to_string(), ..genuine.clone() };
    let later = Delivery { timestamp: (genuine.timestamp.parse::<u64>().unwrap() + 1).to_string(), ..genuine.clone() };
    let timeless = Delivery { timestamp: "soon".into(), ..genuine.clone() };
    let unsigned = Delivery { signature: "v1, v1a,AAAA v2,x".into(), ..genuine.clone() };
    // A public key is public: a secret that is one would let anybody sign.
    let confused = Delivery { signature: genuine.signature.replace("v1a,", "v1,"), ..genuine.clone() };

    let (python, node, perl) = (docs("verifiers/verify.py"), docs("verifiers/verify.js"), docs("verifiers/verify.pl"));
    for (program, script) in [("python3", &python), ("node", &node), ("perl", &perl)] {
        let verifier = [program, script.to_str().unwrap()];
        for keys in [[&*shared].as_slice(), &[&*public], &[&*foreign, &*shared], &[&*foreign_public, &*public]] {
            assert_eq!(judged(&verifier, &genuine, keys), Ok(()), "{program} {keys:?}");
        }
        let both = [&*shared, &*public];
        for (delivery, keys, why) in [
            (&genuine, [&*foreign].as_slice(), "no signature fits"),
            (&genuine, &[&*foreign_public], "no signature fits"),
            (&genuine, &[], "no signature fits"),
            (&confused, &[&*public], "no signature fits"),
            (&tampered, &both, "no signature fits"),
            (&renamed, &both, "no signature fits"),
            (&later, &both, "no signature fits"),
            (&unsigned, &both, "no signature fits"),
            (&old, &both, "sent at another time: replayed, or a clock is wrong"),
            (&timeless, &both, "sent at another time: replayed, or a clock is wrong"),
        ] {
            assert_eq!(judged(&verifier, delivery, keys), Err(why.to_owned()), "{program} {delivery:?} {keys:?}");
        }
    }
}

/// A Sluicegate with nothing to watch and one webhook, and an event in its outbox that nobody was told of yet.
fn with_an_event(receiver: &TcpListener) -> (Sluicegate, Uuid, String) {
    let sluicegate = Sluicegate::prepare().unwrap();
    let (folder, listen) = (sluicegate.folder().display().to_string(), sluicegate.api().replace("http://", ""));
    let (secret, _) = generate(Algorithm::Hmac).unwrap();
    let closed = rig::free_port().unwrap();
    let configuration = format!(
        r#"[api]
listen = "{listen}"
[ledger]
path = "{folder}/ledger.sqlite"
[banks]
dir = "{folder}/banks"
[model]
load = []
[[server]]
name = "main"
kind = "nginx-rtmp"
pull = "rtmp://127.0.0.1:{closed}"
control = "http://127.0.0.1:{closed}"
[[webhook]]
name = "moderation"
url = "http://{}/in?key=s3cret"
secret = "{secret}"
allow_private = true
"#,
        receiver.local_addr().unwrap()
    );
    std::fs::write(sluicegate.configuration(), configuration).unwrap();
    let id = Uuid::now_v7();
    let body = event::decided(&full(Verdict::Cut), None, SOURCE);
    let ledger = Ledger::open(&ledger::Config { path: sluicegate.folder().join("ledger.sqlite") }).unwrap();
    let action = Action::Notify { webhook: Arc::from("moderation"), body: body.clone() };
    ledger.announce(&[(id, action)], Clock::system().now()).unwrap();
    (sluicegate, id, body)
}

#[test]
fn a_receiver_that_is_gone_comes_back_and_gets_what_it_missed() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut sluicegate, id, body) = with_an_event(&receiver);
    sluicegate.start().unwrap();
    let first = Delivery::receive(&receiver, "410 Gone", PATIENCE).unwrap();
    assert_eq!((first.id, first.body), (id.to_string(), body.clone()));
    let given_up = || sluicegate_letters(&sluicegate);
    rig::until("the event to be given up", PATIENCE, || (!given_up().is_empty()).then_some(())).unwrap();
    let letter = &given_up()[0];
    assert_eq!((&letter["id"], &letter["attempts"]), (&id.to_string().into(), &1.into()));
    assert_eq!(letter["event"], "org.sluicegate.decision.cut");
    assert!(!letter["reason"].as_str().unwrap().contains("s3cret"), "{letter}");

    // It is remembered over a restart, and nothing is sent.
    assert!(sluicegate.stop().unwrap().success());
    sluicegate.start().unwrap();
    let shown = sluicegate.command(&["webhook", "list"]).unwrap();
    assert!(shown.contains("moderation") && shown.contains("gone since") && !shown.contains("s3cret"), "{shown}");

    let refused = answering(&receiver, "500 Oops");
    let failed = sluicegate.command(&["webhook", "test", "moderation"]).unwrap_err().to_string();
    assert!(failed.contains("did not take the event (HTTP 500)"), "{failed}");
    refused.join().unwrap();
    let taken = answering(&receiver, "204 No Content");
    let told = sluicegate.command(&["webhook", "test", "moderation"]).unwrap();
    assert_eq!(told, "delivered: moderation answered HTTP 204\n");
    let test: Value = serde_json::from_str(&taken.join().unwrap().body).unwrap();
    assert_eq!(test["type"], "org.sluicegate.webhook.test");
    let shown = sluicegate.command(&["webhook", "list"]).unwrap();
    assert!(shown.contains("in use"), "{shown}");

    let again = answering(&receiver, "204 No Content");
    assert_eq!(
        sluicegate.command(&["webhook", "replay", "moderation", &id.to_string()]).unwrap(),
        "one event is tried again\n"
    );
    let again = again.join().unwrap();
    assert_eq!((again.id, again.body), (id.to_string(), body), "the same message, to the byte");
    rig::until("the event to be done", PATIENCE, || sluicegate_letters(&sluicegate).is_empty().then_some(())).unwrap();
    let nothing = sluicegate.command(&["webhook", "replay", "moderation", "--all"]).unwrap();
    assert!(nothing.contains("nothing to replay"), "{nothing}");
    let unknown = sluicegate.command(&["webhook", "test", "nobody"]).unwrap_err().to_string();
    assert!(unknown.contains("no webhook of that name is configured"), "{unknown}");
    assert!(!sluicegate.log().contains("s3cret"), "{}", sluicegate.log());
}

/// The events that were given up, as a program sees them.
fn sluicegate_letters(sluicegate: &Sluicegate) -> Vec<Value> {
    let told = sluicegate.command(&["webhook", "list", "moderation", "--json"]).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    told["results"].as_array().unwrap().clone()
}

/// Takes the next request while something else goes on.
fn answering(receiver: &TcpListener, answer: &'static str) -> std::thread::JoinHandle<Delivery> {
    let receiver = receiver.try_clone().unwrap();
    std::thread::spawn(move || Delivery::receive(&receiver, answer, PATIENCE).unwrap())
}
