//! One session before the judge: its evidence, and what it has reached.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::decision::{Context, Lowered, Mode, Verdict};
use crate::finding::{Finding, Observation};
use crate::judge::evidence::Evidence;
use crate::judge::rule::Rule;
use crate::judge::weigh::{Holds, Weighing};
use crate::judge::{Judgement, Policy, Scope};

/// What is known of one session.
#[derive(Debug)]
pub(super) struct Case {
    reached: Verdict,
    /// What it has reached in the shadow.
    shadowed: Verdict,
    /// When what it has reached runs out, and what it had reached before.
    runs_out: Option<(Timestamp, Verdict)>,
    /// When the session was over, if it is.
    ended: Option<Timestamp>,
    /// What arrived up to then is of no account: it is of a session before, to which the server had given the same
    /// identifier, or what came with it is forgotten.
    from: Timestamp,
    /// The last sign of life.
    touched: Timestamp,
    evidence: Evidence,
}

impl Default for Case {
    fn default() -> Self {
        Self::at(Verdict::Clear)
    }
}

impl Case {
    /// A session without evidence that has reached `reached`, in the shadow too.
    pub(super) fn at(reached: Verdict) -> Self {
        Self {
            reached,
            shadowed: reached,
            runs_out: None,
            ended: None,
            from: Timestamp::ZERO,
            touched: Timestamp::ZERO,
            evidence: Evidence::default(),
        }
    }

    /// Weighs one more finding: the judgement that follows, and the one in the shadow.
    pub(super) fn observe(&mut self, policy: &Policy, finding: &Finding, context: &Context) -> [Option<Judgement>; 2] {
        if let Some(ended) = self.ended.filter(|ended| finding.arrived > *ended) {
            // A server that was restarted counts its sessions anew: this is another one.
            *self = Self { from: ended, ..Self::default() };
        }
        if finding.arrived <= self.from {
            return [None, None];
        }
        if let Some((_, before)) = self.runs_out.take_if(|(at, _)| *at <= finding.found) {
            self.reached = before;
        }
        self.touched = self.touched.max(finding.arrived);
        if !self.matters_to(policy, finding) || !self.keep(policy, finding.clone()) {
            return [None, None];
        }
        let judged = [Mode::Enforced, Mode::Shadow].map(|mode| self.judge(policy, finding, mode, context));
        let [enforced, shadow] = &judged;
        if let Some(judgement) = enforced {
            self.reached = judgement.verdict;
            let lasts = judgement.lasts.filter(|_| judgement.verdict == Verdict::Hold);
            self.runs_out = lasts.map(|lasts| (judgement.decided + lasts, judgement.before));
        }
        if let Some(judgement) = shadow {
            self.shadowed = judgement.verdict;
        }
        judged
    }

    /// Whether any rule could rise because of it. Of a state it must always be known whether it goes on.
    fn matters_to(&self, policy: &Policy, finding: &Finding) -> bool {
        let trial = policy.trial();
        let rises = |rule: &Rule| {
            let enforced = rule.mode == Mode::Enforced && !trial.holds(finding);
            let shadow = rule.mode == Mode::Shadow || !trial.is_empty();
            let severest = rule.severest_with(finding);
            rule.counts(finding) && (enforced && severest > self.reached || shadow && severest > self.shadowed)
        };
        matches!(finding.observation, Observation::State(_)) || policy.rules().iter().any(rises)
    }

    /// Adds a finding to the evidence; `false` when it comes too late to matter.
    pub(super) fn keep(&mut self, policy: &Policy, finding: Finding) -> bool {
        self.evidence.keep(finding, policy.widest())
    }

    /// What follows from `latest`, which is among the evidence: enforced, or in the shadow.
    pub(super) fn judge(&self, policy: &Policy, latest: &Finding, mode: Mode, context: &Context) -> Option<Judgement> {
        let before = match mode {
            Mode::Enforced => self.reached,
            Mode::Shadow => self.shadowed,
        };
        let (ceiling, because) = policy.ceiling(context);
        let (evidence, widest, trial) = (&self.evidence, policy.widest(), policy.trial());
        let mut severest: Option<(&Rule, Holds<'_>)> = None;
        for rule in policy.rules() {
            let reached = severest.as_ref().map_or(before, |(_, holds)| holds.verdict.min(ceiling));
            if reached >= ceiling {
                break;
            }
            let judges = mode == Mode::Shadow || rule.mode == Mode::Enforced;
            if judges
                && rule.meets(context)
                && let Some(holds) = (Weighing { rule, evidence, widest, trial, mode }).holds(latest, reached)
            {
                severest = Some((rule, holds));
            }
        }
        let (rule, Holds { verdict: asked, capped_by, evidence }) = severest?;
        let verdict = asked.min(ceiling);
        let lowered = because.filter(|_| verdict < asked).map(|because| Lowered { from: asked, because });
        let own = (verdict == rule.verdict).then_some(rule.lasts).flatten();
        let scope = if verdict.closes() { rule.scope.clone() } else { Scope::default() };
        Some(Judgement {
            mode,
            lowered,
            capped_by: capped_by.map(Arc::clone),
            evidence: evidence.into_iter().cloned().collect(),
            before,
            timeline: self.evidence.timeline(),
            context: context.clone(),
            lasts: own.or_else(|| policy.lasts(verdict)),
            scope,
            ..Judgement::bare(latest.session.clone(), verdict, &rule.name, latest.found)
        })
    }

    /// What it has reached, if that runs out at `until`, does not run out: it is what a person let go of.
    pub(super) fn released(&mut self, until: Timestamp) {
        self.runs_out.take_if(|(at, _)| *at == until);
    }

    pub(super) fn end(&mut self, at: Timestamp) {
        self.ended = Some(at);
        self.touched = self.touched.max(at);
    }

    /// Forgets the evidence where there was no sign of life for `quiet_after`; `false` when all may be forgotten.
    pub(super) fn matters(&mut self, now: Timestamp, quiet_after: Duration) -> bool {
        if now.since(self.touched) <= quiet_after {
            return true;
        }
        self.from = self.evidence.newest().unwrap_or_default().max(self.from);
        self.evidence = Evidence::default();
        self.ended.is_none() && self.reached.max(self.shadowed) > Verdict::Clear
    }

    #[cfg(test)]
    pub(super) fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}
