//! What can be wrong with a policy; judging itself cannot fail.

use crate::decision::Verdict;

/// Why a policy makes no sense. Each message names the rule and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The document cannot be read.
    #[error("the policy cannot be read: {0}")]
    Unreadable(String),
    /// The policy cannot be written as text.
    #[error("the policy cannot be written as text: {0}")]
    Unwritable(String),
    /// A time is zero that must not be.
    #[error("`{key}` is zero, so {so}: write a duration such as \"1h\"")]
    NoTime {
        /// The key.
        key: &'static str,
        /// What would follow.
        so: &'static str,
    },
    /// A value that no breaker can have.
    #[error("`breaker.{key}` must be {must}")]
    Breaker {
        /// The key.
        key: &'static str,
        /// What is allowed.
        must: String,
    },
    /// A rule has an empty name.
    #[error("a rule has no name: decisions are explained by it, so write one")]
    Nameless,
    /// Two rules have the same name.
    #[error("two rules are called `{rule}`: rename one, so that decisions tell them apart")]
    Duplicate {
        /// The name.
        rule: String,
    },
    /// The rule rests on nothing.
    #[error("rule `{rule}` is about nothing: write `bank`, `label`, `reports` or `state`")]
    NoSubject {
        /// The rule.
        rule: String,
    },
    /// A rule about a bank says neither `pictures` nor `aligned`.
    #[error("rule `{rule}` says not how many: write `pictures`, `aligned` or both")]
    NoCount {
        /// The rule.
        rule: String,
    },
    /// A key that such a rule needs is not there.
    #[error("rule `{rule}` has no `{key}`: write it")]
    Missing {
        /// The rule.
        rule: String,
        /// The key.
        key: &'static str,
    },
    /// A key that means nothing in such a rule.
    #[error("rule `{rule}` has the key `{key}`, which means nothing there: remove it")]
    Stray {
        /// The rule.
        rule: String,
        /// The key.
        key: &'static str,
    },
    /// A value that no rule can have.
    #[error("rule `{rule}`: `{key}` must be {must}")]
    Range {
        /// The rule.
        rule: String,
        /// The key.
        key: &'static str,
        /// What is allowed.
        must: String,
    },
    /// A rule whose verdict is `clear`.
    #[error("rule `{rule}` has the verdict `clear`, which no evidence is needed for: write watch, hold, cut or ban")]
    Clear {
        /// The rule.
        rule: String,
    },
    /// A classifier would end a session on its own.
    #[error(
        "rule `{rule}` would {verdict} on a classifier's word alone: make it a hold, or set `allow_classifier_cut = true` \
         in `[policy]`"
    )]
    ClassifierCut {
        /// The rule.
        rule: String,
        /// Its verdict.
        verdict: Verdict,
    },
    /// What its own provider does not vouch for would end a session.
    #[error(
        "rule `{rule}` would {verdict} on signals that nobody vouches for: make it a hold, or write `opinion = \
         [\"positive\"]`"
    )]
    DoubtedCut {
        /// The rule.
        rule: String,
        /// Its verdict.
        verdict: Verdict,
    },
    /// A state would end a session on its own.
    #[error(
        "rule `{rule}` would {verdict} because a stream cannot be seen, not for what it shows: make it a hold, or set \
         `allow_state_cut = true` in `[policy]`"
    )]
    StateCut {
        /// The rule.
        rule: String,
        /// Its verdict.
        verdict: Verdict,
    },
    /// Reports would end a session on their own.
    #[error("rule `{rule}` would {verdict} on reports alone, which anybody can send: make it a hold, or add `bank`")]
    ReportsCut {
        /// The rule.
        rule: String,
        /// Its verdict.
        verdict: Verdict,
    },
}

impl PolicyError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Unwritable(_) => "unwritable",
            Self::NoTime { .. } => "no_time",
            Self::Breaker { .. } => "breaker",
            Self::Nameless => "nameless",
            Self::Duplicate { .. } => "duplicate",
            Self::NoSubject { .. } => "no_subject",
            Self::NoCount { .. } => "no_count",
            Self::Missing { .. } => "missing",
            Self::Stray { .. } => "stray",
            Self::Range { .. } => "range",
            Self::Clear { .. } => "clear",
            Self::ClassifierCut { .. } => "classifier_cut",
            Self::DoubtedCut { .. } => "doubted_cut",
            Self::StateCut { .. } => "state_cut",
            Self::ReportsCut { .. } => "reports_cut",
        }
    }

    /// Never: somebody has to change the configuration.
    pub const fn is_retryable(&self) -> bool {
        false
    }
}
