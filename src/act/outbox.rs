//! Carries out what the outbox holds: asks, verifies, retries, and writes down how each attempt ended.
//!
//! Kicks and deliveries are claimed and counted apart, so a kick never waits behind a slow webhook; and each media server
//! and each webhook has slots of its own, so that nobody waits behind a slow one of another's. Everything that must outlive
//! the process is in the outbox; dropping [`run`] at any point loses nothing but the attempts under way, and those are made
//! again at the next start.

mod kick;
mod retry;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;
use uuid::Uuid;

use self::slots::Slots;
use super::aftermath::{self, Keepers};
use super::servers::{Fallbacks, MediaServer};
use super::webhook::event::{self, Leftover};
use super::webhook::{Topic, Webhook};
use super::{ActError, Config};
use crate::clock::{Clock, Timestamp};
use crate::decision::{Action, Job, Lane, Outbox, OutboxError, Outcome};
use crate::metrics::{Metrics, Stage};
use crate::stream::Session;

/// How long to wait after the outbox itself failed.
const OUTBOX_PAUSE: Duration = Duration::from_secs(1);

/// How many kicks, and how many deliveries, may be in memory, nearly all of them waiting for a slot. A server that never
/// answers would have to be left with more for another's to wait.
const CLAIMED_AT_MOST: usize = 4096;

/// How many streams' leftovers may be watched at the same time. Each waits nearly all the while.
const QUARANTINES_AT_ONCE: usize = 256;

/// Tells the worker that something new is in the outbox. Rung once or a hundred times, it looks.
#[derive(Debug, Default)]
pub struct Bell {
    kick: Notify,
    notify: Notify,
    quarantine: Notify,
}

impl Bell {
    /// Rings. Never blocks; may be called from any thread.
    pub fn ring(&self) {
        self.kick.notify_one();
        self.notify.notify_one();
        self.quarantine.notify_one();
    }

    async fn rung(&self, lane: Lane) {
        match lane {
            Lane::Kick => self.kick.notified().await,
            Lane::Notify => self.notify.notified().await,
            Lane::Quarantine => self.quarantine.notified().await,
        }
    }
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The request is about to leave for the media server or the webhook.
    Asked,
    /// The media server no longer lists the session, and nothing arrives of it any more.
    ObservedGone,
    /// Whatever can be asked was asked, and the publisher is still there: people are told. It is tried on.
    Failing {
        /// What went wrong last.
        detail: String,
    },
    /// The attempt ended, and the outbox has it.
    Ended(Outcome),
}

/// A job has come a step further.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Which.
    pub job: &'a Job,
    /// How far.
    pub step: Step,
    /// When.
    pub at: Timestamp,
}

/// How many access units have arrived of a session's video so far; `None`: nobody pulls it.
pub type Flow = Arc<dyn Fn(&Session) -> Option<u64> + Send + Sync>;

/// Whoever wants to know how jobs come on. Called on the worker's threads: it must not block.
pub type Observer = Arc<dyn Fn(&Progress<'_>) + Send + Sync>;

/// What the worker works with.
#[derive(Clone)]
pub struct Worker {
    /// What is to be done.
    pub outbox: Arc<dyn Outbox>,
    /// Rung when something new is in the outbox.
    pub bell: Arc<Bell>,
    /// The configured media servers.
    pub servers: Vec<Arc<dyn MediaServer>>,
    /// What is asked where a server does not end a session.
    pub fallbacks: Arc<Fallbacks>,
    /// Who moves what outlives a session.
    pub keepers: Keepers,
    /// Whether the video of a session still arrives.
    pub flow: Flow,
    /// The configured webhooks.
    pub webhooks: Vec<Webhook>,
    /// Limits.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// Attempts and errors are counted here.
    pub metrics: Arc<Metrics>,
    /// Is told of every step.
    pub observer: Observer,
}

/// Works until `stop` holds `true` or its sender is gone; then finishes the attempts under way and returns.
pub async fn run(worker: Worker, stop: watch::Receiver<bool>) {
    let slots = Arc::new(Slots::new(&worker));
    let worker = Arc::new(worker);
    tokio::join!(
        lane(&worker, &slots, Lane::Kick, CLAIMED_AT_MOST, stop.clone()),
        lane(&worker, &slots, Lane::Notify, CLAIMED_AT_MOST, stop.clone()),
        lane(&worker, &slots, Lane::Quarantine, QUARANTINES_AT_ONCE, stop),
    );
}

async fn lane(worker: &Arc<Worker>, slots: &Arc<Slots>, lane: Lane, limit: usize, mut stop: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    loop {
        let (jobs, wait) = worker.due(lane, limit - running.len()).await;
        for job in jobs {
            running.spawn(attempt(worker.clone(), slots.clone(), job, stop.clone()));
        }
        let full = running.len() >= limit;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = worker.bell.rung(lane), if !full => {}
            Some(ended) = running.join_next() => worker.ended(ended),
            () = sleep(wait.unwrap_or_default()), if wait.is_some() && !full => {}
        }
    }
    while let Some(ended) = running.join_next().await {
        worker.ended(ended);
    }
}

