//! Amazon IVS as its API reference has it: what is asked of it, and what becomes of what it says.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session, shown};

const APP: &str = "arn:aws:ivs:us-west-2:123456789012:channel";
const ID: &str = "st-1abcDEF2ghiJKL3mno";
const PLAYED: &str =
    "https://3d26876b73d7.us-west-2.playback.live-video.net/api/video/v1/us-west-2.123456789012.channel.abc.m3u8";

fn ivs(fake: &Fake, more: &str) -> AwsIvs {
    AwsIvs::new(&fake.signed_in(Kind::AwsIvs, "AKIDEXAMPLE:s3%2Fcret", more), &fake::limits()).unwrap()
}

fn stream(channel: &str, id: &str) -> Value {
    json!({ "channelArn": format!("{APP}/{channel}"), "streamId": id, "state": "LIVE", "health": "HEALTHY",
            "viewerCount": 3, "startTime": "2026-01-20T10:00:00Z" })
}

fn off_the_air() -> (u16, String) {
    (404, r#"{"exceptionMessage":"[ChannelNotBroadcasting] channel is not broadcasting"}"#.to_owned())
}

fn usual(asked: &Asked) -> (u16, String) {
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let channel = body["channelArn"].as_str().unwrap_or_default().trim_start_matches(APP).trim_start_matches('/');
    let said = match (asked.line.as_str(), channel) {
        ("POST /ListStreams", _) if body["nextToken"] == "more" => {
            let mut over = stream("over", "st-9");
            over["state"] = "OFFLINE".into();
            json!({ "streams": [stream("second", "st-2"), over] })
        }
        ("POST /ListStreams", _) => json!({ "streams": [stream("abc", ID)], "nextToken": "more" }),
        ("POST /GetStream", "abc") => {
            let mut one = stream("abc", ID);
            one["playbackUrl"] = PLAYED.into();
            json!({ "stream": one })
        }
        ("POST /GetStream", "second") => {
            let mut one = stream("second", "st-2");
            one["playbackUrl"] = "https://playback.live-video.net.evil.example/x.m3u8".into();
            json!({ "stream": one })
        }
        ("POST /StopStream", "abc") => json!({}),
        _ => return off_the_air(),
    };
    (200, said.to_string())
}

#[tokio::test]
async fn lists_every_page_and_learns_once_where_each_is_played() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = ivs(&fake, "");
    let listed = server.list().await.unwrap();
    assert_eq!(shown(&listed), [format!("main/{APP}/abc {ID}"), format!("main/{APP}/second st-2")]);
    let pull = server.pull(&listed[0].session.stream).unwrap();
    assert_eq!((pull.protocol.word(), &*pull.url), ("hls", PLAYED));
    let stray = server.pull(&listed[1].session.stream).unwrap_err();
    assert_eq!(stray.kind(), "unpullable", "an address elsewhere is not gone to");
    fake.lines();
    server.list().await.unwrap();
    let asked = fake.asked();
    let again = asked.iter().filter(|asked| asked.line.ends_with("GetStream")).count();
    assert_eq!(again, 0, "what is known is not asked again");
    assert_eq!(ivs(&fake, "apps = ['elsewhere']").list().await.unwrap(), []);
}

#[tokio::test]
async fn one_of_whom_nothing_is_learnt_hides_nobody_and_is_asked_about_again() {
    let refusals = std::sync::atomic::AtomicUsize::new(1);
    let refused = move |asked: &Asked| {
        let about = asked.line.ends_with("GetStream") && asked.body.contains("channel/abc");
        about && refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    };
    let fake = Fake::new(move |asked| Some(if refused(asked) { (500, String::new()) } else { usual(asked) })).await;
    let server = ivs(&fake, "");
    let listed = server.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(server.pull(&listed[0].session.stream).unwrap_err().kind(), "unpullable", "not known yet");
    assert_eq!(server.list().await.unwrap().len(), 2);
    assert_eq!(&*server.pull(&listed[0].session.stream).unwrap().url, PLAYED);

    let asked_too_often = |asked: &Asked| asked.line.ends_with("GetStream").then(|| (429, String::new()));
    let fake = Fake::new(move |asked| asked_too_often(asked).or_else(|| Some(usual(asked)))).await;
    assert_eq!(ivs(&fake, "").list().await.unwrap().len(), 2);
    assert_eq!(fake.lines().iter().filter(|line| line.ends_with("GetStream")).count(), 1, "no more for now");
    let refused = ivs(&fake, "").publishes(&session(APP, "abc", ID)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after().map(|wait| wait.as_secs())), ("throttled", Some(7)));
}

