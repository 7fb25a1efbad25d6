//! Deliveries as a receiver sees them: signed, the same bytes every time, and tried again only where that helps.

use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::act;
use crate::decision::{Decision, SetAside};
use crate::stream::{Session, StreamId};

/// The example of the specification's own libraries.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn config(url: &str) -> Config {
    toml::from_str(&format!("name = \"ops\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\nallow_private = true")).unwrap()
}

fn decision() -> Decision {
    Decision {
        id: Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001),
        policy: "0123".into(),
        ..Decision::new(
            Session { stream: StreamId::new("main", "live", "a&\"b"), id: "17".into() },
            Verdict::Cut,
            "known",
            Timestamp::from_millis(1_552_616_400_123),
        )
    }
}

/// Answers one request with `answer` and gives the request, headers in lower case.
async fn receiver(answer: &'static str) -> (String, tokio::task::JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in?key=s3cret", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "closed early");
            let text = String::from_utf8(bytes.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_lowercase();
            let length: usize = header(&head, "content-length").parse().unwrap();
            if body.len() == length {
                socket.write_all(answer.as_bytes()).await.unwrap();
                return (head, body.to_owned());
            }
        }
    });
    (url, served)
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

async fn deliver(answer: &'static str) -> (Result<String, ActError>, String, String) {
    let (url, served) = receiver(answer).await;
    let webhook = Webhook::new(&config(&url), &act::Config::default()).unwrap();
    let result = webhook
        .deliver(Uuid::nil(), &event::decided(&decision(), None, "/test"), Timestamp::from_millis(1_700_000_000_900))
        .await;
    let (head, body) = served.await.unwrap();
    (result, head, body)
}

#[tokio::test]
async fn the_receiver_can_check_who_sent_it() {
    let (result, head, received) = deliver("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(result.unwrap(), "HTTP 202");
    assert_eq!(received, event::decided(&decision(), None, "/test"));
    assert_eq!(header(&head, "content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(header(&head, "webhook-timestamp"), "1700000000");
    assert!(head.starts_with("post /in?key=s3cret http/1.1"));

    // Computed by another program. The header was lowered to be found: compare the same way.
    let python = "import base64,hashlib,hmac,sys; k=base64.b64decode(sys.argv[1]); \
                  print('v1,'+base64.b64encode(hmac.new(k,sys.argv[2].encode(),hashlib.sha256).digest()).decode())";
    let signed = format!("{}.{}.{received}", Uuid::nil(), 1_700_000_000);
    let output = Command::new("python3")
        .args(["-c", python, SECRET.strip_prefix("whsec_").unwrap(), &signed])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let expected = String::from_utf8(output.stdout).unwrap().trim().to_lowercase();
    assert_eq!(header(&head, "webhook-signature"), expected);
}

#[test]
fn the_event_is_a_cloud_event_and_always_the_same_bytes() {
    let text = event::decided(&decision(), None, "/sluicegate/edge-1");
    assert_eq!(text, event::decided(&decision(), None, "/sluicegate/edge-1"));
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "org.sluicegate.decision.cut");
    assert_eq!(event["id"], "01970000-0000-7000-8000-000000000001");
    assert_eq!(event["source"], "/sluicegate/edge-1");
    assert_eq!(event["time"], "2019-03-15T02:20:00.123Z");
    assert_eq!(event["subject"], "main/live/a&\"b");
    let decided: Decision = serde_json::from_value(event["data"]["decision"].clone()).unwrap();
    assert_eq!(decided, decision());
}

#[test]
fn the_event_of_a_signal_set_aside_says_which_why_and_in_which_streams() {
    let set_aside = SetAside {
        bank: "demo".into(),
        signal: 17,
        provenance: "clip.mp4".into(),
        streams: vec![StreamId::new("main", "live", "a"), StreamId::new("main", "live", "b")],
        within: Duration::from_mins(10),
    };
    let text = event::signal_quarantined(
        Uuid::from_u128(7),
        &set_aside,
        Timestamp::from_millis(1_552_616_400_123),
        "/sluicegate",
    );
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["type"], "org.sluicegate.signal.quarantined");
    assert_eq!((&event["subject"], &event["time"]), (&"demo/17".into(), &"2019-03-15T02:20:00.123Z".into()));
    let data = serde_json::json!({
        "bank": "demo", "signal": 17, "provenance": "clip.mp4", "streams": ["main/live/a", "main/live/b"],
        "within_seconds": 600.0,
    });
    assert_eq!(event["data"], data);
}

#[tokio::test]
async fn what_the_answer_means() {
    for (answer, kind, retryable, wait) in [
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "gone", false, None),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "not_delivered", true, None),
        ("HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n", "not_delivered", true, Some(120)),
        (
            "HTTP/1.1 429 Slow\r\nretry-after: 99999999\r\ncontent-length: 0\r\n\r\n",
            "not_delivered",
            true,
            Some(86_400),
        ),
        (
            "HTTP/1.1 429 Slow\r\nretry-after: Tue, 14 Nov 2023 22:14:20 GMT\r\ncontent-length: 0\r\n\r\n",
            "not_delivered",
            true,
            Some(59),
        ),
        ("HTTP/1.1 429 Slow\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n", "not_delivered", true, None),
        (
            "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
            "not_delivered",
            true,
            None,
        ),
        ("not HTTP at all\r\n\r\n", "not_delivered", true, None),
    ] {
        let error = deliver(answer).await.0.unwrap_err();
        let seen = (error.kind(), error.is_retryable(), error.retry_after().map(|wait| wait.as_secs()));
        assert_eq!(seen, (kind, retryable, wait), "{answer}");
        let message = error.to_string();
        assert!(message.contains("`ops`") && !message.contains("s3cret"), "{message}");
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_that_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let config = config(&url);
    let common = act::Config { delivery_timeout: Duration::from_millis(200), ..act::Config::default() };
    let webhook = Webhook::new(&config, &common).unwrap();
    let late = webhook.deliver(Uuid::nil(), "{}", Timestamp::ZERO).await.unwrap_err().to_string();
    assert!(late.contains("no answer in time"), "{late}");
    drop(listener);
    let refused = webhook.deliver(Uuid::nil(), "{}", Timestamp::ZERO).await.unwrap_err().to_string();
    assert!(refused.contains("refused"), "{refused}");
}

