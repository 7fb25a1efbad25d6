//! `LiveKit` as its protocol has it: what is asked of it, and what becomes of what it says.

use reqwest::header::HeaderMap;

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Asked, Fake, hostile_names, session, shown};

const ID: &str = "IN_7x3fd2a1:RS_9k2";

fn livekit(fake: &Fake, more: &str) -> LiveKit {
    LiveKit::new(&fake.signed_in(Kind::LiveKit, "devkey:s3%2Fcret", more), &fake::limits()).unwrap()
}

fn ingress(id: &str, room: &str, identity: &str, resource: &str, status: &str, input: &str) -> Value {
    json!({ "ingress_id": id, "name": "", "stream_key": "sk_1", "url": "rtmp://h/x", "input_type": input, "room_name": room,
            "participant_identity": identity, "participant_name": "", "reusable": true,
            "state": { "status": status, "error": "", "room_id": "RM_1", "started_at": "1700000000123456789",
                       "resource_id": resource, "tracks": [] } })
}

fn usual(asked: &Asked) -> (u16, String) {
    let asks_next = asked.body.contains("page_token");
    let said = match asked.line.as_str() {
        "POST /twirp/livekit.Ingress/ListIngress" if asks_next => json!({ "items": [
            ingress("IN_2", "party", "a&b", "RS_2", PUBLISHING, "WHIP_INPUT")] }),
        "POST /twirp/livekit.Ingress/ListIngress" => json!({ "next_page_token": { "token": "more" }, "items": [
            ingress("IN_7x3fd2a1", "party", "cam1", "RS_9k2", PUBLISHING, "RTMP_INPUT"),
            ingress("IN_3", "party", "idle", "", "ENDPOINT_INACTIVE", "RTMP_INPUT"),
            ingress("IN_4", "party", "fetched", "RS_4", PUBLISHING, FETCHED)] }),
        "POST /twirp/livekit.Ingress/UpdateIngress" => {
            ingress("IN_7x3fd2a1", "party", "cam1", "RS_9k2", "ENDPOINT_INACTIVE", "RTMP_INPUT")
        }
        _ => return (404, r#"{"code":"bad_route","msg":"x"}"#.to_owned()),
    };
    (200, said.to_string())
}

#[tokio::test]
async fn lists_who_publishes_with_a_token_that_may_do_just_that() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let listed = livekit(&fake, "").list().await.unwrap();
    assert_eq!(shown(&listed), [format!("main/party/cam1 {ID}"), "main/party/a&b IN_2:RS_2".to_owned()]);
    let publisher = &listed[0].publisher;
    assert_eq!((publisher.key.as_deref(), publisher.account.as_deref()), (Some("sk_1"), Some("cam1")));
    for asked in fake.asked() {
        let token = asked.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let claims = jwt::verified(b"s3/cret", token, Clock::system().wall()).unwrap();
        assert_eq!((&claims["iss"], &claims["video"]), (&json!("devkey"), &json!({ "ingressAdmin": true })));
    }
    assert_eq!(livekit(&fake, "apps = ['other']").list().await.unwrap(), []);
}

