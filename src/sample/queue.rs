//! The newest work of every stream, until somebody takes it.
//!
//! Each stream has a [`Mailbox`] that holds one piece of work. Newer work displaces older work of the same stream only.
//! When work comes, its stream enters the ready ring of the work's [`Priority`], unless it is in there; whoever takes the
//! stream out of a ring empties its mailbox. So a stream that becomes urgent while it waits moves ahead, and what it leaves
//! in the other ring is passed over. From this follow the promises, for up to `max_streams` open streams:
//!
//! - a stream is in each ring at most once, so memory is bounded by the number of streams;
//! - streams of one priority are served in turn: while all that waits is of that priority, a stream with `n` others waiting
//!   is served within `n + 1` takes, however fast they produce;
//! - of four takes two look for imminent work first, one for reported and one for ordinary work: so whatever is more urgent,
//!   a stream is served within `4 (n + 1)` takes, `n` others of its priority waiting, and nobody can starve the rest by
//!   having many streams reported;
//! - what is taken is the freshest its stream has;
//! - every piece of work is accounted for: it is taken, or comes back from [`Mailbox::offer`] or [`Mailbox::close`].
//!
//! Nobody holds a lock; only a taker with nothing to take waits. The mailbox is a one-place `ArrayQueue`, a ring a bounded
//! channel.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use crossbeam_queue::ArrayQueue;

use crate::sample::SampleError;

/// How soon work is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// In its turn.
    Ordinary,
    /// People reported the stream: before ordinary work.
    Reported,
    /// Somebody is said to be in danger of life: before everything.
    Imminent,
}

/// Which priorities a take looks for, in turn.
const TURNS: [[Priority; 3]; 4] = [
    [Priority::Imminent, Priority::Reported, Priority::Ordinary],
    [Priority::Reported, Priority::Imminent, Priority::Ordinary],
    [Priority::Imminent, Priority::Reported, Priority::Ordinary],
    [Priority::Ordinary, Priority::Imminent, Priority::Reported],
];

/// One of something for each priority.
#[derive(Debug, Clone, Default)]
struct Each<X> {
    ordinary: X,
    reported: X,
    imminent: X,
}

impl<X> Each<X> {
    fn of(&self, priority: Priority) -> &X {
        match priority {
            Priority::Ordinary => &self.ordinary,
            Priority::Reported => &self.reported,
            Priority::Imminent => &self.imminent,
        }
    }
}

/// The mailboxes' common end: streams are opened here, and their work is taken here. Share it in an `Arc`.
///
/// `K` tells whose work it is; it is cloned for every piece taken, so let it be cheap to clone.
#[derive(Debug)]
pub struct Queue<K, T> {
    ready: Each<Sender<Arc<Place<K, T>>>>,
    waiting: Each<Receiver<Arc<Place<K, T>>>>,
    /// Pieces taken so far: which priority is looked for first.
    taken: AtomicUsize,
    /// Never used to send: takers wake when it is dropped.
    open: ArrayQueue<Sender<Infallible>>,
    closed: Receiver<Infallible>,
    places: Arc<AtomicUsize>,
    max_streams: usize,
}

/// One stream's end of the queue.
#[derive(Debug)]
pub struct Mailbox<K, T> {
    place: Arc<Place<K, T>>,
    ready: Each<Sender<Arc<Place<K, T>>>>,
}

#[derive(Debug)]
struct Place<K, T> {
    key: K,
    work: ArrayQueue<T>,
    /// In which rings it is.
    in_ring: Each<AtomicBool>,
    /// How many places there are, this one among them.
    places: Arc<AtomicUsize>,
}

