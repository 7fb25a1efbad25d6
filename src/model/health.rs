//! Whether a model that was loaded still scores pictures.
//!
//! One picture that fails says little; picture after picture does. A model that is broken is still asked, for the next
//! picture may go well, and never holds up a stream. Heads fail by themselves too: each has a count of its own.

use std::sync::Arc;

use super::{ModelError, Outputs, Session};
use crate::metrics::{Metrics, Stage};

/// Pictures that fail one after the other before a model counts as broken.
const PATIENCE: u32 = 10;

/// How a model and its heads fare, as far as the pictures it was given tell.
#[derive(Debug)]
pub struct Health {
    entries: Vec<(Arc<str>, Count)>,
    metrics: Arc<Metrics>,
}

/// Failures since the last picture that went well.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count(u32);

/// What a picture changes.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// The first failure after pictures that went well.
    Failed,
    /// One failure too many: the model is broken.
    Broke,
    /// It was broken, and is no longer.
    Mended,
}

impl Health {
    /// The health of `session`, which has just been loaded and so is well.
    pub fn new(session: &Session, metrics: Arc<Metrics>) -> Self {
        let entries = session.entries().into_iter().map(|(name, _)| (name, Count::default())).collect();
        Self { entries, metrics }
    }

    /// Notes what became of a picture, and says so where that changes something.
    pub fn note(&mut self, outputs: &Result<Outputs, ModelError>) {
        for (name, count) in &mut self.entries {
            let model = &**name;
            let error = match outputs {
                Err(error) => Some(error.to_string()),
                Ok(outputs) => outputs.failed.iter().find(|(head, _)| head == name).map(|(_, problem)| problem.clone()),
            };
            if outputs.is_ok() && error.is_some() {
                // Whoever gave the picture counts only what came of it as a whole.
                self.metrics.error(Stage::Classify, "output");
            }
            match (count.turn(error.is_none()), error) {
                (Some(Turn::Failed), Some(error)) => tracing::warn!(model, error, "a picture was not scored"),
                (Some(Turn::Broke), Some(error)) => {
                    self.metrics.set_model_up(name, false);
                    tracing::error!(model, error, "the last {PATIENCE} pictures were not scored: the model is broken");
                }
                (Some(Turn::Mended), _) => {
                    self.metrics.set_model_up(name, true);
                    tracing::info!(model, "the model scores pictures again");
                }
                _ => {}
            }
        }
    }
}

impl Count {
    fn turn(&mut self, scored: bool) -> Option<Turn> {
        if scored {
            let was = std::mem::take(&mut self.0);
            return (was >= PATIENCE).then_some(Turn::Mended);
        }
        self.0 = self.0.saturating_add(1);
        match self.0 {
            1 => Some(Turn::Failed),
            PATIENCE => Some(Turn::Broke),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_broken_after_many_failures_in_a_row_and_mended_by_one_success() {
        // What is told after each picture: `+` went well, `-` did not.
        let told = |pictures: &str| {
            let mut count = Count::default();
            let turn = |picture| match count.turn(picture == '+') {
                None => '.',
                Some(Turn::Failed) => 'f',
                Some(Turn::Broke) => 'B',
                Some(Turn::Mended) => 'M',
            };
            pictures.chars().map(turn).collect::<String>()
        };
        assert_eq!(told("+++-+--+"), "...f.f..");
        assert_eq!(told("------------+-"), "f........B..Mf");
        assert_eq!(told("---------+---------+"), "f.........f.........");
    }
}