/// What an attempt that worked came to.
struct Done {
    /// In a sentence.
    detail: String,
    /// Files that outlived the session.
    leftovers: Vec<Leftover>,
}

impl From<String> for Done {
    fn from(detail: String) -> Self {
        Self { detail, leftovers: Vec::new() }
    }
}

/// Makes one attempt at `job` when there is a slot for it, and writes down how it ended, for as long as it takes to get it
/// written.
async fn attempt(worker: Arc<Worker>, slots: Arc<Slots>, job: Job, mut stop: watch::Receiver<bool>) {
    let slot = tokio::select! {
        biased;
        slot = slots.of(&job.action) => slot,
        // Not begun: it is made at the next start.
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let began = worker.clock.now();
    let result = match &job.action {
        Action::Kick { session } => worker.kick(&job, session, slot, &slots).await.map(Done::from),
        Action::Notify { webhook, body } => {
            let delivered = worker.notify(&job, webhook, body).await;
            drop(slot);
            delivered.map(Done::from)
        }
        Action::Quarantine { session, since } => match worker.quarantine(&job, session, *since, &stop).await {
            // Told to stop in the midst of it: it goes on at the next start.
            Ok(None) => return,
            Ok(Some(done)) => Ok(done),
            Err(error) => Err(error),
        },
    };
    let ended = worker.clock.now();
    let (outcome, then) = match result {
        Ok(Done { detail, leftovers }) => {
            let then = worker.told_of(&job, &leftovers, ended);
            (Outcome::Done { detail }, then)
        }
        Err(error) => {
            worker.metrics.error(Stage::Act, error.kind());
            let outcome = retry::outcome(&job, &error, ended, retry::jitter(), worker.actuators(&job));
            let then = worker.alarm(&job, &outcome, ended);
            (outcome, then)
        }
    };
    worker.metrics.action(job.action.word(), outcome.word());
    log(&job, &outcome);
    while let Err(error) = worker.finish(&job, began, ended, &outcome, &then).await {
        // Not written down, the job stays claimed: nobody does it twice, and after a restart it is done again.
        worker.outbox_failed(&error);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(OUTBOX_PAUSE) => {}
        }
    }
    if !then.is_empty() {
        worker.bell.ring();
    }
    worker.tell(&job, Step::Ended(outcome), worker.clock.now());
}

