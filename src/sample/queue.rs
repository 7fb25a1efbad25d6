//! The newest work of every stream, until somebody takes it.
//!
//! Each stream has a [`Mailbox`] that holds one piece of work. Newer work displaces older work of the same stream only.
//! When work comes, its stream is announced to whoever takes, under the work's [`Priority`], unless it is already; the
//! takers keep those announced in the order of their last look, and empty the mailbox of the stream whose turn it is. What
//! has become stale by then is given back as such, and the stream keeps its turn: its next work goes ahead of everybody who
//! was looked at since. So a stream that becomes urgent while it waits moves ahead, and what it leaves in the other line
//! is passed over. From this follow the promises, for up to `max_streams` open streams:
//!
//! - a stream stands in each line at most once, so memory is bounded by the number of streams;
//! - of two streams of one priority that have fresh work, the one looked at longer ago comes first, a new one counting as
//!   looked at when it was opened. So while a stream has fresh work waiting, no other of its priority is looked at twice,
//!   however fast it produces: while all that waits is of that priority, the stream is served within `n + 1` takes, `n`
//!   others being open. Under overload the time between looks grows for all alike;
//! - of four takes two look for imminent work first, one for pressing and one for ordinary work: so whatever is more urgent,
//!   a stream is served within `4 (n + 1)` takes, and nobody can starve the rest by having many streams reported. While
//!   nothing is imminent, pressing and ordinary work have half of the takes each;
//! - what is taken is the freshest its stream has, and fresh;
//! - every piece of work is accounted for: it is taken, fresh or stale, or comes back from [`Mailbox::offer`] or
//!   [`Mailbox::close`].
//!
//! Whoever offers work never waits for anybody: the mailbox is a one-place `ArrayQueue`, an announcement one send on a
//! bounded channel that has room for every stream. Takers share the lines under a lock, which each holds for a look-up.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use crossbeam_queue::ArrayQueue;

use crate::sample::SampleError;

/// How soon work is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// In its turn.
    Ordinary,
    /// People reported the stream, or a detector saw something in it: before ordinary work.
    Pressing,
    /// Somebody is said to be in danger of life: before everything.
    Imminent,
}

/// Which priorities a take looks for, in turn.
const TURNS: [[Priority; 3]; 4] = [
    [Priority::Imminent, Priority::Pressing, Priority::Ordinary],
    [Priority::Pressing, Priority::Imminent, Priority::Ordinary],
    [Priority::Imminent, Priority::Ordinary, Priority::Pressing],
    [Priority::Ordinary, Priority::Imminent, Priority::Pressing],
];

/// One of something for each priority.
#[derive(Debug, Clone, Default)]
struct Each<X> {
    ordinary: X,
    pressing: X,
    imminent: X,
}

impl<X> Each<X> {
    fn of(&self, priority: Priority) -> &X {
        match priority {
            Priority::Ordinary => &self.ordinary,
            Priority::Pressing => &self.pressing,
            Priority::Imminent => &self.imminent,
        }
    }

    fn of_mut(&mut self, priority: Priority) -> &mut X {
        match priority {
            Priority::Ordinary => &mut self.ordinary,
            Priority::Pressing => &mut self.pressing,
            Priority::Imminent => &mut self.imminent,
        }
    }
}

/// What came out of a mailbox, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken<K, T> {
    /// To be done now.
    Fresh(K, T),
    /// It waited for too long, and is not to be done: the stream's next work is, in its place.
    Stale(K, T),
}

/// The mailboxes' common end: streams are opened here, and their work is taken here. Share it in an `Arc`.
///
/// `K` tells whose work it is; it is cloned for every piece taken, so let it be cheap to clone.
#[derive(Debug)]
pub struct Queue<K, T> {
    announce: Sender<Announced<K, T>>,
    announced: Receiver<Announced<K, T>>,
    waiting: Mutex<Waiting<K, T>>,
    /// Says to one taker who sleeps that another left work behind.
    nudge: Sender<()>,
    nudged: Receiver<()>,
    /// Never used to send: takers wake when it is dropped.
    open: ArrayQueue<Sender<Infallible>>,
    closed: Receiver<Infallible>,
    /// Pieces taken so far, stale ones left out.
    taken: Arc<AtomicU64>,
    opened: AtomicU64,
    places: Arc<AtomicUsize>,
    max_streams: usize,
}

/// One stream's end of the queue.
#[derive(Debug)]
pub struct Mailbox<K, T> {
    place: Arc<Place<K, T>>,
    announce: Sender<Announced<K, T>>,
}

type Announced<K, T> = (Priority, Arc<Place<K, T>>);

/// Where a stream stands: how many pieces had been taken at its last look, and which opening it was, for those who have
/// not been looked at since.
type Turn = (u64, u64);

/// Those announced, the one looked at longest ago first.
type Waiting<K, T> = Each<BTreeMap<Turn, Arc<Place<K, T>>>>;

#[derive(Debug)]
struct Place<K, T> {
    key: K,
    work: ArrayQueue<T>,
    /// In which lines it is, or about to be.
    in_line: Each<AtomicBool>,
    /// The first number of its turn. Written by takers only, who hold the lock.
    looked_at: AtomicU64,
    opening: u64,
    /// How many places there are, this one among them.
    places: Arc<AtomicUsize>,
}

