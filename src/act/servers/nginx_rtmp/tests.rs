//! What nginx-rtmp lists and announces, hostile names and damaged answers included.

use super::*;
use crate::act::servers::{Kind, fake};

const STAT: &str = include_str!("stat_sample.xml");

fn server(apps: &[&str]) -> NginxRtmp {
    let config =
        Config { apps: apps.iter().map(|app| (*app).into()).collect(), ..Config::local("main", Kind::NginxRtmp) };
    NginxRtmp::new(&config, &act::Config::default()).unwrap()
}

fn parse(server: &NginxRtmp, body: &[u8]) -> Result<Hook, ActError> {
    server.parse_hook(HookRequest { headers: &reqwest::header::HeaderMap::new(), body })
}

fn hook(call: &str, client: u64, name: &str, query: &str) -> Vec<u8> {
    format!("app=live&flashver=FMLE&swfurl=&tcurl=rtmp://h/live&pageurl=&addr=10.0.0.1&clientid={client}&call={call}&name={name}&type=live{query}")
        .into_bytes()
}

fn published(server: &NginxRtmp, body: &[u8]) -> (String, String, String) {
    match parse(server, body).unwrap() {
        Hook::Publish { session, publisher } => {
            (session.stream.name.to_string(), session.id.to_string(), publisher.address.unwrap().to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_the_publishers_and_not_their_viewers() {
    let stat::Stat { pid, publishers: found } = stat::read(STAT).unwrap();
    assert_eq!(pid, 18308);
    let seen: Vec<_> = found.iter().map(|p| (p.app.as_str(), p.name.as_str(), p.client)).collect();
    assert_eq!(seen, [("live", "a&b", 1), ("live", "<x>\"y", 7), ("backstage", "plain", 9)]);
    assert_eq!(found[0].bytes_in, Some(55784));
    assert_eq!(found[0].address.as_deref(), Some("127.0.0.1"));
}

#[test]
fn a_text_cut_short_anywhere_is_refused_as_a_whole() {
    let whole = STAT.trim_end().len();
    for end in (0..whole).filter(|end| STAT.is_char_boundary(*end)) {
        assert!(stat::read(&STAT[..end]).is_err(), "{end} of {whole} bytes");
    }
}

#[test]
fn garbage_is_refused() {
    for text in [
        "",
        "ok",
        "<html><body>It works!</body></html>",
        "<rtmp>",
        "<rtmp></rtmp><rtmp></rtmp>",
        "<rtmp></nginx>",
        "<rtmp>&nbsp;</rtmp>",
        "<rtmp>&#0;</rtmp>",
        "<rtmp><server><application><live><stream><client><publishing/></client></stream></live></application></server></rtmp>",
        "<rtmp><server><application><live><stream><client><id>-1</id><publishing/></client></stream></live></application></server></rtmp>",
        &format!("<rtmp>{}", "<a>".repeat(100_000)),
    ] {
        assert!(stat::read(text).is_err(), "{}", text.get(..80).unwrap_or(text));
    }
}

#[test]
fn the_first_value_of_a_field_wins() {
    let server = server(&[]);
    let body = hook("publish", 24, "evil", "&name=good&app=other&addr=9.9.9.9&clientid=1&call=publish_done");
    assert_eq!(published(&server, &body), ("evil".into(), "24".into(), "10.0.0.1".into()));
}

#[test]
fn who_publishes_is_read_of_what_the_publisher_wrote_and_of_nothing_before() {
    let config = fake::config(Kind::NginxRtmp, "account_param = 'name'\nkey_param = 'key'");
    let server = NginxRtmp::new(&config, &act::Config::default()).unwrap();
    for (name, query, account, key) in [
        ("cam", "&name=7&key=a%26b&name=8", Some("7"), Some("a&b")),
        // A name that looks like the end of the server's own fields is encoded by the server, and ends nothing.
        ("cam%26type%3Dlive%26key%3Dforged", "&name=7", Some("7"), None),
        ("cam", "", None, None),
    ] {
        let Hook::Publish { publisher, .. } = parse(&server, &hook("publish", 24, name, query)).unwrap() else {
            panic!("{name}")
        };
        assert_eq!((publisher.account.as_deref(), publisher.key.as_deref()), (account, key), "{name}{query}");
        assert_eq!(publisher.address.as_deref(), Some("10.0.0.1"));
    }
}

#[test]
fn a_hostile_name_arrives_as_it_was_published() {
    let server = server(&[]);
    let long = "L".repeat(4096);
    for (encoded, name) in [
        ("a%26b", "a&b"),
        ("a%2520b", "a%20b"),
        ("n%23h", "n#h"),
        ("a%2Bb", "a+b"),
        ("new%0Aline", "new\nline"),
        ("sl/ash", "sl/ash"),
        ("type%26type=live%26z", "type&type=live&z"),
        ("%C3%A9", "é"),
        (&long, &long),
    ] {
        assert_eq!(published(&server, &hook("publish", 1, encoded, "")).0, name);
    }
}

#[test]
fn a_hook_that_makes_no_sense_is_refused() {
    let server = server(&[]);
    let (huge, long_id) = ("x".repeat(70_000), "9".repeat(40));
    for (body, said) in [
        (String::new(), "no `call`"),
        ("call=publish".into(), "no `app`"),
        ("app=live&call=publish&clientid=1".into(), "no `name`"),
        ("app=live&call=publish&clientid=1&name=".into(), "no `name`"),
        ("app=live&call=publish&name=a".into(), "clientid"),
        ("app=live&call=publish&name=a&clientid=x&clientid=7".into(), "clientid"),
        (format!("app=live&call=publish&name=a&clientid={long_id}"), "clientid"),
        ("app=live&call=publish&name=%FF&clientid=1".into(), "UTF-8"),
        (format!("app=live&call=publish&clientid=1&name={huge}"), "64 KiB"),
    ] {
        let error = parse(&server, body.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), "bad_hook");
        assert!(error.to_string().contains(said), "{error}");
    }
    parse(&server, &[0xff; 1000]).unwrap_err();
}

#[test]
fn hooks_that_are_not_ours_are_left_alone() {
    let server = server(&["live"]);
    assert_eq!(parse(&server, &hook("update_publish", 1, "a", "")).unwrap(), Hook::Other);
    assert_eq!(parse(&server, b"app=backstage&clientid=1&call=publish&name=a").unwrap(), Hook::Other);
    assert!(matches!(parse(&server, &hook("publish_done", 1, "a", "")).unwrap(), Hook::PublishDone { .. }));
}

#[test]
fn a_name_that_stat_blurs_is_known_from_the_hook() {
    let server = server(&[]);
    let found = |name: &str| stat::Publisher { app: "live".into(), name: name.into(), client: 8, ..Default::default() };
    let name = |server: &NginxRtmp| server.listed(found("  ")).session.stream.name.to_string();
    assert_eq!(name(&server), "  ", "never announced: as the server shows it");
    parse(&server, &hook("publish", 8, "%C3%A9", "")).unwrap();
    assert_eq!(name(&server), "é");
    assert_eq!(&*server.listed(found("else")).session.stream.name, "else", "another client with the same number");
    parse(&server, &hook("publish_done", 8, "%C3%A9", "")).unwrap();
    assert_eq!(name(&server), "  ");
    for client in 0..5000 {
        parse(&server, &hook("publish", client, "%C3%A9", "")).unwrap();
    }
    assert_eq!(server.names().len(), MOST_NAMES);
}

#[tokio::test]
async fn a_session_that_is_no_number_is_never_asked_for() {
    let server = server(&[]);
    for id in ["", "7&clientid=8", "7 ", "-1", "0x7", "٧", "99999999999999999999999"] {
        let session = Session { stream: StreamId::new("main", "live", "a"), id: id.into() };
        assert_eq!(server.kick(&session).await.unwrap_err().kind(), "bad_session", "{id}");
    }
}

#[test]
fn streams_are_pulled_under_their_own_name() {
    let pull = server(&[]).pull(&StreamId::new("main", "live", "a%20b&c")).unwrap();
    assert_eq!((pull.url.as_str(), pull.protocol.word()), ("rtmp://127.0.0.1:1935/live/a%20b&c", "rtmp"));
}

#[tokio::test]
async fn a_kick_names_the_client_and_nothing_that_a_stranger_chose() {
    let fake = fake::Fake::always(200, "1").await;
    let server = NginxRtmp::new(&fake.config(Kind::NginxRtmp, ""), &act::Config::default()).unwrap();
    for name in fake::hostile_names() {
        assert_eq!(server.kick(&fake::session("live", &name, "7")).await.unwrap(), Kicked::Dropped);
        assert_eq!(server.kick(&fake::session(&name, "a", "7")).await.unwrap(), Kicked::Dropped);
        let control = "POST /control/drop/publisher";
        let lines = fake.lines();
        assert_eq!(lines[0], format!("{control}?app=live&clientid=7"));
        assert!(lines[1] == format!("{control}?clientid=7") || name.starts_with("LL"), "{lines:?}");
    }
    let gone = fake::Fake::always(200, "0").await;
    let server = NginxRtmp::new(&gone.config(Kind::NginxRtmp, ""), &act::Config::default()).unwrap();
    assert_eq!(server.kick(&fake::session("live", "a", "7")).await.unwrap(), Kicked::NoSuchSession);
}

#[tokio::test]
async fn a_server_that_fails_is_told_as_with_the_others() {
    fake::fails_like_the_others(Kind::NginxRtmp, "", &fake::session("live", "a", "7")).await;
}
