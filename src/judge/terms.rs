//! The terms on which a bank's matches are evidence: its quorum and its cap, as they were when each match was made.
//!
//! A match says "only with `quorum` distinct pictures, and for nothing severer than `at_most`". Mostly all matches of a
//! bank say the same. Where the bank was changed in between they do not, and then each is held to its own terms: a verdict
//! rests on matches that all allow it, as many of them as the most demanding asks for. So more matches can never
//! lower a verdict, whatever their terms.

use std::collections::BTreeSet;

use super::rule::{BankTest, matched};
use crate::decision::Verdict;
use crate::finding::{Finding, Match};

/// The severest verdict above `reached`, at most `verdict`, that enough of `counted` allow, and what that rests on.
pub(super) fn severest<'finding>(
    test: &BankTest,
    counted: &[&'finding Finding],
    verdict: Verdict,
    reached: Verdict,
) -> Option<(Verdict, Vec<&'finding Finding>)> {
    let allowed: BTreeSet<Verdict> = of(counted, |seen| seen.at_most.min(verdict));
    allowed.into_iter().rev().take_while(|verdict| *verdict > reached).find_map(|verdict| {
        let willing = those(counted, |seen| seen.at_most >= verdict);
        let quorums: BTreeSet<u32> = of(&willing, |seen| seen.quorum);
        // The most demanding first: it has the most evidence.
        let enough = quorums.into_iter().rev().find_map(|quorum| {
            let together = those(&willing, |seen| seen.quorum <= quorum);
            test.rests_on(&together, quorum as usize)
        });
        Some((verdict, enough?))
    })
}

fn of<T: Ord>(counted: &[&Finding], what: impl Fn(&Match) -> T) -> BTreeSet<T> {
    counted.iter().filter_map(|finding| matched(finding)).map(what).collect()
}

fn those<'finding>(counted: &[&'finding Finding], agrees: impl Fn(&Match) -> bool) -> Vec<&'finding Finding> {
    counted.iter().copied().filter(|finding| matched(finding).is_some_and(&agrees)).collect()
}
