//! The `[policy]` section of the configuration, as people write it, and what holds where they write nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::decision::{Mode, Verdict};
use crate::finding::Opinion;
use crate::judge::{DenyBy, breaker};
use crate::stream::UninspectableReason;

/// The `[policy]` section of the configuration, as written. [`crate::judge::Policy::parse`] makes sense of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether a rule that rests on a model's scores, and on no bank, may cut or ban: a classifier alone is often wrong.
    pub allow_classifier_cut: bool,
    /// Whether a rule that rests on a stream's state, and on no bank, may cut or ban.
    pub allow_state_cut: bool,
    /// Classes of streams on which nothing is cut or banned by itself, but held for people to judge.
    pub review_first: Vec<String>,
    /// How long a cut refuses the publisher. A ban refuses them until somebody lifts it.
    #[serde(with = "duration")]
    pub deny_for: Duration,
    /// How long a hold stands unless somebody ends it sooner.
    #[serde(with = "duration")]
    pub hold_for: Duration,
    /// How long one finding keeps attention raised.
    #[serde(with = "duration")]
    pub suspicious_for: Duration,
    /// What is on trial.
    pub shadow: Shadow,
    /// When automatic cuts are too many.
    pub breaker: breaker::Config,
    /// The rules: the severest that holds wins, and among equals the first.
    pub rule: Vec<RuleConfig>,
}

/// `[policy.shadow]`: banks and models on trial. What rests on them is decided and recorded, and nothing follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shadow {
    /// The banks.
    pub banks: Vec<String>,
    /// The models.
    pub models: Vec<String>,
}

/// One `[[policy.rule]]`. Its conditions must all hold; at least one of `bank`, `label`, `reports` and `state` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What decisions and metrics call the rule.
    pub name: String,
    /// Whether anything follows from it.
    #[serde(default, skip_serializing_if = "is_enforced")]
    pub mode: Mode,

    /// A bank's name, or `"*"` for any one bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<String>,
    /// How far a signal must be vouched for to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opinion: Option<Vec<Opinion>>,
    /// How far, in bits, a picture may lie from the signal to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_bits: Option<u32>,
    /// How many distinct pictures must match it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<usize>,
    /// How many distinct pictures must follow one video of it in step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aligned: Option<usize>,

    /// A label of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The model's name; any one model that knows the label when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A picture counts when its score is higher than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f32>,
    /// More than this share of the scored pictures must count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// And at least this many must have been scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,

    /// How much the reports of different people must weigh together; each weighs 1 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reports: Option<f64>,
    /// What they must be about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// `true`: only those count that say that somebody is in danger of life now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imminent: bool,

    /// What the stream's state must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateWord>,
    /// Why it cannot be inspected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<UninspectableReason>,
    /// For how long without a break.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Duration>,

    /// The class of the stream must be one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Vec<String>>,
    /// This or a severer verdict must stand against an earlier session of the same publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Verdict>,

    /// The longest time from the first of the pictures and reports to the last, both included.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// What follows.
    pub verdict: Verdict,
    /// How long that lasts.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// By what the publisher is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<DenyBy>>,
}

/// The states that a rule can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// No inspectable picture for longer than `blind_after`.
    Blind,
    /// It cannot be inspected at all.
    Uninspectable,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_enforced(mode: &Mode) -> bool {
    *mode == Mode::Enforced
}

impl RuleConfig {
    /// A rule that is about nothing yet.
    pub(super) fn named(name: &str, within: Duration, verdict: Verdict) -> Self {
        Self {
            name: name.to_owned(),
            mode: Mode::Enforced,
            bank: None,
            opinion: None,
            within_bits: None,
            pictures: None,
            aligned: None,
            label: None,
            model: None,
            above: None,
            share: None,
            at_least: None,
            reports: None,
            category: None,
            imminent: false,
            state: None,
            reason: None,
            lasting: None,
            class: None,
            after: None,
            within: Some(within),
            verdict,
            lasts: None,
            deny: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let known = RuleConfig {
            bank: Some("*".to_owned()),
            pictures: Some(3),
            ..RuleConfig::named("known-content", Duration::from_secs(4), Verdict::Cut)
        };
        let seen = RuleConfig {
            bank: Some("*".to_owned()),
            pictures: Some(1),
            ..RuleConfig::named("known-picture", Duration::from_secs(4), Verdict::Hold)
        };
        let likely = RuleConfig {
            label: Some("nsfl".to_owned()),
            above: Some(0.8),
            share: Some(0.5),
            at_least: Some(3),
            ..RuleConfig::named("likely-graphic", Duration::from_secs(6), Verdict::Hold)
        };
        Self {
            allow_classifier_cut: false,
            allow_state_cut: false,
            review_first: ["news", "education", "art", "research"].map(str::to_owned).into(),
            deny_for: Duration::from_hours(24),
            hold_for: Duration::from_mins(10),
            suspicious_for: Duration::from_secs(10),
            shadow: Shadow::default(),
            breaker: breaker::Config::default(),
            rule: vec![known, seen, likely],
        }
    }
}
