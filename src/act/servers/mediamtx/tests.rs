//! `MediaMTX` as its sources have it: what is asked of it, and what becomes of what it says and asks.

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Fake, hostile_names, session};
use crate::media_server::Admission;

const ID: &str = "8e71efcf-0fe9-4d2a-a2f0-6b0d3b1b9b7e";
const OTHER: &str = "11111111-2222-4333-8444-555555555555";

fn item(name: &str, kind: &str, id: &str) -> String {
    let source = if kind.is_empty() { "null".to_owned() } else { format!(r#"{{"type":"{kind}","id":"{id}"}}"#) };
    format!(
        r#"{{"name":"{name}","confName":"all_others","source":{source},"ready":true,"available":true,"online":true,
            "readyTime":"2026-08-22T10:00:00Z","tracks2":[{{"codec":"H264"}}],"inboundBytes":4711,"readers":[]}}"#
    )
}

fn page(count: usize, items: &[String]) -> String {
    format!(r#"{{"itemCount":{},"pageCount":{count},"items":[{}]}}"#, items.len(), items.join(","))
}

fn mtx(more: &str) -> MediaMtx {
    MediaMtx::new(&fake::config(Kind::MediaMtx, more), &fake::limits()).unwrap()
}

fn with(fake: &Fake, more: &str) -> MediaMtx {
    MediaMtx::new(&fake.config(Kind::MediaMtx, more), &fake::limits()).unwrap()
}

fn rtmp(app: &str, name: &str) -> Session {
    session(app, name, &format!("rtmpConn:{ID}"))
}

#[tokio::test]
async fn lists_publishers_of_every_page_and_nothing_that_is_pulled() {
    let fake = Fake::new(|asked| {
        let first = [item("live/cam1", "rtmpConn", ID), item("cam", "srtConn", OTHER), item("idle", "", "")];
        let second =
            [item("a/b/c", "webRTCSession", ID), item("proxy", "rtspSource", ""), item("pi", "rpiCameraSource", "")];
        let items = if asked.line.ends_with("page=0") { first.as_slice() } else { &second };
        Some((200, page(2, items)))
    })
    .await;
    let listed = with(&fake, "").list().await.unwrap();
    let shown: Vec<_> = listed.iter().map(|one| format!("{} {}", one.session.stream.full(), one.session.id)).collect();
    assert_eq!(
        shown,
        [
            format!("main/live/cam1 rtmpConn:{ID}"),
            format!("main//cam srtConn:{OTHER}"),
            format!("main/a/b/c webRTCSession:{ID}")
        ]
    );
    assert_eq!(listed[0].bytes_in, Some(4711));
    let lines = fake.lines();
    assert_eq!(lines, [0, 1].map(|page| format!("GET /v3/paths/list?itemsPerPage=1000&page={page}")));
    assert_eq!(with(&fake, "apps = ['live']").list().await.unwrap().len(), 1);
    let none = Fake::always(200, &page(0, &[])).await;
    assert_eq!(with(&none, "").list().await.unwrap(), []);
}

#[tokio::test]
async fn a_second_publisher_on_the_path_is_another_session() {
    let fake = Fake::always(200, &page(1, &[item("live/cam1", "rtmpConn", ID)])).await;
    let server = with(&fake, "");
    assert!(server.publishes(&rtmp("live", "cam1")).await.unwrap());
    for id in [format!("rtmpConn:{OTHER}"), format!("rtmpsConn:{ID}"), ID.to_owned()] {
        assert!(!server.publishes(&session("live", "cam1", &id)).await.unwrap(), "{id}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    for body in [page(1, &[item("a", "rtmpConn", "")]), page(1, &[item("a", "rtmpConn", "1/../2")]), page(1000, &[])] {
        let fake = Fake::always(200, &body).await;
        assert_eq!(with(&fake, "").list().await.unwrap_err().kind(), "garbage", "{body}");
    }
    fake::fails_like_the_others(Kind::MediaMtx, "", &rtmp("live", "cam1")).await;
}

#[tokio::test]
async fn a_kick_names_the_session_and_its_kind() {
    let fake = Fake::always(200, r#"{"status":"ok"}"#).await;
    let server = MediaMtx::new(&fake.with_user(Kind::MediaMtx, "us:pw"), &fake::limits()).unwrap();
    for name in hostile_names() {
        assert_eq!(server.kick(&rtmp("live", &name)).await.unwrap(), Kicked::Dropped);
        let asked = fake.asked();
        assert_eq!((asked.len(), &*asked[0].line), (1, &*format!("POST /v3/rtmpconns/kick/{ID}")));
        assert_eq!(asked[0].header("authorization"), Some("Basic dXM6cHc="));
    }
    for (kind, kick) in KICKS {
        server.kick(&session("live", "a", &format!("{kind}:{ID}"))).await.unwrap();
        assert_eq!(fake.lines(), [format!("POST /v3/{kick}/kick/{ID}")]);
    }
    for id in ["", ID, "rtmpConn:", "rtmpConn:x", &format!("hlsMuxer:{ID}"), &format!("rtmpConn:{ID}/../x")] {
        assert_eq!(server.kick(&session("live", "a", id)).await.unwrap_err().kind(), "bad_session", "{id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_session_that_is_gone_is_told_from_an_address_that_is_wrong() {
    let gone = Fake::always(404, r#"{"status":"error","error":"connection not found"}"#).await;
    assert_eq!(with(&gone, "").kick(&rtmp("live", "a")).await.unwrap(), Kicked::NoSuchSession);
    let wrong = Fake::always(404, "404 page not found").await;
    assert_eq!(with(&wrong, "").kick(&rtmp("live", "a")).await.unwrap_err().kind(), "not_found");
}

fn question(action: &str, path: &str, ip: &str, user: &str, password: &str) -> String {
    serde_json::json!({
        "ip": ip, "user": user, "password": password, "token": "", "action": action, "path": path, "protocol": "rtmp",
        "id": ID, "query": "path=good&action=read&ip=127.0.0.1", "userAgent": "x",
    })
    .to_string()
}

#[test]
fn who_publishes_is_read_of_the_query() {
    let server = mtx("account_param = 'path'\nkey_param = 'ip'");
    let asked = fake::hook(&server, &question("publish", "live/cam1", "10.0.0.1", "", "")).unwrap();
    let Hook::Ask { publisher, .. } = asked else { panic!("{asked:?}") };
    assert_eq!((publisher.account.as_deref(), publisher.key.as_deref()), (Some("good"), Some("127.0.0.1")));
    assert_eq!(publisher.address.as_deref(), Some("10.0.0.1"));
}

#[test]
fn the_question_decides_and_does_not_say_which_session_it_is() {
    let server = mtx("");
    for (path, app, name) in [("live/cam1", "live", "cam1"), ("a/b/c", "a/b", "c"), ("live/a&b#c", "live", "a&b#c")] {
        let hook = fake::hook(&server, &question("publish", path, "10.0.0.1", "", "")).unwrap();
        assert_eq!(
            hook,
            Hook::Ask { stream: StreamId::new("main", app, name), publisher: Publisher::at(Some("10.0.0.1")) }
        );
    }
    // What could not be pulled would be on the air unseen.
    let refused = fake::hook(&server, &question("publish", "cam", "10.0.0.1", "", "")).unwrap_err();
    assert!(refused.to_string().contains("two parts, such as live/cam1"), "{refused}");
    assert_eq!(fake::hook(&mtx("apps = ['x']"), &question("publish", "live/a", "::1", "", "")).unwrap(), Hook::Other);
    for (answer, status) in [(Admission::Allow, 200), (Admission::Refuse, 403)] {
        assert_eq!(server.reply(&Hook::Other, answer).status, status);
    }
}

#[test]
fn readers_pass_and_the_servers_own_interfaces_stay_shut() {
    let server = mtx("control = 'http://us:p%40w@10.0.0.9:9997'");
    for (action, ip, user, password, expected) in [
        ("read", "203.0.113.9", "", "", Hook::Other),
        ("playback", "203.0.113.9", "", "", Hook::Other),
        ("api", "127.0.0.1", "", "", Hook::Other),
        ("api", "::ffff:127.0.0.1", "", "", Hook::Other),
        ("api", "203.0.113.9", "us", "p@w", Hook::Other),
        ("api", "203.0.113.9", "", "", Hook::Forbidden),
        ("api", "203.0.113.9", "us", "p%40w", Hook::Forbidden),
        ("api", "203.0.113.9", "usp", "@w", Hook::Forbidden),
        ("metrics", "203.0.113.9", "", "", Hook::Forbidden),
        ("pprof", "nonsense", "", "", Hook::Forbidden),
    ] {
        let hook = fake::hook(&server, &question(action, "", ip, user, password)).unwrap();
        assert_eq!(hook, expected, "{action} {ip} {user}:{password}");
    }
    let hook = fake::hook(&mtx(""), &question("api", "", "203.0.113.9", "", "")).unwrap();
    assert_eq!(hook, Hook::Forbidden, "no password of ours is no password");
}

#[test]
fn what_its_commands_tell_names_the_session() {
    let server = mtx("");
    let form = |more: &str| format!("event=begun&path=live%2Fcam1&type=rtmpConn&id={ID}{more}");
    let begun = Hook::Begun { session: rtmp("live", "cam1"), publisher: Publisher::default() };
    assert_eq!(fake::hook(&server, &form("")).unwrap(), begun);
    // The first value of each field is the one that was written first.
    let lie = format!("&event=ended&path=good&type=srtConn&id={OTHER}");
    assert_eq!(fake::hook(&server, &form(&lie)).unwrap(), begun);
    let ended = form("").replace("begun", "ended");
    assert_eq!(fake::hook(&server, &ended).unwrap(), Hook::PublishDone { session: rtmp("live", "cam1") });
    let pulled = "event=begun&path=proxy&type=rtspSource&id=";
    assert_eq!(fake::hook(&server, pulled).unwrap(), Hook::Other);
    for wrong in [
        form("").replace("begun", "new"),
        form("").replace(ID, "7"),
        form("").replace("path", "paht"),
        "event=begun&path=a&type=rtmpConn".to_owned(),
        String::new(),
        "{}".to_owned(),
        "{\"action\":\"publish\"}".to_owned(),
        question("publish", "", "::1", "", ""),
    ] {
        assert_eq!(fake::hook(&server, &wrong).unwrap_err().kind(), "bad_hook", "{wrong}");
    }
}

#[test]
fn streams_are_pulled_by_their_path() {
    let url = |app: &str, name: &str| mtx("").pull(&StreamId::new("main", app, name)).unwrap().url;
    assert_eq!(url("a/b", "c"), "rtmp://127.0.0.1:1935/a/b/c");
    assert_eq!(mtx("").pull(&StreamId::new("main", "", "cam")).unwrap_err().kind(), "unpullable");
    for (base, app, name, expected) in [
        ("rtsp://h:8554", "", "cam", Ok("rtsp://h:8554/cam")),
        ("rtsp://h:8554", "a/b", "c d", Ok("rtsp://h:8554/a/b/c%20d")),
        ("srt://h:8890", "", "cam", Ok("srt://h:8890?streamid=read%3Acam")),
        ("srt://h:8890?latency=300", "a", "c d", Ok("srt://h:8890?latency=300&streamid=read%3Aa%2Fc%20d")),
        ("srt://h:8890", "a", "cam:user:password", Err("unpullable")),
    ] {
        let pull = mtx(&format!("pull = '{base}'")).pull(&StreamId::new("main", app, name));
        let pull = pull.as_ref().map(|pull| &*pull.url).map_err(ActError::kind);
        assert_eq!(pull, expected, "{base} {app} {name}");
    }
}
