//! Ant Media Server as its sources have it: what is asked of it, and what becomes of what it says and asks.

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session, shown};
use crate::clock::Timestamp;

const SINCE: &str = "1700000000123";

fn ant(fake: &Fake, more: &str) -> AntMedia {
    AntMedia::new(&fake.config(Kind::AntMedia, more), &fake::limits()).unwrap()
}

fn bare(more: &str) -> AntMedia {
    AntMedia::new(&fake::config(Kind::AntMedia, more), &fake::limits()).unwrap()
}

fn broadcast(id: &str, status: &str, since: i64, kind: &str) -> serde_json::Value {
    json!({ "streamId": id, "status": status, "playListStatus": null, "type": kind, "publishType": "RTMP", "name": null,
            "publish": true, "date": 1, "startTime": since, "speed": 1.0, "bitrate": 4_500_000, "rtmpURL": "rtmp://h/live/x" })
}

/// 51 broadcasts, and so two pages; each holds its name since [`SINCE`].
fn usual(asked: &Asked) -> (u16, String) {
    let (method, target) = asked.line.split_once(' ').unwrap();
    let live = |id: &str| broadcast(id, "broadcasting", 1_700_000_000_123, "liveStream");
    let said = match (method, target) {
        ("GET", "/live/rest/v2/broadcasts/list/0/50") => (0..50).map(|n| live(&format!("cam{n}"))).collect(),
        ("GET", "/live/rest/v2/broadcasts/list/50/50") => json!([
            live("last"),
            broadcast("over", "finished", 1, "liveStream"),
            broadcast("never", "created", 0, "liveStream"),
            broadcast("fetched", "broadcasting", 5, "streamSource"),
            broadcast("camera", "broadcasting", 5, "ipCamera"),
        ]),
        ("GET", "/live/rest/v2/broadcasts/cam1") => live("cam1"),
        ("GET", "/live/rest/v2/broadcasts/over") => broadcast("over", "finished", 1_700_000_000_123, "liveStream"),
        ("POST", "/live/rest/v2/broadcasts/cam1/stop") => json!({ "success": true, "message": null, "errorId": 0 }),
        _ => return (404, r#"{"success":false}"#.to_owned()),
    };
    (200, said.to_string())
}

#[tokio::test]
async fn lists_every_page_of_every_application_that_is_named() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let listed = ant(&fake, "apps = ['live']").list().await.unwrap();
    assert_eq!(listed.len(), 51, "what is fetched, over or not begun is not published");
    assert_eq!(shown(&listed)[50], format!("main/live/last {SINCE}"));
    let other = ant(&fake, "apps = ['live', 'a b']").list().await.unwrap_err();
    assert_eq!(other.kind(), "not_found");
    assert!(fake.lines().contains(&"GET /a%20b/rest/v2/broadcasts/list/0/50".to_owned()));
}

#[tokio::test]
async fn a_name_published_again_is_another_session() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = ant(&fake, "apps = ['live']");
    assert!(server.publishes(&session("live", "cam1", SINCE)).await.unwrap());
    for (name, id) in [("cam1", "1699999999999"), ("over", SINCE), ("unknown", SINCE)] {
        assert!(!server.publishes(&session("live", name, id)).await.unwrap(), "{name} {id}");
    }
    fake.lines();
    let before = session("live", "cam1", "1699999999999");
    assert_eq!(server.kick(&before).await.unwrap(), Kicked::NoSuchSession);
    assert!(fake.lines().iter().all(|line| line.starts_with("GET")), "nobody else is stopped");
    assert_eq!(server.kick(&session("live", "cam1", SINCE)).await.unwrap(), Kicked::Dropped);
    assert_eq!(fake.lines()[1], "POST /live/rest/v2/broadcasts/cam1/stop");
}

