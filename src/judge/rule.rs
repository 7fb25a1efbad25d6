//! One rule: which findings it counts, and when they are enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::decision::Verdict;
use crate::finding::{Finding, Match, Observation, Opinion, Scores};
use crate::judge::aligned::aligned;
use crate::judge::terms;

/// A rule that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) verdict: Verdict,
    pub(super) within: Duration,
    pub(super) test: Test,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Bank(BankTest),
    Label(LabelTest),
}

/// Enough distinct pictures match a bank.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BankTest {
    /// `None`: any one bank.
    pub(super) bank: Option<Arc<str>>,
    pub(super) pictures: usize,
    /// How many of them must follow one video of the bank in step, if that matters.
    pub(super) aligned: Option<usize>,
}

/// A model gives a label a high score on enough of the pictures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelTest {
    pub(super) label: Arc<str>,
    /// `None`: any one model that knows the label.
    pub(super) model: Option<Arc<str>>,
    pub(super) above: f32,
    pub(super) share: f64,
    pub(super) at_least: usize,
}

impl Rule {
    /// The bank or the model that `finding` speaks for, if the rule counts it. A rule holds for each bank and each model
    /// apart: two banks that hold the same picture are not two pictures.
    pub(super) fn subject<'finding>(&self, finding: &'finding Finding) -> Option<&'finding Arc<str>> {
        match (&self.test, &finding.observation) {
            (Test::Bank(test), Observation::Match(seen)) => {
                let meant = test.bank.as_ref().is_none_or(|bank| *bank == seen.bank);
                (meant && self.credits(seen.counts_as())).then_some(&seen.bank)
            }
            (Test::Label(test), Observation::Scores(seen)) => test.score(seen).map(|_| &seen.model),
            _ => None,
        }
    }

    /// Nobody loses their stream over content that its own provider does not vouch for.
    fn credits(&self, opinion: Opinion) -> bool {
        match opinion {
            Opinion::Positive => true,
            Opinion::Negative => false,
            Opinion::InvestigationSeed | Opinion::Disputed => !self.verdict.closes(),
        }
    }

    /// The severest verdict above `reached` that the rule leads to, and what that rests on, if `counted`, findings of one
    /// subject within the time that it allows, are enough.
    pub(super) fn leads_to<'finding>(
        &self,
        counted: &[&'finding Finding],
        reached: Verdict,
    ) -> Option<(Verdict, Vec<&'finding Finding>)> {
        match &self.test {
            Test::Bank(test) => terms::severest(test, counted, self.verdict, reached),
            Test::Label(test) => test.holds(counted).then(|| (self.verdict, counted.to_vec())),
        }
    }

    /// The severest verdict that the rule can lead to when `finding` is part of what it rests on.
    pub(super) fn severest_with(&self, finding: &Finding) -> Verdict {
        matched(finding).map_or(self.verdict, |seen| self.verdict.min(seen.at_most))
    }

    /// The rule in English.
    pub(super) fn sentence(&self) -> String {
        let Self { name, verdict, within, test } = self;
        let within = spelt(*within);
        match test {
            Test::Bank(BankTest { bank, pictures, aligned }) => {
                let bank = bank.as_ref().map_or("any one bank".to_owned(), |bank| format!("the bank `{bank}`"));
                let when = match aligned {
                    Some(aligned) if aligned >= pictures => {
                        format!("{aligned} distinct pictures within {within} follow one video of {bank} in step")
                    }
                    Some(aligned) => format!(
                        "{pictures} distinct pictures within {within} match {bank}, and {aligned} of them follow one \
                         video of it in step"
                    ),
                    None if *pictures == 1 => format!("one picture matches {bank}"),
                    None => format!("{pictures} distinct pictures within {within} match {bank}"),
                };
                format!("{name}: {verdict} when {when}.")
            }
            Test::Label(LabelTest { label, model, above, share, at_least }) => {
                let model = model.as_ref().map_or("any one model".to_owned(), |model| format!("the model `{model}`"));
                let share = share * 100.0;
                format!(
                    "{name}: {verdict} when {model} scores `{label}` above {above} on more than {share} % of the \
                     pictures that it saw within {within}, at least {at_least}."
                )
            }
        }
    }
}

impl BankTest {
    /// What the rule rests on where the bank asks for `quorum` distinct pictures, if `counted` is enough. Where `aligned`
    /// alone decides, what lies beside the line is no evidence.
    pub(super) fn rests_on<'finding>(
        &self,
        counted: &[&'finding Finding],
        quorum: usize,
    ) -> Option<Vec<&'finding Finding>> {
        let needed = self.pictures.max(quorum);
        let pictures = distinct_pictures(counted);
        let Some(asked) = self.aligned else { return (pictures >= needed).then(|| counted.to_vec()) };
        if pictures < needed.max(asked) {
            return None;
        }
        let in_step = aligned(counted);
        if distinct_pictures(&in_step) < asked {
            return None;
        }
        Some(if needed > asked { counted.to_vec() } else { in_step })
    }
}

impl LabelTest {
    /// The score that the rule goes by.
    pub(super) fn score(&self, seen: &Scores) -> Option<f32> {
        if self.model.as_ref().is_some_and(|model| *model != seen.model) {
            return None;
        }
        let (_, score) = seen.scores.iter().find(|(label, _)| *label == self.label)?;
        (!score.is_nan()).then_some(*score)
    }

    fn holds(&self, counted: &[&Finding]) -> bool {
        // A picture scored twice is one picture.
        let mut pictures: BTreeMap<u64, bool> = BTreeMap::new();
        for finding in counted {
            if let Observation::Scores(seen) = &finding.observation {
                let high = self.score(seen).is_some_and(|score| score > self.above);
                *pictures.entry(finding.sequence).or_default() |= high;
            }
        }
        let high = pictures.values().filter(|high| **high).count();
        pictures.len() >= self.at_least && high as f64 > self.share * pictures.len() as f64
    }
}

/// How many distinct pictures match: the smaller of the number of access units and the number of signals.
///
/// A slate that stands still gives a match with every picture, but always with the same signal; one picture near two
/// signals is still one picture. Both numbers only grow with more evidence, so a match can never speak for a stream,
/// and both can be shown to whoever asks why: "these pictures were these entries of the bank".
pub(super) fn distinct_pictures(counted: &[&Finding]) -> usize {
    let units: BTreeSet<u64> = counted.iter().map(|finding| finding.sequence).collect();
    let signals: BTreeSet<u64> =
        counted.iter().filter_map(|finding| matched(finding)).map(|seen| seen.signal).collect();
    units.len().min(signals.len())
}

pub(super) fn matched(finding: &Finding) -> Option<&Match> {
    match &finding.observation {
        Observation::Match(seen) => Some(seen),
        Observation::Scores(_) | Observation::State(_) | Observation::Report(_) => None,
    }
}

/// As the configuration writes it: `4s`.
fn spelt(span: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX))
}
