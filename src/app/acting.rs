//! Watches the outbox at work: tells each step of an action, and measures how long cutting off took.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::deciding::Notice;
use super::streams::Streams;
use super::telling::Telling;
use crate::act::outbox::{Observer, Progress, Step};
use crate::api::{self, Happening};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Job, Outcome};
use crate::ledger::Ledger;
use crate::metrics::Stage;

/// See the module.
#[derive(Clone)]
pub(super) struct Acting {
    pub(super) ledger: Arc<Ledger>,
    pub(super) streams: Arc<Streams>,
    pub(super) telling: Telling,
}

impl Acting {
    /// What the outbox's worker calls at each step. It only starts a look-up: the ledger is on disk.
    pub(super) fn observer(self) -> Observer {
        Arc::new(move |progress: &Progress<'_>| {
            if let (Action::Kick { session }, Step::Ended(Outcome::Done { .. } | Outcome::GaveUp { .. })) =
                (&progress.job.action, &progress.step)
            {
                let (notices, kicked) =
                    (self.streams.notices.clone(), Notice::Kicked { session: session.clone(), at: progress.at });
                // Waits when the judge is behind. Fails only when it has ended.
                drop(spawn_blocking(move || drop(notices.send(kicked))));
            }
            let Some(far) = far(&progress.job.action, &progress.step) else { return };
            let (acting, job, at) = (self.clone(), progress.job.clone(), progress.at);
            if let (Action::Kick { session }, Some(decision)) = (&job.action, job.decision) {
                acting.telling.tell(at, &session.stream, happening(decision, &job, far));
            }
            drop(spawn_blocking(move || acting.account(&job, far, at)));
        })
    }

    fn account(&self, job: &Job, far: api::Progress, at: Timestamp) {
        let Some(of) = job.decision else { return };
        let decision = match self.ledger.decision(of) {
            Ok(Some(decision)) => decision,
            Ok(None) => return,
            Err(error) => return self.telling.metrics.error(Stage::Ledger, error.kind()),
        };
        match &job.action {
            Action::Notify { .. } | Action::Quarantine { .. } => {
                self.telling.tell(at, &decision.session.stream, happening(of, job, far));
            }
            Action::Kick { .. } => self.measure(job, &decision, far, at),
        }
    }

    fn measure(&self, job: &Job, decision: &Decision, far: api::Progress, at: Timestamp) {
        match far {
            api::Progress::Asked if job.attempts == 0 => {
                self.telling.metrics.verdict_to_request(at.since(decision.decided));
            }
            api::Progress::ObservedGone => {
                if let Some(first) = decision.evidence.iter().map(|finding| finding.arrived).min() {
                    self.telling.metrics.cutoff(at.since(first));
                }
            }
            _ => {}
        }
    }
}

fn happening(decision: Uuid, job: &Job, progress: api::Progress) -> Happening {
    Happening::Action { decision, action: job.action.word(), progress }
}

/// What listeners are told of a step. That a kick is done they know already: the publisher was observed gone.
fn far(action: &Action, step: &Step) -> Option<api::Progress> {
    match (step, action) {
        (Step::Asked, _) => Some(api::Progress::Asked),
        (Step::ObservedGone, _) => Some(api::Progress::ObservedGone),
        (Step::Failing { .. }, _) => Some(api::Progress::Failing),
        (Step::Ended(Outcome::Retry { .. }), _) => Some(api::Progress::Retry),
        (Step::Ended(Outcome::GaveUp { .. }), _) => Some(api::Progress::GaveUp),
        (Step::Ended(Outcome::Done { .. }), Action::Notify { .. }) => Some(api::Progress::Delivered),
        (Step::Ended(Outcome::Done { .. }), Action::Quarantine { .. }) => Some(api::Progress::Quarantined),
        (Step::Ended(Outcome::Done { .. }), Action::Kick { .. }) => None,
    }
}
