//! Mux as its documentation has it: what is asked of it, and what becomes of what it says.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session, shown};

const ID: &str = "aA02skpHXoLrbQm49qIzAG6RtewFOcDEY";

fn mux(fake: &Fake, more: &str) -> Mux {
    Mux::new(&fake.signed_in(Kind::Mux, "token-id:s3%2Fcret", more), &fake::limits()).unwrap()
}

fn live(id: &str, asset: Option<&str>, status: &str) -> Value {
    json!({ "id": id, "status": status, "created_at": "1557338261", "stream_key": "54676b58-6b19", "latency_mode": "standard",
            "reconnect_window": 60, "active_asset_id": asset, "active_ingest_protocol": "rtmp",
            "playback_ids": [{ "id": "signed1", "policy": "signed" }, { "id": "pub1", "policy": "public" }] })
}

fn no_such() -> (u16, String) {
    (404, r#"{"error":{"type":"not_found","messages":["The requested resource either doesn't exist"]}}"#.to_owned())
}

fn usual(asked: &Asked) -> (u16, String) {
    let list = "GET /video/v1/live-streams?status=active&limit=100&page=";
    let said = match asked.line.as_str() {
        line if line == format!("{list}1") => (0..100).map(|n| live(&format!("ls{n}"), Some("as0"), ACTIVE)).collect(),
        line if line == format!("{list}2") => {
            json!([live(ID, Some("as1"), ACTIVE), live("young", None, ACTIVE), live("over", Some("as9"), "idle")])
        }
        line if line == format!("GET /video/v1/live-streams/{ID}") => live(ID, Some("as1"), ACTIVE),
        "GET /video/v1/live-streams/over" => live("over", Some("as9"), "disabled"),
        line if line == format!("PUT /video/v1/live-streams/{ID}/disable") => json!({}),
        _ => return no_such(),
    };
    (200, json!({ "data": said }).to_string())
}

#[tokio::test]
async fn lists_every_page_of_who_is_on_the_air() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = mux(&fake, "");
    let listed = server.list().await.unwrap();
    assert_eq!((listed.len(), shown(&listed)[100].clone()), (101, format!("main//{ID} as1")));
    assert_eq!(listed[100].publisher.key.as_deref(), Some("54676b58-6b19"));
    assert_eq!(fake.asked()[0].header("authorization"), Some("Basic dG9rZW4taWQ6czMvY3JldA=="));
    let pull = server.pull(&StreamId::new("main", "", ID)).unwrap();
    assert_eq!((pull.protocol.word(), &*pull.url), ("hls", "https://stream.mux.com/pub1.m3u8"));
    assert_eq!(server.pull(&StreamId::new("main", "", "unknown")).unwrap_err().kind(), "unpullable");
}

#[tokio::test]
async fn what_needs_a_token_to_be_played_is_not_pulled() {
    let mut stream = live(ID, Some("as1"), ACTIVE);
    stream["playback_ids"] = json!([{ "id": "signed1", "policy": "signed" }, { "id": "../x", "policy": "public" }]);
    let fake = Fake::always(200, &json!({ "data": [stream] }).to_string()).await;
    let server = mux(&fake, "");
    assert_eq!(server.list().await.unwrap().len(), 1, "it is listed, and can be cut");
    assert_eq!(server.pull(&StreamId::new("main", "", ID)).unwrap_err().kind(), "unpullable");
}