impl<K, T> Place<K, T> {
    fn turn(&self) -> Turn {
        (self.looked_at.load(Ordering::Relaxed), self.opening)
    }
}

/// A place counts until nothing refers to it: an entry that a closed stream leaves in a line takes up room there.
impl<K, T> Drop for Place<K, T> {
    fn drop(&mut self) {
        self.places.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<K: Clone, T> Queue<K, T> {
    /// A queue for up to `max_streams` streams at once.
    pub fn new(max_streams: NonZeroUsize) -> Self {
        let max_streams = max_streams.get();
        // A stream is announced at most once for each priority.
        let (announce, announced) = bounded(max_streams.saturating_mul(3));
        let (nudge, nudged) = bounded(1);
        let (alive, closed) = bounded(0);
        let open = ArrayQueue::new(1);
        open.force_push(alive);
        Self {
            announce,
            announced,
            waiting: Mutex::new(Each {
                ordinary: BTreeMap::new(),
                pressing: BTreeMap::new(),
                imminent: BTreeMap::new(),
            }),
            nudge,
            nudged,
            open,
            closed,
            taken: Arc::default(),
            opened: AtomicU64::new(0),
            places: Arc::default(),
            max_streams,
        }
    }

    /// Opens a place for one more stream.
    ///
    /// # Errors
    /// [`SampleError::Full`] when `max_streams` are open, or were and are not yet out of the lines.
    pub fn open(&self, key: K) -> Result<Mailbox<K, T>, SampleError> {
        let one_more = |count: usize| (count < self.max_streams).then_some(count + 1);
        if self.places.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(SampleError::Full { max_streams: self.max_streams });
        }
        let place = Place {
            key,
            work: ArrayQueue::new(1),
            in_line: Each::default(),
            // A stream that comes back again and again would otherwise come first every time.
            looked_at: AtomicU64::new(self.taken.load(Ordering::Relaxed)),
            opening: self.opened.fetch_add(1, Ordering::Relaxed),
            places: Arc::clone(&self.places),
        };
        Ok(Mailbox { place: Arc::new(place), announce: self.announce.clone() })
    }

    /// The newest work of the stream whose turn it is. Waits up to `timeout` for one; `None` when there was none, and from
    /// [`Queue::close`] on, at once. `fresh` says whether work is still to be done now.
    pub fn take(&self, timeout: Duration, mut fresh: impl FnMut(&T) -> bool) -> Option<Taken<K, T>> {
        if self.is_closed() {
            return None;
        }
        let mut arrived = None;
        loop {
            if let Some(taken) = self.next(arrived.take(), &mut fresh) {
                return Some(taken);
            }
            select! {
                recv(self.announced) -> announced => arrived = announced.ok(),
                recv(self.nudged) -> _ => {}
                recv(self.closed) -> _ => return None,
                default(timeout) => return None,
            }
            if self.is_closed() {
                return None;
            }
        }
    }

    /// What is to be taken next, of all that is announced.
    fn next(&self, arrived: Option<Announced<K, T>>, fresh: &mut impl FnMut(&T) -> bool) -> Option<Taken<K, T>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (priority, place) in arrived.into_iter().chain(self.announced.try_iter()) {
            waiting.of_mut(priority).insert(place.turn(), place);
        }
        loop {
            let count = self.taken.load(Ordering::Relaxed);
            let order = TURNS.get(count as usize % TURNS.len())?;
            let first = |priority: &Priority| Some((*priority, waiting.of_mut(*priority).pop_first()?));
            let (priority, (turn, place)) = order.iter().find_map(first)?;
            if turn != place.turn() {
                // It was looked at by way of another line since it was announced.
                waiting.of_mut(priority).insert(place.turn(), place);
                continue;
            }
            // Before the work is taken: whoever brings more after that announces the stream again. A swap, so that the work
            // of whoever saw it announced is seen here.
            place.in_line.of(priority).swap(false, Ordering::AcqRel);
            // Empty when it was taken by way of another line, or the stream was closed in the meantime: on to the next.
            let Some(work) = place.work.pop() else { continue };
            let key = place.key.clone();
            let taken = if fresh(&work) {
                self.taken.store(count + 1, Ordering::Relaxed);
                place.looked_at.store(count + 1, Ordering::Relaxed);
                Taken::Fresh(key, work)
            } else {
                Taken::Stale(key, work)
            };
            if [&waiting.ordinary, &waiting.pressing, &waiting.imminent].iter().any(|line| !line.is_empty()) {
                // Announcements wake who sleeps, and those of what is left were taken in here. One nudge is enough: who
                // wakes by it nudges the next.
                _ = self.nudge.try_send(());
            }
            return Some(taken);
        }
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
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.announced.len() + waiting.ordinary.len() + waiting.pressing.len() + waiting.imminent.len()
    }
}

impl<K, T> Mailbox<K, T> {
    /// Puts `work` into the mailbox, and gives back the older work that nobody took before this came: superseded. Never
    /// waits.
    pub fn offer(&self, work: T, priority: Priority) -> Option<T> {
        let displaced = self.place.work.force_push(work);
        let in_line = self.place.in_line.of(priority);
        if !in_line.swap(true, Ordering::AcqRel) && self.announce.try_send((priority, Arc::clone(&self.place))).is_err()
        {
            // There is room for every place there is, so the queue itself is gone.
            in_line.store(false, Ordering::Release);
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
