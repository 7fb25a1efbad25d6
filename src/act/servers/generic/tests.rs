//! A server that is known by its configuration only, and names that try to be more than names.

use super::*;
use crate::act::servers::Kind;
use crate::act::servers::fake::{self, Fake, hostile_names, session};

const SECTION: &str = r#"
[http]
headers = { Authorization = "Bearer t" }
list = "GET /api/streams?all=1"
items = "/data/streams"
app = "/app"
stream = "/name"
session = "/id"
address = "/from/ip"
bytes = "/in"
kick = "POST /api/clients/{session}/kick?app={app}&name={stream}"
hook_event = "/action"
hook_publish = ["on_publish"]
hook_done = ["on_unpublish"]
hook_app = "/app"
hook_stream = "/stream"
hook_session = "/client_id"
hook_address = "/ip"
"#;

const STREAMS: &str = r#"{"data":{"streams":[{"app":"live","name":"a&b","id":17,"from":{"ip":"10.0.0.1"},"in":55},
    {"app":"other","name":"x","id":"s 1"}]}}"#;

fn generic(fake: &Fake, more: &str) -> Generic {
    let config = fake.config(Kind::Http, &format!("{SECTION}{more}"));
    assert_eq!(config.problems(), []);
    Generic::new(&config, &fake::limits()).unwrap()
}

