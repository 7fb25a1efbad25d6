//! The judge's thread: owns all evidence, turns judgements into recorded decisions, and only then lets them act.
//!
//! Promises: a decision is in the ledger, with its deny and its actions, before the gate refuses, a request leaves or
//! anybody is told. A decision that cannot be recorded waits in memory and is tried again every second; it is not lost
//! while the process lives, and nothing is done about it before it is recorded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::breaking::Breaking;
use super::history::{self, History};
use super::ordering::Order;
use super::quarantining::Alarms;
use super::streams::Streams;
use super::telling::Telling;
use super::unrecorded::Unrecorded;
use crate::act::Gate;
use crate::act::outbox::Bell;
use crate::act::webhook::{Topic, Webhook, event};
use crate::act::{aftermath, servers};
use crate::api::Happening;
use crate::clock::{Clock, Timestamp};
use crate::decision::{Action, Actor, Context, Decision, Deny, Earlier, Mode, Target, Verdict};
use crate::finding::{Finding, Observation};
use crate::judge::quarantine::Ward;
use crate::judge::{Judge, Judgement, Policy, Scope};
use crate::ledger::{Entry, Ledger, Standing};
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
    /// Somebody orders something.
    Ordered(Order),
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
    pub(super) servers: Vec<servers::Config>,
    pub(super) webhooks: Vec<Webhook>,
    /// What webhooks' events name as their source.
    pub(super) source: String,
    pub(super) streams: Arc<Streams>,
    pub(super) telling: Telling,
    pub(super) bell: Arc<Bell>,
    pub(super) clock: Clock,
    /// Sessions that a decision closes already, and when their kick ended; `None`: it has not.
    pub(super) closed: HashMap<Session, Option<Timestamp>>,
    pub(super) breaking: Breaking,
    pub(super) history: History,
    pub(super) unrecorded: Unrecorded,
}

impl Deciding {
    /// Works until it is told to close, or nobody is left to tell it anything.
    pub(super) fn run(mut self, notices: &Receiver<Notice>) {
        let mut ticked = self.clock.now();
        loop {
            let notice = notices.recv_timeout(TICK);
            let ended = matches!(notice, Ok(Notice::Close) | Err(RecvTimeoutError::Disconnected));
            for fresh in notice.map(|notice| self.weigh(notice)).unwrap_or_default() {
                self.put(fresh);
            }
            let now = self.clock.now();
            if ended || now.since(ticked) >= TICK {
                self.tick(now);
                // Asked only now: a ledger that is locked takes seconds to say so, and notices must be heard in between.
                ticked = self.clock.now();
            }
            if ended {
                if !self.unrecorded.is_empty() {
                    error!(decisions = self.unrecorded.len(), "stopping with decisions that could not be recorded");
                }
                return;
            }
        }
    }

    /// What time brings about.
    fn tick(&mut self, now: Timestamp) {
        self.judge.expire(now);
        self.set_aside(now);
        self.closed.retain(|_, ended| ended.is_none_or(|ended| now.since(ended) < REMEMBERED));
        self.catch_up();
        self.end_holds(now);
        self.keep_breaker();
    }

    /// Records a decision, or lets it wait behind those that wait; whether it is recorded.
    pub(super) fn put(&mut self, fresh: Entry) -> bool {
        let recorded = !self.unrecorded.blocks() && self.record(&fresh);
        if !recorded {
            self.unrecorded.push(fresh);
        }
        self.telling.metrics.set_unrecorded(self.unrecorded.len());
        if self.breaking.is_unkept() {
            // At once: after a crash it is to be as open as it is now.
            self.keep_breaker();
        }
        recorded
    }

    /// Records what waits, each tried once, up to the first that no other would fare better than: the disk is as full for
    /// the others. What fails goes to the back, so that it never stands in their way.
    fn catch_up(&mut self) {
        for _ in 0..self.unrecorded.len() {
            let Some(waiting) = self.unrecorded.pop() else { break };
            if !self.record(&waiting) {
                self.unrecorded.push(waiting);
                if self.unrecorded.blocks() {
                    break;
                }
            }
        }
        self.telling.metrics.set_unrecorded(self.unrecorded.len());
    }

