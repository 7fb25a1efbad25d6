//! The newest work of every stream, until somebody takes it.
//!
//! Each stream has a [`Mailbox`] that holds one piece of work. Newer work displaces older work of the same stream only.
//! When a mailbox goes from empty to full, its stream enters the ready ring; whoever takes the stream out of the ring
//! empties its mailbox. From this follow the promises, for up to `max_streams` open streams:
//!
//! - a stream is in the ring at most once, so memory is bounded by the number of streams;
//! - streams are served in turn: with `n` others waiting, a stream is served within `n + 1` takes, however fast they
//!   produce;
//! - what is taken is the freshest its stream has;
//! - every piece of work is accounted for: it is taken, or comes back from [`Mailbox::offer`] or [`Mailbox::close`].
//!
//! Nobody holds a lock; only a taker with nothing to take waits. The mailbox is a one-place `ArrayQueue`, the ring a
//! bounded channel.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use crossbeam_queue::ArrayQueue;

use crate::sample::SampleError;

/// The mailboxes' common end: streams are opened here, and their work is taken here. Share it in an `Arc`.
///
/// `K` tells whose work it is; it is cloned for every piece taken, so let it be cheap to clone.
#[derive(Debug)]
pub struct Queue<K, T> {
    ready: Sender<Arc<Place<K, T>>>,
    waiting: Receiver<Arc<Place<K, T>>>,
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
    ready: Sender<Arc<Place<K, T>>>,
}

#[derive(Debug)]
struct Place<K, T> {
    key: K,
    work: ArrayQueue<T>,
    /// How many places there are, this one among them.
    places: Arc<AtomicUsize>,
}

