//! SRS as its documentation has it: what is asked of it, and what becomes of what it says.

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Fake, hostile_names, session};

const STREAMS: &str = r#"{"code":0,"server":"vid-5b2s2y9","service":"g3r8x1p0","pid":"17","streams":[
    {"id":"vid-q5s1w2","name":"cam1","vhost":"vid-7t3a","app":"live","tcUrl":"rtmp://127.0.0.1/live","url":"/live/cam1",
     "live_ms":1700000000000,"clients":2,"frames":50,"send_bytes":10,"recv_bytes":55784,"kbps":{"recv_30s":0,"send_30s":0},
     "publish":{"active":true,"cid":"7x3fd2a1"},
     "video":{"codec":"H264","profile":"High","level":"3.1","width":640,"height":360},"audio":null},
    {"id":"vid-a","name":"a&b","vhost":"vid-7t3a","app":"live/sub","url":"/live/sub/a&b","recv_bytes":1,
     "publish":{"active":true,"cid":"k2"}},
    {"id":"vid-b","name":"over","vhost":"vid-7t3a","app":"live","url":"/live/over","recv_bytes":1,
     "publish":{"active":false}},
    {"id":"vid-c","name":"cam1","vhost":"vid-zz","app":"live","url":"other.example/live/cam1","recv_bytes":9,
     "publish":{"active":true,"cid":"o1"}}]}"#;

fn srs(more: &str) -> Srs {
    Srs::new(&fake::config(Kind::Srs, more), &fake::limits()).unwrap()
}

fn with(fake: &Fake, more: &str) -> Srs {
    Srs::new(&fake.config(Kind::Srs, more), &fake::limits()).unwrap()
}

fn shown(listed: &[Listed]) -> Vec<String> {
    listed.iter().map(|one| format!("{} {}", one.session.stream.full(), one.session.id)).collect()
}

