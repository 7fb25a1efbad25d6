//! node-media-server as version 4.4 answers: what is asked of it, and what becomes of what it says. That the server
//! itself agrees is shown by `tests/node_media_server.rs`.

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session};
use crate::media_server::Admission;

const ID: &str = "mi9a1b2c3d4e5f6g";
const STREAMS: &str = r#"{"success":true,"data":{"total":3,"streams":[
    {"key":"/live/cam1","app":"live","name":"cam1","status":"publishing",
     "publisher":{"id":"mi9a1b2c3d4e5f6g","ip":"::ffff:10.0.0.1:40010","protocol":"rtmp","createTime":1,"videoCodec":7,"inBytes":55784},
     "subscribers":1,"outBytes":0,"recording":false},
    {"key":"/live/left","app":"live","name":"left","status":"reconnecting","publisher":{"id":"old","ip":"::1:1","inBytes":1}},
    {"key":"/live/idle","app":"live","name":"idle","status":"idle","publisher":null}]},"message":"ok"}"#;

/// A server that wants the token `t1`, and gives it.
async fn server(said: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> (Fake, NodeMediaServer) {
    let fake = Fake::new(move |asked| {
        Some(match (asked.line.as_str(), asked.header("authorization")) {
            ("POST /api/v1/login", None) => {
                (200, r#"{"success":true,"data":{"token":"t1"},"message":"ok"}"#.to_owned())
            }
            (_, Some("Bearer t1")) => said(asked),
            _ => (401, "{}".to_owned()),
        })
    })
    .await;
    let config = fake.with_user(Kind::NodeMediaServer, "admin:p%40ss%22");
    (fake, NodeMediaServer::new(&config, &fake::limits()).unwrap())
}

#[tokio::test]
async fn lists_who_is_on_the_air_with_a_token_had_once() {
    let (fake, server) = server(|_| (200, STREAMS.to_owned())).await;
    let listed = server.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].session, session("live", "cam1", ID));
    assert_eq!((listed[0].publisher.address.as_deref(), listed[0].bytes_in), (Some("::ffff:10.0.0.1"), Some(55784)));
    assert!(server.publishes(&session("live", "cam1", ID)).await.unwrap());
    assert!(!server.publishes(&session("live", "left", "old")).await.unwrap(), "kept, and off the air");
    let asked = fake.asked();
    assert_eq!(asked[0].body, r#"{"password":"p@ss\"","username":"admin"}"#);
    let lines: Vec<_> = asked.iter().map(|asked| &*asked.line).collect();
    assert_eq!(lines, ["POST /api/v1/login", "GET /api/v1/streams", "GET /api/v1/streams", "GET /api/v1/streams"]);
}

#[tokio::test]
async fn a_token_that_ran_out_is_had_afresh_once() {
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::new(move |asked| {
        Some(match asked.header("authorization") {
            None => {
                let number = tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                (200, format!(r#"{{"success":true,"data":{{"token":"t{number}"}}}}"#))
            }
            Some("Bearer t0") => (401, String::new()),
            Some("Bearer t1") => (200, STREAMS.to_owned()),
            Some(other) => panic!("{other}"),
        })
    })
    .await;
    let server = NodeMediaServer::new(&fake.with_user(Kind::NodeMediaServer, "a:b"), &fake::limits()).unwrap();
    assert_eq!(server.list().await.unwrap().len(), 1);
    assert_eq!(fake.lines().len(), 4);
}

#[tokio::test]
async fn a_refused_password_is_not_tried_until_the_lock_is_over() {
    for status in [400, 401, 403, 429] {
        let fake = Fake::always(status, r#"{"success":false,"data":{},"message":"no"}"#).await;
        let server = NodeMediaServer::new(&fake.with_user(Kind::NodeMediaServer, "a:b"), &fake::limits()).unwrap();
        for _ in 0..10 {
            assert_eq!(server.list().await.unwrap_err().kind(), "forbidden");
        }
        assert_eq!(fake.lines(), ["POST /api/v1/login"], "ten tries would lock the account for everybody there");
        *server.token.lock().await = Token::Refused(Instant::now().checked_sub(LOCK).unwrap(), status);
        server.list().await.unwrap_err();
        assert_eq!(fake.lines().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    for body in [
        r#"{"success":false,"data":{"streams":[]}}"#,
        r#"{"success":true,"data":{"streams":[{"app":"a","name":"b","status":"publishing","publisher":null}]}}"#,
        r#"{"success":true,"data":{"streams":[{"app":"a","name":"b","status":"publishing","publisher":{"id":"a/b"}}]}}"#,
        r#"{"success":true,"data":{}}"#,
    ] {
        let (_fake, server) = server(|_| (200, body.to_owned())).await;
        assert_eq!(server.list().await.unwrap_err().kind(), "garbage", "{body}");
    }
    fake::fails_like_the_others(Kind::NodeMediaServer, "", &session("live", "cam1", ID)).await;
}

#[tokio::test]
async fn a_kick_names_the_session_and_nothing_else() {
    let (fake, server) = server(|_| (200, format!(r#"{{"success":true,"data":{{"id":"{ID}"}}}}"#))).await;
    for name in hostile_names() {
        assert_eq!(server.kick(&session("live", &name, ID)).await.unwrap(), Kicked::Dropped);
    }
    let lines = fake.lines();
    assert!(lines[1..].iter().all(|line| *line == format!("DELETE /api/v1/sessions/{ID}")), "{lines:?}");
    for id in ["", "a/b", "..", "a?b", "é"] {
        assert_eq!(server.kick(&session("live", "a", id)).await.unwrap_err().kind(), "bad_session", "{id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_session_that_is_gone_is_told_from_an_address_that_is_wrong() {
    for (status, body, expected) in [
        (404, r#"{"success":false,"data":{},"message":"Session not found"}"#, Ok(Kicked::NoSuchSession)),
        (404, "<html>", Err("not_found")),
        (200, r#"{"success":false,"data":{}}"#, Err("garbage")),
        (500, r#"{"success":false,"data":{}}"#, Err("status")),
    ] {
        let (_fake, server) = server(move |_| (status, body.to_owned())).await;
        let kicked = server.kick(&session("live", "a", ID)).await;
        assert_eq!(kicked.map_err(|error| error.kind()), expected, "{status} {body}");
    }
}

fn body(action: &str, name: &str, id: &str) -> String {
    serde_json::json!({
        "id": id, "ip": "10.0.0.1:40010", "app": "live", "name": name, "query": {"name": "good", "id": "x"},
        "protocol": "rtmp", "createtime": 1, "endtime": 0, "inbytes": 0, "outbytes": 0, "filePath": "", "action": action,
    })
    .to_string()
}

#[test]
fn hooks_say_who_asks_who_began_and_who_is_gone() {
    let server = NodeMediaServer::new(&fake::config(Kind::NodeMediaServer, ""), &fake::limits()).unwrap();
    let read = |action: &str| fake::hook(&server, &body(action, "cam1", ID)).unwrap();
    let stream = StreamId::new("main", "live", "cam1");
    let publisher = crate::stream::Publisher::at(Some("10.0.0.1"));
    assert_eq!(read("prePublish"), Hook::Ask { stream, publisher: publisher.clone() });
    assert_eq!(read("postPublish"), Hook::Begun { session: session("live", "cam1", ID), publisher });
    let named = fake::config(Kind::NodeMediaServer, "account_param = 'name'\nkey_param = 'id'");
    let named = NodeMediaServer::new(&named, &fake::limits()).unwrap();
    let Hook::Ask { publisher, .. } = fake::hook(&named, &body("prePublish", "cam1", ID)).unwrap() else { panic!() };
    assert_eq!((publisher.account.as_deref(), publisher.key.as_deref()), (Some("good"), Some("x")));
    assert_eq!(read("donePublish"), Hook::PublishDone { session: session("live", "cam1", ID) });
    assert_eq!(read("prePlay"), Hook::Other);
    let whole = body("postPublish", "cam1", ID);
    for text in [
        String::new(),
        "{}".to_owned(),
        whole[..60].to_owned(),
        body("postPublish", "", ID),
        body("postPublish", "a", "a/b"),
        body("postPublish", "a", ""),
        whole.replace("\"app\":\"live\"", "\"app\":\"live\",\"app\":\"other\""),
    ] {
        assert_eq!(fake::hook(&server, &text).unwrap_err().kind(), "bad_hook", "{text}");
    }
    for action in ["prePublish", "postPublish"] {
        let climbing = body(action, "cam1", ID).replace("\"app\":\"live\"", "\"app\":\"live/../other\"");
        assert_eq!(fake::hook(&server, &climbing).unwrap_err().kind(), "unpullable", "{action}");
    }
    // Anything but 200 asks the publisher to leave.
    assert_eq!(server.reply(&Hook::Other, Admission::Allow).status, 200);
    assert_eq!(server.reply(&Hook::Other, Admission::Refuse).status, 403);
}

#[test]
fn streams_are_pulled_over_http() {
    let server = NodeMediaServer::new(&fake::config(Kind::NodeMediaServer, ""), &fake::limits()).unwrap();
    let pull = server.pull(&StreamId::new("main", "live", "cam1")).unwrap();
    assert_eq!((pull.protocol.word(), pull.url.as_str()), ("http-flv", "http://127.0.0.1:8000/live/cam1.flv"));
}