/// A place counts until nothing refers to it: an entry that a closed stream leaves in the ring takes up room there.
impl<K, T> Drop for Place<K, T> {
    fn drop(&mut self) {
        self.places.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<K: Clone, T> Queue<K, T> {
    /// A queue for up to `max_streams` streams at once.
    pub fn new(max_streams: NonZeroUsize) -> Self {
        let max_streams = max_streams.get();
        let (ready, waiting) = bounded(max_streams);
        let (alive, closed) = bounded(0);
        let open = ArrayQueue::new(1);
        open.force_push(alive);
        Self { ready, waiting, open, closed, places: Arc::default(), max_streams }
    }

    /// Opens a place for one more stream.
    ///
    /// # Errors
    /// [`SampleError::Full`] when `max_streams` are open, or were and are not yet out of the ring.
    pub fn open(&self, key: K) -> Result<Mailbox<K, T>, SampleError> {
        let one_more = |count: usize| (count < self.max_streams).then_some(count + 1);
        if self.places.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(SampleError::Full { max_streams: self.max_streams });
        }
        let place = Place { key, work: ArrayQueue::new(1), places: Arc::clone(&self.places) };
        Ok(Mailbox { place: Arc::new(place), ready: self.ready.clone() })
    }

    /// The newest work of the stream that has waited longest. Waits up to `timeout` for one; `None` when there was
    /// none, and from [`Queue::close`] on, at once.
    pub fn take(&self, timeout: Duration) -> Option<(K, T)> {
        loop {
            if self.is_closed() {
                return None;
            }
            let place = select! {
                recv(self.waiting) -> place => place.ok()?,
                recv(self.closed) -> _ => return None,
                default(timeout) => return None,
            };
            // Empty when the stream was closed in the meantime: on to the next.
            if let Some(work) = place.work.pop() {
                return Some((place.key.clone(), work));
            }
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

    /// How many streams wait to be served.
    pub fn ready(&self) -> usize {
        self.waiting.len()
    }
}

impl<K, T> Mailbox<K, T> {
    /// Puts `work` into the mailbox, and gives back the older work that nobody took before this came: superseded.
    pub fn offer(&self, work: T) -> Option<T> {
        let displaced = self.place.work.force_push(work);
        if displaced.is_none() && self.ready.try_send(Arc::clone(&self.place)).is_err() {
            // The ring has room for every place there is, so the queue itself is gone.
            return self.place.work.pop();
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
mod tests {
    use std::collections::HashMap;
    use std::collections::hash_map::Entry;
    use std::sync::atomic::AtomicU64;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn queue<T>(max_streams: usize) -> Queue<usize, T> {
        Queue::new(NonZeroUsize::new(max_streams).unwrap())
    }

    fn take<T>(queue: &Queue<usize, T>) -> Option<(usize, T)> {
        queue.take(Duration::ZERO)
    }

    #[test]
    fn newer_work_displaces_older_work_of_the_same_stream_only() {
        let queue = queue(2);
        let (a, b) = (queue.open(0).unwrap(), queue.open(1).unwrap());
        assert_eq!(a.offer("old"), None);
        assert_eq!(b.offer("other"), None);
        assert_eq!(a.offer("new"), Some("old"));
        assert_eq!(queue.ready(), 2);
        assert_eq!(take(&queue), Some((0, "new")));
        assert_eq!(take(&queue), Some((1, "other")));
        assert_eq!(take(&queue), None);
    }

    #[test]
    fn a_closed_stream_takes_back_its_work_and_makes_room_once_out_of_the_ring() {
        let queue = queue(1);
        let mailbox = queue.open(0).unwrap();
        assert_eq!(queue.open(1).unwrap_err(), SampleError::Full { max_streams: 1 });
        mailbox.offer("work");
        assert_eq!(mailbox.close(), Some("work"));
        assert!(queue.open(1).is_err(), "its entry is still in the ring");
        assert_eq!(take(&queue), None);
        let next = queue.open(1).unwrap();
        assert_eq!(next.offer("more"), None);
        assert_eq!(take(&queue), Some((1, "more")));
    }

    #[test]
    fn a_dropped_mailbox_leaves_its_work() {
        let queue = queue(1);
        queue.open(7).unwrap().offer("work");
        assert_eq!(take(&queue), Some((7, "work")));
        assert!(queue.open(8).is_ok());
    }

    #[test]
    fn closing_wakes_everybody_and_loses_nothing() {
        let queue = queue(1);
        let mailbox = queue.open(0).unwrap();
        thread::scope(|scope| {
            let takers = [(); 3].map(|()| scope.spawn(|| queue.take(Duration::from_hours(1))));
            queue.close();
            queue.close();
            assert!(takers.into_iter().all(|taker| taker.join().unwrap().is_none()));
        });
        assert!(queue.is_closed());
        assert_eq!(mailbox.offer("late"), None);
        assert_eq!(take(&queue), None);
        assert_eq!(mailbox.offer("later"), Some("late"));
        drop(queue);
        assert_eq!(mailbox.close(), Some("later"));
    }

    #[test]
    fn without_a_queue_work_comes_straight_back() {
        let queue = queue(1);
        let mailbox = queue.open(0).unwrap();
        drop(queue);
        assert_eq!(mailbox.offer("work"), Some("work"));
        assert_eq!(mailbox.close(), None);
    }

    #[test]
    fn a_flood_from_one_stream_starves_nobody() {
        const OTHERS: usize = 50;
        let queue = queue(OTHERS + 1);
        let flood = queue.open(OTHERS).unwrap();
        let others: Vec<_> = (0..OTHERS).map(|key| queue.open(key).unwrap()).collect();
        for round in 0..20 {
            for mailbox in &others {
                flood.offer(round);
                assert_eq!(mailbox.offer(round), None);
                flood.offer(round);
            }
            let mut served = Vec::new();
            for _ in 0..=OTHERS {
                served.push(take(&queue).unwrap().0);
                flood.offer(round);
            }
            assert!((0..OTHERS).all(|key| served.contains(&key)), "{served:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Offer(usize),
        Take,
        Close(usize),
    }

    proptest! {
        /// The twin: the work of each stream in a map, the streams in the order in which they became ready.
        #[test]
        fn behaves_as_a_list_of_streams_and_accounts_for_everything(
            steps in prop::collection::vec(
                prop_oneof![
                    4 => (0..6_usize).prop_map(Step::Offer),
                    3 => Just(Step::Take),
                    1 => (0..6_usize).prop_map(Step::Close),
                ],
                0..200,
            ),
        ) {
            const PLACES: usize = 4;
            let queue = queue(PLACES);
            let mut mailboxes = HashMap::new();
            let mut ready: Vec<(usize, usize)> = Vec::new();
            let (mut offered, mut taken, mut superseded, mut closed) = (0, 0, 0, 0);
            for (serial, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Offer(key) => {
                        if let Entry::Vacant(vacant) = mailboxes.entry(key) {
                            let Ok(mailbox) = queue.open(key) else { continue };
                            vacant.insert(mailbox);
                        }
                        offered += 1;
                        let displaced = mailboxes[&key].offer(serial);
                        let waiting = ready.iter_mut().find(|(waiting, _)| *waiting == key);
                        prop_assert_eq!(displaced, waiting.as_ref().map(|waiting| waiting.1));
                        superseded += usize::from(displaced.is_some());
                        match waiting {
                            Some(waiting) => waiting.1 = serial,
                            None => ready.push((key, serial)),
                        }
                    }
                    Step::Take => {
                        let got = take(&queue);
                        prop_assert_eq!(got, (!ready.is_empty()).then(|| ready.remove(0)));
                        taken += usize::from(got.is_some());
                    }
                    Step::Close(key) => {
                        let Some(mailbox) = mailboxes.remove(&key) else { continue };
                        let held = ready.iter().position(|(waiting, _)| *waiting == key).map(|at| ready.remove(at).1);
                        let left = mailbox.close();
                        prop_assert_eq!(left, held);
                        closed += usize::from(left.is_some());
                    }
                }
                prop_assert!(queue.ready() <= PLACES);
            }
            closed += mailboxes.into_values().filter_map(Mailbox::close).count();
            prop_assert_eq!(offered, taken + superseded + closed);
        }
    }

    /// Two producers, two consumers, 100,000 pieces each, and each producer waits for its last piece to be taken.
    #[test]
    fn no_wake_up_is_lost_between_threads() {
        const EACH: u64 = 100_000;
        let queue = queue(2);
        let taken = AtomicU64::new(0);
        let (told, wait): (Vec<_>, Vec<_>) = (0..2).map(|_| bounded::<()>(1)).unzip();
        let superseded: u64 = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !queue.is_closed() {
                        let Some((key, serial)) = queue.take(Duration::from_mins(1)) else { continue };
                        taken.fetch_add(1, Ordering::Relaxed);
                        if serial == EACH {
                            told[key].send(()).unwrap();
                        }
                    }
                });
            }
            let makers = [0, 1].map(|key| {
                let (queue, wait) = (&queue, &wait);
                scope.spawn(move || {
                    let mailbox = queue.open(key).unwrap();
                    let superseded = (1..=EACH).filter_map(|serial| mailbox.offer(serial)).count() as u64;
                    wait[key].recv_timeout(Duration::from_secs(30)).expect("the last piece is taken");
                    superseded
                })
            });
            let made = makers.map(thread::ScopedJoinHandle::join);
            queue.close();
            made.into_iter().map(Result::unwrap).sum()
        });
        assert_eq!(taken.into_inner() + superseded, 2 * EACH);
    }

    /// Streams come and go while they are served: what is offered is taken, superseded or handed back.
    #[test]
    fn nothing_is_lost_when_streams_come_and_go() {
        const STREAMS: u64 = 5_000;
        let queue = queue(3);
        let taken = AtomicU64::new(0);
        let (mut offered, mut back) = (0, 0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !queue.is_closed() {
                        taken.fetch_add(u64::from(queue.take(Duration::from_mins(1)).is_some()), Ordering::Relaxed);
                    }
                });
            }
            for stream in 0..STREAMS {
                let mailbox = loop {
                    match queue.open(0) {
                        Ok(mailbox) => break mailbox,
                        Err(_) => thread::yield_now(),
                    }
                };
                for piece in 0..stream % 4 {
                    offered += 1;
                    back += u64::from(mailbox.offer(piece).is_some());
                }
                back += u64::from(mailbox.close().is_some());
            }
            // Whoever opens every place knows that the ring is empty and nobody holds an entry of it.
            let mut all = Vec::new();
            while all.len() < 3 {
                all.extend(queue.open(0).ok());
            }
            queue.close();
        });
        assert_eq!(offered, taken.into_inner() + back);
    }
}