#[tokio::test]
async fn lists_who_publishes_and_asks_for_all_of_them() {
    let fake = Fake::always(200, STREAMS).await;
    let listed = with(&fake, "").list().await.unwrap();
    assert_eq!(shown(&listed), ["main/live/cam1 7x3fd2a1", "main/live/sub/a&b k2"]);
    assert_eq!(listed[0].bytes_in, Some(55784));
    // Ten are given to whoever does not ask for more.
    assert_eq!(fake.lines(), ["GET /api/v1/streams/?start=0&count=100000"]);
    let watched = with(&fake, "apps = ['live']").list().await.unwrap();
    assert_eq!(shown(&watched), ["main/live/cam1 7x3fd2a1"]);
    let other = with(&fake, "vhost = 'other.example'").list().await.unwrap();
    assert_eq!(shown(&other), ["main/live/cam1 o1"]);
    let none = Fake::always(200, r#"{"code":0,"streams":[]}"#).await;
    assert_eq!(with(&none, "").list().await.unwrap(), []);
}

#[tokio::test]
async fn a_session_is_looked_for_with_its_identifier_and_its_name() {
    let fake = Fake::always(200, STREAMS).await;
    let server = with(&fake, "apps = ['elsewhere']");
    assert!(server.publishes(&session("live", "cam1", "7x3fd2a1")).await.unwrap(), "watched or not");
    for (name, id) in [("cam1", "7x3fd2a2"), ("cam2", "7x3fd2a1"), ("over", ""), ("cam1", "o1")] {
        assert!(!server.publishes(&session("live", name, id)).await.unwrap(), "{name} {id}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    for body in [
        r#"{"code":1,"streams":[]}"#,
        r#"{"code":0,"streams":[{"name":"a","app":"live","publish":{"active":true}}]}"#,
        r#"{"code":0,"streams":[{"name":"a","app":"live","publish":{"active":true,"cid":"a/b"}}]}"#,
        r#"{"code":0,"streams":[{"name":"a","app":"live"}]}"#,
    ] {
        let fake = Fake::always(200, body).await;
        assert_eq!(with(&fake, "").list().await.unwrap_err().kind(), "garbage", "{body}");
    }
    fake::fails_like_the_others(Kind::Srs, "", &session("live", "cam1", "7x3fd2a1")).await;
}

#[tokio::test]
async fn a_kick_names_the_client_and_nothing_else() {
    let fake = Fake::always(200, r#"{"code":0}"#).await;
    let server = Srs::new(&fake.with_user(Kind::Srs, "admin:p%40ss"), &fake::limits()).unwrap();
    for name in hostile_names() {
        assert_eq!(server.kick(&session("live", &name, "7x3fd2a1")).await.unwrap(), Kicked::Dropped);
        let asked = fake.asked();
        assert_eq!(asked[0].line, "DELETE /api/v1/clients/7x3fd2a1");
        assert_eq!((asked.len(), asked[0].body.as_str()), (1, ""));
        assert_eq!(asked[0].header("authorization"), Some("Basic YWRtaW46cEBzcw=="));
    }
    for id in ["", "a/b", "..", "../streams", "7x3 ", "é", "7x3?a", &"7".repeat(65)] {
        assert_eq!(server.kick(&session("live", "a", id)).await.unwrap_err().kind(), "bad_session", "{id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn the_code_says_what_became_of_a_kick() {
    // Every one of these comes with the status 200.
    for (body, kicked) in [(r#"{"code":0,"server":"x"}"#, Kicked::Dropped), (r#"{"code":2049}"#, Kicked::NoSuchSession)]
    {
        let fake = Fake::always(200, body).await;
        assert_eq!(with(&fake, "").kick(&session("live", "a", "c1")).await.unwrap(), kicked);
    }
    let fake = Fake::always(200, r#"{"code":1061}"#).await;
    assert_eq!(with(&fake, "").kick(&session("live", "a", "c1")).await.unwrap_err().kind(), "garbage");
}

fn body(action: &str, vhost: &str, stream: &str, client: &str) -> String {
    serde_json::json!({
        "server_id": "vid-0xk989d", "service_id": "382a6ld8", "action": action, "client_id": client, "ip": "10.0.0.1",
        "vhost": vhost, "app": "live", "tcUrl": "rtmp://h/live?vhost=x", "stream": stream,
        "param": "?stream=good&client_id=1", "stream_url": "/live/x", "stream_id": "vid-124q9y3",
    })
    .to_string()
}

#[test]
fn hooks_say_who_asks_and_who_is_gone() {
    let server = srs("");
    for name in hostile_names() {
        let asked = fake::hook(&server, &body("on_publish", DEFAULT_VHOST, &name, "c1")).unwrap();
        let expected = session("live", &name, "c1");
        assert_eq!(asked, Hook::Publish { session: expected.clone(), publisher: Publisher::at(Some("10.0.0.1")) });
        let gone = fake::hook(&server, &body("on_unpublish", DEFAULT_VHOST, &name, "c1")).unwrap();
        assert_eq!(gone, Hook::PublishDone { session: expected });
    }
    for (server, text) in [
        (srs(""), body("on_play", DEFAULT_VHOST, "a", "c1")),
        (srs(""), body("on_publish", "other.example", "a", "c1")),
        (srs("apps = ['x']"), body("on_publish", DEFAULT_VHOST, "a", "c1")),
        (srs("vhost = 'other.example'"), body("on_publish", DEFAULT_VHOST, "a", "c1")),
    ] {
        assert_eq!(fake::hook(&server, &text).unwrap(), Hook::Other, "{text}");
    }
}

#[test]
fn who_publishes_is_read_of_the_query() {
    let server = srs("account_param = 'stream'\nkey_param = 'client_id'");
    let asked = fake::hook(&server, &body("on_publish", DEFAULT_VHOST, "a", "c1")).unwrap();
    let publisher =
        Publisher { account: Some("good".into()), key: Some("1".into()), ..Publisher::at(Some("10.0.0.1")) };
    assert_eq!(asked, Hook::Publish { session: session("live", "a", "c1"), publisher });
}

#[test]
fn a_hook_that_makes_no_sense_is_refused() {
    let whole = body("on_publish", DEFAULT_VHOST, "a", "c1");
    for text in [
        String::new(),
        "{}".to_owned(),
        "call=publish&name=a".to_owned(),
        whole[..40].to_owned(),
        body("on_publish", DEFAULT_VHOST, "", "c1"),
        body("on_publish", DEFAULT_VHOST, "a", ""),
        body("on_publish", DEFAULT_VHOST, "a", "../../x"),
        whole.replace("\"client_id\":\"c1\",", ""),
        whole.replace("\"vhost\":\"__defaultVhost__\"", "\"host\":\"x\""),
        whole.replace("\"app\":\"live\"", "\"app\":\"live\",\"app\":\"other\""),
    ] {
        let error = fake::hook(&srs(""), &text).unwrap_err();
        assert_eq!(error.kind(), "bad_hook", "{text}");
        assert!(!error.to_string().contains("c1"), "{error}");
    }
}

#[test]
fn who_would_be_pulled_as_another_is_refused() {
    let climbing = |action| body(action, DEFAULT_VHOST, "a", "c1").replace("\"live\"", "\"live/../other\"");
    assert_eq!(fake::hook(&srs(""), &climbing("on_publish")).unwrap_err().kind(), "unpullable");
    assert!(matches!(fake::hook(&srs(""), &climbing("on_unpublish")).unwrap(), Hook::PublishDone { .. }));
}

#[test]
fn only_the_code_0_lets_anybody_in() {
    let said = |answer| {
        let reply = srs("").reply(&Hook::Other, answer);
        (reply.status, reply.body.into_owned())
    };
    assert_eq!(said(Admission::Allow), (200, r#"{"code":0}"#.to_owned()));
    assert_eq!(said(Admission::Refuse), (200, r#"{"code":403}"#.to_owned()));
}

#[test]
fn streams_are_pulled_from_their_virtual_host() {
    let pulled = |more: &str| {
        let pull = srs(more).pull(&StreamId::new("main", "live", "n#h")).unwrap();
        (pull.protocol.word(), pull.url)
    };
    assert_eq!(pulled(""), ("http-flv", "http://127.0.0.1:8080/live/n%23h.flv".to_owned()));
    assert_eq!(pulled("vhost = 'a.b'").1, "http://127.0.0.1:8080/live/n%23h.flv?vhost=a.b");
    assert_eq!(pulled("pull = 'rtmp://h'"), ("rtmp", "rtmp://h/live/n#h".to_owned()));
    let srt = "srt://h:10080?streamid=%23%21%3A%3Ar%3Dlive%2Fn%23h%2Cm%3Drequest";
    assert_eq!(pulled("pull = 'srt://h:10080'"), ("srt", srt.to_owned()));
    let of_a_host = "srt://h:10080?streamid=%23%21%3A%3Ah%3Da.b%2Cr%3Dlive%2Fn%23h%2Cm%3Drequest";
    assert_eq!(pulled("pull = 'srt://h:10080'\nvhost = 'a.b'").1, of_a_host);
}
