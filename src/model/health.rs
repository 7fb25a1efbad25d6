//! Whether a model that was loaded still scores pictures.
//!
//! One picture that fails says little; picture after picture does. A model that is broken is still asked, for the next
//! picture may go well, and never holds up a stream.

use std::sync::Arc;

use super::{ModelError, Outputs, Session};
use crate::metrics::Metrics;

/// Pictures that fail one after the other before a model counts as broken.
const PATIENCE: u32 = 10;

/// How a model fares, as far as the pictures it was given tell.
#[derive(Debug)]
pub struct Health {
    names: Vec<Arc<str>>,
    metrics: Arc<Metrics>,
    count: Count,
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
        Self { names: session.scorers().map(|(name, _)| Arc::clone(name)).collect(), metrics, count: Count::default() }
    }

    /// Notes what became of a picture, and says so where that changes something.
    pub fn note(&mut self, outputs: &Result<Outputs, ModelError>) {
        let models = self.names.join(", ");
        match (self.count.turn(outputs.is_ok()), outputs) {
            (Some(Turn::Failed), Err(error)) => tracing::warn!(models, %error, "a picture was not scored"),
            (Some(Turn::Broke), Err(error)) => {
                self.set(false);
                tracing::error!(models, %error, "the last {PATIENCE} pictures were not scored: the model is broken");
            }
            (Some(Turn::Mended), _) => {
                self.set(true);
                tracing::info!(models, "the model scores pictures again");
            }
            _ => {}
        }
    }

    fn set(&self, up: bool) {
        for name in &self.names {
            self.metrics.set_model_up(name, up);
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