#[tokio::test]
async fn a_kick_shuts_the_live_stream_only_while_it_is_the_same_session() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = mux(&fake, "");
    assert_eq!(server.kick(&session("", ID, "as1")).await.unwrap(), Kicked::Dropped);
    assert_eq!(fake.lines()[1], format!("PUT /video/v1/live-streams/{ID}/disable"));
    for (name, id) in [(ID, "as2"), ("over", "as9"), ("unknown", "as1")] {
        assert_eq!(server.kick(&session("", name, id)).await.unwrap(), Kicked::NoSuchSession, "{name} {id}");
        assert!(fake.lines().iter().all(|line| line.starts_with("GET")), "nothing is shut");
    }
    let hostile = hostile_names().into_iter().chain(["..".to_owned(), String::new()]);
    for (name, id) in hostile.map(|name| (name, "as1")).chain([(ID.to_owned(), ""), (ID.to_owned(), "a/b")]) {
        assert_eq!(server.kick(&session("", &name, id)).await.unwrap_err().kind(), "bad_session", "{name} {id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    for (status, body, kind) in [
        (404, "<html>".to_owned(), "not_found"),
        (404, "{}".to_owned(), "not_found"),
        (200, json!({ "data": live("a/b", Some("as1"), ACTIVE) }).to_string(), "garbage"),
        (200, json!({ "data": live(ID, Some("a/b"), ACTIVE) }).to_string(), "garbage"),
    ] {
        let fake = Fake::always(status, &body).await;
        assert_eq!(mux(&fake, "").publishes(&session("", ID, "as1")).await.unwrap_err().kind(), kind, "{body}");
    }
    fake::fails_like_the_others(Kind::Mux, "", &session("", ID, "as1")).await;
}

/// What a webhook is read as that is signed `ago` seconds ago with `secret`.
fn told(server: &Mux, body: &str, secret: &str, ago: u64) -> Result<Hook, ActError> {
    let at = jwt::seconds(Clock::system().wall()) - ago;
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(format!("{at}.{body}"));
    let signature = hex::encode(mac.finalize().into_bytes());
    with_header(server, body, &format!("t={at},v1={signature}"))
}

fn with_header(server: &Mux, body: &str, header: &str) -> Result<Hook, ActError> {
    let mut headers = HeaderMap::new();
    headers.insert("Mux-Signature", header.parse().unwrap());
    server.parse_hook(HookRequest { headers: &headers, body: body.as_bytes() })
}

#[tokio::test]
async fn a_webhook_tells_who_began_and_where_it_is_played() {
    let fake = Fake::always(200, "").await;
    let server = mux(&fake, "hook_secret = 'whsec'");
    let body =
        json!({ "type": "video.live_stream.active", "id": "ev1", "data": live(ID, Some("as1"), ACTIVE) }).to_string();
    let publisher = Publisher { key: Some("54676b58-6b19".into()), ..Publisher::default() };
    let begun = Hook::Begun { session: session("", ID, "as1"), publisher };
    assert_eq!(told(&server, &body, "whsec", 0).unwrap(), begun);
    assert_eq!(server.pull(&StreamId::new("main", "", ID)).unwrap().url, "https://stream.mux.com/pub1.m3u8");
    for kind in ["video.live_stream.idle", "video.live_stream.connected", "video.asset.ready"] {
        let other = body.replace("video.live_stream.active", kind);
        assert_eq!(told(&server, &other, "whsec", 0).unwrap(), Hook::Other);
    }
}

#[tokio::test]
async fn only_fresh_webhooks_of_mux_are_believed() {
    let fake = Fake::always(200, "").await;
    let server = mux(&fake, "hook_secret = 'whsec'");
    let body = json!({ "type": "video.live_stream.active", "data": live(ID, Some("as1"), ACTIVE) }).to_string();
    assert!(told(&server, &body, "whsec", TOLERANCE - 5).is_ok());
    assert_eq!(told(&server, &body, "whsec", TOLERANCE + 5).unwrap_err().kind(), "bad_hook");
    assert_eq!(told(&server, &body, "other", 0).unwrap_err().kind(), "bad_hook");
    assert_eq!(told(&mux(&fake, ""), &body, "", 0).unwrap_err().kind(), "bad_hook", "without a secret nobody is");
    for header in ["", "t=1", "v1=00", "t=x,v1=zz", "t=99999999999999999999,v1=00"] {
        assert_eq!(with_header(&server, &body, header).unwrap_err().kind(), "bad_hook", "{header}");
    }
    for wrong in ["", "{}", r#"{"type":"video.live_stream.active"}"#] {
        assert_eq!(told(&server, wrong, "whsec", 0).unwrap_err().kind(), "bad_hook", "{wrong}");
    }
}
