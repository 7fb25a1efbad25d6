//! What a model says of one picture.

use crate::finding::Scores;

/// What a model says of one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// Scores of the model itself first, then of each probe on it: none where there is no more than an embedding.
    pub scores: Vec<Scores>,
    /// The embedding, as the model gave it; only where the manifest has one.
    pub embedding: Option<Vec<f32>>,
}
