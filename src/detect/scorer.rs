//! A model at work: the thread that it runs on, the pictures that it is asked about, and what it says of them.
//!
//! Shared by all workers. A worker never waits for a model: what it cannot keep up with is shed, and what looks like the
//! pictures scored last is given their scores again (see [`gate`](super::gate)). Every picture given to a model is counted by
//! what became of it, `given = scored + unchanged + flat + shed + failed`, plus what is still waiting: also where what looks
//! at it panics.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use super::gate::{Gate, Seen, Terms};
use crate::clock::{Clock, Timestamp};
use crate::finding::{Observation, Scores};
use crate::metrics::{Metrics, Stage};
use crate::model::{self, Health, Input, ModelError, Outputs, Owner, Refused, Session, Tensor};

/// What became of a picture when it was given to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It waits for the model; its scores will come.
    Waiting,
    /// It looks like the picture scored last, whose scores it was given.
    Unchanged,
    /// It shows nothing, so it is not scored.
    Flat,
    /// The model cannot keep up: it is not scored.
    Shed,
    /// It could not be made into a tensor, or the model is gone: it is not scored.
    Failed,
}

/// A model at work. `T` is whatever the caller needs back with the scores, to know whose picture it was.
#[derive(Debug)]
pub struct Scorer<T> {
    input: Input,
    owner: Owner<Asked<T>>,
    tally: Tally<T>,
}

/// The change gates of one stream, one a model. They live as long as the stream does.
#[derive(Debug, Default)]
pub struct Gates(Mutex<Vec<(Arc<str>, Gate)>>);

/// A picture on its way through the model's thread.
#[derive(Debug)]
struct Asked<T> {
    given: Timestamp,
    seen: Option<Seen>,
    gates: Arc<Gates>,
    caller: T,
}

/// Counts, times and scores that leave, of one model.
struct Tally<T> {
    model: Arc<str>,
    terms: Terms,
    metrics: Arc<Metrics>,
    clock: Clock,
    on_scores: Arc<OnScores<T>>,
}

type OnScores<T> = dyn Fn(&T, Observation) + Send + Sync;

impl<T: Send + 'static> Scorer<T> {
    /// Gives the session a thread of its own. `on_scores` is called with each ticket and what the model says of its
    /// picture: on that thread, or on the worker's where the scores are there already. It must not block for long.
    ///
    /// Dropping the scorer scores the pictures that still wait, at most `queue`, and ends the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        session: Session,
        queue: NonZeroUsize,
        terms: Terms,
        clock: Clock,
        metrics: Arc<Metrics>,
        on_scores: impl Fn(&T, Observation) + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let input = session.manifest().input.clone();
        let model = Arc::clone(&session.manifest().name);
        let tally = Tally { model, terms, metrics, clock, on_scores: Arc::new(on_scores) };
        let results = tally.clone();
        let mut health = Health::new(&session, Arc::clone(&tally.metrics));
        let owner = Owner::start(session, queue, clock, move |asked, outputs| {
            health.note(&outputs);
            results.answer(&asked, outputs);
        })?;
        Ok(Self { input, owner, tally })
    }

    /// What the model takes in.
    pub const fn input(&self) -> &Input {
        &self.input
    }

    /// Notes a picture that shows nothing.
    pub(super) fn flat(&self) -> Submitted {
        self.tally.count("flat");
        Submitted::Flat
    }

    /// Gives a picture to the model, unless it looks like those scored last. `tensor` is called only if it does not; `seen`
    /// is what it looks like, as far as anybody knows. Never waits for the model.
    pub(super) fn submit(
        &self,
        seen: Option<Seen>,
        gates: &Arc<Gates>,
        caller: T,
        tensor: impl FnOnce() -> Result<Tensor, ModelError>,
    ) -> Submitted {
        let tally = &self.tally;
        if let Some(again) = seen.and_then(|seen| gates.of(&tally.model, |gate| gate.pass(&seen, &tally.terms))) {
            tally.count("unchanged");
            tally.give(&caller, again.scores());
            return Submitted::Unchanged;
        }
        let asked = Asked { given: tally.clock.now(), seen, gates: Arc::clone(gates), caller };
        let tensor = match model::unpanicked(&tally.model, tensor) {
            Ok(tensor) => tensor,
            Err(error) => {
                tally.failed(&error);
                return Submitted::Failed;
            }
        };
        match self.owner.submit(tensor, asked) {
            Ok(()) => Submitted::Waiting,
            Err(Refused::Full(_)) => {
                tally.count("shed");
                Submitted::Shed
            }
            Err(Refused::Gone(_)) => {
                tally.count("failed");
                tally.metrics.error(Stage::Classify, "thread_gone");
                tally.metrics.set_model_up(&tally.model, false);
                Submitted::Failed
            }
        }
    }
}

impl<T> Tally<T> {
    fn count(&self, outcome: &str) {
        self.metrics.score(&self.model, outcome);
    }

    /// What the model says of a picture leaves.
    fn answer(&self, asked: &Asked<T>, outputs: Result<Outputs, ModelError>) {
        let scores = match outputs {
            Ok(outputs) => outputs.scores,
            Err(error) => return self.failed(&error),
        };
        self.count("scored");
        self.metrics.stage(Stage::Classify, self.clock.now().since(asked.given));
        if let Some(seen) = &asked.seen {
            asked.gates.of(&self.model, |gate| gate.scored(seen, &self.terms, &scores));
        }
        self.give(&asked.caller, scores);
    }

    fn give(&self, caller: &T, scores: impl IntoIterator<Item = Scores>) {
        for scores in scores {
            (self.on_scores)(caller, Observation::Scores(scores));
        }
    }

    fn failed(&self, error: &ModelError) {
        self.metrics.error(Stage::Classify, error.kind());
        tracing::debug!(model = &*self.model, %error, "a picture was not scored");
        self.count("failed");
    }
}

impl Gates {
    /// Does something with the gate of `model`. Nobody else does meanwhile, so it must be quick.
    fn of<R>(&self, model: &Arc<str>, act: impl FnOnce(&mut Gate) -> R) -> R {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gate)) = gates.iter_mut().find(|(name, _)| name == model) {
            return act(gate);
        }
        let mut gate = Gate::default();
        let done = act(&mut gate);
        gates.push((Arc::clone(model), gate));
        done
    }
}

impl<T> Clone for Tally<T> {
    fn clone(&self) -> Self {
        Self {
            model: Arc::clone(&self.model),
            terms: self.terms,
            metrics: Arc::clone(&self.metrics),
            clock: self.clock,
            on_scores: Arc::clone(&self.on_scores),
        }
    }
}

impl<T> fmt::Debug for Tally<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("model", &self.model).finish_non_exhaustive()
    }
}