    /// Hands on what the breaker has to say.
    pub(super) fn keep_breaker(&mut self) {
        if self.breaking.tick(self.clock.now(), &self.ledger, &self.telling) {
            self.bell.ring();
        }
    }

    /// What is known of a session beside its findings.
    pub(super) fn context(&self, session: &Session) -> Context {
        Context {
            earlier: self.history.of(session, || self.streams.publisher(session)),
            breaker_open: self.breaking.is_open(self.clock.now()),
            ..self.streams.context(session)
        }
    }

    fn weigh(&mut self, notice: Notice) -> Vec<Entry> {
        match notice {
            Notice::Found(mut finding) => {
                self.ward.admit(&mut finding);
                self.tell_of(&finding);
                let context = self.context(&finding.session);
                let judgement = self.judge.observe(&finding, &context);
                let judgements: Vec<Judgement> = judgement.into_iter().chain(self.judge.also()).collect();
                judgements.into_iter().map(|judgement| self.decide(judgement, Actor::Policy)).collect()
            }
            Notice::Ended(session, at) => {
                self.judge.end(&session, at);
                self.ward.end(&session, at);
                Vec::new()
            }
            Notice::SetAside { bank, signals, revision } => {
                self.ward.kept(&bank, &signals, revision);
                Vec::new()
            }
            Notice::Ordered(order) => {
                self.carry_out(order);
                Vec::new()
            }
            Notice::Close => Vec::new(),
            Notice::Denied { session, publisher, asked } => {
                self.enforce(session, &publisher, asked).into_iter().collect()
            }
            Notice::Kicked { session, at } => {
                self.closed.insert(session, Some(at));
                Vec::new()
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
        let judgement = Judgement::bare(session, Verdict::Cut, STANDING_DENY, decided);
        // A deny of its own would go on for ever while somebody keeps trying, and outlive the one that is lifted.
        Some(Entry { denies: Vec::new(), ..self.decide(judgement, Actor::Policy) })
    }

    /// Raises attention where the finding asks for it, and tells of it.
    fn tell_of(&self, finding: &Finding) {
        if let Some((level, span)) = self.judge.attention(finding) {
            self.streams.raise(&finding.session, level, finding.found, span);
        }
        self.telling.metrics.finding(finding.observation.detector());
        if matches!(finding.observation, Observation::State(_)) {
            // Told already, when it began.
            return;
        }
        let happening = Happening::Finding { arrived: finding.arrived, observation: finding.observation.clone() };
        self.telling.tell(finding.found, &finding.session.stream, happening);
    }

    /// What follows from a judgement: from one in the shadow nothing but its record.
    pub(super) fn decide(&mut self, judgement: Judgement, actor: Actor) -> Entry {
        let Judgement { session, verdict, rule, mode, lowered, capped_by, decided, .. } = judgement;
        let Judgement { evidence, before, timeline, context, lasts, scope, .. } = judgement;
        let publisher = self.streams.publisher(&session);
        let (policy, until) = (self.policy.digest(), lasts.map(|lasts| decided + lasts));
        let by_itself = actor == Actor::Policy && &*rule != STANDING_DENY;
        let decision = Decision {
            capped_by,
            policy,
            until,
            actor,
            mode,
            lowered,
            before,
            context,
            evidence,
            ..Decision::new(session, verdict, &rule, decided)
        };
        let known_as = history::known_as(&publisher);
        let (mut denies, mut actions) = (Vec::new(), Vec::new());
        if mode == Mode::Enforced {
            if verdict.closes() {
                denies = denied(&decision, &scope, &publisher);
                let live = !decision.session.id.0.is_empty();
                if live && self.closed.insert(decision.session.clone(), None) != Some(None) {
                    actions.push((Uuid::now_v7(), Action::Kick { session: decision.session.clone() }));
                    let since = self.streams.get(&decision.session).map_or(decided, |stream| stream.since());
                    let server = self.servers.iter().find(|server| server.name == decision.session.stream.server);
                    actions.extend(aftermath::follows(&decision, since, server, &self.webhooks, &self.source));
                }
                if by_itself {
                    self.breaking.count(&decision, &self.streams, &self.telling, &self.webhooks, &self.source);
                }
            }
            if let Some(topic) = Topic::of(verdict) {
                let body = event::decided(&decision, publisher.account.as_deref(), &self.source);
                self.notify(&mut actions, topic, &body);
            }
            if verdict == Verdict::Hold {
                let body = event::held(Uuid::now_v7(), &decision, until, &self.source);
                self.notify(&mut actions, Topic::StreamHeld, &body);
            }
        }
        Entry { decision, denies, actions, timeline, known_as }
    }

    /// Adds the event for every webhook that wants it.
    pub(super) fn notify(&self, actions: &mut Vec<(Uuid, Action)>, topic: Topic, body: &str) {
        for webhook in self.webhooks.iter().filter(|webhook| webhook.wants(topic)) {
            let action = Action::Notify { webhook: Arc::clone(webhook.name()), body: body.to_owned() };
            actions.push((Uuid::now_v7(), action));
        }
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

    /// Records the decision and lets it act; `false` when it could not be recorded.
    fn record(&mut self, waiting: &Entry) -> bool {
        let Entry { decision, denies, actions, known_as, .. } = waiting;
        if let Err(error) = self.ledger.record(waiting) {
            self.telling.metrics.error(Stage::Ledger, error.kind());
            let Decision { id, session, verdict, .. } = decision;
            error!(%error, %session, %verdict, decision = %id, "a decision waits to be recorded");
            self.unrecorded.failed(&error);
            return false;
        }
        for deny in denies {
            self.gate.deny(deny.clone());
        }
        // A cut that no deny follows from enforces one that stands: it is no verdict of its own.
        let own = !denies.is_empty() || decision.verdict == Verdict::Hold;
        if decision.mode == Mode::Enforced && own {
            let Decision { id, session, verdict, decided, .. } = decision;
            let verdict = Earlier { decision: *id, verdict: *verdict, decided: *decided };
            self.history.add(Standing { session: session.clone(), known_as: known_as.clone(), verdict });
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
        let Decision { id, session, verdict, rule, mode, decided, .. } = decision;
        match mode {
            Mode::Enforced => self.telling.metrics.verdict(verdict.word(), rule),
            Mode::Shadow => self.telling.metrics.shadow_verdict(verdict.word(), rule),
        }
        let (rule, mode) = (Arc::clone(rule), *mode);
        let happening = Happening::Verdict { decision: *id, verdict: *verdict, rule, mode };
        self.telling.tell(*decided, &session.stream, happening);
    }

    fn log(decision: &Decision) {
        let Decision { id, session, verdict, rule, capped_by, evidence, .. } = decision;
        let findings = evidence.len();
        let capped = capped_by.as_ref().map(|bank| format!("by bank {bank}"));
        if decision.mode == Mode::Shadow {
            info!(%session, %verdict, %rule, findings, capped, decision = %id, "verdict in the shadow: nothing follows");
        } else if verdict.closes() {
            warn!(%session, %verdict, %rule, findings, capped, decision = %id, "verdict");
        } else {
            info!(%session, %verdict, %rule, findings, capped, decision = %id, "verdict");
        }
    }
}

/// The denies that follow from a decision: by all that the rule names, as far as it is known of the publisher, and by the
/// stream's name where nothing of it is.
fn denied(decision: &Decision, scope: &Scope, publisher: &Publisher) -> Vec<Deny> {
    let mut targets: Vec<Target> = scope.iter().filter_map(|by| Target::named(by, publisher)).collect();
    if targets.is_empty() {
        targets.push(Target::Name);
    }
    let Decision { id, session, decided, until, .. } = decision;
    let deny = |target| Deny { stream: session.stream.clone(), target, decision: *id, since: *decided, until: *until };
    targets.into_iter().map(deny).collect()
}

#[cfg(test)]
mod tests;
