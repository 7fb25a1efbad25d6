//! The detector that asks a model: pictures in, scores out, later and on another thread.
//!
//! The worker that decoded a picture also makes the tensor, for the picture is in its cache; scoring is the model's own
//! thread's. A worker never waits here: what the model cannot keep up with is shed, and every picture given is counted by
//! what became of it, `given = scored + flat + shed + failed`, plus what is still waiting.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::finding::Observation;
use crate::metrics::{Metrics, Stage};
use crate::model::{self, Input, ModelError, Outputs, Owner, Preprocessor, Refused, Session};
use crate::picture::Picture;

/// What became of a picture when it was given to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It waits for the model; its scores will come.
    Waiting,
    /// It shows nothing, so it is not scored.
    Flat,
    /// The model cannot keep up: it is not scored.
    Shed,
    /// It could not be made into a tensor, or the model is gone: it is not scored.
    Failed,
}

/// A model at work. `T` is whatever the caller needs back with the scores, to know whose picture it was.
#[derive(Debug)]
pub struct Classify<T> {
    input: Input,
    owner: Owner<Ticket<T>>,
    tally: Tally,
}

#[derive(Debug)]
struct Ticket<T> {
    given: Timestamp,
    callers: T,
}

/// Counts and times, by model.
#[derive(Debug, Clone)]
struct Tally {
    model: Arc<str>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Tally {
    fn count(&self, outcome: &str) {
        self.metrics.score(&self.model, outcome);
    }

    fn failed(&self, error: &ModelError) {
        self.count("failed");
        self.metrics.error(Stage::Classify, error.kind());
        tracing::warn!(model = &*self.model, %error, "a picture was not scored");
    }
}

impl<T: Send + 'static> Classify<T> {
    /// Gives the session a thread of its own. `on_scores` is called on it, with each ticket and what the model says of
    /// its picture; it must not block.
    ///
    /// Dropping the detector scores the pictures that still wait, at most `queue`, and ends the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        session: Session,
        queue: NonZeroUsize,
        clock: Clock,
        metrics: Arc<Metrics>,
        on_scores: impl Fn(&T, Observation) + Send + 'static,
    ) -> Result<Self, ModelError> {
        let input = session.manifest().input.clone();
        let tally = Tally { model: Arc::clone(&session.manifest().name), metrics, clock };
        let results = tally.clone();
        let owner =
            Owner::start(session, queue, clock, move |ticket: Ticket<T>, outputs: Result<Outputs, ModelError>| {
                match outputs {
                    Ok(outputs) => {
                        results.count("scored");
                        results.metrics.stage(Stage::Classify, results.clock.now().since(ticket.given));
                        for scores in outputs.scores {
                            on_scores(&ticket.callers, Observation::Scores(scores));
                        }
                    }
                    Err(error) => results.failed(&error),
                }
            })?;
        Ok(Self { input, owner, tally })
    }

    /// Gives a picture to the model. Takes the time of making a tensor, and never waits for the model.
    pub fn submit(&self, picture: &Picture, ticket: T) -> Submitted {
        let tally = &self.tally;
        if model::flat(picture) {
            tally.count("flat");
            return Submitted::Flat;
        }
        let ticket = Ticket { given: tally.clock.now(), callers: ticket };
        let tensor = match Preprocessor::new(&self.input).tensor(picture) {
            Ok(tensor) => tensor,
            Err(error) => {
                tally.failed(&error);
                return Submitted::Failed;
            }
        };
        match self.owner.submit(tensor, ticket) {
            Ok(()) => Submitted::Waiting,
            Err(Refused::Full(_)) => {
                tally.count("shed");
                Submitted::Shed
            }
            Err(Refused::Gone(_)) => {
                tally.count("failed");
                tally.metrics.error(Stage::Classify, "thread_gone");
                Submitted::Failed
            }
        }
    }
}
