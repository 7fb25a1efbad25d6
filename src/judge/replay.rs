//! Judges a recorded timeline again: to show that a decision follows from what it was made on, and to see what another
//! policy would have made of the same.

use crate::decision::{Context, Mode, Verdict};
use crate::finding::Finding;
use crate::judge::case::Case;
use crate::judge::{Judgement, Policy};

/// Judges a decision's timeline again. With the policy, the mode, the context and what had been reached of that decision
/// this is its judgement, bit for bit: each decision depends on these and on nothing else.
///
/// With another policy it is what that would have decided from the last finding; where it would have decided before, the
/// severest of what it would have; `None`: nothing. [`rehearse`] tells all of it. A policy that looks back
/// further than the one in force did, or counts what that did not, finds no more than was held.
pub fn replay(
    policy: &Policy,
    mode: Mode,
    before: Verdict,
    context: &Context,
    timeline: &[Finding],
) -> Option<Judgement> {
    let mut case = Case::at(before);
    let mut sooner: Option<Judgement> = None;
    for (at, finding) in timeline.iter().enumerate() {
        if !case.keep(policy, finding.clone()) {
            continue;
        }
        let other = if mode == Mode::Enforced { Mode::Shadow } else { Mode::Enforced };
        for mode in [mode, other] {
            let Some(judgement) = case.judge(policy, finding, mode, context) else { continue };
            if at + 1 == timeline.len() {
                return Some(judgement);
            }
            if sooner.as_ref().is_none_or(|sooner| judgement.verdict > sooner.verdict) {
                sooner = Some(judgement);
            }
        }
    }
    sooner
}

/// Everything that a policy decides on a timeline from the start, as the judge would have said it one by one, where `context`
/// was known throughout.
pub fn rehearse(policy: &Policy, context: &Context, timeline: &[Finding]) -> Vec<Judgement> {
    let mut case = Case::default();
    timeline.iter().flat_map(|finding| case.observe(policy, finding.clone(), context)).flatten().collect()
}
