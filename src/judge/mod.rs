//! Weighs what detectors found in a stream against the policy, and says when a line is crossed.
//!
//! For every session the judge keeps the findings of the last few seconds, its *evidence*. Each new finding is weighed
//! together with those around it; where a rule holds whose verdict is severer than what the session has reached, there
//! is a [`Judgement`]. So a session climbs the ladder, and is cut at most once. It descends only when a hold has run
//! out: then fresh evidence may lead to it again.
//!
//! - What is on trial, a rule, a bank or a model, climbs a ladder of its own, in the *shadow*: its judgements are recorded
//!   and nothing follows, and they neither bring anything enforced about nor keep it from coming about.
//! - What is known beside the findings is an argument, [`Context`]: the class of the stream, earlier verdicts on its
//!   publisher, whether the breaker is open. It can lower a verdict, and the judgement then says why.
//! - Time is when pictures *arrived*, not when a detector was done with them: a slow detector neither widens nor narrows
//!   a window, and findings may come out of order.
//! - Nothing depends on anything but the findings and their order: replaying a recorded list gives the same judgements.
//!   While what they count fits into the widest window of the policy, rules about banks give the same final verdict in
//!   any order. A rule about a share of pictures is decided on the pictures known at the time, as it must be to be quick.
//! - Memory is bounded: [`EVIDENCE_LIMIT`] findings of each sort a session, and sessions go by [`Judge::end`] and [`Judge::expire`].
//!
//! Pure: no clock, no I/O, no logging, no thread.

mod aligned;
pub mod breaker;
mod case;
mod config;
mod error;
mod evidence;
mod parse;
mod policy;
pub mod quarantine;
mod replay;
mod rule;
mod scope;
mod sentence;
mod terms;
#[cfg(test)]
mod tests;
mod unreachable;
mod weigh;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::case::Case;
pub use self::config::{Config, RuleConfig, Shadow, StateWord};
pub use self::error::PolicyError;
pub use self::policy::Policy;
pub use self::replay::{rehearse, replay};
pub use self::scope::{DenyBy, Scope};
use crate::clock::Timestamp;
use crate::decision::{Context, Lowered, Mode, Verdict};
use crate::finding::Finding;
use crate::stream::{Attention, Session};

/// Findings of each sort, pictures and reports, kept of one session at most; the oldest go first.
pub const EVIDENCE_LIMIT: usize = 512;

/// How long a session is remembered after its last sign of life: its pictures may still be on their way through the
/// detectors.
const LINGER: Duration = Duration::from_mins(1);

/// A session has risen to a severer verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Whose.
    pub session: Session,
    /// What it has risen to.
    pub verdict: Verdict,
    /// The name of the rule that decided.
    pub rule: Arc<str>,
    /// Whether anything follows: not from a rule, a bank or a model on trial.
    pub mode: Mode,
    /// Why the verdict is milder than the rule asked for, if it is.
    pub lowered: Option<Lowered>,
    /// The bank without whose cap the rule would have been severer.
    pub capped_by: Option<Arc<str>>,
    /// When: the time at which the finding that tipped the balance was found.
    pub decided: Timestamp,
    /// All findings that the rule counted, and no others, oldest first.
    pub evidence: Vec<Finding>,
    /// What the session had reached before; for a judgement in the shadow, what it had reached there.
    pub before: Verdict,
    /// All that the judge held of the session, in the order in which it was heard: the evidence is among it.
    pub timeline: Vec<Finding>,
    /// What was known beside the findings.
    pub context: Context,
    /// How long what follows lasts; `None`: until somebody ends it, or there is nothing to end.
    pub lasts: Option<Duration>,
    /// By what a deny names the publisher, where the verdict closes.
    pub scope: Scope,
}

impl Judgement {
    /// A judgement that no finding is behind.
    pub fn bare(session: Session, verdict: Verdict, rule: &str, decided: Timestamp) -> Self {
        Self {
            session,
            verdict,
            rule: rule.into(),
            mode: Mode::Enforced,
            lowered: None,
            capped_by: None,
            decided,
            evidence: Vec::new(),
            before: Verdict::Clear,
            timeline: Vec::new(),
            context: Context::default(),
            lasts: None,
            scope: Scope::default(),
        }
    }
}

/// Keeps the evidence of every session and applies one policy to it.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    cases: HashMap<Session, Case>,
    /// What else the latest finding led to.
    also: Option<Judgement>,
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, cases: HashMap::new(), also: None }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// How many sessions are remembered.
    pub fn sessions(&self) -> usize {
        self.cases.len()
    }

    /// Weighs one more finding. A judgement follows only if the session's verdict rises; the rule that leads to the
    /// severest verdict decides, and among equals the severest rule, of several the one that the policy names first.
    ///
    /// Where the finding leads to a judgement and to another in the shadow, the other is what [`Judge::also`] gives.
    pub fn observe(&mut self, finding: &Finding, context: &Context) -> Option<Judgement> {
        let case = self.cases.entry(finding.session.clone()).or_default();
        let [enforced, shadow] = case.observe(&self.policy, finding, context);
        self.also = shadow;
        enforced.or_else(|| self.also())
    }

    /// What else the finding that was observed last led to, once: a judgement in the shadow beside one that is enforced.
    pub fn also(&mut self) -> Option<Judgement> {
        self.also.take()
    }

    /// How closely the stream is to be looked at because of `finding`, and for how long.
    pub fn attention(&self, finding: &Finding) -> Option<(Attention, Duration)> {
        self.policy.attention(finding)
    }

    /// Says that a person let go of the hold that the judge decided on and that runs out at `until`: the same verdict does
    /// not follow again, however long the session goes on. An older hold, or a person's, is no matter of the judge's.
    pub fn released(&mut self, session: &Session, until: Timestamp) {
        if let Some(case) = self.cases.get_mut(session) {
            case.released(until);
        }
    }

    /// Says that a session was over at `at`. What it has reached is remembered for a while, so that findings still on
    /// their way do not judge it twice. Pictures that arrive later are another session's that got the same identifier,
    /// and it is judged afresh.
    pub fn end(&mut self, session: &Session, at: Timestamp) {
        self.cases.entry(session.clone()).or_default().end(at);
    }

    /// Forgets what can no longer matter at `now`: the evidence of sessions without a recent sign of life, and those
    /// sessions themselves if they are over or were never judged. Call it every few seconds.
    pub fn expire(&mut self, now: Timestamp) {
        let widest = self.policy.widest();
        let quiet_after = widest.pictures.max(widest.reports) + LINGER;
        self.cases.retain(|_, case| case.matters(now, quiet_after));
    }
}