#[test]
fn services_that_count_requests_are_looked_at_once_a_second() {
    for (kind, least) in [(Kind::AwsIvs, 1), (Kind::Mux, 1), (Kind::CloudflareStream, 1), (Kind::Srs, 0)] {
        let server = super::super::build(&fake::config(kind, ""), &fake::limits()).unwrap();
        assert_eq!(server.looks_apart().as_secs(), least, "{kind:?}");
    }
}

#[tokio::test]
async fn every_request_is_signed_and_the_secret_stays_here() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    ivs(&fake, "").list().await.unwrap();
    for asked in fake.asked() {
        let signed = asked.header("authorization").unwrap();
        assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
        assert!(signed.contains("/us-east-1/ivs/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature="));
        assert!(asked.header("x-amz-date").unwrap().ends_with('Z') && !asked.head.contains("s3"));
        assert_eq!(asked.header("host"), Some(fake.url.trim_start_matches("http://")), "as it was signed");
    }
}

#[tokio::test]
async fn a_kick_stops_a_channel_only_while_it_is_the_same_stream() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = ivs(&fake, "");
    assert_eq!(server.kick(&session(APP, "abc", ID)).await.unwrap(), Kicked::Dropped);
    let asked = fake.asked();
    assert_eq!(
        (asked[1].line.as_str(), asked[1].body.as_str()),
        ("POST /StopStream", &*format!(r#"{{"channelArn":"{APP}/abc"}}"#))
    );
    for (name, id) in [("abc", "st-before"), ("over", "st-9"), ("unknown", ID)] {
        assert_eq!(server.kick(&session(APP, name, id)).await.unwrap(), Kicked::NoSuchSession, "{name} {id}");
        assert!(fake.lines().iter().all(|line| line.ends_with("GetStream")), "nothing is stopped");
    }
    let hostile = hostile_names().into_iter().chain(["..".to_owned(), String::new()]);
    let bad = hostile.map(|name| (APP.to_owned(), name, ID));
    let forged =
        ["arn:aws:ivs:us-west-2:1:channel/other", "arn:aws:s3:::channel", "", "arn:aws:ivs:u\"s:1:channel", "live"];
    let bad = bad.chain(forged.map(|app| (app.to_owned(), "abc".to_owned(), ID)));
    for (app, name, id) in
        bad.chain([(APP.to_owned(), "abc".to_owned(), ""), (APP.to_owned(), "abc".to_owned(), "a/b")])
    {
        let refused = server.kick(&session(&app, &name, id)).await.unwrap_err();
        assert_eq!(refused.kind(), "bad_session", "{app} {name} {id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn who_left_meanwhile_is_gone_and_a_stray_404_says_nothing() {
    let fake =
        Fake::new(|asked| Some(if asked.line.ends_with("StopStream") { off_the_air() } else { usual(asked) })).await;
    assert_eq!(ivs(&fake, "").kick(&session(APP, "abc", ID)).await.unwrap(), Kicked::NoSuchSession);
    for (status, body, kind) in [
        (404, "<html>", "not_found"),
        (404, "{}", "not_found"),
        (200, r#"{"stream":{"channelArn":"arn:x/y","streamId":"st-1"}}"#, "garbage"),
        (200, r#"{"stream":{"channelArn":"arn:aws:ivs:us-west-2:1:channel/abc"}}"#, "garbage"),
    ] {
        let fake = Fake::always(status, body).await;
        assert_eq!(ivs(&fake, "").publishes(&session(APP, "abc", ID)).await.unwrap_err().kind(), kind, "{body}");
    }
    fake::fails_like_the_others(Kind::AwsIvs, "", &session(APP, "abc", ID)).await;
}

#[test]
fn the_region_is_read_from_the_address() {
    for (control, found) in [
        ("https://ivs.eu-west-1.amazonaws.com", Some("eu-west-1")),
        ("https://ivs-fips.us-east-1.amazonaws.com", Some("us-east-1")),
        ("https://ivs.eu-west-1.api.aws", Some("eu-west-1")),
        ("https://vpce-1.ivs.eu-west-1.vpce.amazonaws.com", Some("eu-west-1")),
        ("http://127.0.0.1:1", None),
        ("https://ivs.amazonaws.com", None),
        ("https://ivs.example", None),
    ] {
        assert_eq!(region(&control.parse().unwrap()), found, "{control}");
    }
}

#[tokio::test]
async fn its_events_are_of_no_use() {
    let fake = Fake::always(200, "").await;
    let body = r#"{"detail-type":"IVS Stream State Change","detail":{"event_name":"Stream Start","stream_id":"st-1"}}"#;
    assert_eq!(fake::hook(&ivs(&fake, ""), body).unwrap_err().kind(), "bad_hook");
}
