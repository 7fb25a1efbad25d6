//! A session's own thread: inference needs the session for itself, and must not hold up those who decode.
//!
//! Pictures wait in a bounded channel; what does not fit is given back at once, to be counted as shed. They go to the
//! model by one or several, as its [`Batching`](super::Batching) says. Results leave on the thread itself, in the order
//! in which the pictures came, one for each of them: where several fail together, each is tried again by itself, so that
//! one bad picture costs no other. Nor does a panic end the thread, which every stream would miss: it is an error like any
//! other.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::batch::Next;
use super::{ModelError, Outputs, Session, Tensor};
use crate::clock::{Clock, Timestamp};

/// The thread that owns a session. Dropping it scores what is still waiting, at most the queue's length, and ends the
/// thread.
#[derive(Debug)]
pub struct Owner<T> {
    // Options only so that drop can let go of them in order.
    waiting: Option<Sender<Waiting<T>>>,
    thread: Option<JoinHandle<()>>,
    clock: Clock,
}

#[derive(Debug)]
struct Waiting<T> {
    tensor: Tensor,
    since: Timestamp,
    ticket: T,
}

/// Why a tensor was not taken; the ticket comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The queue is full: the model cannot keep up.
    Full(T),
    /// The thread is gone.
    Gone(T),
}

impl<T: Send + 'static> Owner<T> {
    /// Starts the thread. `on_result` is called on it with each ticket and what became of its picture.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        session: Session,
        queue: NonZeroUsize,
        clock: Clock,
        on_result: impl FnMut(T, Result<Outputs, ModelError>) + Send + 'static,
    ) -> Result<Self, ModelError> {
        let model = Arc::clone(&session.manifest().name);
        let (waiting, pictures) = crossbeam_channel::bounded(session.batching().room(queue));
        let thread = thread::Builder::new()
            .name(format!("model-{model}"))
            .spawn(move || serve(session, &pictures, clock, on_result))
            .map_err(|source| ModelError::Thread { model, source })?;
        Ok(Self { waiting: Some(waiting), thread: Some(thread), clock })
    }

    /// Leaves a tensor to be scored. Never waits.
    ///
    /// # Errors
    /// When the queue is full or the thread is gone; the ticket comes back.
    pub fn submit(&self, tensor: Tensor, ticket: T) -> Result<(), Refused<T>> {
        let Some(waiting) = &self.waiting else { return Err(Refused::Gone(ticket)) };
        waiting.try_send(Waiting { tensor, since: self.clock.now(), ticket }).map_err(|refused| match refused {
            TrySendError::Full(Waiting { ticket, .. }) => Refused::Full(ticket),
            TrySendError::Disconnected(Waiting { ticket, .. }) => Refused::Gone(ticket),
        })
    }
}

fn serve<T>(
    mut session: Session,
    pictures: &Receiver<Waiting<T>>,
    clock: Clock,
    mut on_result: impl FnMut(T, Result<Outputs, ModelError>),
) {
    let (batching, model) = (session.batching(), Arc::clone(&session.manifest().name));
    let mut run = |pictures: &[Tensor]| unpanicked(&model, || session.run(pictures));
    let (mut tensors, mut tickets) = (Vec::new(), Vec::new());
    while let Ok(oldest) = pictures.recv() {
        let since = oldest.since;
        let mut arrived = Some(oldest);
        while let Some(Waiting { tensor, ticket, .. }) = arrived.take() {
            tensors.push(tensor);
            tickets.push(ticket);
            if batching.is_full(tickets.len()) {
                break;
            }
            arrived =
                pictures.try_recv().ok().or_else(|| match batching.next(tickets.len(), clock.now().since(since)) {
                    Next::Leave => None,
                    Next::Wait(left) => pictures.recv_timeout(left).ok(),
                });
        }
        for (ticket, outputs) in tickets.drain(..).zip(each(&tensors, &mut run)) {
            if catch_unwind(AssertUnwindSafe(|| on_result(ticket, outputs))).is_err() {
                tracing::error!(model = &*model, "the receiver of a model's results panicked; report this");
            }
        }
        tensors.clear();
    }
}

/// What `work` for `model` comes to, a panic as an error. Whatever that cuts short is to be made anew the next time.
///
/// # Errors
/// Those of `work`, and [`ModelError::Panicked`].
pub fn unpanicked<X>(model: &Arc<str>, work: impl FnOnce() -> Result<X, ModelError>) -> Result<X, ModelError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!(model = &**model, "what looks at a picture panicked; report this");
        Err(ModelError::Panicked { model: Arc::clone(model) })
    })
}

/// What became of each of `pictures`: together if that works, else of each by itself.
fn each<P>(
    pictures: &[P],
    mut run: impl FnMut(&[P]) -> Result<Vec<Result<Outputs, ModelError>>, ModelError>,
) -> Vec<Result<Outputs, ModelError>> {
    match (run(pictures), pictures) {
        (Ok(outputs), _) => outputs,
        (Err(error), [_]) => vec![Err(error)],
        (Err(error), _) => {
            tracing::debug!(%error, pictures = pictures.len(), "pictures failed together: each is tried by itself");
            let alone = |picture| run(slice::from_ref(picture))?.pop().unwrap_or_else(|| Ok(Outputs::default()));
            pictures.iter().map(alone).collect()
        }
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        drop(self.waiting.take());
        let Some(thread) = self.thread.take() else { return };
        // Whoever holds the last reference may be the receiver of results: a thread cannot wait for itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the thread of a model had panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_panics_is_tried_picture_by_picture_and_the_one_at_fault_has_an_error() {
        let model = "tiny".into();
        let answer = |pictures: &[u8]| {
            assert!(!pictures.contains(&3), "the third picture is one too many");
            Ok(pictures.iter().map(|_| Ok(Outputs::default())).collect())
        };
        let outputs = each(&[1, 2, 3, 4], |pictures| unpanicked(&model, || answer(pictures)));
        let kinds: Vec<_> = outputs.iter().map(|outputs| outputs.as_ref().map_err(ModelError::kind).err()).collect();
        assert_eq!(kinds, [None, None, Some("panicked"), None]);
    }
}
