//! Weighs what detectors found in a stream against the policy, and says when a line is crossed.
//!
//! For every session the judge keeps the findings of the last few seconds, its *evidence*. Each new finding is weighed
//! together with those around it; where a rule holds whose verdict is severer than what the session has reached, there
//! is a [`Judgement`]. So a session climbs the ladder and never descends it, and is cut at most once.
//!
//! - Time is when pictures *arrived*, not when a detector was done with them: a slow detector neither widens nor narrows
//!   a window, and findings may come out of order.
//! - Nothing depends on anything but the findings and their order: replaying a recorded list gives the same judgements.
//!   While what they count fits into the widest window of the policy, rules about banks give the same final verdict in
//!   any order. A rule about a share of pictures is decided on the pictures known at the time, as it must be to be quick.
//! - Memory is bounded: [`EVIDENCE_LIMIT`] findings a session, and sessions go by [`Judge::end`] and [`Judge::expire`].
//!
//! Pure: no clock, no I/O, no logging, no thread.

mod aligned;
pub mod breaker;
mod error;
mod policy;
pub mod quarantine;
mod rule;
mod scope;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::error::PolicyError;
pub use self::policy::{Config, Policy, RuleConfig};
use self::rule::Rule;
pub use self::scope::{DenyBy, Scope};
use crate::clock::Timestamp;
use crate::decision::{Context, Lowered, Mode, Verdict};
use crate::finding::Finding;
use crate::stream::{Attention, Session};

/// Findings kept of one session at most; the oldest go first.
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

/// What is known of one session.
#[derive(Debug)]
struct Case {
    reached: Verdict,
    /// When the session was over, if it is.
    ended: Option<Timestamp>,
    /// The end of the session before, to which the server had given the same identifier.
    before: Timestamp,
    /// When the newest picture arrived.
    newest: Timestamp,
    /// The last sign of life.
    touched: Timestamp,
    /// By arrival.
    evidence: Vec<Finding>,
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
    /// Where the finding leads to a judgement and another in the shadow, the shadow's is what [`Judge::also`] gives.
    pub fn observe(&mut self, finding: Finding, context: &Context) -> Option<Judgement> {
        self.also = None;
        let case = self.cases.entry(finding.session.clone()).or_default();
        if let Some(ended) = case.ended.filter(|ended| finding.arrived > *ended) {
            // A server that was restarted counts its sessions anew: this is another one.
            *case = Case { before: ended, ..Case::default() };
        }
        if finding.arrived <= case.before {
            return None;
        }
        case.touched = case.touched.max(finding.arrived);
        case.newest = case.newest.max(finding.arrived);
        let horizon = case.newest.minus(self.policy.widest());

        let above = |rule: &&Rule| rule.severest_with(&finding) > case.reached && rule.subject(&finding).is_some();
        let rules: Vec<&Rule> = self.policy.rules().iter().filter(above).collect();
        if rules.is_empty() || finding.arrived < horizon {
            return None;
        }
        case.keep(finding.clone(), horizon);

        let mut severest: Option<(&Rule, Verdict, Vec<Finding>)> = None;
        for rule in rules {
            let reached = severest.as_ref().map_or(case.reached, |(_, verdict, _)| *verdict);
            if let Some((verdict, evidence)) = case.weigh(rule, &finding, horizon, reached) {
                severest = Some((rule, verdict, evidence));
            }
        }
        let (rule, verdict, evidence) = severest?;
        let before = std::mem::replace(&mut case.reached, verdict);
        let capped_by = rule.subject(&finding).filter(|_| verdict < rule.verdict).map(Arc::clone);
        let Finding { session, found, .. } = finding;
        Some(Judgement {
            capped_by,
            evidence,
            before,
            timeline: case.evidence.clone(),
            context: context.clone(),
            lasts: self.policy.lasts(verdict),
            ..Judgement::bare(session, verdict, &rule.name, found)
        })
    }

    /// What else the finding that was observed last led to, once: a judgement in the shadow beside one that is enforced.
    pub fn also(&mut self) -> Option<Judgement> {
        self.also.take()
    }

    /// Says that a person let go of what the session was held or cut for: the same verdict does not follow again, however
    /// long the session goes on.
    pub fn released(&mut self, session: &Session) {
        let _ = session;
    }

    /// How closely the stream is to be looked at because of `finding`, and for how long.
    pub fn attention(&self, finding: &Finding) -> Option<(Attention, Duration)> {
        self.policy.attention(finding)
    }

