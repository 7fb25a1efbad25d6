//! The interface over real sockets, in front of a backend that is a handful of values.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::clock::Timestamp;
use crate::decision::{Actor, Decision, Deny, DenyBy, Outcome, Verdict};
use crate::media_server::{Admission, Reply};
use crate::stream::{Attention, Session, SessionId, StreamId, StreamState, UninspectableReason};

const DECISION: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const TOKEN: &str = "a-token-that-is-long-enough";

struct Fake {
    ready: Result<(), String>,
    events: broadcast::Sender<Event>,
    ordered: Mutex<Vec<Order>>,
    released: Mutex<Vec<(Uuid, Actor)>>,
    asked: AtomicUsize,
    stuck: Notify,
}

fn session() -> Session {
    Session { stream: StreamId::new("main", "live", "key"), id: SessionId::from("7") }
}

fn the_decision() -> Decision {
    Decision {
        id: DECISION,
        policy: "00".into(),
        ..Decision::new(session(), Verdict::Cut, "known", Timestamp::from_millis(9))
    }
}

#[async_trait]
impl Backend for Fake {
    async fn hook(
        &self,
        server: &str,
        token: Option<&str>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, HookError> {
        if token.is_some_and(|token| token != TOKEN) {
            return Err(HookError::Stranger);
        }
        match (server, body.as_ref()) {
            ("main", b"call=publish&name=good") => Ok(Reply::json(200, "{\"code\":0}")),
            ("main", b"call=publish&name=denied") => Ok(Reply::json(403, "{\"code\":1}")),
            ("main", b"signed") => Ok(Reply {
                status: 200,
                content_type: "text/plain".into(),
                body: headers["x-signature"].to_str().unwrap().to_owned().into(),
            }),
            ("main", b"never") => {
                self.stuck.notify_one();
                std::future::pending().await
            }
            ("main", _) => Err(HookError::Bad("`call` is missing".to_owned())),
            _ => Err(HookError::NotConfigured),
        }
    }

    fn streams(&self) -> Vec<StreamView> {
        vec![StreamView {
            stream: session().stream.full(),
            session: session().id,
            state: StreamState::Uninspectable(UninspectableReason::NoVideo),
            since: Timestamp::from_millis(1),
            class: None,
            attention: Attention::Calm,
            pictures_inspected: 0,
            last_inspected: None,
        }]
    }

    async fn decisions(&self, limit: usize) -> Result<Vec<Decision>, BackendError> {
        self.asked.store(limit, Ordering::Relaxed);
        Ok(vec![the_decision()])
    }

    async fn decision(&self, id: Uuid) -> Result<Option<DecisionView>, BackendError> {
        let attempt = Attempt {
            began: Timestamp::from_millis(10),
            ended: Timestamp::from_millis(12),
            outcome: Outcome::Done { detail: "no longer listed".to_owned() },
        };
        let kick = ActionView { id: Uuid::nil(), action: "kick".to_owned(), attempts: vec![attempt] };
        Ok((id == DECISION).then(|| DecisionView { decision: the_decision(), ended: None, actions: vec![kick] }))
    }

    async fn denies(&self) -> Result<Vec<Deny>, BackendError> {
        Err(BackendError("cannot read the ledger".to_owned()))
    }

    async fn order(&self, order: Order) -> Result<Vec<Decision>, OrderError> {
        if &*order.stream.server != "main" {
            return Err(OrderError::NoSuchServer);
        }
        self.ordered.lock().unwrap().push(order);
        Ok(vec![the_decision()])
    }

    async fn release(&self, decision: Uuid, by: Actor) -> Result<bool, BackendError> {
        self.released.lock().unwrap().push((decision, by));
        Ok(decision == DECISION)
    }

    async fn timeline(&self, id: Uuid) -> Result<Option<TimelineView>, BackendError> {
        let view = TimelineView { decision: the_decision(), timeline: Vec::new(), policy: Some("[policy]".to_owned()) };
        Ok((id == DECISION).then_some(view))
    }

    async fn breaker(&self) -> Result<BreakerView, BackendError> {
        Ok(BreakerView::closed())
    }

    async fn close_breaker(&self, _: Actor) -> Result<BreakerView, BackendError> {
        Ok(BreakerView { open: true, ..BreakerView::closed() })
    }

    fn metrics(&self) -> String {
        "sluicegate_build_info 1\n".to_owned()
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.clone()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

struct Served {
    at: String,
    client: Client,
    backend: Arc<Fake>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ApiError>>,
}

async fn serve_with(config: &Config, ready: Result<(), String>) -> Served {
    // reqwest wants a provider even where it speaks plain HTTP; a second test installs it in vain.
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..config.clone() };
    let listener = bind(&config).await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let backend = Arc::new(Fake {
        ready,
        events: broadcast::channel(4).0,
        ordered: Mutex::default(),
        released: Mutex::default(),
        asked: AtomicUsize::default(),
        stuck: Notify::new(),
    });
    let (stop, stopped) = oneshot::channel();
    let served = backend.clone();
    let ended = tokio::spawn(async move {
        serve(listener, &config, served, async {
            stopped.await.ok();
        })
        .await
    });
    Served { at, client: Client::builder().no_proxy().build().unwrap(), backend, stop, ended }
}

async fn served() -> Served {
    serve_with(&Config::default(), Ok(())).await
}

impl Served {
    async fn ask(&self, method: Method, path: &str, body: &'static str) -> (StatusCode, String) {
        let response = self.client.request(method, format!("{}{path}", self.at)).body(body).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, body) = self.ask(Method::GET, path, "").await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.at)).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn follow(&self) -> Response {
        self.client.get(format!("{}/v1/events", self.at)).send().await.unwrap()
    }

