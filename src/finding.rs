//! The seam of the house: what one detector says of one picture, as plain serialisable data.
//!
//! Everything left of a finding handles strangers' media; everything right of it handles evidence. A finding carries
//! all that is needed to explain, replay and appeal a decision, and nothing of the picture itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::stream::Session;

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
}

/// A model's scores for one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The model's name.
    pub model: Arc<str>,
    /// SHA-256 of the model file, hexadecimal.
    pub digest: Arc<str>,
    /// Each label with its score, 0 to 1.
    pub scores: Vec<(Arc<str>, f32)>,
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