impl Worker {
    /// What is due in `lane`, and how long until there may be more.
    async fn due(&self, lane: Lane, free: usize) -> (Vec<Job>, Option<Duration>) {
        if free == 0 {
            return (Vec::new(), None);
        }
        let (outbox, clock) = (self.outbox.clone(), self.clock);
        let looked = spawn_blocking(move || {
            let jobs = outbox.claim(lane, clock.now(), free)?;
            let next = outbox.next_due(lane, clock.now())?;
            Ok::<_, OutboxError>((jobs, next))
        });
        match looked.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                self.outbox_failed(&error);
                (Vec::new(), Some(OUTBOX_PAUSE))
            }
            Err(error) => {
                self.ended(Err(error));
                (Vec::new(), Some(OUTBOX_PAUSE))
            }
        }
    }

    async fn notify(&self, job: &Job, name: &Arc<str>, body: &str) -> Result<String, ActError> {
        let webhook = self
            .webhooks
            .iter()
            .find(|webhook| webhook.name() == name)
            .ok_or_else(|| ActError::UnknownWebhook { name: name.clone() })?;
        self.tell(job, Step::Asked, self.clock.now());
        // The receiver refuses a timestamp that is minutes off, and our clock does not follow when the system's is set.
        webhook.deliver(job.id, body, self.clock.wall()).await
    }

    async fn finish(
        &self,
        job: &Job,
        began: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
        then: &[(Uuid, Action)],
    ) -> Result<(), OutboxError> {
        let (outbox, id, outcome, then) = (self.outbox.clone(), job.id, outcome.clone(), then.to_vec());
        let finished = spawn_blocking(move || outbox.finish(id, began, ended, &outcome, &then)).await;
        finished.unwrap_or_else(|error| Err(OutboxError(error.to_string())))
    }

    /// How many can be asked to end a session: its server, and what that falls back on.
    fn actuators(&self, job: &Job) -> usize {
        let Action::Kick { session } = &job.action else { return 1 };
        1 + self.fallbacks.get(&session.stream.server).map_or(0, Vec::len)
    }

    /// Tells people of a cut that was not carried out, when everybody was asked in vain; gives the deliveries that follow.
    fn alarm(&self, job: &Job, outcome: &Outcome, at: Timestamp) -> Vec<(Uuid, Action)> {
        let Action::Kick { session } = &job.action else { return Vec::new() };
        let (Outcome::Retry { detail, .. } | Outcome::GaveUp { detail }) = outcome else { return Vec::new() };
        if !retry::is_time_for_alarm(job, outcome, self.actuators(job)) {
            return Vec::new();
        }
        let attempts = job.attempts + 1;
        self.metrics.cut_failed(&session.stream.server);
        tracing::error!(
            %session,
            attempts,
            detail,
            "a publisher who is to be cut off is still there: somebody must end the session on the media server, or block \
             the publisher's address"
        );
        self.tell(job, Step::Failing { detail: detail.clone() }, at);
        let Some(decision) = job.decision else { return Vec::new() };
        let source = &self.config.source;
        let body = event::cut_failed(Uuid::now_v7(), decision, session, attempts, detail, at, source);
        let wanting = self.webhooks.iter().filter(|webhook| webhook.wants(Topic::CutFailed));
        let notify = |webhook: &Webhook| Action::Notify { webhook: webhook.name().clone(), body: body.clone() };
        wanting.map(|webhook| (Uuid::now_v7(), notify(webhook))).collect()
    }

    /// The deliveries that say which files outlived a session.
    fn told_of(&self, job: &Job, leftovers: &[Leftover], at: Timestamp) -> Vec<(Uuid, Action)> {
        match (&job.action, job.decision) {
            (Action::Quarantine { session, .. }, Some(decision)) if !leftovers.is_empty() => {
                aftermath::told(decision, session, leftovers, at, &self.webhooks, &self.config.source)
            }
            _ => Vec::new(),
        }
    }

    /// Moves what outlives a session; `None` when told to stop before that was done.
    async fn quarantine(
        &self,
        job: &Job,
        session: &Session,
        since: Timestamp,
        stop: &watch::Receiver<bool>,
    ) -> Result<Option<Done>, ActError> {
        let name = &session.stream.server;
        let keeper = self.keepers.get(name).ok_or_else(|| ActError::NoAfterCut { server: name.clone() })?;
        let server = self.server(name)?;
        self.tell(job, Step::Asked, self.clock.now());
        let watch = (self.clock, &*self.metrics, stop.clone());
        let swept = keeper.keep(job.decision.unwrap_or(job.id), session, since, &**server, watch).await?;
        Ok(swept.map(|swept| Done { detail: swept.detail, leftovers: swept.leftovers }))
    }

    fn server(&self, name: &Arc<str>) -> Result<&Arc<dyn MediaServer>, ActError> {
        let found = self.servers.iter().find(|server| server.name() == name);
        found.ok_or_else(|| ActError::UnknownServer { name: name.clone() })
    }

    fn tell(&self, job: &Job, step: Step, at: Timestamp) {
        (self.observer)(&Progress { job, step, at });
    }

    fn outbox_failed(&self, error: &OutboxError) {
        self.metrics.error(Stage::Act, "outbox");
        tracing::error!(%error, "the outbox failed; looking again in a moment");
    }

    fn ended(&self, task: Result<(), JoinError>) {
        if let Err(error) = task {
            self.metrics.error(Stage::Act, "panicked");
            tracing::error!(%error, "an attempt broke off; its action is tried again after a restart");
        }
    }
}

fn log(job: &Job, outcome: &Outcome) {
    let (action, attempts) = (job.action.word(), job.attempts + 1);
    let decision = job.decision.map(tracing::field::display);
    match outcome {
        Outcome::Done { detail } => tracing::info!(action, decision, attempts, detail, "done"),
        Outcome::Retry { detail, due } => {
            tracing::warn!(action, decision, attempts, detail, %due, "to be tried again");
        }
        Outcome::GaveUp { detail } => {
            tracing::error!(action, decision, attempts, detail, "given up: somebody must see to it");
        }
    }
}

#[cfg(test)]
mod tests;