    fn happens(&self, happening: Happening) {
        let event = Event { at: Timestamp::from_millis(3), stream: Some("main/live/key".into()), happening };
        self.backend.events.send(event).unwrap();
    }
}

/// Reads frames until there are `count`: `(event, data)`.
async fn frames(response: &mut Response, count: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    text.split_terminator("\n\n")
        .map(|frame| {
            let (event, data) = frame.split_once('\n').unwrap();
            (event.replace("event: ", ""), serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_hook_is_answered_as_its_server_wants_it() {
    let served = served().await;
    let (_, said) = served.ask(Method::POST, "/hooks/main", "call=publish&name=good").await;
    assert_eq!(said, "{\"code\":0}");
    let signed = served.client.post(format!("{}/hooks/main", served.at)).header("x-signature", "abc").body("signed");
    let answer = signed.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert_eq!(answer.text().await.unwrap(), "abc", "a signature reaches whoever can check it");
    for (server, body, status) in [
        ("main", "call=publish&name=good", 200),
        ("main", "call=publish&name=denied", 403),
        ("main", "", 400),
        ("other", "call=publish&name=good", 404),
    ] {
        let (answered, _) = served.ask(Method::POST, &format!("/hooks/{server}"), body).await;
        assert_eq!(answered, status, "{server} {body}");
    }
    assert_eq!(served.ask(Method::GET, "/hooks/main", "").await.0, 405);
}

#[tokio::test]
async fn a_body_of_64_kib_is_read_and_a_longer_one_is_not() {
    let served = served().await;
    for (length, status) in [(64 * 1024, 400), (64 * 1024 + 1, 413)] {
        let sent = served.client.post(format!("{}/hooks/main", served.at)).body("x".repeat(length)).send().await;
        assert_eq!(sent.unwrap().status(), status, "{length}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_open_to_tools() {
    let served = serve_with(&Config::default(), Err("the ledger is not open".to_owned())).await;
    assert_eq!(served.ask(Method::GET, "/healthz", "").await, (StatusCode::OK, "ok\n".to_owned()));
    let (status, body) = served.get("/readyz").await;
    assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &"the ledger is not open".into()));
    let metrics = served.client.get(format!("{}/metrics", served.at)).send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(metrics.text().await.unwrap().contains("sluicegate_build_info"));
}

#[tokio::test]
async fn the_control_interface_gives_what_the_backend_knows() {
    let served = served().await;

    let (_, streams) = served.get("/v1/streams").await;
    assert_eq!(streams[0]["stream"], "main/live/key");
    assert_eq!((&streams[0]["state"], &streams[0]["reason"]), (&"uninspectable".into(), &"no_video".into()));

    let (_, decisions) = served.get("/v1/decisions?limit=5").await;
    assert_eq!(decisions[0]["id"], DECISION.to_string());
    assert_eq!(served.backend.asked.load(Ordering::Relaxed), 5);

    let (_, decision) = served.get(&format!("/v1/decisions/{DECISION}")).await;
    assert_eq!(decision["verdict"], "cut");
    assert_eq!(decision["actions"][0]["attempts"][0]["outcome"], "done");

    let (_, timeline) = served.get(&format!("/v1/decisions/{DECISION}/timeline")).await;
    assert_eq!((&timeline["decision"]["verdict"], &timeline["policy"]), (&"cut".into(), &"[policy]".into()));
    assert_eq!(served.get("/v1/breaker").await.1["open"], false);
}

#[tokio::test]
async fn who_orders_something_says_who_and_why() {
    let served = served().await;
    let stream = json!({ "server": "main", "app": "live", "name": "a/b" });
    let cut = json!({ "stream": stream, "verdict": "cut", "by": "ann", "reason": " court order\n", "for_seconds": 60,
        "deny": ["name", "account"] });
    let (status, made) = served.post("/v1/decisions", &cut).await;
    assert_eq!((status, &made[0]["verdict"]), (StatusCode::CREATED, &"cut".into()));
    let ann = Actor::Operator { name: "ann".into(), reason: "court order".into() };
    let expected = Order {
        stream: StreamId::new("main", "live", "a/b"),
        verdict: Verdict::Cut,
        actor: ann.clone(),
        lasts: Some(Duration::from_secs(60)),
        deny: vec![DenyBy::Name, DenyBy::Account],
    };
    assert_eq!(*served.backend.ordered.lock().unwrap(), [expected]);

    let why = json!({ "by": "ann", "reason": "court order" });
    let (status, _) = served.post(&format!("/v1/decisions/{DECISION}/release"), &why).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(*served.backend.released.lock().unwrap(), [(DECISION, ann)]);
    assert_eq!(served.post("/v1/breaker/close", &why).await.1["open"], true, "as it was");

    let with = |key: &str, value: Value| {
        let mut order = cut.clone();
        order[key] = value;
        order
    };
    let long = "x".repeat(2001);
    for (order, story) in [
        (with("verdict", json!("watch")), "a verdict that nothing follows from"),
        (with("verdict", json!("shoot")), "no verdict"),
        (with("reason", json!("  ")), "no reason"),
        (with("reason", json!(long)), "too long a reason"),
        (with("by", json!("")), "nobody"),
        (with("for_seconds", json!(0)), "no time"),
        (with("deny", json!(["face"])), "nothing that is known"),
        (with("severity", json!(1)), "something unheard of"),
        (with("stream", json!("main/live/a")), "a name in one piece"),
        (with("stream", json!({ "server": "other", "app": "live", "name": "a" })), "no such server"),
        (json!({}), "nothing"),
    ] {
        let (status, answer) = served.post("/v1/decisions", &order).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{story}");
        assert!(answer["error"].is_string() && answer["next"].is_string(), "{story}: {answer}");
    }
    assert_eq!(served.backend.ordered.lock().unwrap().len(), 1, "and nothing of it was ordered");
}

#[tokio::test]
async fn every_refusal_says_what_happened_and_what_to_do() {
    let served = served().await;
    let nobody = Uuid::nil();
    for (method, path, status) in [
        (Method::GET, "/v1/nothing".to_owned(), 404),
        (Method::POST, "/v1/streams".to_owned(), 405),
        (Method::GET, "/v1/decisions?limit=0".to_owned(), 400),
        (Method::GET, "/v1/decisions?limit=1001".to_owned(), 400),
        (Method::GET, "/v1/decisions?limt=5".to_owned(), 400),
        (Method::GET, format!("/v1/decisions/{nobody}"), 404),
        (Method::GET, "/v1/decisions/none".to_owned(), 404),
        (Method::GET, "/v1/denies".to_owned(), 503),
        (Method::POST, format!("/v1/decisions/{nobody}/release"), 400),
        (Method::GET, format!("/v1/decisions/{nobody}/timeline"), 404),
    ] {
        let (answered, body) = served.ask(method.clone(), &path, "").await;
        assert_eq!(answered, status, "{method} {path}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body["error"].is_string() && body["next"].is_string(), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn pages_of_another_origin_reach_neither_control_nor_hooks() {
    let served = served().await;
    for (method, path) in [(Method::POST, "/v1/decisions"), (Method::GET, "/v1/streams"), (Method::POST, "/hooks/main")]
    {
        for (header, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
            let request = served.client.request(method.clone(), format!("{}{path}", served.at)).header(header, value);
            assert_eq!(request.send().await.unwrap().status(), 403, "{method} {path} {header}");
        }
    }
}

#[tokio::test]
async fn with_a_token_file_the_control_interface_wants_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let served = serve_with(&Config { token_file: Some(token_file), ..Config::default() }, Ok(())).await;
    for (authorization, status) in [("", 401), ("Bearer wrong", 401), (TOKEN, 401), (&format!("Bearer {TOKEN}"), 200)] {
        let request = served.client.get(format!("{}/v1/streams", served.at)).header("authorization", authorization);
        assert_eq!(request.send().await.unwrap().status(), status, "{authorization}");
    }
    // Media servers and Prometheus have no token to send.
    assert_eq!(served.ask(Method::POST, "/hooks/main", "call=publish&name=good").await.0, 200);
    assert_eq!(served.ask(Method::GET, "/metrics", "").await.0, 200);
}

#[tokio::test]
async fn events_arrive_as_they_happen() {
    let served = served().await;
    let mut response = served.follow().await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    served.happens(Happening::StreamAttached { session: SessionId::from("7") });
    served.happens(Happening::Action { decision: DECISION, action: "kick", progress: Progress::ObservedGone });
    let frames = frames(&mut response, 2).await;
    assert_eq!(frames[0].0, "stream_attached");
    assert_eq!(frames[0].1["stream"], "main/live/key");
    assert_eq!((&*frames[1].0, &frames[1].1["progress"]), ("action", &"observed_gone".into()));
}

// One thread: nobody reads the channel between the sends, so what is lost is known.
#[tokio::test(flavor = "current_thread")]
async fn a_client_that_falls_behind_is_told_what_it_missed() {
    let served = served().await;
    let mut response = served.follow().await;
    for _ in 0..6 {
        served.happens(Happening::Admission { answer: Admission::Refuse });
    }
    let frames = frames(&mut response, 5).await;
    assert_eq!((&*frames[0].0, &frames[0].1["missed"]), ("missed", &2.into()));
    assert!(frames[1..].iter().all(|(event, _)| event == "admission"));
}

#[tokio::test]
async fn a_shutdown_ends_open_event_streams_at_once() {
    let served = served().await;
    let mut response = served.follow().await;
    served.stop.send(()).unwrap();
    let ended = async {
        assert_eq!(response.chunk().await.unwrap(), None);
        served.ended.await.unwrap().unwrap();
    };
    tokio::time::timeout(GRACE / 2, ended).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_only_so_long_for_a_request_under_way() {
    let served = served().await;
    let asking = served.client.post(format!("{}/hooks/main", served.at)).body("never").send();
    let asking = tokio::spawn(asking);
    served.backend.stuck.notified().await;
    served.stop.send(()).unwrap();
    tokio::time::timeout(GRACE * 4, served.ended).await.unwrap().unwrap().unwrap();
    asking.abort();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_next_step() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config { listen: taken.local_addr().unwrap(), ..Config::default() };
    let error = bind(&config).await.unwrap_err();
    assert!(error.to_string().contains("`api.listen`"), "{error}");
    assert!(error.is_retryable());
}
