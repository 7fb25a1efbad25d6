//! What a model says of one picture.

use std::sync::Arc;

use crate::finding::Scores;

/// What a model says of one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// Scores of the model itself first, then of each probe on it: none where there is no more than an embedding.
    pub scores: Vec<Scores>,
    /// The embedding, as the model gave it; only where the manifest has one.
    pub embedding: Option<Vec<f32>>,
    /// The heads that made no scores of the embedding, and what was wrong: this costs no other its scores.
    pub failed: Vec<(Arc<str>, String)>,
}
