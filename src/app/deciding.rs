//! The judge's thread: owns all evidence, turns judgements into recorded decisions, and only then lets them act.
//!
//! Promises: a decision is in the ledger, with its deny and its actions, before the gate refuses, a request leaves or
//! anybody is told. A decision that cannot be recorded waits in memory and is tried again every second; it is not lost
//! while the process lives, and nothing is done about it before it is recorded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::quarantining::Alarms;
use super::streams::Streams;
use super::telling::Telling;
use crate::act::Gate;
use crate::act::outbox::Bell;
use crate::act::webhook::{Topic, Webhook, event};
use crate::api::Happening;
use crate::clock::{Clock, Timestamp};
use crate::decision::{Action, Decision, Deny, Target, Verdict};
use crate::finding::{Finding, Observation};
use crate::judge::quarantine::Ward;
use crate::judge::{Judge, Judgement, Policy};
use crate::ledger::{Entry, Ledger};
use crate::media_server::Admission;
use crate::metrics::Stage;
use crate::stream::{Publisher, Session};

/// How often evidence is let expire, and recording is tried again.
const TICK: Duration = Duration::from_secs(1);

/// How long a session is remembered after its kick ended: longer than any list of publishers asked for before that is on
/// its way.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The rule named in a decision on a session that publishes although a deny stands against its stream.
pub(super) const STANDING_DENY: &str = "standing-deny";

/// What the judge's thread is told.
#[derive(Debug)]
pub(super) enum Notice {
    /// A detector saw something.
    Found(Finding),
    /// A session is over: its source gives nothing that arrives later than this.
    Ended(Session, Timestamp),
    /// A session is listed by its server although a deny stands against its stream or its publisher.
    Denied {
        /// Whose.
        session: Session,
        /// Who they are.
        publisher: Publisher,
        /// When the server was asked for its list.
        asked: Timestamp,
    },
    /// The kick of a session came to its end: the session was observed gone, or the kick was given up.
    Kicked {
        /// Whose.
        session: Session,
        /// When.
        at: Timestamp,
    },
    /// The file of a bank has it that these signals are set aside.
    SetAside {
        /// The bank.
        bank: Arc<str>,
        /// The signals.
        signals: Vec<u64>,
        /// The bank's revision with that.
        revision: u64,
    },
    /// Everything before this was said; end.
    Close,
}

/// What the judge's thread owns and what it hands on to.
pub(super) struct Deciding {
    pub(super) judge: Judge,
    pub(super) ward: Ward,
    pub(super) alarms: Alarms,
    pub(super) policy: Arc<Policy>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) gate: Arc<Gate>,
    pub(super) webhooks: Vec<Webhook>,
    /// What webhooks' events name as their source.
    pub(super) source: String,
    pub(super) streams: Arc<Streams>,
    pub(super) telling: Telling,
    pub(super) bell: Arc<Bell>,
    pub(super) clock: Clock,
    /// Sessions that a decision closes already, and when their kick ended; `None`: it has not.
    pub(super) closed: HashMap<Session, Option<Timestamp>>,
}

impl Deciding {
    /// Works until it is told to close, or nobody is left to tell it anything.
    pub(super) fn run(mut self, notices: &Receiver<Notice>) {
        let mut unrecorded: VecDeque<Entry> = VecDeque::new();
        let mut ticked = self.clock.now();
        loop {
            let notice = notices.recv_timeout(TICK);
            let ended = matches!(notice, Ok(Notice::Close) | Err(RecvTimeoutError::Disconnected));
            if let Some(fresh) = notice.ok().and_then(|notice| self.weigh(notice))
                && (!unrecorded.is_empty() || !self.record(&fresh))
            {
                unrecorded.push_back(fresh);
            }
            let now = self.clock.now();
            if ended || now.since(ticked) >= TICK {
                self.judge.expire(now);
                self.set_aside(now);
                self.closed.retain(|_, ended| ended.is_none_or(|ended| now.since(ended) < REMEMBERED));
                self.catch_up(&mut unrecorded);
                // Asked only now: a ledger that is locked takes seconds to say so, and notices must be heard in between.
                ticked = self.clock.now();
            }
            if ended {
                if !unrecorded.is_empty() {
                    error!(decisions = unrecorded.len(), "stopping with decisions that could not be recorded");
                }
                return;
            }
        }
    }

    /// Records what waits, up to the first that still cannot be: the disk is as full for the others. That one goes to
    /// the back, so that it never stands in their way.
    fn catch_up(&self, unrecorded: &mut VecDeque<Entry>) {
        while let Some(waiting) = unrecorded.pop_front() {
            if !self.record(&waiting) {
                return unrecorded.push_back(waiting);
            }
        }
    }

    fn weigh(&mut self, notice: Notice) -> Option<Entry> {
        match notice {
            Notice::Found(mut finding) => {
                self.ward.admit(&mut finding);
                self.tell_of(&finding);
                let judgement = self.judge.observe(finding)?;
                Some(self.decide(judgement))
            }
            Notice::Ended(session, at) => {
                self.judge.end(&session, at);
                self.ward.end(&session, at);
                None
            }
            Notice::SetAside { bank, signals, revision } => {
                self.ward.kept(&bank, &signals, revision);
                None
            }
            Notice::Close => None,
            Notice::Denied { session, publisher, asked } => self.enforce(session, &publisher, asked),
            Notice::Kicked { session, at } => {
                self.closed.insert(session, Some(at));
                None
            }
        }
    }

