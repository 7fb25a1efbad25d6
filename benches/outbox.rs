//! Our side of `make bench-cutoff` that no publisher is needed for: from a verdict to the server being asked, at 200 decisions
//! a second. Records each decision with its deny in a ledger on disk and rings the bell, as the judge's thread does; the
//! outbox claims it, looks at the server's list and asks over HTTP, and watches the publisher go. The server is one of ours that
//! notes when it is asked. What it costs beside that is done as well: a decision has its evidence and its timeline, a webhook is told of
//! it, the video of each session is still pulled, so that each kick is watched for as long as it takes, and every step is accounted for.
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
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path as InPath, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sluicegate::act::outbox::{self, Bell, Observer, Progress, Step, Worker};
use sluicegate::act::webhook::{Webhook, event};
use sluicegate::act::{self, Gate, servers};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Action, Decision, Deny, Outcome, Target, Verdict};
use sluicegate::finding::{Finding, Match, Observation, Opinion};
use sluicegate::ledger::{self, Entry, Ledger};
use sluicegate::metrics::Metrics;
use sluicegate::stream::{Session, StreamId};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use uuid::Uuid;

const EVERY: Duration = Duration::from_millis(5);
/// Findings that the judge held of a session, and how many of them are the decision's evidence.
const HEARD: u64 = 12;
const EVIDENCE: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// A media server: who publishes, and when it was asked to end whom.
#[derive(Default)]
struct Server {
    publishing: Mutex<HashMap<String, Timestamp>>,
    /// From the verdict to the request.
    asked: Mutex<Vec<Duration>>,
    delivered: AtomicU32,
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
    let done = Arc::new(AtomicU32::new(0));
    let worker = Worker {
        outbox: Arc::clone(&ledger) as _,
        bell: Arc::clone(&bell),
        servers: vec![servers::build(&section(at), &config).unwrap()],
        fallbacks: Arc::default(),
        keepers: HashMap::new(),
        // Stopped, and nobody has detached it yet.
        flow: Arc::new(|_| Some(100)),
        webhooks: vec![webhook(at)],
        config,
        clock,
        metrics: Arc::new(Metrics::new().unwrap()),
        observer: accounting(&ledger, &done),
    };
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(outbox::run(worker, stopped));
    let deciding = Arc::clone(&server);
    spawn_blocking(move || {
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
    while done.load(Ordering::Relaxed) < count || server.delivered.load(Ordering::Relaxed) < count {
        assert!(Instant::now() < deadline, "not every kick was carried out, or not every event delivered");
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
    let heard: Vec<Finding> = (0..HEARD).map(|sequence| finding(&session, sequence, decided)).collect();
    let evidence = heard[..EVIDENCE].to_vec();
    let decision = Decision { evidence, ..Decision::new(session.clone(), Verdict::Cut, "known-content", decided) };
    let until = Some(decided + Duration::from_hours(24));
    let target = Target::Name;
    let deny = Deny { target, stream: session.stream.clone(), decision: decision.id, since: decided, until };
    let body = event::decided(&decision, None, "/sluicegate");
    let notify = Action::Notify { webhook: "ops".into(), body };
    let actions = vec![(Uuid::now_v7(), Action::Kick { session }), (Uuid::now_v7(), notify)];
    let entry = Entry { denies: vec![deny.clone()], actions, timeline: heard, ..Entry::from(decision) };
    ledger.record(&entry).unwrap();
    gate.deny(deny);
}

fn finding(session: &Session, sequence: u64, at: Timestamp) -> Finding {
    let observation = Observation::Match(Match {
        bank: "propaganda".into(),
        bank_revision: 3,
        signal: sequence,
        distance: 12,
        quality: 98,
        opinion: Opinion::Positive,
        provenance: "added by hand".into(),
        banked_at: Some(Duration::from_secs(sequence)),
        quorum: 3,
        at_most: Verdict::Cut,
        quarantined: false,
    });
    let pts = Some(Duration::from_secs(sequence));
    Finding { session: session.clone(), sequence, pts, arrived: at, found: at, observation }
}

/// Reads the decision at every step that somebody is told of, as the core does, and counts the kicks that are done.
fn accounting(ledger: &Arc<Ledger>, done: &Arc<AtomicU32>) -> Observer {
    let (ledger, done) = (Arc::clone(ledger), Arc::clone(done));
    Arc::new(move |progress: &Progress<'_>| {
        if matches!((&progress.job.action, &progress.step), (Action::Kick { .. }, Step::Ended(Outcome::Done { .. }))) {
            done.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (ledger, of) = (Arc::clone(&ledger), progress.job.decision.unwrap());
        drop(spawn_blocking(move || ledger.decision(of).unwrap().unwrap()));
    })
}

async fn serve(server: Arc<Server>) -> SocketAddr {
    let router = Router::new().route("/list", get(list)).route("/sessions/{id}", delete(end));
    let router = router.route("/ops", post(told)).with_state(server);
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

async fn told(State(server): State<Arc<Server>>, _body: String) {
    server.delivered.fetch_add(1, Ordering::Relaxed);
}

fn webhook(at: SocketAddr) -> Webhook {
    let text = format!(
        "name = 'ops'\nurl = 'http://{at}/ops'\nallow_private = true\n\
         secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'\n"
    );
    Webhook::new(&toml::from_str(&text).unwrap(), &act::Config::default()).unwrap()
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