#[tokio::test]
async fn a_hostile_name_stays_one_step_of_the_address() {
    let fake = Fake::new(|asked| {
        let live = broadcast("", "broadcasting", 1_700_000_000_123, "liveStream");
        let names = hostile_names().into_iter().map(|name| (encoded(&name), name));
        let mut names = names.filter(|(step, _)| asked.line.contains(&format!("/broadcasts/{step}")));
        let mut live = live;
        live["streamId"] = names.next().map(|(_, name)| name).unwrap_or_default().into();
        Some((200, if asked.line.starts_with("GET") { live } else { json!({ "success": true }) }.to_string()))
    })
    .await;
    let server = ant(&fake, "");
    for name in hostile_names() {
        assert_eq!(server.kick(&session("li ve", &name, SINCE)).await.unwrap(), Kicked::Dropped, "{name}");
        assert_eq!(fake.lines()[1], format!("POST /li%20ve/rest/v2/broadcasts/{}/stop", encoded(&name)));
    }
    for (app, name, id) in [
        ("live", "..", SINCE),
        ("live", "", SINCE),
        ("..", "a", SINCE),
        ("live", "a", ""),
        ("live", "a", "-1"),
        ("live", "a", "1/../2"),
    ] {
        assert_eq!(server.kick(&session(app, name, id)).await.unwrap_err().kind(), "bad_session", "{app}/{name} {id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    let undated = broadcast("a", "broadcasting", 0, "liveStream").to_string();
    for (status, body, kind) in
        [(404, "<html>", "not_found"), (200, undated.as_str(), "garbage"), (200, "[]", "garbage")]
    {
        let fake = Fake::always(status, body).await;
        let answer = ant(&fake, "").publishes(&session("live", "a", SINCE)).await;
        assert_eq!(answer.unwrap_err().kind(), kind, "{status} {body}");
    }
    let live = broadcast("a", "broadcasting", 1_700_000_000_123, "liveStream").to_string();
    let fake = Fake::new(move |asked| {
        let refused = r#"{"success":false,"message":"x"}"#.to_owned();
        Some((200, if asked.line.starts_with("GET") { live.clone() } else { refused }))
    })
    .await;
    let refused = ant(&fake, "").kick(&session("live", "a", SINCE)).await.unwrap_err();
    assert_eq!(refused.kind(), "garbage", "it says no with a 200");
    fake::fails_like_the_others(Kind::AntMedia, "apps = ['live']", &session("live", "cam1", SINCE)).await;
}

#[tokio::test]
async fn the_secret_of_the_application_signs_and_is_not_sent() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let config = fake.signed_in(Kind::AntMedia, ":s3cret", "apps = ['live']");
    AntMedia::new(&config, &fake::limits()).unwrap().list().await.unwrap();
    for asked in fake.asked() {
        let token = asked.header("authorization").unwrap();
        let now = Clock::system().wall();
        assert!(jwt::verified(b"s3cret", token, now).is_some(), "{token}");
        assert_eq!(jwt::verified(b"s3cret", token, Timestamp::from_millis(now.as_micros() / 1000 + 600_000)), None);
    }
    ant(&fake, "apps = ['live']").list().await.unwrap();
    assert!(fake.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

fn body(app: &str, stream: &str, query: &str) -> String {
    json!({ "appName": app, "name": stream, "streamId": stream, "mode": "live", "queryParams": query }).to_string()
}

#[test]
fn a_question_names_the_stream_and_who_wants_it() {
    let server = bare("account_param = 'account'\nkey_param = 'key'");
    for name in hostile_names() {
        let asked = fake::hook(&server, &body("live", &name, "{key=a=b, account=7, x=1}")).unwrap();
        let publisher = Publisher { address: None, key: Some("a=b".into()), account: Some("7".into()) };
        assert_eq!(asked, Hook::Ask { stream: StreamId::new("main", "live", &name), publisher });
    }
    let nothing = fake::hook(&server, r#"{"appName":"live","name":"a","streamId":"a","mode":"live"}"#).unwrap();
    assert_eq!(nothing, Hook::Ask { stream: StreamId::new("main", "live", "a"), publisher: Publisher::default() });
    assert_eq!(fake::hook(&bare("apps = ['x']"), &body("live", "a", "{}")).unwrap(), Hook::Other);
}

#[test]
fn a_question_that_makes_no_sense_or_is_in_doubt_is_refused() {
    let server = bare("account_param = 'account'");
    for text in [
        String::new(),
        "{}".to_owned(),
        "streamId=a&appName=live".to_owned(),
        body("", "a", "{}"),
        body("live", "", "{}"),
        body("live", "a", "{x=1, account=7, account=8}"),
        body("live", "a", "{}").replace("\"appName\":\"live\"", "\"appName\":\"live\",\"appName\":\"other\""),
    ] {
        assert_eq!(fake::hook(&server, &text).unwrap_err().kind(), "bad_hook", "{text}");
    }
    for (app, name) in [("live", ".."), ("live", "."), ("..", "a")] {
        assert_eq!(fake::hook(&server, &body(app, name, "{}")).unwrap_err().kind(), "unpullable", "{app}/{name}");
    }
}

#[test]
fn only_a_200_lets_anybody_in() {
    let said = |answer| bare("").reply(&Hook::Other, answer).status;
    assert_eq!((said(Admission::Allow), said(Admission::Refuse)), (200, 403));
    let pull = bare("").pull(&StreamId::new("main", "live", "n#h")).unwrap();
    assert_eq!((pull.protocol.word(), &*pull.url), ("hls", "http://127.0.0.1:5080/live/streams/n%23h.m3u8"));
}
