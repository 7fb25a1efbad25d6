//! The outbox worker against a ledger and a world that fail on request.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::act::servers::{self, Kicked};
use crate::act::webhook;
use crate::media_server::{Hook, HookRequest, Listed, Pull};
use crate::stream::{Publisher, StreamId};

/// An outbox in memory.
#[derive(Default)]
struct Memory {
    waiting: Mutex<VecDeque<(Timestamp, Job)>>,
    finished: Mutex<Vec<(Uuid, Outcome)>>,
    /// What was to be done because of endings.
    followed: Mutex<Vec<Action>>,
    failures: AtomicUsize,
}

impl Memory {
    fn put(&self, action: Action, due: Timestamp) -> Uuid {
        let job = Job { id: Uuid::now_v7(), decision: None, action, attempts: 0 };
        let id = job.id;
        self.waiting.lock().unwrap().push_back((due, job));
        id
    }
}

fn in_lane(job: &Job, lane: Lane) -> bool {
    job.action.word() == lane.word()
}

impl Outbox for Memory {
    fn claim(&self, lane: Lane, now: Timestamp, limit: usize) -> Result<Vec<Job>, OutboxError> {
        let mut claimed = Vec::new();
        self.waiting.lock().unwrap().retain(|(due, job)| {
            let take = in_lane(job, lane) && *due <= now && claimed.len() < limit;
            if take {
                claimed.push(job.clone());
            }
            !take
        });
        Ok(claimed)
    }

    fn finish(
        &self,
        job: Uuid,
        _: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
        then: &[(Uuid, Action)],
    ) -> Result<(), OutboxError> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(OutboxError("the disk is full".into()));
        }
        self.finished.lock().unwrap().push((job, outcome.clone()));
        let next = then
            .iter()
            .map(|(id, action)| (ended, Job { id: *id, decision: None, action: action.clone(), attempts: 0 }));
        self.waiting.lock().unwrap().extend(next);
        self.followed.lock().unwrap().extend(then.iter().map(|(_, action)| action.clone()));
        Ok(())
    }

    fn next_due(&self, lane: Lane, now: Timestamp) -> Result<Option<Duration>, OutboxError> {
        let waiting = self.waiting.lock().unwrap();
        Ok(waiting.iter().filter(|(_, job)| in_lane(job, lane)).map(|(due, _)| due.since(now)).min())
    }
}

/// A media server that does what it is told to do.
#[derive(Default)]
struct Fake {
    name: Arc<str>,
    /// Answers to `publishes`, in turn; the last one stays. `None`: an error.
    seen: Mutex<VecDeque<Option<bool>>>,
    refuse_kicks: bool,
    /// Whether it never answers.
    hangs: bool,
    kicks: AtomicUsize,
    /// Bytes received of the session, more at every look.
    bytes: Option<AtomicUsize>,
}

impl Fake {
    fn new(seen: &[Option<bool>]) -> Self {
        Self { name: "main".into(), seen: Mutex::new(seen.iter().copied().collect()), ..Self::default() }
    }

    fn error(&self) -> ActError {
        ActError::NotFound { server: self.name.clone(), path: "/stat" }
    }
}

#[async_trait]
impl MediaServer for Fake {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let session = Session { stream: StreamId::new("main", "live", "a"), id: "1".into() };
        let bytes_in = self.bytes.as_ref().map(|bytes| bytes.fetch_add(1, Ordering::SeqCst) as u64);
        Ok(vec![Listed { session, publisher: Publisher::default(), bytes_in }])
    }

    async fn publishes(&self, _: &Session) -> Result<bool, ActError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let mut seen = self.seen.lock().unwrap();
        let answer = if seen.len() > 1 { seen.pop_front().unwrap() } else { seen[0] };
        answer.ok_or_else(|| self.error())
    }

    async fn kick(&self, _: &Session) -> Result<Kicked, ActError> {
        self.kicks.fetch_add(1, Ordering::SeqCst);
        if self.refuse_kicks { Err(self.error()) } else { Ok(Kicked::Dropped) }
    }

    fn parse_hook(&self, _: HookRequest<'_>) -> Result<Hook, ActError> {
        unreachable!("the worker reads no hooks")
    }

    fn pull(&self, _: &StreamId) -> Result<Pull, ActError> {
        unreachable!("the worker pulls nothing")
    }
}

