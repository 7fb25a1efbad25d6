//! Whether a rule holds in a window of the evidence, and what that rests on.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::decision::{Mode, Verdict};
use crate::finding::{Finding, Observation};
use crate::judge::evidence::{Evidence, Widest};
use crate::judge::rule::Rule;
use crate::judge::terms;

/// Banks and models on trial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) banks: BTreeSet<Arc<str>>,
    pub(super) models: BTreeSet<Arc<str>>,
}

impl Trial {
    /// Whether `finding` comes from a bank or a model on trial.
    pub(super) fn holds(&self, finding: &Finding) -> bool {
        match &finding.observation {
            Observation::Match(seen) => self.banks.contains(&seen.bank),
            Observation::Scores(seen) => self.models.contains(&seen.model),
            Observation::State(_) | Observation::Report(_) => false,
        }
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.banks.is_empty() && self.models.is_empty()
    }
}

/// That a rule holds.
#[derive(Debug)]
pub(super) struct Holds<'held> {
    /// What it leads to.
    pub(super) verdict: Verdict,
    /// The bank that kept it from more.
    pub(super) capped_by: Option<&'held Arc<str>>,
    /// All that it rests on, by arrival.
    pub(super) evidence: Vec<&'held Finding>,
}

/// One rule and the evidence that it is held against, enforced or in the shadow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighing<'all> {
    pub(super) rule: &'all Rule,
    pub(super) evidence: &'all Evidence,
    pub(super) widest: Widest,
    pub(super) trial: &'all Trial,
    pub(super) mode: Mode,
}

impl<'all> Weighing<'all> {
    /// The severest verdict above `reached` that the rule leads to in a window that has the newest finding, `latest`, in
    /// it, and what that rests on.
    ///
    /// Mostly `latest` is also the last to arrive, and there is one window, which ends with it. Where it comes late, a
    /// window may end with each of those that arrived after it. None begins before what is forgotten: what is left of
    /// such a window could look worse than it was.
    pub(super) fn holds(self, latest: &'all Finding, reached: Verdict) -> Option<Holds<'all>> {
        let Self { rule, evidence, trial, mode, .. } = self;
        let severest = rule.severest_with(latest);
        if severest <= reached || !rule.counts(latest) || !self.may_rest_on(latest) {
            return None;
        }
        if mode == Mode::Shadow && rule.mode == Mode::Enforced && trial.is_empty() {
            return None;
        }
        let state = match &rule.state {
            Some(test) => Some(evidence.state()).filter(|run| test.holds(run))?,
            None => Vec::new(),
        };
        let counted = self.counted(latest);
        let first_end = self.horizon() + rule.within;
        let mut ends: Vec<Timestamp> = counted.iter().map(|kept| kept.arrived).chain([latest.arrived]).collect();
        ends.retain(|end| (latest.arrived..=latest.arrived + rule.within).contains(end));
        ends.iter_mut().for_each(|end| *end = (*end).max(first_end));
        ends.sort_unstable();
        ends.dedup();
        let mut best: Option<Holds<'all>> = None;
        for end in ends {
            let reached = best.as_ref().map_or(reached, |best| best.verdict);
            if reached >= severest {
                break;
            }
            let start = counted.partition_point(|kept| kept.arrived < end.minus(rule.within));
            let after = counted.partition_point(|kept| kept.arrived <= end);
            let window = counted.get(start..after).unwrap_or_default();
            best = self.within(window, &state, reached).or(best);
        }
        best
    }

    /// What is on trial enforces nothing.
    fn may_rest_on(self, finding: &Finding) -> bool {
        self.mode == Mode::Shadow || !self.trial.holds(finding)
    }

    /// What the rule counts of pictures and reports, by arrival: of the bank or the model that `latest` is of, no other.
    fn counted(self, latest: &Finding) -> Vec<&'all Finding> {
        let Self { rule, evidence, .. } = self;
        let same_detector = |kept: &Finding| kept.observation.detector() == latest.observation.detector();
        let meant = |kept: &&Finding| {
            rule.counts(kept)
                && self.may_rest_on(kept)
                && (!same_detector(kept) || rule.subject(kept) == rule.subject(latest))
        };
        let mut counted: Vec<&Finding> = evidence.pictures().filter(meant).collect();
        if rule.reports.is_some() {
            counted.extend(evidence.reports().filter(meant));
            counted.sort_by_key(|kept| kept.arrived);
        }
        counted
    }

    /// Before this, some of what the rule counts is forgotten.
    fn horizon(self) -> Timestamp {
        let Self { rule, evidence, widest, .. } = self;
        let pictures = (rule.bank.is_some() || rule.label.is_some()).then(|| evidence.picture_horizon(widest));
        let reports = rule.reports.is_some().then(|| evidence.report_horizon(widest));
        pictures.max(reports).unwrap_or(Timestamp::ZERO)
    }

    /// Whether every condition holds in `window`, for one bank and one model.
    fn within(self, window: &[&'all Finding], state: &[&'all Finding], reached: Verdict) -> Option<Holds<'all>> {
        let Self { rule, trial, mode, .. } = self;
        let (mut verdict, mut capped_by) = (rule.verdict, None);
        let mut evidence = state.to_vec();
        if let Some(test) = &rule.bank {
            let mut best: Option<(Verdict, Vec<&Finding>, &Arc<str>)> = None;
            for (bank, of_bank) in self.by_subject(window, "known") {
                let reached = best.as_ref().map_or(reached, |(verdict, ..)| *verdict);
                if let Some((verdict, rests_on)) = terms::severest(test, &of_bank, rule.verdict, reached) {
                    best = Some((verdict, rests_on, bank));
                }
            }
            let (reached, rests_on, bank) = best?;
            verdict = reached;
            capped_by = (verdict < rule.verdict).then_some(bank);
            evidence.extend(rests_on);
        }
        if let Some(test) = &rule.label {
            let mut models = self.by_subject(window, "classify").into_iter();
            evidence.extend(models.find(|(_, of_model)| test.holds(of_model))?.1);
        }
        if let Some(test) = &rule.reports {
            let reports: Vec<&Finding> = of_detector(window, "report").collect();
            if !test.holds(&reports) {
                return None;
            }
            evidence.extend(reports);
        }
        // What rests on nothing that is on trial is enforced, and no business of the shadow.
        if mode == Mode::Shadow && rule.mode == Mode::Enforced && !evidence.iter().any(|kept| trial.holds(kept)) {
            return None;
        }
        evidence.sort_by_key(|kept| (kept.arrived, kept.sequence));
        Some(Holds { verdict, capped_by, evidence })
    }

    /// The findings of one detector, by bank or model: by name, but in the shadow those on trial first.
    fn by_subject(self, window: &[&'all Finding], detector: &str) -> Vec<(&'all Arc<str>, Vec<&'all Finding>)> {
        let mut subjects: Vec<(&Arc<str>, Vec<&Finding>)> = Vec::new();
        for finding in of_detector(window, detector) {
            let Some(subject) = self.rule.subject(finding) else { continue };
            match subjects.iter_mut().find(|(known, _)| *known == subject) {
                Some((_, findings)) => findings.push(finding),
                None => subjects.push((subject, vec![finding])),
            }
        }
        let on_trial = |findings: &[&Finding]| findings.first().is_some_and(|finding| self.trial.holds(finding));
        subjects.sort_by_key(|(subject, findings)| (!on_trial(findings), *subject));
        subjects
    }
}

fn of_detector<'held>(window: &[&'held Finding], detector: &str) -> impl Iterator<Item = &'held Finding> {
    window.iter().copied().filter(move |finding| finding.observation.detector() == detector)
}
