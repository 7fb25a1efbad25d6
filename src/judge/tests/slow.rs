//! The judge's slow and obvious twin.

use std::collections::BTreeSet;

use super::*;
use crate::judge::rule::Rule;

/// Keeps everything, and for every finding tries every window from scratch.
#[derive(Default)]
pub(super) struct Slow {
    seen: Vec<Finding>,
    reached: Option<Verdict>,
}

impl Slow {
    pub(super) fn observe(&mut self, policy: &Policy, finding: &Finding) -> Option<(Verdict, Arc<str>)> {
        let reached = self.reached.unwrap_or(Verdict::Clear);
        let matters = |rule: &Rule| rule.subject(finding).is_some() && rule.severest_with(finding) > reached;
        if !policy.rules().iter().any(matters) {
            return None;
        }
        self.seen.push(finding.clone());
        let newest = self.seen.iter().map(|seen| seen.arrived).max().unwrap();
        let horizon = newest.minus(policy.rules().iter().map(|rule| rule.within).max().unwrap_or_default());
        let mut said: Option<(Verdict, Arc<str>)> = None;
        for rule in policy.rules() {
            if rule.subject(finding).is_none() {
                continue;
            }
            // Every window of the rule's length that ends with something it counts, or starts at the horizon.
            let counted = |seen: &&Finding| rule.subject(seen) == rule.subject(finding);
            let ends = self.seen.iter().filter(counted).map(|seen| seen.arrived).chain([horizon + rule.within]);
            for end in ends.filter(|end| *end >= horizon + rule.within) {
                let inside = |at: Timestamp| at <= end && at >= end.minus(rule.within);
                let window: Vec<&Finding> =
                    self.seen.iter().filter(counted).filter(|seen| inside(seen.arrived)).collect();
                if !inside(finding.arrived) {
                    continue;
                }
                for verdict in [Verdict::Watch, Verdict::Hold, Verdict::Cut, Verdict::Ban] {
                    let risen = self.reached.is_none_or(|reached| verdict > reached)
                        && said.as_ref().is_none_or(|(best, _)| verdict > *best);
                    if risen && Self::leads_to(rule, &window, verdict) {
                        said = Some((verdict, Arc::clone(&rule.name)));
                    }
                }
            }
        }
        self.reached = said.as_ref().map(|(verdict, _)| *verdict).or(self.reached);
        said
    }

    /// Whether some of the window, all of which allow the verdict, are as many as each of them asks for, and enough.
    fn leads_to(rule: &Rule, window: &[&Finding], verdict: Verdict) -> bool {
        if rule.label.is_some() {
            return verdict == rule.verdict && Self::holds(rule, window);
        }
        let terms = |seen: &Finding| match &seen.observation {
            Observation::Match(seen) => (seen.at_most, seen.quorum),
            _ => unreachable!(),
        };
        verdict <= rule.verdict
            && (1..=3_u32).any(|quorum| {
                let some: Vec<&Finding> =
                    window.iter().copied().filter(|seen| terms(seen).0 >= verdict && terms(seen).1 <= quorum).collect();
                let test = rule.bank.as_ref().unwrap();
                let pictures = test.pictures.max(quorum as usize);
                let asked = Some(rule::BankTest { pictures, ..test.clone() });
                Self::holds(&Rule { bank: asked, ..rule.clone() }, &some)
            })
    }

    fn holds(rule: &Rule, window: &[&Finding]) -> bool {
        let distinct = |mut numbers: Vec<u64>| {
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let units = distinct(window.iter().map(|seen| seen.sequence).collect());
        match (&rule.bank, &rule.label) {
            (Some(test), _) => {
                let signal = |seen: &&Finding| match &seen.observation {
                    Observation::Match(seen) => seen.signal,
                    _ => unreachable!(),
                };
                let enough = units.len() >= test.pictures;
                let signals = distinct(window.iter().map(signal).collect()).len() >= test.pictures;
                enough && signals && test.aligned.is_none_or(|asked| aligned(window) >= asked)
            }
            (None, Some(test)) => {
                let high = |unit: &&u64| {
                    window.iter().filter(|seen| seen.sequence == **unit).any(|seen| match &seen.observation {
                        Observation::Scores(seen) => test.score(seen).unwrap() > test.above,
                        _ => unreachable!(),
                    })
                };
                let high = units.iter().filter(high).count();
                units.len() >= test.at_least && high as f64 / units.len() as f64 > test.share
            }
            (None, None) => unreachable!(),
        }
    }
}

/// Every line of every speed that begins with a picture, and every picture asked whether it lies there.
pub(super) fn aligned(window: &[&Finding]) -> usize {
    let places: Vec<(&Match, u64, i64, i64)> = window
        .iter()
        .filter_map(|finding| {
            let Observation::Match(seen) = &finding.observation else { return None };
            let (pts, banked_at) = (finding.pts?.as_micros() as i64, seen.banked_at?.as_micros() as i64);
            Some((seen, finding.sequence, pts, banked_at))
        })
        .collect();
    let mut most = 0;
    for (first, _, from_pts, from_banked) in &places {
        for speed in 32..=128 {
            let on = |pts: i64, banked_at: i64| {
                let ahead = 64 * (banked_at - from_banked) - speed * (pts - from_pts);
                (0..=64 * 1_000_000).contains(&ahead)
            };
            let mut signals = BTreeSet::new();
            let mut units = BTreeSet::new();
            for (seen, unit, pts, banked_at) in &places {
                if seen.provenance == first.provenance && on(*pts, *banked_at) {
                    signals.insert(seen.signal);
                    units.insert(unit);
                }
            }
            most = most.max(signals.len().min(units.len()));
        }
    }
    most
}
