//! A model at work: the thread that it runs on, the pictures that it is asked about, and what it says of them.
//!
//! Shared by all workers. A worker never waits for a model: what it cannot keep up with is shed, and what looks like the
//! picture scored last is given its scores again (see [`gate`](super::gate)). Every picture given to a model is counted by
//! what became of it, `given = scored + unchanged + flat + shed + failed`, plus what is still waiting.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use super::gate::{Again, Gate, Mark, Passage, Seen, Terms};
use crate::clock::{Clock, Timestamp};
use crate::finding::{Observation, Scores};
use crate::metrics::{Metrics, Stage};
use crate::model::{Health, Input, ModelError, Outputs, Owner, Refused, Session, Tensor};

/// What became of a picture when it was given to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It waits for the model; its scores will come.
    Waiting,
    /// It looks like the picture scored last: that one's scores are its own, now or as soon as they come.
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
    terms: Terms,
    owner: Owner<Asked<T>>,
    tally: Tally<T>,
}

/// The change gates of one stream, one a model. They live as long as the stream does.
pub struct Gates<T>(Mutex<Vec<(Arc<str>, Gate<T>)>>);

/// A picture on its way through the model's thread.
#[derive(Debug)]
struct Asked<T> {
    given: Timestamp,
    mark: Option<Mark>,
    gates: Arc<Gates<T>>,
    caller: T,
}

/// Counts, times and scores that leave, of one model.
struct Tally<T> {
    model: Arc<str>,
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
        let tally = Tally { model, metrics, clock, on_scores: Arc::new(on_scores) };
        let results = tally.clone();
        let mut health = Health::new(&session, Arc::clone(&tally.metrics));
        let owner = Owner::start(session, queue, clock, move |asked, outputs| {
            health.note(&outputs);
            results.answer(&asked, outputs);
        })?;
        Ok(Self { input, terms, owner, tally })
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

    /// Gives a picture to the model, unless it looks like the one scored last. `tensor` is called only if it does not;
    /// `seen` is what it looks like, as far as anybody knows. Never waits for the model.
    pub(super) fn submit(
        &self,
        seen: Option<&Seen>,
        gates: &Arc<Gates<T>>,
        ticket: T,
        tensor: impl FnOnce() -> Result<Tensor, ModelError>,
    ) -> Submitted {
        let tally = &self.tally;
        let (caller, mark) = match seen {
            None => (ticket, None),
            Some(seen) => match gates.of(&tally.model, |gate| gate.pass(seen, &self.terms, ticket)) {
                Passage::Score(ticket, mark) => (ticket, mark),
                Passage::Same(ticket, again) => {
                    tally.give_again(&ticket, &again);
                    return Submitted::Unchanged;
                }
                Passage::Waits => return Submitted::Unchanged,
                Passage::Full(_) => {
                    tally.count("shed");
                    return Submitted::Shed;
                }
            },
        };
        let asked = Asked { given: tally.clock.now(), mark, gates: Arc::clone(gates), caller };
        let tensor = match tensor() {
            Ok(tensor) => tensor,
            Err(error) => {
                tally.failed(&asked, &error);
                return Submitted::Failed;
            }
        };
        match self.owner.submit(tensor, asked) {
            Ok(()) => Submitted::Waiting,
            Err(Refused::Full(asked)) => {
                tally.unscored(&asked, "shed");
                Submitted::Shed
            }
            Err(Refused::Gone(asked)) => {
                tally.unscored(&asked, "failed");
                tally.metrics.error(Stage::Classify, "thread_gone");
                Submitted::Failed
            }
        }
    }
}

impl<T> Tally<T> {
    fn count(&self, outcome: &str) {
        self.metrics.score(&self.model, outcome);
    }

    /// What the model says of a picture leaves, for it and for those that wait because they look the same.
    fn answer(&self, asked: &Asked<T>, outputs: Result<Outputs, ModelError>) {
        let scores = match outputs {
            Ok(outputs) => outputs.scores,
            Err(error) => return self.failed(asked, &error),
        };
        self.count("scored");
        self.metrics.stage(Stage::Classify, self.clock.now().since(asked.given));
        let waiting = asked.mark.and_then(|mark| asked.gates.of(&self.model, |gate| gate.scored(mark, &scores)));
        self.give(&asked.caller, scores);
        let Some((waiting, again)) = waiting else { return };
        for caller in &waiting {
            self.give_again(caller, &again);
        }
    }

    fn give(&self, caller: &T, scores: impl IntoIterator<Item = Scores>) {
        for scores in scores {
            (self.on_scores)(caller, Observation::Scores(scores));
        }
    }

    fn give_again(&self, caller: &T, again: &Again) {
        self.count("unchanged");
        self.give(caller, again.scores());
    }

    fn failed(&self, asked: &Asked<T>, error: &ModelError) {
        self.metrics.error(Stage::Classify, error.kind());
        tracing::debug!(model = &*self.model, %error, "a picture was not scored");
        self.unscored(asked, "failed");
    }

    /// Notes that a picture has no scores, and so none of those that wait because they look the same.
    fn unscored(&self, asked: &Asked<T>, outcome: &str) {
        self.count(outcome);
        let waiting = asked.mark.map(|mark| asked.gates.of(&self.model, |gate| gate.unscored(mark)));
        for _ in waiting.unwrap_or_default() {
            self.count(outcome);
        }
    }
}

impl<T> Gates<T> {
    /// Does something with the gate of `model`. Nobody else does meanwhile, so it must be quick.
    fn of<R>(&self, model: &Arc<str>, act: impl FnOnce(&mut Gate<T>) -> R) -> R {
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

impl<T> Default for Gates<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Without what is in it: pictures that wait may hold the stream that holds this.
impl<T> fmt::Debug for Gates<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gates").finish_non_exhaustive()
    }
}

impl<T> Clone for Tally<T> {
    fn clone(&self) -> Self {
        Self {
            model: Arc::clone(&self.model),
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
