//! One rule: which findings it counts, and when they are enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::decision::{Context, Mode, Verdict};
use crate::finding::{Finding, Match, Observation, Opinion, Report, Scores};
use crate::judge::aligned::aligned;
use crate::judge::{DenyBy, RuleConfig, Scope, StateWord};
use crate::stream::{StreamState, UninspectableReason};

/// A rule that makes sense. All conditions that are there must hold; one of the last four is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) verdict: Verdict,
    pub(super) mode: Mode,
    pub(super) lasts: Option<Duration>,
    pub(super) scope: Scope,
    /// Zero for a rule about a state alone, which has no window.
    pub(super) within: Duration,
    /// Empty: any class, and none.
    pub(super) class: BTreeSet<Arc<str>>,
    pub(super) after: Option<Verdict>,
    pub(super) bank: Option<BankTest>,
    pub(super) label: Option<LabelTest>,
    pub(super) reports: Option<ReportTest>,
    pub(super) state: Option<StateTest>,
}

/// Enough distinct pictures match a bank.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BankTest {
    /// `None`: any one bank.
    pub(super) bank: Option<Arc<str>>,
    /// How far a signal must be vouched for.
    pub(super) opinions: Vec<Opinion>,
    /// How far a picture may lie from it; `None`: as far as the bank matches.
    pub(super) within_bits: Option<u32>,
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

/// Reports of different people weigh enough.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReportTest {
    pub(super) weight: f64,
    pub(super) category: Option<Arc<str>>,
    /// Only those of danger to life count.
    pub(super) imminent: bool,
}

/// The stream has been in a state for long enough.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StateTest {
    pub(super) state: StateWord,
    pub(super) reason: Option<UninspectableReason>,
    pub(super) lasting: Duration,
}

impl Rule {
    /// The bank or the model that `finding` speaks for, if the rule counts it. A rule holds for each bank and each model
    /// apart: two banks that hold the same picture are not two pictures.
    pub(super) fn subject<'finding>(&self, finding: &'finding Finding) -> Option<&'finding Arc<str>> {
        match &finding.observation {
            Observation::Match(seen) => self.bank.as_ref()?.counts(seen).then_some(&seen.bank),
            Observation::Scores(seen) => self.label.as_ref()?.score(seen).map(|_| &seen.model),
            Observation::State(_) | Observation::Report(_) => None,
        }
    }

    /// Whether the rule counts `finding` at all.
    pub(super) fn counts(&self, finding: &Finding) -> bool {
        match &finding.observation {
            Observation::Match(_) | Observation::Scores(_) => self.subject(finding).is_some(),
            Observation::Report(report) => self.reports.as_ref().is_some_and(|test| test.counts(report)),
            Observation::State(state) => self.state.as_ref().is_some_and(|test| test.counts(*state)),
        }
    }

    /// The severest verdict that the rule can lead to when `finding` is part of what it rests on.
    pub(super) fn severest_with(&self, finding: &Finding) -> Verdict {
        matched(finding).map_or(self.verdict, |seen| self.verdict.min(seen.at_most))
    }

    /// Whether what is known beside the findings is as the rule asks.
    pub(super) fn meets(&self, context: &Context) -> bool {
        let class = self.class.is_empty() || context.class.as_ref().is_some_and(|class| self.class.contains(class));
        let stands = |after: Verdict| context.earlier.iter().any(|earlier| earlier.verdict >= after);
        class && self.after.is_none_or(stands)
    }

    /// The rule as it would be written, with everything said: equal for rules that are alike.
    pub(super) fn canonical(&self) -> RuleConfig {
        let words = |names: &BTreeSet<Arc<str>>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut raw = RuleConfig {
            mode: self.mode,
            class: (!self.class.is_empty()).then(|| words(&self.class)),
            after: self.after,
            lasts: self.lasts,
            deny: self.verdict.closes().then(|| self.scope.iter().collect::<Vec<DenyBy>>()),
            ..RuleConfig::named(&self.name, self.within, self.verdict)
        };
        if self.within.is_zero() {
            raw.within = None;
        }
        if let Some(test) = &self.bank {
            raw.bank = Some(test.bank.as_deref().unwrap_or("*").to_owned());
            raw.opinion = Some(test.opinions.clone());
            raw.within_bits = test.within_bits;
            raw.pictures = Some(test.pictures);
            raw.aligned = test.aligned;
        }
        if let Some(test) = &self.label {
            raw.label = Some(test.label.to_string());
            raw.model = test.model.as_deref().map(str::to_owned);
            raw.above = Some(test.above);
            raw.share = Some(test.share);
            raw.at_least = Some(test.at_least);
        }
        if let Some(test) = &self.reports {
            raw.reports = Some(test.weight);
            raw.category = test.category.as_deref().map(str::to_owned);
            raw.imminent = test.imminent;
        }
        if let Some(test) = &self.state {
            (raw.state, raw.reason, raw.lasting) = (Some(test.state), test.reason, Some(test.lasting));
        }
        raw
    }
}

impl BankTest {
    fn counts(&self, seen: &Match) -> bool {
        self.bank.as_ref().is_none_or(|bank| *bank == seen.bank)
            && self.opinions.contains(&seen.counts_as())
            && self.within_bits.is_none_or(|bits| seen.distance <= bits)
    }

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

    /// Whether `counted`, scores of one model, are enough.
    pub(super) fn holds(&self, counted: &[&Finding]) -> bool {
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

/// Weights are sums of fractions: a hair too little is enough.
const HAIR: f64 = 1e-6;

impl ReportTest {
    fn counts(&self, report: &Report) -> bool {
        report.weight > 0.0
            && self.category.as_ref().is_none_or(|category| *category == report.category)
            && (report.imminent || !self.imminent)
    }

    /// Whether `counted` are enough: who reports twice is one person, and nobody weighs more than 1.
    pub(super) fn holds(&self, counted: &[&Finding]) -> bool {
        let mut people: BTreeMap<&Arc<str>, f32> = BTreeMap::new();
        for finding in counted {
            if let Observation::Report(report) = &finding.observation {
                let weight = people.entry(&report.reporter).or_default();
                *weight = weight.max(report.weight.min(1.0));
            }
        }
        let together: f64 = people.values().map(|weight| f64::from(*weight)).sum();
        together + HAIR >= self.weight
    }
}

impl StateTest {
    fn counts(&self, state: StreamState) -> bool {
        match state {
            StreamState::Blind => self.state == StateWord::Blind,
            StreamState::Uninspectable(why) => {
                self.state == StateWord::Uninspectable && self.reason.is_none_or(|reason| reason == why)
            }
            StreamState::Connecting | StreamState::Inspected => false,
        }
    }

    /// Whether `run`, the first and the last word of one state without a break, is long enough.
    pub(super) fn holds(&self, run: &[&Finding]) -> bool {
        let counted = |finding: &&Finding| match finding.observation {
            Observation::State(state) => self.counts(state),
            _ => false,
        };
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return false };
        run.iter().all(counted) && last.arrived.since(first.arrived) >= self.lasting
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
