//! A session's own thread: inference needs the session for itself, and must not hold up those who decode.
//!
//! Pictures wait in a bounded channel; what does not fit is given back at once, to be counted as shed. They go to the
//! model by one or several, as its [`Batching`](super::Batching) says. Results leave on the thread itself, in the order
//! in which the pictures came, one for each of them: where several fail together, each is tried again by itself, so that
//! one bad picture costs no other.

use std::num::NonZeroUsize;
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
    /// The thread is gone, which only a panic in the receiver of results brings about.
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
    let batching = session.batching();
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
        for (ticket, outputs) in tickets.drain(..).zip(each(&tensors, |pictures| session.run(pictures))) {
            on_result(ticket, outputs);
        }
        tensors.clear();
    }
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