#[tokio::test]
async fn a_kick_shuts_the_ingress_of_one_session_and_only_while_it_is_that_one() {
    let fake = Fake::new(|asked| Some(usual(asked))).await;
    let server = livekit(&fake, "");
    assert_eq!(server.kick(&session("party", "cam1", ID)).await.unwrap(), Kicked::Dropped);
    let asked = fake.asked();
    let body: Value = serde_json::from_str(&asked.last().unwrap().body).unwrap();
    assert_eq!(body, json!({ "ingress_id": "IN_7x3fd2a1", "enabled": false }));
    for (name, id) in [("cam1", "IN_7x3fd2a1:RS_before"), ("other", ID), ("fetched", "IN_4:RS_4")] {
        let kicked = server.kick(&session("party", name, id)).await.unwrap();
        assert_eq!(kicked, Kicked::NoSuchSession, "{name} {id}");
        assert!(fake.lines().iter().all(|line| line.ends_with("ListIngress")), "nothing is shut");
    }
    for id in ["", "IN_7x3fd2a1", ":", "IN_1:", ":RS_1", "IN_1:RS/1", "IN_1\":RS_1", "IN_1:RS_1:RS_2", "é:é"] {
        assert_eq!(server.kick(&session("party", "cam1", id)).await.unwrap_err().kind(), "bad_session", "{id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hostile_name_is_never_sent_at_all() {
    let fake = Fake::new(|asked| {
        let items: Vec<_> = hostile_names()
            .iter()
            .map(|name| ingress("IN_7x3fd2a1", "party", name, "RS_9k2", PUBLISHING, "RTMP_INPUT"))
            .collect();
        let list = json!({ "items": items });
        Some((200, if asked.line.ends_with("ListIngress") { list } else { items[0].clone() }.to_string()))
    })
    .await;
    let server = livekit(&fake, "");
    for name in hostile_names() {
        assert_eq!(server.kick(&session("party", &name, ID)).await.unwrap(), Kicked::Dropped, "{name}");
        assert!(fake.asked().iter().all(|asked| !asked.body.contains("party") && asked.line.is_ascii()));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_relied_on_is_an_error() {
    for (id, room, identity, resource) in [
        ("", "party", "a", "RS_1"),
        ("IN/1", "party", "a", "RS_1"),
        ("IN_1", "", "a", "RS_1"),
        ("IN_1", "party", "", "RS_1"),
        ("IN_1", "party", "a", ""),
    ] {
        let items = json!({ "items": [ingress(id, room, identity, resource, PUBLISHING, "RTMP_INPUT")] }).to_string();
        let fake = Fake::always(200, &items).await;
        assert_eq!(livekit(&fake, "").list().await.unwrap_err().kind(), "garbage", "{items}");
    }
    let other = ingress("IN_9", "party", "cam1", "RS_9k2", PUBLISHING, "RTMP_INPUT");
    let fake = Fake::new(move |asked| {
        Some(if asked.line.ends_with("ListIngress") { usual(asked) } else { (200, other.to_string()) })
    })
    .await;
    let refused = livekit(&fake, "").kick(&session("party", "cam1", ID)).await.unwrap_err();
    assert_eq!(refused.kind(), "garbage", "another one was shut than was asked for");
    fake::fails_like_the_others(Kind::LiveKit, "", &session("party", "cam1", ID)).await;
}

/// What a webhook is read as that is signed with `secret` by `key`, for `signed` instead of itself if given.
fn told(server: &LiveKit, body: &str, key: &str, secret: &[u8], signed: Option<&str>) -> Result<Hook, ActError> {
    let now = jwt::seconds(Clock::system().wall());
    let digest = BASE64.encode(Sha256::digest(signed.unwrap_or(body)));
    let token = jwt::sign(secret, &json!({ "iss": key, "exp": now + 300, "sha256": digest })).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", token.parse().unwrap());
    server.parse_hook(HookRequest { headers: &headers, body: body.as_bytes() })
}

fn event(word: &str, identity: &str, resource: &str) -> String {
    json!({ "event": word, "id": "EV_1", "createdAt": "1700000000", "ingressInfo": {
        "ingressId": "IN_7x3fd2a1", "streamKey": "sk_1", "inputType": "RTMP_INPUT", "roomName": "party",
        "participantIdentity": identity, "state": { "status": PUBLISHING, "resourceId": resource } } })
    .to_string()
}

#[tokio::test]
async fn webhooks_tell_who_began_and_who_is_gone() {
    let fake = Fake::always(200, "").await;
    let server = livekit(&fake, "");
    let hook = |body: &str| told(&server, body, "devkey", b"s3/cret", None).unwrap();
    for name in hostile_names() {
        let publisher = Publisher { address: None, key: Some("sk_1".into()), account: Some(name.as_str().into()) };
        let begun = Hook::Begun { session: session("party", &name, ID), publisher };
        assert_eq!(hook(&event("ingress_started", &name, "RS_9k2")), begun);
        let gone = Hook::PublishDone { session: session("party", &name, ID) };
        assert_eq!(hook(&event("ingress_ended", &name, "RS_9k2")), gone);
    }
    assert_eq!(hook(&event("track_published", "a", "RS_9k2")), Hook::Other);
    assert_eq!(hook(&event("ingress_started", "a", "")), Hook::Other, "the list tells who that is");
    assert_eq!(hook(&event("ingress_started", "a", "R/1")), Hook::Other);
}

#[tokio::test]
async fn only_webhooks_that_it_signed_are_believed() {
    let fake = Fake::always(200, "").await;
    let server = livekit(&fake, "");
    let body = event("ingress_ended", "cam1", "RS_9k2");
    assert!(told(&server, &body, "devkey", b"s3/cret", None).is_ok());
    for (key, secret, signed) in [
        ("devkey", b"other".as_slice(), None),
        ("other", b"s3/cret", None),
        ("devkey", b"s3/cret", Some("another body")),
        ("devkey", b"", None),
    ] {
        let refused = told(&server, &body, key, secret, signed).unwrap_err();
        assert_eq!(refused.kind(), "bad_hook", "{key} {signed:?}");
    }
    assert_eq!(fake::hook(&server, &body).unwrap_err().kind(), "bad_hook", "not signed at all");
    for wrong in ["", "{}", "event=ingress_ended"] {
        assert_eq!(told(&server, wrong, "devkey", b"s3/cret", None).unwrap_err().kind(), "bad_hook", "{wrong}");
    }
}

#[tokio::test]
async fn what_can_be_pulled_is_for_the_operator_to_say() {
    let fake = Fake::always(200, "").await;
    let pull = livekit(&fake, "pull = 'http://egress:8080/flv'").pull(&StreamId::new("main", "party", "n#h")).unwrap();
    assert_eq!((pull.protocol.word(), &*pull.url), ("http-flv", "http://egress:8080/flv/party/n%23h.flv"));
}
