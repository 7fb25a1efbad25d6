//! What people report of streams: the words that the interface, the ledger and `app` share, and how much a reporter's word
//! counts.
//!
//! A report is a notice in the sense of article 16 of the European Digital Services Act. Who sent it is known here as a
//! digest only: one reporter is told from another, and nobody is named.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::stream::{SessionId, StreamId};

/// How much the word of somebody counts who does not say who they are: there may be one of them, or a thousand.
pub const ANONYMOUS_WEIGHT: f32 = 0.25;

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Terrorist content.
    Terrorism,
    /// Violence against people or animals.
    Violence,
    /// Suicide or self-harm.
    SelfHarm,
    /// Sexual abuse of a child.
    ChildSexualAbuse,
    /// Incitement to hatred.
    Hate,
    /// Something else that is unlawful.
    Other,
}

impl Category {
    /// Every category there is.
    pub const ALL: [Self; 6] =
        [Self::Terrorism, Self::Violence, Self::SelfHarm, Self::ChildSexualAbuse, Self::Hate, Self::Other];

    /// The word used in the interface, in rules and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Terrorism => "terrorism",
            Self::Violence => "violence",
            Self::SelfHarm => "self_harm",
            Self::ChildSexualAbuse => "child_sexual_abuse",
            Self::Hate => "hate",
            Self::Other => "other",
        }
    }

    /// Whether the notifier may stay unnamed: article 16(2)(c) asks no name where the offences of articles 3 to 7 of
    /// Directive 2011/93/EU are concerned.
    pub const fn may_be_anonymous(self) -> bool {
        matches!(self, Self::ChildSexualAbuse)
    }
}

/// What came of a report, in the eyes of whoever looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was right.
    Founded,
    /// It was not.
    Unfounded,
}

impl Outcome {
    /// The word used in the interface, in the ledger and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Founded => "founded",
            Self::Unfounded => "unfounded",
        }
    }
}

/// Who reported.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "digest")]
pub enum Reporter {
    /// Somebody who did not say.
    Anonymous,
    /// A keyed digest of what they are known by.
    Known(Arc<str>),
}

impl Reporter {
    /// What the evidence and the ledger call them.
    pub fn word(&self) -> Arc<str> {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::Known(digest) => Arc::clone(digest),
        }
    }
}

/// A digest may be shown, but says nothing to anybody who reads a log.
impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "anonymous",
            Self::Known(_) => "known",
        })
    }
}

/// A report as it came in, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Identifies it in the ledger and to whoever sent it. Version 7: sorts by time.
    pub id: Uuid,
    /// The stream reported.
    pub stream: StreamId,
    /// The session meant: the one that the sender named, or the only one on the air then.
    pub session: Option<SessionId>,
    /// Who reported.
    pub reporter: Reporter,
    /// What it is about.
    pub category: Category,
    /// Somebody is said to be in danger of life now.
    pub imminent: bool,
    /// Why the content is thought to be unlawful, in the notifier's words.
    pub explanation: String,
    /// When it came in.
    pub received: Timestamp,
}

/// A report in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The report.
    pub report: Report,
    /// What came of it, and when somebody said so; `None`: nobody has looked yet.
    pub outcome: Option<(Outcome, Timestamp)>,
}

/// What came of the earlier reports of one reporter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Reports that were right.
    pub founded: u32,
    /// Reports that were not.
    pub unfounded: u32,
}

/// How many founded reports a newcomer is taken to have made: the benefit of the doubt.
const BENEFIT: f32 = 2.0;

impl Standing {
    /// How much the reporter's word counts, above 0 and up to 1: all of it as long as no report was unfounded, two thirds
    /// after one that was, a fifth after eight; founded ones bring it back.
    pub fn weight(self) -> f32 {
        let (founded, unfounded) = (self.founded as f32 + BENEFIT, self.unfounded as f32);
        founded / (founded + unfounded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_those_that_are_written() {
        for category in Category::ALL {
            assert_eq!(json!(category), category.word());
        }
        for outcome in [Outcome::Founded, Outcome::Unfounded] {
            assert_eq!(json!(outcome), outcome.word());
        }
    }

    #[test]
    fn a_newcomer_is_believed_and_a_frequent_false_alarm_is_not() {
        for (founded, unfounded, weight) in [(0, 0, 1.0), (50, 0, 1.0), (0, 1, 0.667), (0, 8, 0.2), (8, 8, 0.556)] {
            let found = Standing { founded, unfounded }.weight();
            assert!((found - weight).abs() < 0.001, "{founded} founded, {unfounded} unfounded: {found}");
        }
    }

    proptest! {
        #[test]
        fn the_weight_falls_with_what_was_unfounded_and_rises_with_what_was_founded(
            founded in 0..100_000_u32, unfounded in 0..100_000_u32,
        ) {
            let standing = Standing { founded, unfounded };
            let weight = standing.weight();
            prop_assert!(weight > 0.0 && weight <= 1.0);
            let worse = Standing { unfounded: unfounded + 1, ..standing };
            let better = Standing { founded: founded + 1, ..standing };
            prop_assert!(worse.weight() < weight && better.weight() >= weight, "{} {}", founded, unfounded);
            // Nobody is worth more for reporting more, unless it is right.
            prop_assert!(unfounded > 0 || weight.to_bits() == 1.0_f32.to_bits());
        }
    }
}
