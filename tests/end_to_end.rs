//! The main job, seen from outside: a real nginx-rtmp, real publishers, the real binary.
//!
//! Each test is a story with its own servers on free ports. Nothing sleeps for a fixed time: events are awaited.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rig::clips;
use rig::events::{Events, is};
use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::sluicegate::{POLICY, Sluicegate};
use rig::webhook::Delivery;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &[u8] = b"thirty-two bytes of a test secret";
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
    rig::until("offered = inspected + superseded + stale + failed", PATIENCE, || {
        let accounted = count("inspected") + count("superseded") + count("stale") + count("failed");
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
fn only_who_knows_the_token_can_pass_for_the_media_server() {
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let (plain, token) = (sluicegate.hook(), "0123456789abcdef");
    let nginx = Nginx::start(Some(&format!("{plain}/{token}"))).unwrap();
    sluicegate.configure(&nginx, POLICY, "").unwrap();
    let named = format!("name = \"main\"\nhook_token = \"{token}\"");
    sluicegate.change_configuration("name = \"main\"", &named).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let _publisher = publish(&nginx, &clips::innocent().unwrap(), "cam");
    events.wait(0, "the server's own question", PATIENCE, |e| is(e, "admission", "cam")).unwrap();
    let session = listed(&nginx, "cam");

    let forged = format!("call=publish_done&app=live&name=cam&clientid={session}&addr=127.0.0.1");
    for at in [plain.clone(), format!("{plain}/{}", token.replace('0', "1"))] {
        let answer = ureq::post(&at).config().http_status_as_error(false).build().send(&forged).unwrap();
        assert_eq!(answer.status(), 403, "{at}");
    }
    assert!(!events.all().iter().any(|event| is(event, "stream_ended", "cam")), "a stranger ended its inspection");
    assert!(ureq::post(&format!("{plain}/{token}")).send(&forged).unwrap().status().is_success());
    events.wait(0, "the end that the server tells", PATIENCE, |e| is(e, "stream_ended", "cam")).unwrap();
    assert!(!sluicegate.log().contains(token), "the token is in the log");
}

#[test]
fn a_cut_that_a_crash_interrupted_is_carried_out_once_at_the_next_start() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    let (right, deaf) = (nginx.http(), format!("http://127.0.0.1:{}", rig::free_port().unwrap()));
    // The server streams on, but where it is to be asked, nobody answers: what is decided cannot be carried out.
    sluicegate.change_configuration(&right, &deaf).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut publisher = publish(&nginx, &clips::incident(LEAD).unwrap(), "turning");
    await_verdict(&events, "turning", "cut");
    sluicegate.kill().unwrap();
    assert!(publisher.is_running());

    sluicegate.change_configuration(&deaf, &right).unwrap();
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
fn a_moderator_sees_why_somebody_was_cut_off_and_lets_them_in_again() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut publisher = publish(&nginx, &clips::incident(LEAD).unwrap(), "turning");
    let decision = await_verdict(&events, "turning", "cut")["decision"].as_str().unwrap().to_owned();
    publisher.wait(PATIENCE).unwrap();

    let listed_decisions = sluicegate.command(&["decisions", "list"]).unwrap();
    assert!(listed_decisions.contains(&decision) && !listed_decisions.contains("turning"), "{listed_decisions}");
    let shown = sluicegate.command(&["decisions", "show", &decision]).unwrap();
    assert!(shown.contains("cut, by the rule `known-content`") && shown.contains("bank `demo`"), "{shown}");
    let denies = sluicegate.command(&["denies", "--names"]).unwrap();
    assert!(denies.contains("main/live/turning") && denies.contains(&decision), "{denies}");

    let release = ["decisions", "release", &decision, "--by", "ann", "--reason", "a rehearsal"];
    sluicegate.command(&release).unwrap();
    assert_eq!(sluicegate.command(&["denies"]).unwrap(), "no deny is in force\n");
    let twice = sluicegate.command(&release).unwrap_err();
    assert!(twice.to_string().contains("nothing of that decision stands"), "{twice}");

    let mut again = publish(&nginx, &clips::innocent().unwrap(), "turning");
    listed(&nginx, "turning");
    let inspected = |event: &Value| is(event, "stream_state", "turning") && event["state"] == "inspected";
    let from = events.all().len().saturating_sub(1);
    events.wait(from, "the stream to be inspected again", PATIENCE, inspected).unwrap();
    assert!(again.is_running());
    let streams: Value = serde_json::from_str(&sluicegate.command(&["streams", "--json"]).unwrap()).unwrap();
    assert_eq!(streams["results"][0]["stream"], "main/live/turning", "{streams}");
}

#[test]
fn what_is_banked_while_a_stream_is_live_is_recognised_without_a_restart() {
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(Some(&sluicegate.hook())).unwrap();
    sluicegate.configure(&nginx, POLICY, "").unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut publisher = publish(&nginx, &clips::incident(Duration::ZERO).unwrap(), "turning");
    let inspected = |event: &Value| is(event, "stream_state", "turning") && event["state"] == "inspected";
    events.wait(0, "the stream to be inspected", PATIENCE, inspected).unwrap();
    assert!(!events.all().iter().any(|event| is(event, "verdict", "turning")));
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    await_verdict(&events, "turning", "cut");
    assert!(!publisher.wait(PATIENCE).unwrap().success());
}

/// The REST API of an Ant Media Server with one stream, whose publisher is a real nginx-rtmp's. Gives its port.
fn rest_api(nginx: Arc<Nginx>, name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let lines = BufReader::new(&peer).lines().map_while(Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = request.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
            let on_air = nginx.publisher(name).map(|id| {
                format!(
                    r#"{{"streamId": "{name}", "status": "broadcasting", "type": "liveStream", "startTime": {id}}}"#
                )
            });
            let (status, body) = match on_air {
                _ if path.ends_with("/stop") => {
                    let drop_it = format!("{}/control/drop/publisher?app=live&name={name}", nginx.http());
                    ("200 OK", format!(r#"{{"success": {}}}"#, ureq::get(drop_it).call().is_ok()))
                }
                on_air if path.contains("/list/") => ("200 OK", format!("[{}]", on_air.unwrap_or_default())),
                Some(broadcast) => ("200 OK", broadcast),
                None => ("404 Not Found", "{}".to_owned()),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            // Whoever hung up asks again.
            drop(peer.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    port
}

#[test]
fn over_hls_a_banked_clip_is_cut_off_too() {
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Arc::new(Nginx::start(None).unwrap());
    sluicegate.configure(&nginx, POLICY, "").unwrap();
    let api = format!("http://127.0.0.1:{}", rest_api(Arc::clone(&nginx), "turning"));
    // Where that server has its playlists, there are nginx's.
    std::fs::create_dir(nginx.files().join("live")).unwrap();
    std::os::unix::fs::symlink("../../hls", nginx.files().join("live/streams")).unwrap();
    sluicegate.change_configuration("nginx-rtmp", "ant-media").unwrap();
    sluicegate.change_configuration(&nginx.rtmp(), &format!("{}/files", nginx.http())).unwrap();
    sluicegate
        .change_configuration(&format!("control = \"{}\"", nginx.http()), &format!("control = \"{api}\""))
        .unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut publisher = publish(&nginx, &clips::incident(LEAD).unwrap(), "turning");

    await_verdict(&events, "turning", "cut");
    await_gone(&events, "turning");
    assert!(!publisher.wait(PATIENCE).unwrap().success());
    let segments = nginx.requests().iter().filter(|line| line.starts_with("200") && line.contains(".ts")).count();
    assert!(segments >= 2, "it was not looked at over HLS: {:?}", nginx.requests());
    assert_conserved(&sluicegate);
    assert!(!sluicegate.log().contains("streams/turning"), "a stream key in the log:\n{}", sluicegate.log());
}

#[test]
fn whoever_subscribed_is_told_and_told_again_until_it_listens() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    let moderation = TcpListener::bind("127.0.0.1:0").unwrap();
    let webhook = format!(
        "\n[[webhook]]\nname = \"moderation\"\nurl = \"http://{}/sluicegate\"\nsecret = \"whsec_{}\"\nallow_private = true\nevents = [\"cut\"]\n",
        moderation.local_addr().unwrap(),
        BASE64.encode(SECRET)
    );
    sluicegate.configure(&nginx, POLICY, &webhook).unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let _publisher = publish(&nginx, &clips::incident(LEAD).unwrap(), "turning");
    let decision = await_verdict(&events, "turning", "cut")["decision"].clone();

    let first = Delivery::receive(&moderation, "503 Service Unavailable", PATIENCE).unwrap();
    // The kick does not wait for the webhook.
    await_gone(&events, "turning");
    let second = Delivery::receive(&moderation, "204 No Content", PATIENCE).unwrap();
    assert_eq!((&first.id, &first.body), (&second.id, &second.body), "not the same message");
    for delivery in [first, second] {
        assert_eq!(delivery.signature, signed(&delivery, SECRET));
        let event: Value = serde_json::from_str(&delivery.body).unwrap();
        assert_eq!((&event["specversion"], &event["subject"]), (&"1.0".into(), &"main/live/turning".into()));
        assert_eq!(event["data"]["decision"]["id"], decision);
    }
}

#[test]
fn what_cannot_be_inspected_is_said_and_never_counted_as_inspected() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let tone = encoded("tone", "-f lavfi -i sine=440 -t 30 -c:a aac");
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.flv");
    std::fs::write(&garbage, spoilt(std::fs::read(clips::innocent().unwrap()).unwrap())).unwrap();
    let _silent = publish(&nginx, &tone, "audio-only");
    let _garbage = publish(&nginx, &garbage, "garbage");
    for (name, reason) in [("audio-only", "no_video"), ("garbage", "undecodable")] {
        let said = |event: &Value| is(event, "stream_state", name) && event["reason"] == reason;
        events.wait(0, &format!("{name} to be called {reason}"), PATIENCE, said).unwrap();
    }
    let streams = sluicegate.get("/v1/streams").unwrap();
    for stream in streams.as_array().unwrap() {
        assert_eq!(stream["state"], "uninspectable", "{stream}");
    }
    assert!(sluicegate.metric("sluicegate_streams_uninspectable{reason=\"no_video\"}").unwrap() >= 1.0);
    // The judge hears of it too, of both.
    assert!(sluicegate.metric("sluicegate_findings_total{detector=\"state\"}").unwrap() >= 2.0);
    assert!(sluicegate.metric("sluicegate_stream_seconds_total{coverage=\"missed\"}").unwrap() > 0.0);
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

/// A title card slipped into the bank, and the banked video goes round, both in as many streams.
#[test]
fn a_signal_that_fires_alone_in_many_streams_is_set_aside_and_a_storm_of_the_banked_video_is_not() {
    let (nginx, mut sluicegate) = beside_nginx(Hooks::On);
    let still = "mandelbrot=size=854x480:rate=25,trim=end_frame=1,loop=loop=-1:size=1,setpts=N/25/TB";
    let codec = "-t 10 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -keyint_min 50";
    let card = encoded("title-card", &format!("-f lavfi -i {still} {codec}"));
    let picture = sluicegate.folder().join("card.png");
    let ffmpeg = |command: &mut std::process::Command| command.status().unwrap().success();
    assert!(ffmpeg(
        std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&card)
            .args(["-frames:v", "1"])
            .arg(&picture)
    ));
    sluicegate.command(&["bank", "add", "demo", &picture.display().to_string()]).unwrap();
    sluicegate.configure(&nginx, POLICY, "[banks.quarantine]\nstreams = 3\nalone_for = \"4s\"").unwrap();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let mut cards = ["card-a", "card-b", "card-c"].map(|name| publish(&nginx, &card, name));
    let names = ["storm-a", "storm-b", "storm-c"];
    let turning = clips::incident(Duration::ZERO).unwrap();
    let mut storm = names.map(|name| publish(&nginx, &turning, name));

    for (publisher, name) in storm.iter_mut().zip(names) {
        await_verdict(&events, name, "cut");
        assert!(!publisher.wait(PATIENCE).unwrap().success());
    }
    let set_aside = |event: &Value| event["type"] == "signal_quarantined";
    let (_, alarm) = events.wait(0, "the signal to be set aside", PATIENCE, set_aside).unwrap();
    assert_eq!(alarm["streams"], serde_json::json!(["main/live/card-a", "main/live/card-b", "main/live/card-c"]));
    assert!(alarm["provenance"].as_str().unwrap().starts_with("card.png"), "{alarm}");
    // In the bank too, which is in force again by now: the match says so by itself.
    let kept = rig::until("the bank to say so", PATIENCE, || {
        let told = sluicegate.command(&["bank", "show", "demo", "--json"]).unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        let quarantined = told["results"][0]["quarantined"].as_array().unwrap().clone();
        (!quarantined.is_empty()).then_some((quarantined, told["results"][0]["revision"].clone()))
    });
    let (quarantined, revision) = kept.unwrap();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0]["id"], alarm["signal"]);
    let marked = |event: &Value| {
        event["observation"]["bank_revision"] == revision && event["observation"]["quarantined"] == true
    };
    events.wait(0, "a match that is marked by the bank in force", PATIENCE, marked).unwrap();
    assert!(cards.iter_mut().all(Publisher::is_running), "somebody with a title card was cut");
    assert!(
        !events
            .all()
            .iter()
            .any(|event| event["type"] == "verdict" && event["stream"].as_str().unwrap().contains("card"))
    );
    let counted = sluicegate.metric("sluicegate_signals_quarantined_total{bank=\"demo\"}").unwrap();
    assert!((counted - 1.0).abs() < 0.5, "{counted}");
}

fn encoded(name: &str, args: &str) -> PathBuf {
    clips::encode(name, |to| {
        let words = args.split(' ').map(String::from);
        words.chain(["-f".into(), "flv".into(), to.display().to_string()]).collect()
    })
    .unwrap()
}

/// An FLV file whose slices are garbage behind their first byte from the second group of pictures on: to a demuxer and a
/// parser all is well.
fn spoilt(mut flv: Vec<u8>) -> Vec<u8> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
    let (mut tag, mut frames) = (13, 0);
    while tag + 11 < flv.len() {
        let size = number(&flv[tag + 1..tag + 4]);
        let is_video = flv[tag] == 9;
        let body = &mut flv[tag + 11..][..size];
        // A video tag of type 1 holds the slices of one frame, each behind its length.
        frames += usize::from(is_video && body[1] == 1);
        let mut at = if is_video && body[1] == 1 && frames > 50 { 5 } else { size };
        while at + 4 < size {
            let length = number(&body[at..at + 4]);
            body[at + 5..at + 4 + length].fill(0xA5);
            at += 4 + length;
        }
        tag += 11 + size + 4;
    }
    flv
}

/// The signature that Standard Webhooks asks for.
fn signed(delivery: &Delivery, secret: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{}.{}.{}", delivery.id, delivery.timestamp, delivery.body).as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}
