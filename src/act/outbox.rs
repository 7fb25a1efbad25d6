//! Carries out what the outbox holds: asks, verifies, retries, and writes down how each attempt ended.
//!
//! Kicks and deliveries are claimed and counted apart, so a kick never waits behind a slow webhook. Everything that must
//! outlive the process is in the outbox; dropping [`run`] at any point loses nothing but the attempts under way, and those
//! are made again at the next start.

mod retry;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::servers::{Kicked, MediaServer};
use super::webhook::Webhook;
use super::{ActError, Config};
use crate::clock::{Clock, Timestamp};
use crate::decision::{Action, Job, Lane, Outbox, OutboxError, Outcome};
use crate::metrics::{Metrics, Stage};
use crate::stream::Session;

/// How long to wait after the outbox itself failed.
const OUTBOX_PAUSE: Duration = Duration::from_secs(1);

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
    /// The media server no longer lists the session.
    ObservedGone,
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
    let worker = Arc::new(worker);
    let Config { kicks_at_once, deliveries_at_once, .. } = worker.config;
    tokio::join!(
        lane(&worker, Lane::Kick, kicks_at_once.max(1), stop.clone()),
        lane(&worker, Lane::Notify, deliveries_at_once.max(1), stop.clone()),
        lane(&worker, Lane::Quarantine, QUARANTINES_AT_ONCE, stop),
    );
}

async fn lane(worker: &Arc<Worker>, lane: Lane, limit: usize, mut stop: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    loop {
        let (jobs, wait) = worker.due(lane, limit - running.len()).await;
        for job in jobs {
            running.spawn(attempt(worker.clone(), job, stop.clone()));
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

/// Makes one attempt at `job` and writes down how it ended, for as long as it takes to get it written.
async fn attempt(worker: Arc<Worker>, job: Job, mut stop: watch::Receiver<bool>) {
    let began = worker.clock.now();
    let result = match &job.action {
        Action::Kick { session } => worker.kick(&job, session).await,
        Action::Notify { webhook, body } => worker.notify(&job, webhook, body).await,
        Action::Quarantine { session, .. } => Err(ActError::NoAfterCut { server: session.stream.server.clone() }),
    };
    let ended = worker.clock.now();
    let outcome = match result {
        Ok(detail) => Outcome::Done { detail },
        Err(error) => {
            worker.metrics.error(Stage::Act, error.kind());
            retry::outcome(&job, &error, ended, retry::jitter())
        }
    };
    worker.metrics.action(job.action.word(), outcome.word());
    log(&job, &outcome);
    while let Err(error) = worker.finish(&job, began, ended, &outcome).await {
        // Not written down, the job stays claimed: nobody does it twice, and after a restart it is done again.
        worker.outbox_failed(&error);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(OUTBOX_PAUSE) => {}
        }
    }
    worker.tell(&job, Step::Ended(outcome));
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

    /// Ends a session and watches it go: only what was observed counts as done.
    async fn kick(&self, job: &Job, session: &Session) -> Result<String, ActError> {
        let name = &session.stream.server;
        let server = self
            .servers
            .iter()
            .find(|server| server.name() == name)
            .ok_or_else(|| ActError::UnknownServer { name: name.clone() })?;
        // A look first: the session's number may have become somebody else's while we were away. A look that fails is no
        // reason not to ask.
        if let Ok(false) = server.publishes(session).await {
            self.tell(job, Step::ObservedGone);
            return Ok("already gone".to_owned());
        }
        self.tell(job, Step::Asked);
        let asked = self.clock.now();
        let answer = server.kick(session).await?;
        loop {
            let seen = server.publishes(session).await;
            let waited = self.clock.now().since(asked);
            match seen {
                Ok(false) => {
                    self.tell(job, Step::ObservedGone);
                    let said = match answer {
                        Kicked::Dropped => "observed gone",
                        Kicked::NoSuchSession => "gone before the request arrived, seen",
                    };
                    return Ok(format!("{said} {} ms after the request", waited.as_millis()));
                }
                Ok(true) if waited >= self.config.verify_for => {
                    return Err(ActError::StillListed { server: name.clone(), waited: self.config.verify_for });
                }
                Err(error) if waited >= self.config.verify_for => return Err(error),
                Ok(true) | Err(_) => sleep(self.config.verify_every).await,
            }
        }
    }

    async fn notify(&self, job: &Job, name: &Arc<str>, body: &str) -> Result<String, ActError> {
        let webhook = self
            .webhooks
            .iter()
            .find(|webhook| webhook.name() == name)
            .ok_or_else(|| ActError::UnknownWebhook { name: name.clone() })?;
        self.tell(job, Step::Asked);
        // The receiver refuses a timestamp that is minutes off, and our clock does not follow when the system's is set.
        webhook.deliver(job.id, body, self.clock.wall()).await
    }

    async fn finish(
        &self,
        job: &Job,
        began: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
    ) -> Result<(), OutboxError> {
        let (outbox, id, outcome) = (self.outbox.clone(), job.id, outcome.clone());
        let finished = spawn_blocking(move || outbox.finish(id, began, ended, &outcome, &[])).await;
        finished.unwrap_or_else(|error| Err(OutboxError(error.to_string())))
    }

    fn tell(&self, job: &Job, step: Step) {
        (self.observer)(&Progress { job, step, at: self.clock.now() });
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