#[test]
fn a_secret_is_found_where_it_is_said_to_be_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let made = |lines: &str| {
        let config: Config =
            toml::from_str(&format!("name = \"ops\"\nurl = \"http://h/?key=s3cret\"\n{lines}")).unwrap();
        let shown = format!("{:?}", config.secret);
        assert!(!shown.contains("C2FV"), "{shown}");
        Webhook::new(&config, &act::Config::default())
    };
    let webhook = made(&format!("secret_file = {file:?}")).unwrap();
    assert_eq!(webhook.keys.sign("id", 1, "{}"), Keys::parse(SECRET).unwrap().sign("id", 1, "{}"));
    assert_eq!(format!("{webhook:?}"), "Webhook { name: \"ops\", at: \"http://h\", .. }");
    assert_eq!(
        [Topic::Watch, Topic::Hold, Topic::Cut, Topic::SignalQuarantined].map(|topic| webhook.wants(topic)),
        [false, true, true, true]
    );

    for (lines, said) in [
        ("", "none is set"),
        ("secret = \"whsec_AAAA\"\nsecret_env = \"HOME\"", "more than one"),
        ("secret = \"whsec_C2FV*\"", "not base64"),
        ("secret = \"whsec_C2FV\"", "24 to 64"),
        ("secret_env = \"SLUICEGATE_NO_SUCH_VARIABLE\"", "SLUICEGATE_NO_SUCH_VARIABLE"),
        ("secret_file = \"/no/such/file\"", "/no/such/file"),
    ] {
        let message = made(lines).unwrap_err().to_string();
        assert!(message.contains(said) && message.contains("`ops`") && !message.contains("C2FV"), "{lines}: {message}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_public() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let made = |host: &str| {
        let config: Config =
            toml::from_str(&format!("name = \"ops\"\nurl = \"http://{host}:{port}/\"\nsecret = \"{SECRET}\"")).unwrap();
        (config.problems().len(), Webhook::new(&config, &act::Config::default()))
    };
    for written in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"] {
        let (problems, webhook) = made(written);
        assert_eq!((problems, webhook.unwrap_err().kind()), (1, "private_address"), "{written}");
    }
    // A name is found out when it is looked up.
    let (problems, webhook) = made("localhost");
    assert_eq!(problems, 0);
    let error = webhook.unwrap().deliver(Uuid::nil(), "{}", Timestamp::ZERO).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), ("private_address", true));
    assert!(error.to_string().contains("allow_private"), "{error}");
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("connected all the same"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_sent_nothing_until_it_takes_a_test() {
    let (url, served) = receiver("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let webhook = Webhook::new(&config(&url), &act::Config::default()).unwrap();
    let (clone, mut gone) = (webhook.clone(), webhook.watch_gone());
    assert_eq!(webhook.deliver(Uuid::nil(), "{}", Timestamp::ZERO).await.unwrap_err().kind(), "gone");
    served.await.unwrap();
    assert!(gone.has_changed().unwrap() && *gone.borrow_and_update() && clone.is_gone());
    // Nobody listens: had it been asked, the error would be another.
    assert_eq!(clone.deliver(Uuid::nil(), "{}", Timestamp::ZERO).await.unwrap_err().kind(), "gone");

    let (url, served) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let back = Webhook { url: url.parse().unwrap(), ..webhook };
    assert_eq!(back.test("/sluicegate", Timestamp::from_millis(1_700_000_000_000)).await.unwrap(), "HTTP 204");
    assert!(!clone.is_gone());
    let (head, body) = served.await.unwrap();
    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(event["type"], "org.sluicegate.webhook.test");
    assert_eq!(header(&head, "webhook-id"), event["id"]);
}
