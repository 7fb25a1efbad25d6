//! One piece of work a stream, streams in turn, the urgent first, nothing stale, and nothing lost between threads.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
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

/// The next piece, where none becomes stale.
fn take<T>(queue: &Queue<usize, T>) -> Option<(usize, T)> {
    match queue.take(Duration::ZERO, |_work| true)? {
        Taken::Fresh(key, work) => Some((key, work)),
        Taken::Stale(..) => panic!("nothing becomes stale"),
    }
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
fn a_closed_stream_takes_back_its_work_and_makes_room_once_out_of_line() {
    let queue = queue(1);
    let mailbox = queue.open(0).unwrap();
    assert_eq!(queue.open(1).unwrap_err(), SampleError::Full { max_streams: 1 });
    mailbox.calmly("work");
    assert_eq!(mailbox.close(), Some("work"));
    assert!(queue.open(1).is_err(), "its entry is still in line");
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
        let takers = [(); 3].map(|()| scope.spawn(|| queue.take(Duration::from_hours(1), |_work| true)));
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
fn the_pressing_come_first_and_the_imminent_before_them() {
    let queue = queue(3);
    let places: Vec<_> = (0..3).map(|key| queue.open(key).unwrap()).collect();
    for (mailbox, priority) in places.iter().zip([Priority::Ordinary, Priority::Pressing, Priority::Imminent]) {
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
fn what_became_stale_is_given_back_and_the_stream_keeps_its_turn() {
    let queue = queue(3);
    let [a, b, c] = [0, 1, 2].map(|key| queue.open(key).unwrap());
    let take_since = |oldest: u64| queue.take(Duration::ZERO, |came: &u64| *came >= oldest);
    for (came, mailbox) in [(10, &a), (11, &b), (12, &c)] {
        mailbox.calmly(came);
    }
    assert_eq!(take_since(11), Some(Taken::Stale(0, 10)));
    assert_eq!(take_since(11), Some(Taken::Fresh(1, 11)));
    assert_eq!(a.calmly(13), None, "the stale work is gone");
    b.calmly(14);
    assert_eq!(take_since(12), Some(Taken::Fresh(0, 13)), "ahead of those who wait for their first look since");
    assert_eq!(take_since(12), Some(Taken::Fresh(2, 12)));
    assert_eq!(take_since(12), Some(Taken::Fresh(1, 14)));
    assert_eq!(take_since(12), None);
}

#[test]
fn whoever_was_looked_at_longest_ago_comes_first() {
    let queue = queue(3);
    let places: Vec<_> = (0..3).map(|key| queue.open(key).unwrap()).collect();
    for key in [2, 0, 1] {
        places[key].calmly(key);
        assert_eq!(take(&queue), Some((key, key)));
    }
    for (key, place) in places.iter().enumerate() {
        place.calmly(key);
    }
    let served: Vec<usize> = std::iter::from_fn(|| take(&queue)).map(|(key, _)| key).collect();
    assert_eq!(served, [2, 0, 1]);
}

#[test]
fn a_stream_that_comes_back_again_and_again_is_as_good_as_looked_at() {
    let queue = queue(3);
    let steady = queue.open(0).unwrap();
    for _ in 0..10 {
        queue.open(1).unwrap().calmly("mine");
        steady.calmly("theirs");
        let served = [take(&queue), take(&queue)].map(|taken| taken.unwrap().0);
        assert!(served.contains(&0), "{served:?}");
    }
}

#[test]
fn whoever_sleeps_is_told_of_what_another_left() {
    const STREAMS: usize = 8;
    let queue = queue(STREAMS);
    let places: Vec<_> = (0..STREAMS).map(|key| queue.open(key).unwrap()).collect();
    let meeting = std::sync::Barrier::new(STREAMS);
    thread::scope(|scope| {
        for _ in 0..STREAMS {
            // Nobody comes back for a second piece before everybody has one.
            scope.spawn(|| {
                let taken = queue.take(Duration::from_mins(1), |_work| true);
                meeting.wait();
                assert!(taken.is_some());
            });
        }
        for mailbox in &places {
            mailbox.calmly("work");
        }
    });
}

#[test]
fn a_flood_of_urgent_streams_starves_nobody() {
    const EACH: usize = 10;
    let priorities = [Priority::Ordinary, Priority::Pressing, Priority::Imminent];
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
    prop_oneof![Just(Priority::Ordinary), Just(Priority::Pressing), Just(Priority::Imminent)]
}

/// The slow twin: what each stream has, where it stands, and who is in which line.
#[derive(Default)]
struct Twin {
    /// When the work of each stream came.
    work: HashMap<usize, usize>,
    lines: HashMap<Priority, HashSet<usize>>,
    /// The take after which each was looked at, or opened.
    looked_at: HashMap<usize, usize>,
    taken: usize,
}

impl Twin {
    fn take(&mut self, oldest: usize) -> Option<Taken<usize, usize>> {
        loop {
            let mut turn = TURNS[self.taken % TURNS.len()].iter();
            let line = turn.find(|turn| self.lines.get(turn).is_some_and(|line| !line.is_empty()))?;
            let line = self.lines.get_mut(line).unwrap();
            // Streams are numbered as they were opened.
            let place = *line.iter().min_by_key(|place| (self.looked_at[*place], **place)).unwrap();
            line.remove(&place);
            let Some(came) = self.work.remove(&place) else { continue };
            if came < oldest {
                return Some(Taken::Stale(place, came));
            }
            self.taken += 1;
            self.looked_at.insert(place, self.taken);
            return Some(Taken::Fresh(place, came));
        }
    }
}

proptest! {
    /// A stream that comes back is a place of its own.
    #[test]
    fn behaves_as_lists_of_streams_and_accounts_for_everything(
        patience in 1..60_usize,
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
        let mut twin = Twin::default();
        let (mut offered, mut taken, mut stale, mut superseded, mut closed) = (0, 0, 0, 0, 0);
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Offer(key, priority) => {
                    if let Entry::Vacant(vacant) = mailboxes.entry(key) {
                        let Ok(mailbox) = queue.open(now) else { continue };
                        twin.looked_at.insert(now, twin.taken);
                        vacant.insert((mailbox, now));
                    }
                    offered += 1;
                    let (mailbox, place) = &mailboxes[&key];
                    let displaced = mailbox.offer(now, priority);
                    prop_assert_eq!(displaced, twin.work.insert(*place, now));
                    superseded += usize::from(displaced.is_some());
                    twin.lines.entry(priority).or_default().insert(*place);
                }
                Step::Take => {
                    let oldest = now.saturating_sub(patience);
                    let got = queue.take(Duration::ZERO, |came| *came >= oldest);
                    prop_assert_eq!(&got, &twin.take(oldest));
                    taken += usize::from(matches!(got, Some(Taken::Fresh(..))));
                    stale += usize::from(matches!(got, Some(Taken::Stale(..))));
                }
                Step::Close(key) => {
                    let Some((mailbox, place)) = mailboxes.remove(&key) else { continue };
                    let left = mailbox.close();
                    prop_assert_eq!(left, twin.work.remove(&place));
                    closed += usize::from(left.is_some());
                }
            }
            prop_assert!(queue.ready() <= 3 * PLACES);
        }
        closed += mailboxes.into_values().filter_map(|(mailbox, _)| mailbox.close()).count();
        prop_assert_eq!(offered, taken + stale + superseded + closed);
    }

    /// Three times more work than can be done, however the streams time theirs: what is taken is fresh, nobody is looked at
    /// twice while another has fresh work waiting, and nobody waits for more than the others take.
    #[test]
    fn under_overload_every_stream_has_its_turn(phases in prop::collection::vec(0..PERIOD, STREAMS)) {
        let looks = overload(&phases);
        let windows = STREAMS as u64 / (MAX_AGE / SERVICE) + 2;
        for (stream, looks) in looks.iter().enumerate() {
            let ends = [0].into_iter().chain(looks.iter().copied()).zip(looks.iter().copied().chain([HORIZON]));
            let longest = ends.map(|(earlier, later)| later - earlier).max().unwrap();
            prop_assert!(longest <= windows * PERIOD, "stream {stream} waits for {longest}: {phases:?}");
        }
    }
}

/// In hundredths of a second: a keyframe of each stream comes once a period, looking at one takes the service time.
const PERIOD: u64 = 200;
const STREAMS: usize = 60;
const SERVICE: u64 = 10;
const MAX_AGE: u64 = 50;
const HORIZON: u64 = 10_000;

/// One worker before [`STREAMS`] streams, in virtual time: when each stream was looked at.
fn overload(phases: &[u64]) -> Vec<Vec<u64>> {
    let queue = queue(STREAMS);
    let places: Vec<_> = (0..STREAMS).map(|key| queue.open(key).unwrap()).collect();
    let mut looks = vec![Vec::new(); STREAMS];
    // Who was looked at since each stream's waiting work came.
    let mut passed: Vec<Option<HashSet<usize>>> = vec![None; STREAMS];
    let (mut offered, mut accounted, mut free_at) = (0, 0, 0);
    for now in 0..HORIZON {
        for (key, mailbox) in places.iter().enumerate() {
            if now % PERIOD == phases[key] {
                offered += 1;
                accounted += u64::from(mailbox.calmly(now).is_some());
                passed[key] = Some(HashSet::new());
            }
        }
        while now >= free_at {
            match queue.take(Duration::ZERO, |came| now - came <= MAX_AGE) {
                Some(Taken::Fresh(key, came)) => {
                    assert!(now - came <= MAX_AGE, "stale");
                    for (other, passed) in passed.iter_mut().enumerate().filter(|(other, _)| *other != key) {
                        let waits = now % PERIOD;
                        let age = (waits + PERIOD - phases[other]) % PERIOD;
                        let Some(passed) = passed.as_mut().filter(|_| age <= MAX_AGE) else { continue };
                        assert!(passed.insert(key), "{key} is looked at twice while {other} waits");
                    }
                    passed[key] = None;
                    looks[key].push(now);
                    free_at = now + SERVICE;
                    accounted += 1;
                }
                Some(Taken::Stale(key, came)) => {
                    assert!(now - came > MAX_AGE, "fresh");
                    passed[key] = None;
                    accounted += 1;
                }
                None => break,
            }
        }
    }
    accounted += places.into_iter().filter_map(Mailbox::close).count() as u64;
    assert_eq!(offered, accounted);
    looks
}

/// Where the streams spread their work evenly, they are looked at evenly: every third keyframe of each.
#[test]
fn under_overload_the_time_between_looks_grows_evenly() {
    // In an order that has nothing to do with that in which they were opened.
    let phases: Vec<u64> = (0..STREAMS as u64).map(|key| key * 37 % STREAMS as u64 * PERIOD / STREAMS as u64).collect();
    let looks = overload(&phases);
    let ideal = STREAMS as u64 * SERVICE;
    for (stream, looks) in looks.iter().enumerate() {
        let longest = looks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= ideal + 2 * PERIOD, "stream {stream} waits for {longest}");
    }
    let counts: Vec<usize> = looks.iter().map(Vec::len).collect();
    let (fewest, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - fewest <= 2, "{counts:?}");
    assert!(
        counts.iter().sum::<usize>() as u64 >= HORIZON / SERVICE * 99 / 100,
        "the worker is never idle: {counts:?}"
    );
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
                    let Some(Taken::Fresh(key, serial)) = queue.take(Duration::from_mins(1), |_work| true) else {
                        continue;
                    };
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
                let priorities = [Priority::Ordinary, Priority::Imminent, Priority::Pressing];
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
                    let piece = queue.take(Duration::from_mins(1), |_work| true);
                    taken.fetch_add(u64::from(piece.is_some()), Ordering::Relaxed);
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
