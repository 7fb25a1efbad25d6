//! A session's own thread: inference needs the session for itself, and must not hold up those who decode.
//!
//! Pictures wait in a bounded channel; what does not fit is given back at once, to be counted as shed. Results leave on
//! the thread itself, in the order in which the pictures came.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::{ModelError, Outputs, Session, Tensor};

/// The thread that owns a session. Dropping it scores what is still waiting, at most the queue's length, and ends the
/// thread.
#[derive(Debug)]
pub struct Owner<T> {
    // Options only so that drop can let go of them in order.
    waiting: Option<Sender<(Tensor, T)>>,
    thread: Option<JoinHandle<()>>,
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
        on_result: impl FnMut(T, Result<Outputs, ModelError>) + Send + 'static,
    ) -> Result<Self, ModelError> {
        let model = Arc::clone(&session.manifest().name);
        let (waiting, pictures) = crossbeam_channel::bounded(queue.get());
        let thread = thread::Builder::new()
            .name(format!("model-{model}"))
            .spawn(move || serve(session, &pictures, on_result))
            .map_err(|source| ModelError::Thread { model, source })?;
        Ok(Self { waiting: Some(waiting), thread: Some(thread) })
    }

    /// Leaves a tensor to be scored. Never waits.
    ///
    /// # Errors
    /// When the queue is full or the thread is gone; the ticket comes back.
    pub fn submit(&self, tensor: Tensor, ticket: T) -> Result<(), Refused<T>> {
        let Some(waiting) = &self.waiting else { return Err(Refused::Gone(ticket)) };
        waiting.try_send((tensor, ticket)).map_err(|refused| match refused {
            TrySendError::Full((_, ticket)) => Refused::Full(ticket),
            TrySendError::Disconnected((_, ticket)) => Refused::Gone(ticket),
        })
    }
}

fn serve<T>(
    mut session: Session,
    pictures: &Receiver<(Tensor, T)>,
    mut on_result: impl FnMut(T, Result<Outputs, ModelError>),
) {
    for (tensor, ticket) in pictures {
        on_result(
            ticket,
            session
                .run(&[tensor])
                .and_then(|outputs| outputs.into_iter().next().unwrap_or_else(|| Ok(Outputs::default()))),
        );
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