struct House {
    outbox: Arc<Memory>,
    server: Arc<Fake>,
    bell: Arc<Bell>,
    clock: Clock,
    metrics: Arc<Metrics>,
    steps: mpsc::Receiver<(Uuid, Step)>,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

fn house(server: Fake, webhooks: Vec<Webhook>) -> House {
    house_with(server, webhooks, Arc::default(), Arc::new(|_| None))
}

fn house_with(server: Fake, webhooks: Vec<Webhook>, fallbacks: Arc<Fallbacks>, flow: Flow) -> House {
    let (outbox, server, bell) = (Arc::new(Memory::default()), Arc::new(server), Arc::new(Bell::default()));
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new().unwrap()));
    let (sender, steps) = mpsc::channel(1000);
    let (stop, stopped) = watch::channel(false);
    let hung = Fake { name: "hung".into(), hangs: true, ..Fake::default() };
    let worker = Worker {
        outbox: outbox.clone(),
        bell: bell.clone(),
        servers: vec![server.clone(), Arc::new(hung)],
        fallbacks,
        keepers: Keepers::new(),
        flow,
        webhooks,
        config: Config {
            verify_every: Duration::from_millis(5),
            verify_for: Duration::from_millis(50),
            deliveries_at_once: 2,
            ..Config::default()
        },
        clock,
        metrics: metrics.clone(),
        observer: Arc::new(move |progress: &Progress<'_>| {
            sender.try_send((progress.job.id, progress.step.clone())).unwrap();
        }),
    };
    let running = tokio::spawn(run(worker, stopped));
    House { outbox, server, bell, clock, metrics, steps, stop, running }
}

impl House {
    fn kick(&self) -> Uuid {
        let session = Session { stream: StreamId::new("main", "live", "a"), id: "1".into() };
        let id = self.outbox.put(Action::Kick { session }, Timestamp::ZERO);
        self.bell.ring();
        id
    }

