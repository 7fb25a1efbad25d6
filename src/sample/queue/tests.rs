//! One piece of work a stream, streams in turn, the urgent first, and nothing lost between threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::AtomicU64;
use std::thread;

use proptest::prelude::*;

use super::*;

fn queue<T>(max_streams: usize) -> Queue<usize, T> {
    Queue::new(NonZeroUsize::new(max_streams).unwrap())
}

impl<K, T> Mailbox<K, T> {
    fn calmly(&self, work: T) -> Option<T> {
        self.offer(work, Priority::Ordinary)
    }
}

fn take<T>(queue: &Queue<usize, T>) -> Option<(usize, T)> {
    queue.take(Duration::ZERO)
}

#[test]
fn newer_work_displaces_older_work_of_the_same_stream_only() {
    let queue = queue(2);
    let (a, b) = (queue.open(0).unwrap(), queue.open(1).unwrap());
    assert_eq!(a.calmly("old"), None);
    assert_eq!(b.calmly("other"), None);
    assert_eq!(a.calmly("new"), Some("old"));
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
    mailbox.calmly("work");
    assert_eq!(mailbox.close(), Some("work"));
    assert!(queue.open(1).is_err(), "its entry is still in the ring");
    assert_eq!(take(&queue), None);
    let next = queue.open(1).unwrap();
    assert_eq!(next.calmly("more"), None);
    assert_eq!(take(&queue), Some((1, "more")));
}

#[test]
fn a_dropped_mailbox_leaves_its_work() {
    let queue = queue(1);
    queue.open(7).unwrap().calmly("work");
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
    assert_eq!(mailbox.calmly("late"), None);
    assert_eq!(take(&queue), None);
    assert_eq!(mailbox.calmly("later"), Some("late"));
    drop(queue);
    assert_eq!(mailbox.close(), Some("later"));
}

#[test]
fn without_a_queue_work_comes_straight_back() {
    let queue = queue(1);
    let mailbox = queue.open(0).unwrap();
    drop(queue);
    assert_eq!(mailbox.calmly("work"), Some("work"));
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
            flood.calmly(round);
            assert_eq!(mailbox.calmly(round), None);
            flood.calmly(round);
        }
        let mut served = Vec::new();
        for _ in 0..=OTHERS {
            served.push(take(&queue).unwrap().0);
            flood.calmly(round);
        }
        assert!((0..OTHERS).all(|key| served.contains(&key)), "{served:?}");
    }
}

#[test]
fn the_reported_come_first_and_the_imminent_before_them() {
    let queue = queue(3);
    let places: Vec<_> = (0..3).map(|key| queue.open(key).unwrap()).collect();
    for (mailbox, priority) in places.iter().zip([Priority::Ordinary, Priority::Reported, Priority::Imminent]) {
        mailbox.offer("work", priority);
    }
    let served: Vec<usize> = std::iter::from_fn(|| take(&queue)).map(|(key, _)| key).collect();
    assert_eq!(served, [2, 1, 0]);
}

#[test]
fn a_stream_that_becomes_urgent_while_it_waits_moves_ahead_and_is_served_once() {
    let queue = queue(3);
    let places: Vec<_> = (0..3).map(|key| queue.open(key).unwrap()).collect();
    for mailbox in &places {
        mailbox.calmly("calm");
    }
    assert_eq!(places[2].offer("urgent", Priority::Imminent), Some("calm"));
    let served: Vec<_> = std::iter::from_fn(|| take(&queue)).collect();
    assert_eq!(served, [(2, "urgent"), (0, "calm"), (1, "calm")]);
    assert_eq!(queue.ready(), 0, "what it left behind is passed over");
    places[2].calmly("calm again");
    assert_eq!(take(&queue), Some((2, "calm again")));
}

