//! Cloudflare Stream as its documentation has it: what is asked of it, and what becomes of what it says.

use serde_json::Value;

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session, shown};

const ID: &str = "66be4bf738797e01e1fca35a7bdecdcd";
const VIDEO: &str = "55b9b5ce48c3968c6b514c458959d6a1";
const PULL: &str = "pull = '{url}'";

fn cloudflare(fake: &Fake) -> CloudflareStream {
    CloudflareStream::new(&fake.signed_in(Kind::CloudflareStream, "t0ken", PULL), &fake::limits()).unwrap()
}

fn said(result: &Value) -> (u16, String) {
    (200, json!({ "success": true, "errors": [], "messages": [], "result": result }).to_string())
}

fn lifecycle(video: Option<&str>, live: bool) -> (u16, String) {
    (200, json!({ "isInput": true, "videoUID": video, "live": live }).to_string())
}

fn usual(asked: &Asked) -> (u16, String) {
    let input =
        |uid: &str| json!({ "uid": uid, "created": "2026-01-01T00:00:00Z", "meta": { "name": "x" }, "enabled": true });
    match asked.line.as_str() {
        "GET /stream/live_inputs" => {
            said(&json!({ "liveInputs": [input(ID), input("idle"), input("ended")], "range": 3, "total": 3 }))
        }
        "GET /66be4bf738797e01e1fca35a7bdecdcd/lifecycle" => lifecycle(Some(VIDEO), true),
        "GET /idle/lifecycle" => lifecycle(None, false),
        "GET /ended/lifecycle" => lifecycle(Some("v0"), false),
        "PUT /stream/live_inputs/66be4bf738797e01e1fca35a7bdecdcd" => said(&json!({ "uid": ID, "enabled": false })),
        _ => (404, r#"{"success":false,"errors":[{"code":10003,"message":"Not Found"}]}"#.to_owned()),
    }
}

#[tokio::test]
async fn lists_the_inputs_that_are_on_the_air() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = cloudflare(&fake);
    let listed = server.list().await.unwrap();
    assert_eq!(shown(&listed), [format!("main//{ID} {VIDEO}")]);
    for asked in fake.asked() {
        let token = asked.line.contains("/stream/").then_some("Bearer t0ken");
        assert_eq!(asked.header("authorization"), token, "{}", asked.line);
    }
    let pull = server.pull(&listed[0].session.stream).unwrap();
    assert_eq!((pull.protocol.word(), pull.url), ("hls", format!("{}/{ID}/manifest/video.m3u8", fake.url)));
}

#[tokio::test]
async fn many_inputs_are_asked_about_and_an_odd_one_hides_nobody() {
    let fake = Fake::new(|asked| {
        let inputs: Vec<_> = (0..100).map(|n| json!({ "uid": format!("i{n}") })).collect();
        Some(match asked.line.as_str() {
            "GET /stream/live_inputs" => said(&json!({ "liveInputs": inputs })),
            "GET /i7/lifecycle" => (500, String::new()),
            "GET /i8/lifecycle" => lifecycle(None, true),
            line => lifecycle(Some(&line.replace(['/', ' '], "-")), true),
        })
    })
    .await;
    assert_eq!(cloudflare(&fake).list().await.unwrap().len(), 98);
    let broken = Fake::new(|asked| {
        let list = asked.line.ends_with("live_inputs");
        Some(if list { said(&json!({ "liveInputs": [{ "uid": "i1" }] })) } else { (500, String::new()) })
    })
    .await;
    assert_eq!(cloudflare(&broken).list().await.unwrap_err().kind(), "status", "nothing was learnt");
}

#[tokio::test]
async fn an_input_that_cannot_be_asked_about_counts_as_it_was_last_seen() {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::new(move |asked| {
        let look =
            looks.fetch_add(usize::from(asked.line.ends_with("live_inputs")), std::sync::atomic::Ordering::SeqCst);
        let inputs: Vec<_> = ["i1", "i2"].iter().map(|uid| json!({ "uid": uid })).collect();
        Some(match asked.line.as_str() {
            "GET /stream/live_inputs" => said(&json!({ "liveInputs": inputs })),
            "GET /i1/lifecycle" if (2..4).contains(&look) => (500, String::new()),
            "GET /i1/lifecycle" => lifecycle(Some("v1"), look < 4),
            _ => lifecycle(Some("v2"), true),
        })
    })
    .await;
    let server = cloudflare(&fake);
    for (look, seen) in [2, 2, 2, 1].into_iter().enumerate() {
        assert_eq!(server.list().await.unwrap().len(), seen, "look {}", look + 1);
    }
}

#[tokio::test]
async fn a_kick_disables_the_input_only_while_it_makes_the_same_video() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = cloudflare(&fake);
    assert_eq!(server.kick(&session("", ID, VIDEO)).await.unwrap(), Kicked::Dropped);
    let asked = fake.asked();
    assert_eq!(asked[1].line, format!("PUT /stream/live_inputs/{ID}"));
    assert_eq!(asked[1].body, r#"{"enabled":false}"#, "all else is left as it is");
    for (name, id) in [(ID, "v0"), ("ended", "v0"), ("idle", "")] {
        let kicked = server.kick(&session("", name, id)).await.ok();
        assert_ne!(kicked, Some(Kicked::Dropped), "{name} {id}");
        assert!(fake.lines().iter().all(|line| line.starts_with("GET")), "nothing is disabled");
    }
    let hostile = hostile_names().into_iter().chain(["..".to_owned(), String::new()]);
    for (name, id) in hostile.map(|name| (name, VIDEO)).chain([(ID.to_owned(), "a/b")]) {
        assert_eq!(server.kick(&session("", &name, id)).await.unwrap_err().kind(), "bad_session", "{name} {id}");
        assert_eq!(server.pull(&StreamId::new("main", "", &name)).is_ok(), name == ID);
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    let still = said(&json!({ "uid": ID, "enabled": true }));
    let fake =
        Fake::new(move |asked| Some(if asked.line.starts_with("PUT") { still.clone() } else { usual(asked) })).await;
    assert_eq!(cloudflare(&fake).kick(&session("", ID, VIDEO)).await.unwrap_err().kind(), "garbage");
    for (body, kind) in [(lifecycle(None, true).1, "garbage"), (lifecycle(Some("a/b"), true).1, "garbage")] {
        let fake = Fake::always(200, &body).await;
        assert_eq!(cloudflare(&fake).publishes(&session("", ID, VIDEO)).await.unwrap_err().kind(), kind, "{body}");
    }
    let refused = Fake::always(200, r#"{"success":false,"result":{"liveInputs":[]}}"#).await;
    assert_eq!(cloudflare(&refused).list().await.unwrap_err().kind(), "garbage");
    fake::fails_like_the_others(Kind::CloudflareStream, PULL, &session("", ID, VIDEO)).await;
}

#[tokio::test]
async fn a_notification_is_of_no_use() {
    let fake = Fake::always(200, "").await;
    let body = json!({ "name": "Live Webhook Test", "data": { "event_type": "live_input.connected", "input_id": ID } });
    assert_eq!(fake::hook(&cloudflare(&fake), &body.to_string()).unwrap_err().kind(), "bad_hook");
}
