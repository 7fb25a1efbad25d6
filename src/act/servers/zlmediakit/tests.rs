//! `ZLMediaKit` as its documentation and sources have it: what is asked of it, and what becomes of what it says and asks.

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Fake, hostile_names, session, shown};

const MEDIA: &str = r#"{"code":0,"data":[
    {"app":"live","stream":"cam1","schema":"rtmp","vhost":"__defaultVhost__","originType":1,"originTypeStr":"rtmp_push",
     "originUrl":"rtmp://127.0.0.1/live/cam1","originSock":{"identifier":"3-42","local_ip":"127.0.0.1","local_port":1935,
     "peer_ip":"10.0.0.1","peer_port":50097},"createStamp":1700000000,"aliveSecond":7,"bytesSpeed":55784,"totalBytes":700,
     "readerCount":0,"totalReaderCount":1,"tracks":[{"codec_id":0,"codec_id_name":"H264","codec_type":0,"ready":true}]},
    {"app":"live","stream":"cam1","schema":"hls","vhost":"__defaultVhost__","originType":1,
     "originSock":{"identifier":"3-42","peer_ip":"10.0.0.1"},"totalBytes":700},
    {"app":"live/sub","stream":"a&b","schema":"rtsp","vhost":"__defaultVhost__","originType":2,
     "originSock":{"identifier":"140241931428384","peer_ip":"10.0.0.2"}},
    {"app":"live","stream":"fetched","schema":"rtsp","vhost":"__defaultVhost__","originType":4,"originSock":null},
    {"app":"live","stream":"camera","schema":"rtsp","vhost":"__defaultVhost__","originType":3,"originSock":null},
    {"app":"live","stream":"cam1","schema":"rtmp","vhost":"other.example","originType":9,
     "originSock":{"identifier":"9-9","peer_ip":"10.0.0.3"}}]}"#;

fn zlm(fake: &Fake, more: &str) -> ZlMediaKit {
    ZlMediaKit::new(&fake.config(Kind::ZlMediaKit, more), &fake::limits()).unwrap()
}

fn bare(more: &str) -> ZlMediaKit {
    ZlMediaKit::new(&fake::config(Kind::ZlMediaKit, more), &fake::limits()).unwrap()
}

