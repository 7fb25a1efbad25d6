//! Our side of `make bench-cutoff` that no publisher is needed for: from a verdict to the server being asked, at 200 decisions
//! a second. Records each decision with its deny in a ledger on disk and rings the bell, as the judge's thread does; the
//! outbox claims it, looks at the server's list and asks over HTTP. The server is one of ours that notes when it is asked.
//! Beside it, the floor: as many appends of 4 KiB, each synchronised, to a file in the same folder.
//!
//! Argument: how many decisions. Prints one JSON object. Without arguments (as `cargo test` and `cargo bench --no-run` have it)
//! it does nothing.
#![expect(clippy::disallowed_methods, reason = "a bench measures time, and paces what it measures")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path as InPath, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use sluicegate::act::outbox::{self, Bell, Worker};
use sluicegate::act::{self, Gate, servers};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Action, Decision, Deny};
use sluicegate::ledger::{self, Ledger};
use sluicegate::metrics::Metrics;
use sluicegate::stream::{Session, StreamId};
use tokio::sync::watch;
use uuid::Uuid;

const EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// A media server: who publishes, and when it was asked to end whom.
#[derive(Default)]
struct Server {
    publishing: Mutex<HashMap<String, Timestamp>>,
    /// From the verdict to the request.
    asked: Mutex<Vec<Duration>>,
}

fn main() {
    let Some(count) = std::env::args().nth(1).and_then(|count| count.parse().ok()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let asked = runtime.block_on(asked(folder.path(), count));
    let synced = synced(folder.path(), count);
    println!("{}", json!({ "decisions": count, "asked": spread(asked), "fsync": spread(synced) }));
}

async fn asked(folder: &Path, count: u32) -> Vec<Duration> {
    let server = Arc::new(Server::default());
    let at = serve(Arc::clone(&server)).await;
    let (clock, bell, gate) = (Clock::system(), Arc::new(Bell::default()), Gate::default());
    let ledger = Arc::new(Ledger::open(&ledger::Config { path: folder.join("ledger.sqlite") }).unwrap());
    let config = act::Config::default();
    let worker = Worker {
        outbox: Arc::clone(&ledger) as _,
        bell: Arc::clone(&bell),
        servers: vec![servers::build(&section(at), &config).unwrap()],
        webhooks: Vec::new(),
        config,
        clock,
        metrics: Arc::new(Metrics::new().unwrap()),
        observer: Arc::new(|_| {}),
    };
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(outbox::run(worker, stopped));
    let deciding = Arc::clone(&server);
    tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        for number in 0..count {
            std::thread::sleep((EVERY * number).saturating_sub(began.elapsed()));
            decide(number, &deciding, &ledger, &gate, clock);
            bell.ring();
        }
    })
    .await
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while server.asked.lock().unwrap().len() < count as usize {
        assert!(Instant::now() < deadline, "not every kick was asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send_replace(true);
    working.await.unwrap();
    std::mem::take(&mut *server.asked.lock().unwrap())
}

fn decide(number: u32, server: &Server, ledger: &Ledger, gate: &Gate, clock: Clock) {
    let id = format!("session-{number}");
    let session = Session { stream: StreamId::new("main", "live", &format!("copy-{number}")), id: id.as_str().into() };
    let decided = clock.now();
    server.publishing.lock().unwrap().insert(id, decided);
    let decision: Decision = serde_json::from_value(json!({
        "id": Uuid::now_v7(), "session": session, "verdict": "cut", "rule": "known-content", "policy": "bench",
        "decided": decided, "evidence": [],
    }))
    .unwrap();
    let until = Some(decided + Duration::from_hours(24));
    let deny = Deny { stream: session.stream.clone(), decision: decision.id, since: decided, until };
    ledger.record(&decision, Some(&deny), &[(Uuid::now_v7(), Action::Kick { session })]).unwrap();
    gate.deny(deny);
}

async fn serve(server: Arc<Server>) -> SocketAddr {
    let router = Router::new().route("/list", get(list)).route("/sessions/{id}", delete(end)).with_state(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    at
}

async fn list(State(server): State<Arc<Server>>) -> Json<Vec<Value>> {
    let publishing = server.publishing.lock().unwrap();
    let entry = |id: &String| json!({ "app": "live", "stream": id.replace("session", "copy"), "session": id });
    Json(publishing.keys().map(entry).collect())
}

async fn end(State(server): State<Arc<Server>>, InPath(id): InPath<String>) {
    let now = Clock::system().now();
    if let Some(decided) = server.publishing.lock().unwrap().remove(&id) {
        server.asked.lock().unwrap().push(now.since(decided));
    }
}

fn section(at: SocketAddr) -> servers::Config {
    let text = format!(
        "name = 'main'\nkind = 'http'\ncontrol = 'http://{at}'\n[http]\nlist = 'GET /list'\napp = '/app'\n\
         stream = '/stream'\nsession = '/session'\nkick = 'DELETE /sessions/{{session}}'\n"
    );
    toml::from_str(&text).unwrap()
}

fn synced(folder: &Path, count: u32) -> Vec<Duration> {
    let mut file = File::create(folder.join("floor")).unwrap();
    let page = [7; 4096];
    let mut append = || {
        let began = Instant::now();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    };
    (0..count).map(|_| append()).collect()
}

fn spread(mut spans: Vec<Duration>) -> Value {
    spans.sort();
    let part = |share: f64| spans[((spans.len() as f64 * share) as usize).min(spans.len() - 1)].as_secs_f64();
    json!({ "p50_s": part(0.5), "p99_s": part(0.99), "max_s": part(1.0) })
}
