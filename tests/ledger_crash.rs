//! `kill -9` at any point: every recorded cut is carried out, and none is carried out twice.
//!
//! The test starts itself as a child that records cuts and carries them out, kills it, and looks at what it had said:
//! `recorded` after the ledger took a decision, `kicked` when the media server had ended the session, `ended` after the
//! ledger took the outcome. Once it is killed at random moments, and once at every step of the outbox in turn, by itself.
//! The media server that it cuts off from outlives it, as one does: what was kicked stays kicked.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sluicegate::act::aftermath::{Keeper, Keepers, Shelf};
use sluicegate::act::outbox::{Bell, Progress, Step, Worker, run};
use sluicegate::act::servers::{self, Kicked, Kind, MediaServer};
use sluicegate::act::{self, ActError};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Action, Decision, Deny, Job, Lane, Outbox, OutboxError, Outcome, Target, Verdict};
use sluicegate::ledger::{Config, Entry, Ledger};
use sluicegate::media_server::{Hook, HookRequest, Listed, Protocol, Pull};
use sluicegate::metrics::Metrics;
use sluicegate::stream::{Session, StreamId};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const CHILD: &str = "SLUICEGATE_TEST_LEDGER";
/// `POINT:COUNT`: where the child kills itself, and at which time that it comes there.
const FAULT: &str = "SLUICEGATE_TEST_FAULT";
const RANDOM_ROUNDS: u32 = 40;
const FAULT_ROUNDS: u32 = 200;
const CUTS_AT_RANDOM: u32 = 1000;
const CUTS_PER_FAULT: u32 = 6;
/// One cut in so many leaves files behind.
const FILES_EVERY: u32 = 6;

/// Every step of the outbox at which the process may be killed.
const POINTS: [&str; 12] = [
    "before_record",
    "after_record",
    "before_claim",
    "after_claim",
    "before_look",
    "before_kick",
    "after_kick",
    "after_verify",
    "before_finish",
    "after_finish",
    "before_move",
    "after_move",
];

/// Where this process kills itself.
struct Faults {
    point: String,
    left: AtomicU32,
}

impl Faults {
    fn of_environment() -> Arc<Self> {
        let set = env::var(FAULT).unwrap_or_else(|_| "nowhere:0".to_owned());
        let (point, count) = set.split_once(':').unwrap();
        assert!(point == "nowhere" || POINTS.contains(&point));
        Arc::new(Self { point: point.to_owned(), left: AtomicU32::new(count.parse().unwrap()) })
    }

