//! Detectors: each looks at one decoded picture at a time and says what it saw.
//!
//! A detector belongs to one worker thread; what several workers share (banks, a model's queue) it is handed when it is
//! made. It knows nothing of streams, evidence or rules.

pub mod classify;
pub mod gate;
pub mod known;
mod scorer;

use std::sync::Arc;

use crate::finding::Observation;
use crate::hash::{HashError, Pdq};
use crate::picture::Picture;

/// Something that looks at pictures.
pub trait Detector {
    /// A bounded word for metrics and logs.
    fn name(&self) -> &'static str;

    /// What there is to see in the picture.
    ///
    /// # Errors
    /// When the picture cannot be looked at. The next one may be.
    fn inspect(&mut self, picture: &Picture) -> Result<Look, DetectError>;
}

/// What came of looking at one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// What there is to see: nothing, one thing or several.
    pub observations: Vec<Observation>,
    /// The benign bank for whose sake what matched is no observation.
    pub vetoed_by: Option<Arc<str>>,
    /// What the picture looks like, from a detector that finds out: others need not hash it again.
    pub pdq: Option<Pdq>,
}

/// A picture could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The decoder gave less than it said.
    #[error("picture {sequence} cannot be hashed: if this repeats, report the stream's encoder")]
    Picture {
        /// The access unit that it was decoded from.
        sequence: u64,
        /// What is wrong with it.
        source: HashError,
    },
}

impl DetectError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Picture { source, .. } => source.kind(),
        }
    }

    /// Whether the same picture may be looked at later with success.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Picture { .. } => false,
        }
    }
}