#[test]
fn a_flood_of_urgent_streams_starves_nobody() {
    const EACH: usize = 10;
    let priorities = [Priority::Ordinary, Priority::Reported, Priority::Imminent];
    let queue = queue(3 * EACH);
    let places: Vec<_> = (0..3 * EACH).map(|key| queue.open(key).unwrap()).collect();
    let offer = |key: usize| places[key].offer(key, priorities[key / EACH]);
    for key in 0..3 * EACH {
        offer(key);
    }
    let mut served = vec![0; 3 * EACH];
    for _ in 0..4 * EACH {
        let (key, _) = take(&queue).unwrap();
        served[key] += 1;
        offer(key);
    }
    let of = |priority: usize| &served[priority * EACH..(priority + 1) * EACH];
    assert!(of(0).iter().all(|times| *times == 1) && of(1).iter().all(|times| *times == 1), "{served:?}");
    assert!(of(2).iter().all(|times| *times == 2), "{served:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Offer(usize, Priority),
    Take,
    Close(usize),
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::Ordinary), Just(Priority::Reported), Just(Priority::Imminent)]
}

proptest! {
    /// The twin: the work of each stream in a map, and for each priority the streams in the order in which they became
    /// ready. A stream that comes back is a place of its own.
    #[test]
    fn behaves_as_lists_of_streams_and_accounts_for_everything(
        steps in prop::collection::vec(
            prop_oneof![
                4 => (0..6_usize, priority()).prop_map(|(key, priority)| Step::Offer(key, priority)),
                3 => Just(Step::Take),
                1 => (0..6_usize).prop_map(Step::Close),
            ],
            0..200,
        ),
    ) {
        const PLACES: usize = 4;
        let queue = queue(PLACES);
        let mut mailboxes: HashMap<usize, (Mailbox<usize, usize>, usize)> = HashMap::new();
        let mut work: HashMap<usize, usize> = HashMap::new();
        let mut rings: HashMap<Priority, Vec<usize>> = HashMap::new();
        let (mut offered, mut taken, mut superseded, mut closed) = (0, 0, 0, 0);
        for (serial, step) in steps.into_iter().enumerate() {
            match step {
                Step::Offer(key, priority) => {
                    if let Entry::Vacant(vacant) = mailboxes.entry(key) {
                        let Ok(mailbox) = queue.open(serial) else { continue };
                        vacant.insert((mailbox, serial));
                    }
                    offered += 1;
                    let (mailbox, place) = &mailboxes[&key];
                    let displaced = mailbox.offer(serial, priority);
                    prop_assert_eq!(displaced, work.insert(*place, serial));
                    superseded += usize::from(displaced.is_some());
                    let ring = rings.entry(priority).or_default();
                    if !ring.contains(place) {
                        ring.push(*place);
                    }
                }
                Step::Take => {
                    let mut expected = None;
                    while expected.is_none() {
                        let mut turn = TURNS[taken % TURNS.len()].iter();
                        let Some(ring) = turn.find(|turn| rings.get(turn).is_some_and(|ring| !ring.is_empty())) else {
                            break;
                        };
                        let place = rings.get_mut(ring).unwrap().remove(0);
                        expected = work.remove(&place).map(|work| (place, work));
                    }
                    let got = take(&queue);
                    prop_assert_eq!(got, expected);
                    taken += usize::from(got.is_some());
                }
                Step::Close(key) => {
                    let Some((mailbox, place)) = mailboxes.remove(&key) else { continue };
                    let left = mailbox.close();
                    prop_assert_eq!(left, work.remove(&place));
                    closed += usize::from(left.is_some());
                }
            }
            prop_assert!(queue.ready() <= 3 * PLACES);
        }
        closed += mailboxes.into_values().filter_map(|(mailbox, _)| mailbox.close()).count();
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
                let priorities = [Priority::Ordinary, Priority::Imminent, Priority::Reported];
                let urgent = |serial: u64| priorities[serial as usize / 7 % 3];
                let superseded = (1..=EACH).filter_map(|serial| mailbox.offer(serial, urgent(serial))).count() as u64;
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
                back += u64::from(mailbox.calmly(piece).is_some());
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