    /// Cuts a session off that is listed although a deny stands, unless that is under way, or the list is older than
    /// its end. Listed after its end, it is another session that the server gave the same identifier, or one that
    /// the server could not be made to end.
    fn enforce(&mut self, session: Session, publisher: &Publisher, asked: Timestamp) -> Option<Entry> {
        let decided = self.clock.now();
        let closed = self.closed.get(&session).is_some_and(|ended| ended.is_none_or(|ended| asked <= ended));
        if closed || self.gate.admit(&session.stream, publisher, decided) == Admission::Allow {
            return None;
        }
        let rule = STANDING_DENY.into();
        let judgement =
            Judgement { session, verdict: Verdict::Cut, rule, capped_by: None, decided, evidence: Vec::new() };
        // A deny of its own would go on for ever while somebody keeps trying, and outlive the one that is lifted.
        Some(Entry { denies: Vec::new(), ..self.decide(judgement) })
    }

    /// Raises attention where the finding asks for it, and tells of it.
    fn tell_of(&self, finding: &Finding) {
        if let Some((level, span)) = self.judge.attention(finding)
            && let Some(stream) = self.streams.get(&finding.session)
        {
            stream.attention.raise(level, finding.found, finding.found + span);
        }
        self.telling.metrics.finding(finding.observation.detector());
        if matches!(finding.observation, Observation::State(_)) {
            // Told already, when it began.
            return;
        }
        let happening = Happening::Finding { arrived: finding.arrived, observation: finding.observation.clone() };
        self.telling.tell(finding.found, &finding.session.stream, happening);
    }

    fn decide(&mut self, judgement: Judgement) -> Entry {
        let Judgement { session, verdict, rule, capped_by, decided, evidence } = judgement;
        let policy = self.policy.digest();
        let decision = Decision { capped_by, policy, evidence, ..Decision::new(session, verdict, &rule, decided) };
        let denies = if verdict.closes() { vec![self.deny(&decision)] } else { Vec::new() };
        let mut actions = Vec::new();
        if verdict.closes() && self.closed.insert(decision.session.clone(), None) != Some(None) {
            actions.push((Uuid::now_v7(), Action::Kick { session: decision.session.clone() }));
        }
        let body = event::decided(&decision, None, &self.source);
        for webhook in
            self.webhooks.iter().filter(|webhook| Topic::of(verdict).is_some_and(|topic| webhook.wants(topic)))
        {
            let action = Action::Notify { webhook: Arc::clone(webhook.name()), body: body.clone() };
            actions.push((Uuid::now_v7(), action));
        }
        Entry { denies, actions, ..Entry::from(decision) }
    }

    /// Sets aside what fires alone in too many streams, and says so everywhere.
    fn set_aside(&mut self, now: Timestamp) {
        let fresh = self.ward.tick(now);
        self.alarms.raise(fresh, now, &self.telling, &self.webhooks, &self.source);
        Alarms::refused(&self.ward.refused(), &self.telling.metrics);
        if self.alarms.announce(&self.ledger, &self.telling) {
            self.bell.ring();
        }
    }

    fn deny(&self, decision: &Decision) -> Deny {
        Deny {
            stream: decision.session.stream.clone(),
            target: Target::Name,
            decision: decision.id,
            since: decision.decided,
            until: (decision.verdict == Verdict::Cut).then(|| decision.decided + self.policy.deny_for()),
        }
    }

    /// Records the decision and lets it act; `false` when it could not be recorded.
    fn record(&self, waiting: &Entry) -> bool {
        let Entry { decision, denies, actions, .. } = waiting;
        if let Err(error) = self.ledger.record(waiting) {
            self.telling.metrics.error(Stage::Ledger, error.kind());
            error!(%error, session = %decision.session, verdict = %decision.verdict, "a decision waits to be recorded");
            return false;
        }
        for deny in denies {
            self.gate.deny(deny.clone());
        }
        // Before the bell: nobody is to read of an action whose verdict is still to come. It does not wait; a log may.
        self.tell(decision);
        if !actions.is_empty() {
            self.bell.ring();
        }
        Self::log(decision);
        true
    }

    fn tell(&self, decision: &Decision) {
        let Decision { id, session, verdict, rule, decided, .. } = decision;
        self.telling.metrics.verdict(verdict.word(), rule);
        let happening = Happening::Verdict { decision: *id, verdict: *verdict, rule: Arc::clone(rule) };
        self.telling.tell(*decided, &session.stream, happening);
    }

    fn log(decision: &Decision) {
        let Decision { id, session, verdict, rule, capped_by, evidence, .. } = decision;
        let findings = evidence.len();
        let capped = capped_by.as_ref().map(|bank| format!("by bank {bank}"));
        if verdict.closes() {
            warn!(%session, %verdict, %rule, findings, capped, decision = %id, "verdict");
        } else {
            info!(%session, %verdict, %rule, findings, capped, decision = %id, "verdict");
        }
    }
}

#[cfg(test)]
mod tests;
