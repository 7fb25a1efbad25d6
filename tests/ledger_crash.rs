//! `kill -9` at any point: every recorded cut is carried out, and none whose outcome is recorded is carried out again.
//!
//! The test starts itself as a child that records cuts and carries them out, kills it at a random moment, and looks at
//! what the child had said: `recorded` after the ledger took a decision, `kicked` when the media server was asked, `ended`
//! after the ledger took the outcome.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{HashMap, HashSet};
use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sluicegate::act::aftermath::Keepers;
use sluicegate::act::outbox::{Bell, Progress, Step, Worker, run};
use sluicegate::act::servers::{Kicked, MediaServer};
use sluicegate::act::{self, ActError};
use sluicegate::clock::Clock;
use sluicegate::decision::{Action, Decision, Deny, Outbox as _, Target, Verdict};
use sluicegate::ledger::{Config, Entry, Ledger};
use sluicegate::media_server::{Hook, HookRequest, Listed, Pull};
use sluicegate::metrics::Metrics;
use sluicegate::stream::{Session, StreamId};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const CHILD: &str = "SLUICEGATE_TEST_LEDGER";
const ROUNDS: u32 = 40;
const CUTS_PER_ROUND: u32 = 1000;

/// A media server on which a kick works at once, and which says on standard output that it was asked.
#[derive(Default)]
struct Fake {
    name: Arc<str>,
    gone: Mutex<HashSet<Session>>,
}

#[async_trait]
impl MediaServer for Fake {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        Ok(Vec::new())
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        Ok(!self.gone.lock().unwrap().contains(session))
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        say("kicked", &session.stream.name);
        self.gone.lock().unwrap().insert(session.clone());
        Ok(Kicked::Dropped)
    }

    fn parse_hook(&self, _: HookRequest<'_>) -> Result<Hook, ActError> {
        Ok(Hook::Other)
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        Ok(Pull { stream: stream.clone(), protocol: "rtmp", url: String::new() })
    }
}

/// One line in one write, so that a kill leaves it whole or not at all.
fn say(word: &str, name: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@ {word} {name}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn worker(ledger: &Arc<Ledger>, bell: &Arc<Bell>, clock: Clock) -> Worker {
    Worker {
        outbox: ledger.clone(),
        bell: bell.clone(),
        servers: vec![Arc::new(Fake { name: "main".into(), ..Fake::default() })],
        fallbacks: Arc::default(),
        keepers: Keepers::new(),
        flow: Arc::new(|_| None),
        webhooks: Vec::new(),
        config: act::Config::default(),
        clock,
        metrics: Arc::new(Metrics::new().unwrap()),
        observer: Arc::new(|progress: &Progress<'_>| {
            if let (Step::Ended(_), Action::Kick { session }) = (&progress.step, &progress.job.action) {
                say("ended", &session.stream.name);
            }
        }),
    }
}

/// The child: carries out what is left over, and records cuts until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(path) = env::var(CHILD) else { return };
    let (ledger, bell, clock) =
        (Arc::new(Ledger::open(&Config { path: path.into() }).unwrap()), Arc::new(Bell::default()), Clock::system());
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(run(worker(&ledger, &bell, clock), stopped));
    for _ in 0..CUTS_PER_ROUND {
        let (name, now) = (Uuid::now_v7().to_string(), clock.now());
        let session = Session { stream: StreamId::new("main", "live", &name), id: "1".into() };
        let decision = Decision { policy: "0".into(), ..Decision::new(session.clone(), Verdict::Cut, "test", now) };
        let deny = Deny {
            stream: session.stream.clone(),
            target: Target::Name,
            decision: decision.id,
            since: now,
            until: None,
        };
        let actions = vec![(Uuid::now_v7(), Action::Kick { session })];
        ledger.record(&Entry { denies: vec![deny], actions, ..Entry::from(decision) }).unwrap();
        say("recorded", &name);
        bell.ring();
    }
    std::future::pending::<()>().await;
}

/// Runs the child for `life` and gives what it said, word and name.
async fn live_and_die(path: &str, life: Duration) -> Vec<(String, String)> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(life).await;
    child.kill().unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    String::from_utf8(said)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let (word, name) = line.strip_prefix("@ ")?.split_once(' ')?;
            Some((word.to_owned(), name.to_owned()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_cut_is_carried_out_and_each_finished_one_only_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.sqlite").to_str().unwrap().to_owned();
    let mut recorded = HashSet::new();
    let mut kicks: HashMap<String, u32> = HashMap::new();
    let mut ended = HashSet::new();
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        // From before the ledger is open to the midst of hundreds of cuts; another moment in every run.
        let life = Duration::from_micros(u64::from(rand::random_range(5_000..(20_000 + round * 5_000))));
        for (word, name) in live_and_die(&path, life).await {
            match word.as_str() {
                "recorded" => assert!(recorded.insert(name)),
                "kicked" => {
                    assert!(!ended.contains(&name), "{name} was finished and is carried out again");
                    *kicks.entry(name).or_default() += 1;
                }
                _ => assert!(ended.insert(name.clone()), "{name} was finished twice"),
            }
        }
        interrupted += usize::from(kicks.len() > ended.len());
    }

    let ledger = Arc::new(Ledger::open(&Config { path: path.into() }).unwrap());
    let (bell, clock) = (Arc::new(Bell::default()), Clock::system());
    let (stop, stopped) = watch::channel(false);
    let left = ledger.pending().unwrap();
    let last = tokio::spawn(run(worker(&ledger, &bell, clock), stopped));
    let done = async {
        while ledger.pending().unwrap() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), done).await.expect("what was left is carried out");
    stop.send(true).unwrap();
    last.await.unwrap();

    let decisions = ledger.decisions(usize::MAX).unwrap();
    let held: HashSet<&str> = decisions.iter().map(|decision| &*decision.session.stream.name).collect();
    println!("{ROUNDS} kills: {} recorded, {} kicked, {left} left over", held.len(), kicks.len());
    assert!(recorded.iter().all(|name| held.contains(name.as_str())), "what was recorded is still there");
    assert_eq!(ledger.denies(clock.now()).unwrap().len(), decisions.len(), "each with its deny");
    for decision in &decisions {
        assert_eq!(ledger.outcomes(decision.id).unwrap().len(), 1, "each carried out, and written down once");
    }
    assert!(kicks.keys().all(|name| held.contains(name.as_str())), "nothing was done that is not in the ledger");
    assert!(recorded.len() > 100 && interrupted > 0, "the kills were not at telling moments: {interrupted}");
    assert_eq!(ledger.next_due(sluicegate::decision::Lane::Kick, clock.now()).unwrap(), None);
}