    /// The steps of `job` up to its end.
    async fn story(&mut self, job: Uuid) -> (Vec<Step>, Outcome) {
        let mut story = Vec::new();
        loop {
            let (id, step) = timeout(Duration::from_secs(10), self.steps.recv()).await.unwrap().unwrap();
            match step {
                Step::Ended(outcome) if id == job => return (story, outcome),
                step if id == job => story.push(step),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_kick_is_done_when_the_publisher_is_observed_gone() {
    let mut house = house(Fake::new(&[Some(true), Some(true), None, Some(true), Some(false)]), vec![]);
    let job = house.kick();
    let (story, outcome) = house.story(job).await;
    assert_eq!(story, [Step::Asked, Step::ObservedGone]);
    assert!(matches!(&outcome, Outcome::Done { detail } if detail.contains("observed gone")), "{outcome:?}");
    assert_eq!(*house.outbox.finished.lock().unwrap(), [(job, outcome)]);
    assert!(house.metrics.render().unwrap().contains("sluicegate_actions_total{action=\"kick\",outcome=\"done\"} 1"));
}

#[tokio::test]
async fn a_session_that_is_gone_already_is_not_asked_for() {
    let mut house = house(Fake::new(&[Some(false)]), vec![]);
    let job = house.kick();
    let (story, outcome) = house.story(job).await;
    assert_eq!((story, outcome), (vec![Step::ObservedGone], Outcome::Done { detail: "already gone".into() }));
    assert_eq!(house.server.kicks.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_kick_that_is_not_seen_to_work_did_not_work() {
    for (seen, kind) in [(vec![Some(true)], "still_listed"), (vec![None], "not_found")] {
        let mut house = house(Fake::new(&seen), vec![]);
        let job = house.kick();
        let (story, outcome) = house.story(job).await;
        assert_eq!(story, [Step::Asked], "a look that fails is no reason not to ask");
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        assert!(house.metrics.render().unwrap().contains(kind));
    }
}

#[tokio::test]
async fn a_session_that_stays_listed_is_told_with_whether_its_video_arrives() {
    for (bytes, said) in [(Some(AtomicUsize::new(5)), "receives its video"), (None, "does not say")] {
        let mut house = house(Fake { bytes, ..Fake::new(&[Some(true)]) }, vec![]);
        let job = house.kick();
        let outcome = house.story(job).await.1;
        assert!(matches!(&outcome, Outcome::Retry { detail, .. } if detail.contains(said)), "{outcome:?}");
    }
}

/// Video of which another unit arrives at every look until `last`, counted from `first`.
fn flow(last: usize) -> Flow {
    let looks = AtomicUsize::new(0);
    Arc::new(move |_| Some(looks.fetch_add(1, Ordering::SeqCst).min(last) as u64))
}

#[tokio::test]
async fn a_session_that_is_no_longer_listed_and_still_sends_is_not_gone() {
    for seen in [&[Some(true), Some(false)][..], &[Some(false)]] {
        let mut house = house_with(Fake::new(seen), vec![], Arc::default(), flow(usize::MAX));
        let job = house.kick();
        let (story, outcome) = house.story(job).await;
        assert!(!story.contains(&Step::ObservedGone), "{story:?}");
        assert!(matches!(&outcome, Outcome::Retry { detail, .. } if detail.contains("still arrives")), "{outcome:?}");
        assert!(house.metrics.render().unwrap().contains("kind=\"still_flowing\""));
        assert_eq!(house.server.kicks.load(Ordering::SeqCst), seen.len() - 1, "an unlisted number may be another's");
    }
    let mut house = house_with(Fake::new(&[Some(true), Some(false)]), vec![], Arc::default(), flow(9));
    let job = house.kick();
    let (story, outcome) = house.story(job).await;
    assert_eq!(story, [Step::Asked, Step::ObservedGone], "what was in the pipes has run dry");
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

/// A server that answers every request with 200 and says how many there were.
async fn proxy() -> (String, Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, count) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            asked.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _read = socket.read(&mut request).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(answer).await.unwrap();
        }
    });
    (url, count)
}

fn fallbacks(url: &str) -> Arc<Fallbacks> {
    let text = format!(
        "name = 'main'\nkind = 'nginx-rtmp'\nfallback = [{{ control = '{url}', kick = 'POST /end/{{session}}' }}]"
    );
    let server = toml::from_str(&text).unwrap();
    Arc::new(Fallbacks::from([("main".into(), servers::Fallback::all(&server, &Config::default()).unwrap())]))
}

#[tokio::test]
async fn after_the_server_the_next_is_asked_and_after_all_people_are_told_once() {
    let (url, asked) = proxy().await;
    let mut house = house_with(Fake::new(&[Some(true)]), vec![ops()], fallbacks(&url), Arc::new(|_| None));
    let session = Session { stream: StreamId::new("main", "live", "a"), id: "1".into() };
    let begin = |attempts| Job {
        id: Uuid::now_v7(),
        decision: Some(Uuid::now_v7()),
        action: Action::Kick { session: session.clone() },
        attempts,
    };
    // Attempts with: the server, the last of it, the fallback, the last of that, and one later still.
    for (attempts, of_server, of_fallback, failing) in
        [(0, 1, 0, 0), (5, 1, 0, 0), (6, 0, 1, 0), (11, 0, 1, 1), (12, 1, 0, 0)]
    {
        let job = begin(attempts);
        let id = job.id;
        let kicks = house.server.kicks.load(Ordering::SeqCst);
        let others = asked.load(Ordering::SeqCst);
        house.outbox.waiting.lock().unwrap().push_back((Timestamp::ZERO, job));
        house.bell.ring();
        let (story, outcome) = house.story(id).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        assert_eq!(house.server.kicks.load(Ordering::SeqCst) - kicks, of_server, "attempt {attempts}");
        assert_eq!(asked.load(Ordering::SeqCst) - others, of_fallback, "attempt {attempts}");
        let told = story.iter().filter(|step| matches!(step, Step::Failing { .. })).count();
        assert_eq!(told, failing, "attempt {attempts}");
        house.outbox.waiting.lock().unwrap().retain(|(_, job)| job.id != id);
    }
    let finished = house.outbox.followed.lock().unwrap();
    let [Action::Notify { webhook, body }] = &finished[..] else { panic!("{finished:?}") };
    assert_eq!(&**webhook, "ops");
    assert!(body.contains("cut.failed") && body.contains("\"attempts\":12"), "{body}");
    let text = house.metrics.render().unwrap();
    assert!(text.contains("sluicegate_cuts_failed_total{server=\"main\"} 1"), "{text}");
}

#[tokio::test]
async fn a_cut_that_nobody_can_carry_out_is_told_at_once() {
    let mut house = house(Fake::new(&[Some(true)]), vec![ops()]);
    let session = Session { stream: StreamId::new("gone", "live", "a"), id: "1".into() };
    let job = house.outbox.put(Action::Kick { session }, Timestamp::ZERO);
    house.bell.ring();
    let (story, outcome) = house.story(job).await;
    assert!(matches!(outcome, Outcome::GaveUp { .. }), "{outcome:?}");
    assert!(matches!(&story[..], [Step::Failing { detail }] if detail.contains("`gone`")), "{story:?}");
}

/// Somebody who is told of failed cuts, and never answers.
fn ops() -> Webhook {
    let text = "name = 'ops'\nurl = 'http://127.0.0.1:9/'\nallow_private = true\nsecret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'";
    Webhook::new(&toml::from_str(text).unwrap(), &Config::default()).unwrap()
}

#[tokio::test]
async fn a_refused_kick_is_tried_again_and_one_for_a_stranger_is_not() {
    let mut house = house(Fake { refuse_kicks: true, ..Fake::new(&[Some(true)]) }, vec![]);
    let job = house.kick();
    let before = house.clock.now();
    let Outcome::Retry { detail, due } = house.story(job).await.1 else { panic!("not retried") };
    assert!(detail.contains("`main`"), "{detail}");
    assert!((150..1000).contains(&due.since(before).as_millis()), "{due}");

    let session = Session { stream: StreamId::new("other", "live", "a"), id: "1".into() };
    let job = house.outbox.put(Action::Kick { session }, Timestamp::ZERO);
    house.bell.ring();
    let outcome = house.story(job).await.1;
    assert!(matches!(&outcome, Outcome::GaveUp { detail } if detail.contains("`other`")), "{outcome:?}");
}

#[tokio::test]
async fn a_job_runs_when_it_is_due_without_a_ring() {
    let mut house = house(Fake::new(&[Some(false)]), vec![]);
    let session = Session { stream: StreamId::new("main", "live", "a"), id: "1".into() };
    let due = house.clock.now() + Duration::from_millis(100);
    let job = house.outbox.put(Action::Kick { session }, due);
    house.bell.ring();
    house.story(job).await;
    assert!(house.clock.now() >= due);
}

#[tokio::test]
async fn a_kick_does_not_wait_behind_a_webhook_that_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config: webhook::Config = toml::from_str(&format!(
        "name = \"slow\"\nurl = \"http://{}/\"\nsecret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"\n\
         allow_private = true",
        silent.local_addr().unwrap()
    ))
    .unwrap();
    let webhook = Webhook::new(&config, &Config::default()).unwrap();
    let mut house = house(Fake::new(&[Some(false)]), vec![webhook]);
    for _ in 0..100 {
        house.outbox.put(Action::Notify { webhook: "slow".into(), body: "{}".into() }, Timestamp::ZERO);
    }
    house.bell.ring();
    let _busy = (silent.accept().await.unwrap(), silent.accept().await.unwrap());
    let more = timeout(Duration::from_millis(100), silent.accept()).await;
    assert!(more.is_err(), "deliveries wait for their own turn");
    let before = house.clock.now();
    let job = house.kick();
    house.story(job).await;
    assert!(house.clock.now().since(before) < Duration::from_secs(1));
}

#[tokio::test]
async fn a_kick_does_not_wait_behind_those_on_a_server_that_never_answers() {
    let mut house = house(Fake::new(&[Some(false)]), vec![]);
    for number in 0..1000 {
        let session = Session { stream: StreamId::new("hung", "live", &number.to_string()), id: "1".into() };
        house.outbox.put(Action::Kick { session }, Timestamp::ZERO);
    }
    house.bell.ring();
    let job = house.kick();
    assert!(matches!(house.story(job).await.1, Outcome::Done { .. }));
    house.stop.send(true).unwrap();
    let waiting = timeout(Duration::from_secs(1), &mut house.running).await;
    assert!(waiting.is_err(), "what is under way is waited for");
    assert_eq!(house.outbox.finished.lock().unwrap().len(), 1, "what waits for a slot is not begun any more");
}

#[tokio::test]
async fn watching_publishers_go_keeps_no_kick_waiting() {
    let count = 400;
    let mut house = house_with(Fake::new(&[Some(false)]), vec![], Arc::default(), Arc::new(|_| Some(7)));
    let before = house.clock.now();
    for _ in 0..count {
        house.kick();
    }
    let mut ended = 0;
    while ended < count {
        let (_, step) = timeout(Duration::from_secs(10), house.steps.recv()).await.unwrap().unwrap();
        ended += usize::from(matches!(step, Step::Ended(_)));
    }
    let took = house.clock.now().since(before);
    assert!(took < Duration::from_secs(5), "each is watched for a second, all at the same time: {took:?}");
}

#[tokio::test]
async fn a_delivery_does_not_wait_behind_those_to_a_receiver_that_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, _) = proxy().await;
    let webhook = |name: &str, url: &str| {
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let text = format!("name = '{name}'\nurl = '{url}'\nsecret = '{secret}'\nallow_private = true");
        Webhook::new(&toml::from_str(&text).unwrap(), &Config::default()).unwrap()
    };
    let slow = webhook("slow", &format!("http://{}/", silent.local_addr().unwrap()));
    let mut house = house(Fake::new(&[Some(false)]), vec![slow, webhook("quick", &url)]);
    for _ in 0..100 {
        house.outbox.put(Action::Notify { webhook: "slow".into(), body: "{}".into() }, Timestamp::ZERO);
    }
    house.bell.ring();
    let _busy = silent.accept().await.unwrap();
    for _ in 0..3 {
        let job = house.outbox.put(Action::Notify { webhook: "quick".into(), body: "{}".into() }, Timestamp::ZERO);
        house.bell.ring();
        let before = house.clock.now();
        assert!(matches!(house.story(job).await.1, Outcome::Done { .. }));
        assert!(house.clock.now().since(before) < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn an_ending_that_cannot_be_written_is_written_later() {
    let mut house = house(Fake::new(&[Some(false)]), vec![]);
    house.outbox.failures.store(1, Ordering::SeqCst);
    let job = house.kick();
    house.story(job).await;
    assert_eq!(house.outbox.finished.lock().unwrap().len(), 1);
    assert!(house.metrics.render().unwrap().contains("sluicegate_errors_total{kind=\"outbox\",stage=\"act\"} 1"));
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_it_has_begun() {
    let mut house = house(Fake::new(&[Some(true)]), vec![]);
    let job = house.kick();
    let (id, step) = house.steps.recv().await.unwrap();
    assert_eq!((id, step), (job, Step::Asked));
    house.stop.send(true).unwrap();
    timeout(Duration::from_secs(5), house.running).await.unwrap().unwrap();
    assert_eq!(house.outbox.finished.lock().unwrap().len(), 1);
}
