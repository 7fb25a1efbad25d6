//! A policy that makes sense, and the text and the digest that name it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decision::{Context, LoweredBecause, Verdict};
use crate::finding::{Finding, Observation, Opinion};
use crate::judge::config::Shadow;
use crate::judge::evidence::Widest;
use crate::judge::rule::Rule;
use crate::judge::weigh::Trial;
use crate::judge::{Config, PolicyError, breaker, parse, sentence, unreachable};
use crate::stream::Attention;

/// A policy that makes sense. Immutable; its digest names it in every decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Severest first, then as written.
    rules: Vec<Rule>,
    review_first: BTreeSet<Arc<str>>,
    trial: Trial,
    deny_for: Duration,
    hold_for: Duration,
    suspicious_for: Duration,
    breaker: breaker::Config,
    text: Arc<str>,
    digest: Arc<str>,
}

/// A policy as a document of its own, or any document with a `[policy]`, such as a whole configuration.
#[derive(Serialize, Deserialize)]
struct Document {
    policy: Config,
}

impl Policy {
    /// Makes sense of a configuration.
    ///
    /// # Errors
    /// The first thing in it that makes none, the rule by name, with what to change.
    pub fn parse(config: Config) -> Result<Self, PolicyError> {
        for (key, span, so) in [
            ("deny_for", config.deny_for, "a cut would refuse nobody"),
            ("hold_for", config.hold_for, "a hold would hold nothing"),
        ] {
            if span.is_zero() {
                return Err(PolicyError::NoTime { key, so });
            }
        }
        if let Some((key, must)) = config.breaker.problem() {
            return Err(PolicyError::Breaker { key, must });
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::with_capacity(config.rule.len());
        for raw in &config.rule {
            if !names.insert(&raw.name) {
                return Err(PolicyError::Duplicate { rule: raw.name.clone() });
            }
            let rule = parse::rule(raw)?;
            parse::too_thin(&rule, &config)?;
            rules.push(rule);
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.verdict));
        let text = text(&config, &rules)?;
        let names = |names: Vec<String>| names.into_iter().map(Into::into).collect();
        let Shadow { banks, models } = config.shadow;
        Ok(Self {
            rules,
            review_first: names(config.review_first),
            trial: Trial { banks: names(banks), models: names(models) },
            deny_for: config.deny_for,
            hold_for: config.hold_for,
            suspicious_for: config.suspicious_for,
            breaker: config.breaker,
            digest: hex::encode(Sha256::digest(&text)).into(),
            text: text.into(),
        })
    }

    /// Makes sense of a document with a `[policy]`: what [`Policy::text`] gave, or a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        let document: Document = toml::from_str(text).map_err(|error| PolicyError::Unreadable(error.to_string()))?;
        Self::parse(document.policy)
    }

    /// Everything that a decision can depend on, as a document that [`Policy::read`] reads back to an equal policy: the
    /// same for policies that decide alike and are written alike but for spelling, such as `"4s"` and `"4000ms"`.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// SHA-256 of [`Policy::text`], hexadecimal.
    pub fn digest(&self) -> Arc<str> {
        Arc::clone(&self.digest)
    }

    /// How long a verdict lasts where its rule does not say; `None`: until somebody ends it, or there is nothing to end.
    pub fn lasts(&self, verdict: Verdict) -> Option<Duration> {
        match verdict {
            Verdict::Clear | Verdict::Watch | Verdict::Ban => None,
            Verdict::Hold => Some(self.hold_for),
            Verdict::Cut => Some(self.deny_for),
        }
    }

    /// When automatic cuts are too many.
    pub fn breaker(&self) -> &breaker::Config {
        &self.breaker
    }

    /// Each rule as an English sentence, severest first.
    pub fn sentences(&self) -> Vec<String> {
        self.rules.iter().map(sentence::of_rule).collect()
    }

    /// What holds beside the rules, a sentence each.
    pub fn beside(&self) -> Vec<String> {
        let Self { review_first, trial, deny_for, hold_for, breaker, .. } = self;
        sentence::beside(review_first, trial, *deny_for, *hold_for, breaker)
    }

    /// Rules that can never decide, and what else deserves a second look, a sentence each with what to do.
    pub fn warnings(&self) -> Vec<String> {
        unreachable::warnings(&self.rules, &self.review_first)
    }

    /// What each rule decides and what it is called, severest first: for metrics that begin at zero.
    pub fn verdicts(&self) -> impl Iterator<Item = (Verdict, &str)> {
        self.rules.iter().map(|rule| (rule.verdict, &*rule.name))
    }

    /// How closely the stream is to be looked at because of `finding`, and for how long: any match that is not known to
    /// be a mistake, and any score that a rule would count.
    pub fn attention(&self, finding: &Finding) -> Option<(Attention, Duration)> {
        let suspicious = match &finding.observation {
            Observation::Match(seen) => seen.opinion != Opinion::Negative,
            Observation::Scores(seen) => {
                let tests = self.rules.iter().filter_map(|rule| rule.label.as_ref());
                tests.into_iter().any(|test| test.score(seen).is_some_and(|score| score > test.above))
            }
            // How closely a reported stream is looked at is decided where reports are taken, before they are evidence.
            Observation::Report(_) | Observation::State(_) => false,
        };
        suspicious.then_some((Attention::Suspicious, self.suspicious_for))
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Banks and models on trial.
    pub(super) fn trial(&self) -> &Trial {
        &self.trial
    }

    /// The longest time that any rule looks back.
    pub(super) fn widest(&self) -> Widest {
        let widest = |windowed: fn(&&Rule) -> bool| {
            self.rules.iter().filter(windowed).map(|rule| rule.within).max().unwrap_or_default()
        };
        Widest {
            pictures: widest(|rule| rule.bank.is_some() || rule.label.is_some()),
            reports: widest(|rule| rule.reports.is_some()),
        }
    }

    /// The severest verdict that may follow where this is known, and why none severer.
    pub(super) fn ceiling(&self, context: &Context) -> (Verdict, Option<LoweredBecause>) {
        match &context.class {
            Some(class) if self.review_first.contains(class) => {
                (Verdict::Hold, Some(LoweredBecause::ReviewFirst { class: Arc::clone(class) }))
            }
            _ if context.breaker_open => (Verdict::Hold, Some(LoweredBecause::Breaker)),
            _ => (Verdict::Ban, None),
        }
    }
}

/// What [`Policy::text`] promises: everything said, in one order, permissions only where they are needed.
fn text(config: &Config, rules: &[Rule]) -> Result<String, PolicyError> {
    let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let needs = |config: Config| rules.iter().any(|rule| parse::too_thin(rule, &config).is_err());
    let allowing = |allow_classifier_cut, allow_state_cut| Config {
        allow_classifier_cut,
        allow_state_cut,
        rule: Vec::new(),
        ..Config::default()
    };
    let policy = Config {
        allow_classifier_cut: needs(allowing(false, true)),
        allow_state_cut: needs(allowing(true, false)),
        review_first: sorted(&config.review_first),
        shadow: Shadow { banks: sorted(&config.shadow.banks), models: sorted(&config.shadow.models) },
        rule: rules.iter().map(Rule::canonical).collect(),
        ..config.clone()
    };
    toml::to_string(&Document { policy }).map_err(|error| PolicyError::Unwritable(error.to_string()))
}
