//! The detector that asks models: pictures in, scores out, later and on another thread.
//!
//! The worker that decoded a picture also makes the tensor, for the picture is in its cache, and only one for all models
//! that take in the same; scoring is each model's own thread's. See [`Scorer`] for what becomes of pictures.

use std::sync::Arc;

use super::gate::Seen;
pub use super::scorer::{Gates, Scorer, Submitted};
use crate::hash::Pdq;
use crate::model::{self, Input, Preprocessor, Tensor};
use crate::picture::Picture;
use crate::stream::Attention;

/// Gives one worker's pictures to every model. `T` is whatever the caller needs back with the scores.
#[derive(Debug)]
pub struct Classify<T> {
    kinds: Vec<Kind<T>>,
}

/// Models that take in the same.
#[derive(Debug)]
struct Kind<T> {
    input: Input,
    preprocessor: Preprocessor,
    scorers: Vec<Arc<Scorer<T>>>,
}

impl<T: Clone + Send + 'static> Classify<T> {
    /// A detector that asks `scorers`.
    pub fn new(scorers: &[Arc<Scorer<T>>]) -> Self {
        let mut kinds: Vec<Kind<T>> = Vec::new();
        for scorer in scorers {
            // What the model calls its input is no matter of the tensor's.
            let input = Input { name: String::new(), ..scorer.input().clone() };
            let scorer = Arc::clone(scorer);
            match kinds.iter_mut().find(|kind| kind.input == input) {
                Some(kind) => kind.scorers.push(scorer),
                None => kinds.push(Kind { preprocessor: Preprocessor::new(&input), input, scorers: vec![scorer] }),
            }
        }
        Self { kinds }
    }

    /// Gives a picture to each model, and says what became of it there: models that take in the same follow one another.
    /// `pdq` is what it looks like, where that is known; `attention` is how closely its stream is looked at, and `gates` are
    /// those of its stream.
    ///
    /// Takes the time of making tensors, and never waits for a model.
    pub fn inspect(
        &mut self,
        picture: &Picture,
        pdq: Option<Pdq>,
        attention: Attention,
        gates: &Arc<Gates>,
        ticket: &T,
    ) -> Vec<Submitted> {
        let scorers = self.kinds.iter().flat_map(|kind| &kind.scorers);
        if !self.kinds.is_empty() && model::flat(picture) {
            return scorers.map(|scorer| scorer.flat()).collect();
        }
        let seen = pdq.map(|pdq| Seen { sequence: picture.sequence, arrived: picture.arrived, pdq, attention });
        let mut outcomes = Vec::with_capacity(scorers.count());
        for Kind { preprocessor, scorers, .. } in &mut self.kinds {
            let mut made: Option<Tensor> = None;
            for (scorer, left) in scorers.iter().zip((0..scorers.len()).rev()) {
                outcomes.push(scorer.submit(seen, gates, ticket.clone(), || {
                    let tensor = match made.take() {
                        Some(tensor) => tensor,
                        None => preprocessor.tensor(picture)?,
                    };
                    made = (left > 0).then(|| tensor.clone());
                    Ok(tensor)
                }));
            }
        }
        outcomes
    }
}