#[tokio::test]
async fn lists_each_publisher_once_however_many_protocols_there_are() {
    let fake = Fake::always(200, MEDIA).await;
    let listed = zlm(&fake, "").list().await.unwrap();
    assert_eq!(shown(&listed), ["main/live/cam1 3-42", "main/live/sub/a&b 140241931428384"]);
    assert_eq!((listed[0].bytes_in, listed[0].publisher.address.as_deref()), (Some(700), Some("10.0.0.1")));
    assert_eq!(shown(&zlm(&fake, "apps = ['live']").list().await.unwrap()), ["main/live/cam1 3-42"]);
    assert_eq!(shown(&zlm(&fake, "vhost = 'other.example'").list().await.unwrap()), ["main/live/cam1 9-9"]);
    let none = Fake::always(200, r#"{"code":0}"#).await;
    assert_eq!(zlm(&none, "").list().await.unwrap(), []);
}

#[tokio::test]
async fn the_secret_goes_into_a_form_and_into_no_address() {
    let fake = Fake::always(200, MEDIA).await;
    let server = ZlMediaKit::new(&fake.with_user(Kind::ZlMediaKit, ":s%26cret"), &fake::limits()).unwrap();
    server.list().await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked[0].line, "POST /index/api/getMediaList");
    assert_eq!(asked[0].body, "secret=s%26cret&vhost=__defaultVhost__");
    assert_eq!(asked[0].header("authorization"), None);
    let refused = Fake::always(200, r#"{"code":-100,"msg":"Incorrect secret"}"#).await;
    assert_eq!(zlm(&refused, "").list().await.unwrap_err().kind(), "forbidden");
}

#[tokio::test]
async fn a_kick_names_one_session_and_never_a_stream() {
    let fake = Fake::always(200, r#"{"code":0,"msg":"success"}"#).await;
    let server = zlm(&fake, "");
    for name in hostile_names() {
        assert_eq!(server.kick(&session("live", &name, "3-42")).await.unwrap(), Kicked::Dropped);
        let asked = fake.asked();
        assert_eq!((asked.len(), asked[0].line.as_str()), (1, "POST /index/api/kick_session"));
        assert_eq!(asked[0].body, "secret=&id=3-42");
    }
    for id in ["", "a/b", "..", "3-42&id=1", "3 42", "é", &"7".repeat(65)] {
        assert_eq!(server.kick(&session("live", "a", id)).await.unwrap_err().kind(), "bad_session", "{id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn the_code_and_the_message_say_what_became_of_a_kick() {
    for (body, kicked) in [
        (r#"{"code":-1,"msg":"can not find the target"}"#, Some(Kicked::NoSuchSession)),
        (r#"{"code":-500,"msg":"can not find the target"}"#, Some(Kicked::NoSuchSession)),
        (r#"{"code":-1,"msg":"something else"}"#, None),
        (r#"{"code":-300,"msg":"Required parameter missed"}"#, None),
    ] {
        let fake = Fake::always(200, body).await;
        assert_eq!(zlm(&fake, "").kick(&session("live", "a", "3-42")).await.ok(), kicked, "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    let entry = r#"{"app":"live","stream":"a","vhost":"__defaultVhost__","originType":1"#;
    for body in [
        r#"{"code":-1,"msg":"x","data":[]}"#.to_owned(),
        format!(r#"{{"code":0,"data":[{entry}}}]}}"#),
        format!(r#"{{"code":0,"data":[{entry},"originSock":null}}]}}"#),
        format!(r#"{{"code":0,"data":[{entry},"originSock":{{"identifier":"a/b"}}}}]}}"#),
        r#"{"code":0,"data":[{"app":"live","stream":"a"}]}"#.to_owned(),
    ] {
        let fake = Fake::always(200, &body).await;
        assert_eq!(zlm(&fake, "").list().await.unwrap_err().kind(), "garbage", "{body}");
    }
    fake::fails_like_the_others(Kind::ZlMediaKit, "", &session("live", "cam1", "3-42")).await;
}

#[tokio::test]
async fn a_session_is_looked_for_with_its_identifier_and_its_name() {
    let fake = Fake::always(200, MEDIA).await;
    let server = zlm(&fake, "apps = ['elsewhere']");
    assert!(server.publishes(&session("live", "cam1", "3-42")).await.unwrap(), "watched or not");
    for (name, id) in [("cam1", "3-43"), ("cam2", "3-42"), ("cam1", "9-9"), ("fetched", "")] {
        assert!(!server.publishes(&session("live", name, id)).await.unwrap(), "{name} {id}");
    }
}

fn body(stream: &str, id: &str, more: &str) -> String {
    let mut body = serde_json::json!({
        "mediaServerId": "your_server_id", "app": "live", "id": id, "ip": "10.0.0.1", "port": 65284, "schema": "rtmp",
        "params": "account=7&originType=4&account=8", "stream": stream, "vhost": DEFAULT_VHOST, "hook_index": 1,
    });
    let more: serde_json::Value = serde_json::from_str(more).unwrap();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

const ASKS: &str = r#"{"originType":1,"originTypeStr":"rtmp_push"}"#;

#[test]
fn hooks_say_who_asks_and_who_is_gone() {
    let server = bare("account_param = 'account'");
    for name in hostile_names().into_iter().filter(|name| !name.contains('?')) {
        let asked = fake::hook(&server, &body(&name, "3-42", ASKS)).unwrap();
        let expected = session("live", &name, "3-42");
        let publisher = Publisher { account: Some("7".into()), ..Publisher::at(Some("10.0.0.1")) };
        assert_eq!(asked, Hook::Publish { session: expected.clone(), publisher });
        let gone =
            fake::hook(&server, &body(&name, "3-42", r#"{"player":false,"totalBytes":9,"duration":6}"#)).unwrap();
        assert_eq!(gone, Hook::PublishDone { session: expected });
    }
    for (server, text) in [
        (bare(""), body("a", "3-42", r#"{"player":true,"totalBytes":9}"#)),
        (bare("vhost = 'other.example'"), body("a", "3-42", ASKS)),
        (bare("apps = ['x']"), body("a", "3-42", ASKS)),
    ] {
        assert_eq!(fake::hook(&server, &text).unwrap(), Hook::Other, "{text}");
    }
}

#[test]
fn a_hook_that_makes_no_sense_is_refused() {
    let whole = body("a", "3-42", ASKS);
    for text in [
        String::new(),
        "{}".to_owned(),
        "app=live&stream=a&originType=1".to_owned(),
        whole[..40].to_owned(),
        body("", "3-42", ASKS),
        body("a", "", ASKS),
        body("a", "../../x", ASKS),
        // What `on_play` and `on_stream_changed` say: they are not to be pointed here.
        body("a", "3-42", "{}"),
        body("a", "3-42", r#"{"regist":false}"#),
        whole.replace("\"vhost\":\"__defaultVhost__\"", "\"host\":\"x\""),
        whole.replace("\"app\":\"live\"", "\"app\":\"live\",\"app\":\"other\""),
    ] {
        let error = fake::hook(&bare(""), &text).unwrap_err();
        assert_eq!(error.kind(), "bad_hook", "{text}");
        assert!(!error.to_string().contains("3-42"), "{error}");
    }
    for name in ["..", ".", "q?x=1"] {
        assert_eq!(fake::hook(&bare(""), &body(name, "3-42", ASKS)).unwrap_err().kind(), "unpullable", "{name}");
    }
}

#[test]
fn only_code_0_lets_anybody_in() {
    let said = |answer| {
        let reply = bare("").reply(&Hook::Other, answer);
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        (reply.status, body["code"].as_i64().unwrap())
    };
    assert_eq!(said(Admission::Allow), (200, 0));
    assert_eq!(said(Admission::Refuse), (200, -1));
}

#[test]
fn a_stream_is_pulled_under_its_own_name() {
    let stream = StreamId::new("main", "live", "n#h");
    for (more, protocol, url) in [
        ("", "http-flv", "http://127.0.0.1/live/n%23h.live.flv"),
        ("pull = 'rtmp://h'", "rtmp", "rtmp://h/live/n#h"),
        ("pull = 'rtsp://h'\nvhost = 'a'", "rtsp", "rtsp://h/live/n%23h?vhost=a"),
        ("pull = 'http://h:8080'", "http-flv", "http://h:8080/live/n%23h.live.flv"),
        ("pull = 'http://h'\nvhost = 'a&b'", "http-flv", "http://h/live/n%23h.live.flv?vhost=a%26b"),
    ] {
        let pull = bare(more).pull(&stream).unwrap();
        assert_eq!((pull.protocol.word(), pull.url.as_str()), (protocol, url));
    }
}
