//! `OvenMediaEngine` as its documentation has it: what is asked of it, and what becomes of what it says and asks.

use reqwest::header::HeaderMap;

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session};

const SINCE: &str = "2026-01-20T10:00:00.123+09:00";

fn ome(fake: &Fake, more: &str) -> OvenMediaEngine {
    OvenMediaEngine::new(&fake.config(Kind::OvenMediaEngine, more), &fake::limits()).unwrap()
}

fn said(response: &str) -> (u16, String) {
    (200, format!(r#"{{"message":"OK","statusCode":200,"response":{response}}}"#))
}

fn no_such() -> (u16, String) {
    (404, r#"{"message":"Could not find the stream","statusCode":404}"#.to_owned())
}

fn stream(since: &str) -> (u16, String) {
    said(&format!(
        r#"{{"name":"x","input":{{"createdTime":"{since}","sourceType":"Rtmp","sourceUrl":"TCP://10.0.0.1:40010",
            "tracks":[{{"type":"Video","video":{{"codec":"H264"}}}}]}},"outputs":[]}}"#
    ))
}

/// Two applications; `live` has the streams `cam1` and one that ends before it is asked about.
fn usual(asked: &Asked) -> (u16, String) {
    let (method, target) = asked.line.split_once(' ').unwrap();
    match (method, target.trim_start_matches("/v1/vhosts/default/")) {
        ("GET", "apps") => said(r#"["live","other"]"#),
        ("GET", "apps/live/streams") => said(r#"["cam1","just-ended"]"#),
        ("GET", "apps/other/streams") => said("[]"),
        ("GET", "apps/live/streams/cam1") => stream(SINCE),
        ("DELETE", "apps/live/streams/cam1") => (200, r#"{"message":"OK","statusCode":200}"#.to_owned()),
        _ => no_such(),
    }
}

#[tokio::test]
async fn lists_streams_with_the_time_they_began() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let listed = ome(&fake, "").list().await.unwrap();
    assert_eq!(listed.iter().map(|one| one.session.clone()).collect::<Vec<_>>(), [session("live", "cam1", SINCE)]);
    fake.lines();
    assert_eq!(ome(&fake, "apps = ['other']").list().await.unwrap(), []);
    assert_eq!(fake.lines(), ["GET /v1/vhosts/default/apps", "GET /v1/vhosts/default/apps/other/streams"]);
    let error = ome(&fake, "vhost = 'a/b'").list().await.unwrap_err();
    assert_eq!((error.kind(), fake.lines()), ("not_found", vec!["GET /v1/vhosts/a%2Fb/apps".to_owned()]));
}

#[tokio::test]
async fn one_stream_that_cannot_be_asked_about_does_not_hide_the_others() {
    let answer = |asked: &Asked| match asked.line.trim_start_matches("GET /v1/vhosts/default/") {
        "apps" => said(r#"["..","live","other"]"#),
        "apps/live/streams" => said(r#"["..","broken","undated","odd","cam1"]"#),
        "apps/other/streams" => said(r#"["broken"]"#),
        "apps/live/streams/undated" => stream(""),
        "apps/live/streams/odd" => (404, "<html>".to_owned()),
        "apps/live/streams/cam1" => stream(SINCE),
        _ => (500, String::new()),
    };
    let fake = Fake::new(move |asked| Some(answer(asked))).await;
    let listed = ome(&fake, "").list().await.unwrap();
    assert_eq!(listed.iter().map(|one| one.session.clone()).collect::<Vec<_>>(), [session("live", "cam1", SINCE)]);
    let error = ome(&fake, "apps = ['other']").list().await.unwrap_err();
    assert_eq!(error.kind(), "status", "nothing was learnt, which is no empty list");
}

#[tokio::test]
async fn the_token_goes_along_whole() {
    for (user, header) in [("ome-token", "Basic b21lLXRva2Vu"), ("us:p%40w", "Basic dXM6cEB3")] {
        let fake = Fake::new(|asked| Some(usual(asked))).await;
        let server = OvenMediaEngine::new(&fake.with_user(Kind::OvenMediaEngine, user), &fake::limits()).unwrap();
        server.list().await.unwrap();
        assert!(fake.asked().iter().all(|asked| asked.header("authorization") == Some(header)), "{user}");
    }
}

#[tokio::test]
async fn a_name_published_again_is_another_session() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = ome(&fake, "");
    assert!(server.publishes(&session("live", "cam1", SINCE)).await.unwrap());
    let before = session("live", "cam1", "2026-01-20T09:00:00.000+09:00");
    assert!(!server.publishes(&before).await.unwrap());
    assert!(!server.publishes(&session("live", "cam2", SINCE)).await.unwrap());
    fake.lines();
    assert_eq!(server.kick(&before).await.unwrap(), Kicked::NoSuchSession);
    assert!(fake.lines().iter().all(|line| line.starts_with("GET")), "nobody else is kicked");
    assert_eq!(server.kick(&session("live", "cam1", SINCE)).await.unwrap(), Kicked::Dropped);
    assert_eq!(fake.lines()[1], "DELETE /v1/vhosts/default/apps/live/streams/cam1");
}

#[tokio::test]
async fn a_hostile_name_stays_one_step_of_the_address() {
    let fake = Fake::new(|asked| Some(if asked.line.starts_with("GET") { stream(SINCE) } else { said("{}") })).await;
    let server = ome(&fake, "");
    for name in hostile_names() {
        assert_eq!(server.kick(&session("li ve", &name, SINCE)).await.unwrap(), Kicked::Dropped);
        assert_eq!(fake.lines()[1], format!("DELETE /v1/vhosts/default/apps/li%20ve/streams/{}", encoded(&name)));
    }
    // As a step of a path, these would end the application or everything.
    for (app, name, id) in
        [("live", "..", SINCE), ("live", ".", SINCE), ("live", "", SINCE), ("..", "a", SINCE), ("live", "a", "")]
    {
        assert_eq!(server.kick(&session(app, name, id)).await.unwrap_err().kind(), "bad_session", "{app}/{name}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    for (status, body, kind) in [
        (404, "<html>not found</html>".to_owned(), "not_found"),
        (200, r#"{"statusCode":500,"response":[]}"#.to_owned(), "garbage"),
        (200, r#"{"statusCode":200}"#.to_owned(), "garbage"),
        (200, stream("").1, "garbage"),
    ] {
        let fake = Fake::always(status, &body).await;
        let answer = ome(&fake, "").publishes(&session("live", "a", SINCE)).await;
        assert_eq!(answer.unwrap_err().kind(), kind, "{status} {body}");
    }
    fake::fails_like_the_others(Kind::OvenMediaEngine, "", &session("live", "cam1", SINCE)).await;
}

fn body(direction: &str, status: &str, url: &str) -> String {
    serde_json::json!({
        "client": { "address": "10.0.0.1", "port": 29291, "real_ip": "8.8.8.8", "user_agent": "x" },
        "request": { "direction": direction, "protocol": "rtmp", "status": status, "url": url, "time": SINCE },
    })
    .to_string()
}

#[tokio::test]
async fn hooks_name_the_stream_that_is_asked_for() {
    let fake = Fake::always(200, "").await;
    let server = ome(&fake, "");
    for (url, app, name) in [
        ("rtmp://h:1935/live/cam1?name=good&url=x", "live", "cam1"),
        ("srt://h:9999/live/a%26b", "live", "a&b"),
        ("wss://h/live/a%2520b/file#x", "live", "a%20b"),
        ("rtmp://h/live/n%23h?direction=send", "live", "n#h"),
    ] {
        let asked = fake::hook(&server, &body("incoming", "opening", url)).unwrap();
        let stream = StreamId::new("main", app, name);
        assert_eq!(asked, Hook::Ask { stream, publisher: Publisher::at(Some("10.0.0.1")) }, "{url}");
    }
    // The API has no address for these: they would be neither seen nor cut.
    for url in ["rtmp://h/live/..", "rtmp://h/live/%2e", "rtmp://h/../cam1"] {
        assert_eq!(fake::hook(&server, &body("incoming", "opening", url)).unwrap_err().kind(), "unpullable", "{url}");
    }
    let url = "rtmp://h/live/a";
    for (direction, status) in [("incoming", "closing"), ("outgoing", "opening"), ("outgoing", "closing")] {
        assert_eq!(fake::hook(&server, &body(direction, status, url)).unwrap(), Hook::Other);
    }
    for wrong in [
        String::new(),
        "{}".to_owned(),
        body("incoming", "begun", url),
        body("inward", "opening", url),
        body("incoming", "opening", "rtmp://h/live"),
        body("incoming", "opening", "rtmp://h/live/"),
        body("incoming", "opening", "rtmp://h/?/live/a"),
        body("incoming", "opening", "live/a"),
    ] {
        assert_eq!(fake::hook(&server, &wrong).unwrap_err().kind(), "bad_hook", "{wrong}");
    }
}

#[tokio::test]
async fn who_publishes_is_read_of_the_query() {
    let fake = Fake::always(200, "").await;
    let server = ome(&fake, "account_param = 'account'\nkey_param = 'key'");
    let url = "rtmp://h/live/cam1?account=a%26b&account=8&key=k#key=x";
    let asked = fake::hook(&server, &body("incoming", "opening", url)).unwrap();
    let publisher = Publisher { account: Some("a&b".into()), key: Some("k".into()), ..Publisher::at(Some("10.0.0.1")) };
    assert_eq!(asked, Hook::Ask { stream: StreamId::new("main", "live", "cam1"), publisher });
}

#[tokio::test]
async fn with_a_secret_only_signed_hooks_are_believed() {
    let fake = Fake::always(200, "").await;
    let server = ome(&fake, "hook_secret = 'Jefe'");
    // The second test case of RFC 2202, as the server writes it.
    let (text, signature) = ("what do ya want for nothing?", "7_zfauXrL6LSdBbV8YTfnCWafHk=");
    let says = |body: &str, signature: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(signature) = signature {
            headers.insert("X-OME-Signature", signature.parse().unwrap());
        }
        server.parse_hook(HookRequest { headers: &headers, body: body.as_bytes() }).unwrap_err().to_string()
    };
    assert!(says(text, None).contains("no signature"));
    assert!(says(text, Some("%%%")).contains("no signature"));
    assert!(says(text, Some("")).contains("another key"));
    assert!(says("what do you want for nothing?", Some(signature)).contains("another key"));
    for signature in [signature, signature.trim_end_matches('=')] {
        assert!(says(text, Some(signature)).contains("not the JSON"), "the signature is right, the body no hook");
    }
}

#[tokio::test]
async fn only_allowed_true_lets_anybody_in() {
    let fake = Fake::always(200, "").await;
    let said = |answer| {
        let reply = ome(&fake, "").reply(&Hook::Other, answer);
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        (reply.status, body["allowed"].clone())
    };
    assert_eq!(said(Admission::Allow), (200, true.into()));
    assert_eq!(said(Admission::Refuse), (200, false.into()));
    let pull = ome(&fake, "").pull(&StreamId::new("main", "live", "n#h")).unwrap();
    assert_eq!((pull.protocol.word(), &*pull.url), ("hls", "http://127.0.0.1:3333/live/n%23h/ts:playlist.m3u8"));
}
