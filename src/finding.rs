//! The seam of the house: what one detector says of one picture, as plain serialisable data.
//!
//! Everything left of a finding handles strangers' media; everything right of it handles evidence. A finding carries
//! all that is needed to explain, replay and appeal a decision, and nothing of the picture itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::Verdict;
use crate::stream::{Session, StreamState};

/// What one detector says of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Whose picture it was.
    pub session: Session,
    /// The access unit that the picture was decoded from.
    pub sequence: u64,
    /// The picture's presentation timestamp on the stream's clock.
    pub pts: Option<Duration>,
    /// When the access unit reached us.
    pub arrived: Timestamp,
    /// When the detector was done with it.
    pub found: Timestamp,
    /// What was seen.
    pub observation: Observation,
}

/// What a detector saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Observation {
    /// A signal of a bank lies within the bank's distance.
    Match(Match),
    /// A model scored the picture.
    Scores(Scores),
    /// Not of a picture: how the stream is doing. Its `sequence` is 0 and its `pts` is absent.
    State(StreamState),
    /// Not of a picture: somebody reported the stream. Its `sequence` is 0 and its `pts` is absent.
    Report(Report),
}

impl Observation {
    /// A bounded word for metrics: the detector that it comes from.
    pub const fn detector(&self) -> &'static str {
        match self {
            Self::Match(_) => "known",
            Self::Scores(_) => "classify",
            Self::State(_) => "state",
            Self::Report(_) => "report",
        }
    }
}

/// A report of a stream, as far as the judge weighs it. What was written in it stays out of the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Identifies the report in the ledger and to whoever sent it.
    pub id: Uuid,
    /// Who reported, as a digest: one reporter is told from another, and nobody is named.
    pub reporter: Arc<str>,
    /// What it is about: `terrorism`, `violence`, ...
    pub category: Arc<str>,
    /// Somebody is said to be in danger of life now.
    pub imminent: bool,
    /// How much the reporter's word counts, 0 to 1: less after unfounded reports.
    pub weight: f32,
}

/// The nearest signal of one bank: enough to explain the decision later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The bank's name.
    pub bank: Arc<str>,
    /// The bank's revision when the match was made.
    pub bank_revision: u64,
    /// The signal's identifier within the bank.
    pub signal: u64,
    /// Hamming distance, in bits.
    pub distance: u32,
    /// PDQ quality of the inspected picture, 0-100.
    pub quality: u8,
    /// How far the signal's provider vouches for it.
    pub opinion: Opinion,
    /// Where the signal comes from, in the words of whoever added it.
    pub provenance: Arc<str>,
    /// Where in the banked video the signal lies.
    pub banked_at: Option<Duration>,
    /// How many distinct pictures must match the bank, as it was, before this is evidence.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub quorum: u32,
    /// The severest verdict that the bank, as it was, lets this lead to.
    #[serde(default = "uncapped", skip_serializing_if = "is_uncapped")]
    pub at_most: Verdict,
    /// The signal is set aside: it counts as disputed, whoever vouches for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
}

impl Match {
    /// How far the match is vouched for: as far as its signal, unless that is set aside.
    pub const fn counts_as(&self) -> Opinion {
        match self.opinion {
            Opinion::Positive if self.quarantined => Opinion::Disputed,
            opinion => opinion,
        }
    }
}

/// A match recorded before banks had a quorum.
const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_one(quorum: &u32) -> bool {
    *quorum == 1
}

/// A match recorded before banks had a cap.
const fn uncapped() -> Verdict {
    Verdict::Ban
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_uncapped(at_most: &Verdict) -> bool {
    matches!(at_most, Verdict::Ban)
}

/// A model's scores for one picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The model's name.
    pub model: Arc<str>,
    /// SHA-256 of the model file, hexadecimal.
    pub digest: Arc<str>,
    /// Each label with its score, 0 to 1: calibrated where the model is.
    pub scores: Vec<(Arc<str>, f32)>,
    /// What the model itself gave, label by label; empty where the model is not calibrated, for then it is `scores`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<f32>,
    /// SHA-256 of the calibration, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Arc<str>>,
    /// The access unit of the picture that was really scored, where this one looks the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u64>,
}

/// How far a signal's provider vouches for it, as in ThreatExchange. Only `Positive` may cut on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    /// It is what the bank says it is.
    Positive,
    /// It is known not to be: a false positive.
    Negative,
    /// Somebody should look.
    InvestigationSeed,
    /// Its owners disagree.
    Disputed,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"bank":"demo","bank_revision":1,"signal":7,"distance":3,"quality":90,"opinion":"positive",
        "provenance":"clip.mp4","banked_at":null}"#;

    #[test]
    fn a_match_recorded_before_banks_had_terms_reads_as_one_without_any() {
        let plain: Match = serde_json::from_str(PLAIN).unwrap();
        assert_eq!((plain.quorum, plain.at_most, plain.quarantined), (1, Verdict::Ban, false));
        let written = serde_json::to_string(&plain).unwrap();
        assert_eq!(written, PLAIN.replace(['\n', ' '], ""), "and it is written as before");
        let bound = Match { quorum: 3, at_most: Verdict::Hold, quarantined: true, ..plain };
        let written = serde_json::to_string(&bound).unwrap();
        assert!(written.ends_with(r#""quorum":3,"at_most":"hold","quarantined":true}"#), "{written}");
        assert_eq!(serde_json::from_str::<Match>(&written).unwrap(), bound);
    }

    #[test]
    fn a_signal_that_is_set_aside_is_vouched_for_by_nobody() {
        let plain: Match = serde_json::from_str(PLAIN).unwrap();
        for (opinion, counts_as) in [
            (Opinion::Positive, Opinion::Disputed),
            (Opinion::Disputed, Opinion::Disputed),
            (Opinion::InvestigationSeed, Opinion::InvestigationSeed),
            (Opinion::Negative, Opinion::Negative),
        ] {
            let seen = Match { opinion, ..plain.clone() };
            assert_eq!(seen.counts_as(), opinion);
            assert_eq!(Match { quarantined: true, ..seen }.counts_as(), counts_as);
        }
    }
}