    /// Comes by `point`; does not come back from the one at which it ends.
    fn pass(&self, point: &str) {
        if self.point == point && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// The ledger as an outbox at which the process may be killed.
struct Faulty {
    ledger: Arc<Ledger>,
    faults: Arc<Faults>,
}

impl Outbox for Faulty {
    fn claim(&self, lane: Lane, now: Timestamp, limit: usize) -> Result<Vec<Job>, OutboxError> {
        self.faults.pass("before_claim");
        let jobs = self.ledger.claim(lane, now, limit)?;
        if !jobs.is_empty() {
            self.faults.pass("after_claim");
        }
        Ok(jobs)
    }

    fn finish(
        &self,
        job: Uuid,
        began: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
        then: &[(Uuid, Action)],
    ) -> Result<(), OutboxError> {
        self.faults.pass("before_finish");
        self.ledger.finish(job, began, ended, outcome, then)?;
        self.faults.pass("after_finish");
        Ok(())
    }

    fn next_due(&self, lane: Lane, now: Timestamp) -> Result<Option<Duration>, OutboxError> {
        self.ledger.next_due(lane, now)
    }
}

/// A media server on which a kick works at once. It is a file, so that it outlives the process.
struct Fake {
    name: Arc<str>,
    log: PathBuf,
    gone: Mutex<HashSet<String>>,
    faults: Arc<Faults>,
    /// Where what outlives a session is moved to, and how many sessions' there was when this process began.
    moved: (PathBuf, usize),
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

impl Fake {
    fn new(home: &Path, faults: Arc<Faults>) -> Self {
        let log = home.join("kicked");
        let quarantine = home.join("quarantine");
        let moved = (quarantine.clone(), count(&quarantine));
        let gone = fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
        Self { name: "main".into(), log, gone: Mutex::new(gone), faults, moved }
    }
}

#[async_trait]
impl MediaServer for Fake {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        // Asked before a look into the folders, for all whose files may be there together.
        let (quarantine, before) = &self.moved;
        self.faults.pass(if count(quarantine) == *before { "before_move" } else { "after_move" });
        Ok(Vec::new())
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        let there = !self.gone.lock().unwrap().contains(&*session.stream.name);
        self.faults.pass(if there { "before_look" } else { "after_verify" });
        Ok(there)
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        let name = &session.stream.name;
        self.faults.pass("before_kick");
        // One write: a kill leaves the line whole or not at all.
        let mut log = OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
        log.write_all(format!("{name}\n").as_bytes()).unwrap();
        self.gone.lock().unwrap().insert(name.to_string());
        self.faults.pass("after_kick");
        Ok(Kicked::Dropped)
    }

    fn parse_hook(&self, _: HookRequest<'_>) -> Result<Hook, ActError> {
        Ok(Hook::Other)
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        Ok(Pull { stream: stream.clone(), protocol: Protocol::Rtmp, url: String::new() })
    }
}

/// One line in one write, so that a kill leaves it whole or not at all.
fn say(word: &str, name: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@ {word} {name}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn open(home: &Path) -> Arc<Ledger> {
    Arc::new(Ledger::open(&Config { path: home.join("ledger.sqlite") }).unwrap())
}

fn worker(home: &Path, ledger: &Arc<Ledger>, bell: &Arc<Bell>, clock: Clock, faults: &Arc<Faults>) -> Worker {
    let mut server = servers::Config::local("main", Kind::NginxRtmp);
    server.after_cut.hls = Some(home.join("hls"));
    server.after_cut.quarantine = home.join("quarantine");
    Worker {
        outbox: Arc::new(Faulty { ledger: ledger.clone(), faults: faults.clone() }),
        bell: bell.clone(),
        servers: vec![Arc::new(Fake::new(home, faults.clone()))],
        fallbacks: Arc::default(),
        keepers: Keepers::from([("main".into(), Keeper::new(&server).unwrap())]),
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
    let Ok(home) = env::var(CHILD) else { return };
    let home = Path::new(&home);
    let faults = Faults::of_environment();
    let (ledger, bell, clock) = (open(home), Arc::new(Bell::default()), Clock::system());
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(run(worker(home, &ledger, &bell, clock, &faults), stopped));
    let at_random = env::var(FAULT).is_err();
    for number in 0..CUTS_AT_RANDOM {
        if !at_random && number >= CUTS_PER_FAULT {
            // Claimed together, they make fewer steps than there are cuts: more of them, one by one.
            sleep(Duration::from_millis(20)).await;
        }
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
        let mut actions = vec![(Uuid::now_v7(), Action::Kick { session: session.clone() })];
        if !at_random && number % FILES_EVERY == 0 && number < CUTS_PER_FAULT {
            fs::write(home.join("hls").join(format!("{name}.m3u8")), "playlist").unwrap();
            fs::write(home.join("hls").join(format!("{name}-0.ts")), "video").unwrap();
            actions.push((Uuid::now_v7(), Action::Quarantine { session, since: now }));
        }
        faults.pass("before_record");
        ledger.record(&Entry { denies: vec![deny], actions, ..Entry::from(decision) }).unwrap();
        say("recorded", &name);
        faults.pass("after_record");
        bell.ring();
    }
    std::future::pending::<()>().await;
}

/// What children said, over all rounds.
#[derive(Default)]
struct Said {
    recorded: HashSet<String>,
    ended: HashSet<String>,
}

impl Said {
    fn hear(&mut self, output: Vec<u8>) {
        for line in String::from_utf8(output).unwrap().lines() {
            let Some((word, name)) = line.strip_prefix("@ ").and_then(|line| line.split_once(' ')) else { continue };
            match word {
                "recorded" => assert!(self.recorded.insert(name.to_owned())),
                _ => assert!(self.ended.insert(name.to_owned()), "{name} was finished twice"),
            }
        }
    }
}

fn start(home: &Path, fault: Option<String>) -> std::process::Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, home).stdout(Stdio::piped()).stderr(Stdio::null());
    fault.map(|fault| command.env(FAULT, fault));
    command.spawn().unwrap()
}

/// Carries out what is left, and looks whether every cut was carried out, once, and nothing else was.
async fn settle(home: &Path, said: &Said, patience: Duration) {
    let (ledger, bell, clock) = (open(home), Arc::new(Bell::default()), Clock::system());
    let (stop, stopped) = watch::channel(false);
    let left = ledger.pending().unwrap();
    let last = tokio::spawn(run(worker(home, &ledger, &bell, clock, &Faults::of_environment()), stopped));
    let done = async {
        while ledger.pending().unwrap() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(patience, done).await.expect("what was left is carried out");
    stop.send(true).unwrap();
    last.await.unwrap();

    let decisions = ledger.decisions(usize::MAX).unwrap();
    let held: HashSet<&str> = decisions.iter().map(|decision| &*decision.session.stream.name).collect();
    let log = fs::read_to_string(home.join("kicked")).unwrap();
    let mut kicks: HashMap<&str, u32> = HashMap::new();
    for name in log.lines() {
        *kicks.entry(name).or_default() += 1;
    }
    println!("{} recorded, {} ended by a child, {left} left over", held.len(), said.ended.len());
    assert!(said.recorded.iter().all(|name| held.contains(name.as_str())), "what was recorded is still there");
    assert!(kicks.keys().all(|name| held.contains(name)), "nothing was done that is not in the ledger");
    assert!(held.iter().all(|name| kicks.get(name) == Some(&1)), "every cut was carried out, and once");
    assert_eq!(ledger.denies(clock.now()).unwrap().len(), decisions.len(), "each with its deny");
    for decision in &decisions {
        let outcomes = ledger.outcomes(decision.id).unwrap();
        let kicked = outcomes.iter().filter(|attempt| attempt.kind == "kick").count();
        assert_eq!(kicked, 1, "written down once");
        assert!(outcomes.iter().all(|attempt| matches!(attempt.outcome, Outcome::Done { .. })), "{outcomes:?}");
        for _moved in outcomes.iter().filter(|attempt| attempt.kind == "quarantine") {
            let shelf = Shelf::open(&home.join("quarantine"), decision.id).unwrap().expect("files were moved");
            assert_eq!(shelf.files().len(), 2, "both files are there, once");
        }
    }
    for lane in [Lane::Kick, Lane::Quarantine] {
        assert_eq!(ledger.next_due(lane, clock.now()).unwrap(), None);
    }
    let of_nobody = |name: &str| !held.iter().any(|held| name.starts_with(held));
    for file in fs::read_dir(home.join("hls")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(of_nobody(&name), "{name} outlived its cut");
    }
}

fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("hls")).unwrap();
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_loses_no_cut_and_does_none_twice() {
    let home = home();
    let mut said = Said::default();
    for round in 0..RANDOM_ROUNDS {
        // From before the ledger is open to the midst of hundreds of cuts; another moment in every run.
        let mut child = start(home.path(), None);
        sleep(Duration::from_micros(u64::from(rand::random_range(5_000..(20_000 + round * 5_000))))).await;
        child.kill().unwrap();
        said.hear(child.wait_with_output().unwrap().stdout);
    }
    assert!(said.recorded.len() > 100, "the kills were not at telling moments");
    settle(home.path(), &said, Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_of_the_outbox_it_loses_no_cut_and_does_none_twice() {
    let home = home();
    let mut said = Said::default();
    for round in 0..FAULT_ROUNDS {
        let point = POINTS[round as usize % POINTS.len()];
        // The only one in each round that leaves files is enough for the points about them.
        let most = if point.ends_with("_move") { 1 } else { CUTS_PER_FAULT };
        let child = start(home.path(), Some(format!("{point}:{}", 1 + round / POINTS.len() as u32 % most)));
        let (id, waiting) = (child.id(), tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()));
        let Ok(ended) = timeout(Duration::from_secs(30), waiting).await else {
            // Otherwise the test would wait for it for ever instead of failing.
            Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
            panic!("it never came to {point}");
        };
        let ended = ended.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(9), "at {point}");
        said.hear(ended.stdout);
    }
    assert!(said.recorded.len() > 100, "the kills left nothing to lose");
    settle(home.path(), &said, Duration::from_mins(2)).await;
}