#[tokio::test]
async fn lists_what_its_pointers_point_at() {
    let fake = Fake::always(200, STREAMS).await;
    let server = generic(&fake, "");
    let listed = server.list().await.unwrap();
    assert_eq!(listed[0].session, session("live", "a&b", "17"));
    assert_eq!((listed[0].publisher.address.as_deref(), listed[0].bytes_in), (Some("10.0.0.1"), Some(55)));
    assert_eq!(listed[1].session, session("other", "x", "s 1"));
    let asked = fake.asked();
    assert_eq!((&*asked[0].line, asked[0].header("authorization")), ("GET /api/streams?all=1", Some("Bearer t")));
    assert!(server.publishes(&session("live", "a&b", "17")).await.unwrap());
    assert!(!server.publishes(&session("live", "a&b", "18")).await.unwrap());
    let none = Fake::always(200, r#"{"data":{"streams":[]}}"#).await;
    assert_eq!(generic(&none, "").list().await.unwrap(), []);
    for body in [r#"{"data":{"streams":[{"app":"live","name":"a"}]}}"#, r#"{"data":{"streams":[{"id":1,"name":"a"}]}}"#]
    {
        let fake = Fake::always(200, body).await;
        assert_eq!(generic(&fake, "").list().await.unwrap_err().kind(), "garbage", "{body}");
    }
}

#[tokio::test]
async fn a_kick_is_the_template_with_names_in_it_and_nothing_else() {
    let fake = Fake::always(200, "").await;
    let server = generic(&fake, "kick_body = '{\"id\":\"{session}\",\"name\":\"{stream}\"}'");
    for name in hostile_names() {
        assert_eq!(server.kick(&session("live", &name, &name)).await.unwrap(), Kicked::Dropped);
        let asked = fake.asked();
        let written = link::encoded(&name);
        assert_eq!(asked[0].line, format!("POST /api/clients/{written}/kick?app=live&name={written}"));
        let body: Value = serde_json::from_str(&asked[0].body).unwrap();
        assert_eq!(body, serde_json::json!({ "id": name, "name": name }));
    }
    for id in ["", ".", ".."] {
        assert_eq!(server.kick(&session("live", "a", id)).await.unwrap_err().kind(), "bad_session", "{id}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());

    let form = generic(&fake, "kick_type = 'form'\nkick_body = 'name={stream}&force=1'");
    for name in hostile_names() {
        form.kick(&session("live", &name, "7")).await.unwrap();
        let asked = fake.asked();
        let fields: Vec<_> = form_urlencoded::parse(asked[0].body.as_bytes()).into_owned().collect();
        assert_eq!(fields, [("name".to_owned(), name), ("force".to_owned(), "1".to_owned())]);
        assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    }
}

#[tokio::test]
async fn where_only_the_name_can_be_kicked_the_session_is_looked_at_first() {
    let section = SECTION.replace("/{session}/kick?app={app}&name={stream}", "/{app}/{stream}");
    let fake =
        Fake::new(|asked| Some((200, if asked.line.starts_with("GET") { STREAMS.to_owned() } else { String::new() })))
            .await;
    let server = Generic::new(&fake.config(Kind::Http, &section), &fake::limits()).unwrap();
    assert_eq!(server.kick(&session("live", "a&b", "16")).await.unwrap(), Kicked::NoSuchSession);
    assert_eq!(fake.lines(), ["GET /api/streams?all=1"], "the name is somebody else's by now");
    assert_eq!(server.kick(&session("live", "a&b", "17")).await.unwrap(), Kicked::Dropped);
    assert_eq!(fake.lines()[1], "POST /api/clients/live/a%26b");
    fake::fails_like_the_others(Kind::Http, &section, &session("live", "a&b", "17")).await;
}

#[tokio::test]
async fn statuses_say_what_became_of_a_kick() {
    for (status, expected) in [
        (200, Ok(Kicked::Dropped)),
        (204, Ok(Kicked::Dropped)),
        (404, Ok(Kicked::NoSuchSession)),
        (410, Err("status")),
        (403, Err("forbidden")),
    ] {
        let fake = Fake::always(status, "").await;
        let kicked = generic(&fake, "").kick(&session("live", "a", "7")).await;
        assert_eq!(kicked.map_err(|error| error.kind()), expected, "{status}");
    }
    let fake = Fake::always(404, "").await;
    let kicked = generic(&fake, "gone = [410]").kick(&session("live", "a", "7")).await;
    assert_eq!(kicked.unwrap_err().kind(), "not_found");
}

#[tokio::test]
async fn hooks_are_read_as_json_and_as_forms() {
    let fake = Fake::always(200, "").await;
    let server = generic(&fake, "");
    let expected = |name: &str| session("live", name, "c1");
    for name in hostile_names() {
        let json = serde_json::json!({ "action": "on_publish", "app": "live", "stream": name, "client_id": "c1", "ip": "::1" });
        let asked = fake::hook(&server, &json.to_string()).unwrap();
        assert_eq!(asked, Hook::Publish { session: expected(&name), publisher: Publisher::at(Some("::1")) });
        let form = format!("action=on_unpublish&app=live&stream={}&client_id=c1", link::encoded(&name));
        let lie = "&action=on_publish&stream=good&client_id=c2&app=other";
        let done = fake::hook(&server, &format!("{form}{lie}")).unwrap();
        assert_eq!(done, Hook::PublishDone { session: expected(&name) }, "the first value wins");
    }
    let over_http = Generic::new(&fake.config(Kind::Http, &format!("pull = 'http://h'\n{SECTION}")), &fake::limits());
    let climbing = "action=on_publish&app=live/../other&stream=a&client_id=c1";
    assert_eq!(fake::hook(&over_http.unwrap(), climbing).unwrap_err().kind(), "unpullable");
    assert_eq!(fake::hook(&server, "action=on_play&app=live").unwrap(), Hook::Other);
    for wrong in [
        "",
        "{",
        "[1]",
        "action=on_publish&app=live&stream=a",
        "action=on_publish&app=live&client_id=c1",
        "{\"action\":{}}",
    ] {
        assert_eq!(fake::hook(&server, wrong).unwrap_err().kind(), "bad_hook", "{wrong}");
    }
    let bare = SECTION.lines().filter(|line| !line.starts_with("hook_session")).collect::<Vec<_>>().join("\n");
    let server = Generic::new(&fake.config(Kind::Http, &bare), &fake::limits()).unwrap();
    let asked = fake::hook(&server, "action=on_publish&app=live&stream=a").unwrap();
    assert_eq!(asked, Hook::Ask { stream: StreamId::new("main", "live", "a"), publisher: Publisher::default() });
    let none =
        Generic::new(&fake.config(Kind::Http, "[http]\nlist='GET /'\nkick='GET /{session}'"), &fake::limits()).unwrap();
    assert!(fake::hook(&none, "a=b").unwrap_err().to_string().contains("hook_stream"));
}

#[tokio::test]
async fn the_answer_is_what_the_configuration_says() {
    let fake = Fake::always(200, "").await;
    let said = |more: &str, answer| {
        let reply = generic(&fake, more).reply(&Hook::Other, answer);
        (reply.status, reply.body.into_owned(), reply.content_type.into_owned())
    };
    let text = "text/plain; charset=utf-8".to_owned();
    assert_eq!(said("", Admission::Allow), (200, String::new(), text.clone()));
    assert_eq!(said("", Admission::Refuse), (403, String::new(), text.clone()));
    let coded = "allow_body = '{\"code\":0}'\nrefuse_status = 200\nrefuse_body = '1'";
    assert_eq!(said(coded, Admission::Allow), (200, "{\"code\":0}".to_owned(), "application/json".to_owned()));
    assert_eq!(said(coded, Admission::Refuse), (200, "1".to_owned(), text));
}

#[test]
fn what_is_missing_or_dangerous_is_told_before_anything_starts() {
    let problems = |section: &str| {
        let problems = fake::config(Kind::Http, section).problems();
        problems.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(problems(SECTION), "");
    let bare = problems("");
    for key in ["list", "kick", "stream", "session"] {
        assert!(bare.contains(&format!("`server.http.{key}`: it is needed")), "{bare}");
    }
    for (from, to, said) in [
        ("GET /api/streams?all=1", "GET api", "`server.http.list`: its path"),
        ("GET /api/streams?all=1", "GET /api/{app}", "it names nobody"),
        ("/{session}/kick?app={app}&name={stream}", "", "would end everybody"),
        ("/{session}/kick?app={app}&name={stream}", "?app={app}", "would end everybody"),
        ("items = \"/data", "items = \"data", "JSON Pointer"),
        ("hook_publish = [\"on_publish\"]", "", "nothing it says asks"),
        ("headers = { Authorization = \"Bearer t\" }", "headers = { 'a b' = 'c' }", "cannot be sent"),
        ("hook_event", "refuse_status = 200\nhook_event", "the same words"),
        ("hook_event", "allow_status = 99\nhook_event", "no HTTP status"),
        ("hook_event", "kick_body = '{\"id\":{session}}'\nhook_event", "inside quotes"),
        ("hook_event", "kick_body = '{name}'\nhook_event", "`{name}` is nothing"),
    ] {
        let section = SECTION.replacen(from, to, 1);
        assert_ne!(section, SECTION);
        let found = problems(&section);
        assert!(found.contains(said) && found.lines().count() == 1, "{to}: {found}");
    }
    let shown = format!("{:?}", fake::config(Kind::Http, SECTION));
    assert!(shown.contains("Authorization") && !shown.contains("Bearer"), "{shown}");
}

#[tokio::test]
async fn who_publishes_is_where_the_configuration_says() {
    let entry = r#"{"data":{"streams":[{"app":"live","name":"a","id":1,"k":"abc","user":{"id":7}}]}}"#;
    let fake = Fake::always(200, entry).await;
    let more = "key = '/k'\naccount = '/user/id'\nhook_key = '/key'\nhook_account = '/account'";
    let server = generic(&fake, more);
    let listed = server.list().await.unwrap();
    let of = |publisher: &Publisher| (publisher.account.clone(), publisher.key.clone());
    assert_eq!(of(&listed[0].publisher), (Some("7".into()), Some("abc".into())));
    let form = "action=on_publish&app=live&stream=a&client_id=1&account=7&key=a%26b&account=8&key=c";
    let Hook::Publish { publisher, .. } = fake::hook(&server, form).unwrap() else { panic!() };
    assert_eq!(of(&publisher), (Some("7".into()), Some("a&b".into())), "the first value counts");
    let Hook::Publish { publisher, .. } =
        fake::hook(&server, "action=on_publish&app=live&stream=a&client_id=1&key=").unwrap()
    else {
        panic!()
    };
    assert_eq!(of(&publisher), (None, None));
}