    /// Says that a session was over at `at`. What it has reached is remembered for a while, so that findings still on
    /// their way do not judge it twice. Pictures that arrive later are another session's that got the same identifier,
    /// and it is judged afresh.
    pub fn end(&mut self, session: &Session, at: Timestamp) {
        let case = self.cases.entry(session.clone()).or_default();
        case.ended = Some(at);
        case.touched = case.touched.max(at);
    }

    /// Forgets what can no longer matter at `now`: the evidence of sessions without a recent sign of life, and those
    /// sessions themselves if they are over or were never judged. Call it every few seconds.
    pub fn expire(&mut self, now: Timestamp) {
        let quiet_after = self.policy.widest() + LINGER;
        self.cases.retain(|_, case| {
            if now.since(case.touched) <= quiet_after {
                return true;
            }
            case.evidence = Vec::new();
            case.ended.is_none() && case.reached > Verdict::Clear
        });
    }
}

/// Judges a recorded timeline again, as a decision keeps it: what follows from its last finding after all that came before.
/// With the policy, the mode and what had been reached of the decision this is the recorded judgement, bit for bit. With
/// another policy it is what that would have decided at the same place, or, where it would have decided earlier, then.
pub fn replay(
    policy: &Arc<Policy>,
    mode: Mode,
    before: Verdict,
    context: &Context,
    timeline: &[Finding],
) -> Option<Judgement> {
    let mut judge = Judge::new(Arc::clone(policy));
    let first = timeline.first()?;
    judge.cases.entry(first.session.clone()).or_default().reached = before;
    let said = timeline.iter().filter_map(|finding| judge.observe(finding.clone(), context));
    said.filter(|judgement| judgement.mode == mode).last()
}

impl Default for Case {
    fn default() -> Self {
        Self {
            reached: Verdict::Clear,
            ended: None,
            before: Timestamp::ZERO,
            newest: Timestamp::ZERO,
            touched: Timestamp::ZERO,
            evidence: Vec::new(),
        }
    }
}

impl Case {
    /// Adds `finding` to the evidence, and drops what is older than `horizon` or too much.
    fn keep(&mut self, finding: Finding, horizon: Timestamp) {
        let order = |finding: &Finding| (finding.arrived, finding.sequence);
        let at = self.evidence.partition_point(|kept| order(kept) <= order(&finding));
        self.evidence.insert(at, finding);
        let old = self.evidence.partition_point(|kept| kept.arrived < horizon);
        let surplus = self.evidence.len().saturating_sub(EVIDENCE_LIMIT);
        self.evidence.drain(..old.max(surplus));
    }

    /// The severest verdict above `reached` that `rule` leads to in a window that has the newest finding, `latest`, in it,
    /// and what that rests on.
    ///
    /// Mostly `latest` is also the last to arrive, and there is one window, which ends with it. Where it comes late, a
    /// window may end with each of those that arrived after it. None begins before `horizon`: what came earlier is
    /// forgotten, and what is left of such a window could look worse than it was.
    fn weigh(
        &self,
        rule: &Rule,
        latest: &Finding,
        horizon: Timestamp,
        reached: Verdict,
    ) -> Option<(Verdict, Vec<Finding>)> {
        let severest = rule.severest_with(latest);
        let subject = rule.subject(latest).filter(|_| severest > reached)?;
        let counted: Vec<&Finding> = self.evidence.iter().filter(|kept| rule.subject(kept) == Some(subject)).collect();
        let first_end = horizon + rule.within;
        let mut ends: Vec<Timestamp> = counted
            .iter()
            .map(|kept| kept.arrived)
            .filter(|end| (latest.arrived..=latest.arrived + rule.within).contains(end))
            .map(|end| end.max(first_end))
            .collect();
        ends.dedup();
        let mut best: Option<(Verdict, Vec<&Finding>)> = None;
        for end in ends {
            let reached = best.as_ref().map_or(reached, |(verdict, _)| *verdict);
            if reached >= severest {
                break;
            }
            let start = counted.partition_point(|kept| kept.arrived < end.minus(rule.within));
            let after = counted.partition_point(|kept| kept.arrived <= end);
            let window = counted.get(start..after).unwrap_or_default();
            best = rule.leads_to(window, reached).or(best);
        }
        best.map(|(verdict, evidence)| (verdict, evidence.into_iter().cloned().collect()))
    }
}