/// A place counts until nothing refers to it: an entry that a closed stream leaves in a ring takes up room there.
impl<K, T> Drop for Place<K, T> {
    fn drop(&mut self) {
        self.places.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<K: Clone, T> Queue<K, T> {
    /// A queue for up to `max_streams` streams at once.
    pub fn new(max_streams: NonZeroUsize) -> Self {
        let max_streams = max_streams.get();
        let ((ordinary, ordinary_waiting), (reported, reported_waiting)) = (bounded(max_streams), bounded(max_streams));
        let (imminent, imminent_waiting) = bounded(max_streams);
        let (alive, closed) = bounded(0);
        let open = ArrayQueue::new(1);
        open.force_push(alive);
        Self {
            ready: Each { ordinary, reported, imminent },
            waiting: Each { ordinary: ordinary_waiting, reported: reported_waiting, imminent: imminent_waiting },
            taken: AtomicUsize::new(0),
            open,
            closed,
            places: Arc::default(),
            max_streams,
        }
    }

    /// Opens a place for one more stream.
    ///
    /// # Errors
    /// [`SampleError::Full`] when `max_streams` are open, or were and are not yet out of the rings.
    pub fn open(&self, key: K) -> Result<Mailbox<K, T>, SampleError> {
        let one_more = |count: usize| (count < self.max_streams).then_some(count + 1);
        if self.places.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(SampleError::Full { max_streams: self.max_streams });
        }
        let (work, in_ring) = (ArrayQueue::new(1), Each::default());
        let place = Place { key, work, in_ring, places: Arc::clone(&self.places) };
        Ok(Mailbox { place: Arc::new(place), ready: self.ready.clone() })
    }

    /// The newest work of the stream whose turn it is. Waits up to `timeout` for one; `None` when there was none, and from
    /// [`Queue::close`] on, at once.
    pub fn take(&self, timeout: Duration) -> Option<(K, T)> {
        loop {
            if self.is_closed() {
                return None;
            }
            let (priority, place) = if let Some(next) = self.next() {
                next
            } else {
                select! {
                    recv(self.waiting.imminent) -> place => (Priority::Imminent, place.ok()?),
                    recv(self.waiting.reported) -> place => (Priority::Reported, place.ok()?),
                    recv(self.waiting.ordinary) -> place => (Priority::Ordinary, place.ok()?),
                    recv(self.closed) -> _ => return None,
                    default(timeout) => return None,
                }
            };
            // Before the work is taken: whoever brings more after that puts the stream into the ring again. A swap, so
            // that the work of whoever saw it in the ring is seen here.
            place.in_ring.of(priority).swap(false, Ordering::AcqRel);
            // Empty when it was taken by way of another ring, or the stream was closed in the meantime: on to the next.
            if let Some(work) = place.work.pop() {
                self.taken.fetch_add(1, Ordering::Relaxed);
                return Some((place.key.clone(), work));
            }
        }
    }

    /// What is first in the first ring, in the order of the turn, that has anything.
    fn next(&self) -> Option<(Priority, Arc<Place<K, T>>)> {
        let turn = TURNS.get(self.taken.load(Ordering::Relaxed) % TURNS.len())?;
        turn.iter().find_map(|priority| Some((*priority, self.waiting.of(*priority).try_recv().ok()?)))
    }

    /// Ends taking: everybody who waits in [`Queue::take`] gets `None`. Work still waiting comes back to the owners of
    /// the mailboxes when they close them.
    pub fn close(&self) {
        drop(self.open.pop());
    }

    /// Whether [`Queue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// How many streams wait to be served. One that moved ahead may be counted twice until it is passed over.
    pub fn ready(&self) -> usize {
        self.waiting.ordinary.len() + self.waiting.reported.len() + self.waiting.imminent.len()
    }
}

impl<K, T> Mailbox<K, T> {
    /// Puts `work` into the mailbox, and gives back the older work that nobody took before this came: superseded.
    pub fn offer(&self, work: T, priority: Priority) -> Option<T> {
        let displaced = self.place.work.force_push(work);
        let in_ring = self.place.in_ring.of(priority);
        if !in_ring.swap(true, Ordering::AcqRel) && self.ready.of(priority).try_send(Arc::clone(&self.place)).is_err() {
            // A ring has room for every place there is, so the queue itself is gone.
            in_ring.store(false, Ordering::Release);
            return displaced.or_else(|| self.place.work.pop());
        }
        displaced
    }

    /// Closes the stream's place, and gives back the work that nobody took.
    ///
    /// A mailbox that is merely dropped leaves its work to be taken.
    #[must_use = "work that nobody took must be accounted for"]
    pub fn close(self) -> Option<T> {
        self.place.work.pop()
    }
}

#[cfg(test)]
mod tests;
