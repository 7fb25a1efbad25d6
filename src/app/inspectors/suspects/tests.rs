//! Stories of streams on processes that culprits bring down: how many crashes until they are named, and who is.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Default)]
struct Story {
    streams: usize,
    processes: usize,
    /// Who brings down what it is on, and whether by being decoded; else by being demuxed, while others may be decoded.
    culprits: Vec<(usize, bool)>,
    /// Who else is being decoded, by crash.
    noise: Vec<Option<usize>>,
    /// Who comes where it is not there, and goes where it is, by crash.
    changes: Vec<Option<usize>>,
    /// Streams that wait for no process crash it again before the one that crashed is up.
    quick: bool,
}

impl Story {
    /// Who was named, and how many crashes that took in all.
    fn told(&self) -> (Vec<usize>, usize) {
        let mut suspects = Suspects::new(self.processes);
        let mut on: BTreeMap<usize, usize> =
            (0..self.streams).map(|stream| (stream, stream % self.processes)).collect();
        let mut named = Vec::new();
        for crash in 0..100 {
            let now = Timestamp::from_millis(1_000_000 + 1000 * crash as u64);
            let active: Vec<(usize, bool)> =
                self.culprits.iter().filter(|(who, _)| !named.contains(who)).copied().collect();
            if active.is_empty() {
                return (named, crash);
            }
            let (culprit, decoding) = active[crash % active.len()];
            let down = on[&culprit];
            let there: Vec<usize> = on.iter().filter(|(_, at)| **at == down).map(|(stream, _)| *stream).collect();
            let noise = self.noise.get(crash).copied().flatten().filter(|noise| there.contains(noise));
            let mut in_hand: Vec<usize> = noise.into_iter().collect();
            if decoding && !in_hand.contains(&culprit) {
                in_hand.push(culprit);
            }
            if let Some(who) = suspects.ended(down, How::Broke, (&there, &in_hand), now) {
                on.remove(&who);
                named.push(who);
            }
            let change = self.changes.get(crash).copied().flatten();
            if let Some(who) = change.filter(|who| self.culprits.iter().all(|(culprit, _)| culprit != who))
                && on.remove(&who).is_none()
                && !named.contains(&who)
            {
                on.insert(who, down);
            }
            let alone = suspects.by_itself(now).map(|(who, at)| (*who, at));
            for (stream, at) in &mut on {
                let elsewhere = (0..self.processes)
                    .map(|nth| (down + 1 + nth) % self.processes)
                    .find(|place| alone.is_none_or(|(_, taken)| taken != *place))
                    .unwrap_or(down);
                match suspects.place(stream, now) {
                    Some(place) if place.waits || !self.quick || place.process != down => *at = place.process,
                    Some(_) => *at = elsewhere,
                    None if *at == down || alone.is_some_and(|(_, taken)| taken == *at) => *at = elsewhere,
                    None => {}
                }
            }
        }
        (named, 100)
    }
}

#[test]
fn what_is_decoded_at_two_crashes_is_named_at_the_second() {
    for (streams, processes) in [(1, 1), (1, 2), (50, 2), (50, 4), (1000, 3)] {
        let culprits = vec![(streams / 2, true)];
        let story = Story { streams, processes, culprits, quick: true, ..Story::default() };
        assert_eq!(story.told(), (vec![streams / 2], 2), "{story:?}");
    }
}

#[test]
fn with_one_process_it_takes_four_crashes_and_nothing_else_in_hand() {
    let story = Story { streams: 50, processes: 1, culprits: vec![(25, true)], ..Story::default() };
    assert_eq!(story.told(), (vec![25], 4));
    // A demuxer breaks, and whoever is busy is now and then being decoded.
    let noise = [None, Some(3), Some(3), Some(3), None, Some(3), Some(3), Some(3), Some(3), Some(3)];
    let story = Story { culprits: vec![(25, false)], noise: noise.into(), ..story };
    assert_eq!(story.told(), (vec![], 100));
}

#[test]
fn what_crashes_a_demuxer_is_named_after_few_crashes() {
    for (streams, processes, within) in [(1, 2, 2), (2, 2, 3), (50, 2, 8), (1000, 2, 12), (50, 4, 5), (1000, 4, 7)] {
        let culprits = vec![(streams / 3, false)];
        let (named, crashes) = Story { streams, processes, culprits, ..Story::default() }.told();
        assert_eq!(named, [streams / 3]);
        assert!(crashes <= within, "{streams} streams, {processes} processes: {crashes} crashes");
    }
}

#[test]
fn who_comes_after_another_culprit_left_is_found_and_the_innocent_is_not() {
    let mut suspects = Suspects::new(2);
    let at = |second: u64| Timestamp::from_millis(1_000_000 + second * 1000);
    assert_eq!(suspects.ended(0, How::Broke, (&["s1", "i1", "i2"], &["s1"]), at(0)), None);
    // It has left; another does the same, over and over.
    assert_eq!(suspects.ended(0, How::Broke, (&["s2", "i1", "i2"], &["s2"]), at(1)), None);
    assert_eq!(
        suspects.place(&"s2", at(1)),
        Some(Place { process: 0, waits: true }),
        "on the one that is started anew"
    );
    assert_ne!(suspects.place(&"i1", at(1)).map(|place| place.process), Some(0), "and the rest anywhere but there");
    assert_eq!(suspects.ended(0, How::Broke, (&["s2", "i9"], &["s2"]), at(2)), Some("s2"));
    assert!(suspects.is_named(&"s2", at(3)) && !suspects.is_named(&"s1", at(3)));
    // Who left is remembered.
    suspects.ended(0, How::Broke, (&["s3", "i1"], &["s3"]), at(4));
    suspects.ended(1, How::Broke, (&["s4", "i2"], &["s4"]), at(5));
    assert_eq!(suspects.ended(0, How::Broke, (&["s3"], &["s3"]), at(6)), Some("s3"));
}

#[test]
fn who_was_suspected_long_ago_is_not_any_more() {
    let mut suspects = Suspects::new(2);
    let first = Timestamp::from_millis(1_000_000);
    assert_eq!(suspects.ended(0, How::Broke, (&["a", "b"], &["a"]), first), None);
    assert_eq!(suspects.place(&"a", first), Some(Place { process: 0, waits: true }));
    assert_eq!(suspects.place(&"a", first + PATIENCE * 2), Some(Place { process: 0, waits: false }));
    assert_eq!(suspects.place(&"b", first), Some(Place { process: 1, waits: false }));
    let later = first + CALM + Duration::from_secs(1);
    assert_eq!((suspects.place(&"a", later), suspects.place(&"b", later)), (None, None));
    assert_eq!(suspects.ended(1, How::Broke, (&["a"], &["a"]), later), None, "a first crash again");
    assert_eq!(suspects.ended(1, How::Broke, (&["a"], &["a"]), later), Some("a"));
    assert!(!suspects.is_named(&"a", later + CALM + Duration::from_secs(1)));
}

#[test]
fn what_takes_memory_or_all_time_is_named_where_it_does_so_alone_again_and_again() {
    for (how, times) in [(How::Broke, 2), (How::TookMemory, 2), (How::FellSilent, 3)] {
        let mut suspects = Suspects::new(2);
        let ends = (1..9).find(|_| suspects.ended(0, how, (&["a"], &["a"]), Timestamp::from_millis(9)).is_some());
        assert_eq!(ends, Some(times), "{how:?}");
    }
    let mut suspects = Suspects::new(2);
    for _ in 0..9 {
        assert_eq!(suspects.ended(0, How::TookMemory, (&["a", "b"], &["a"]), Timestamp::from_millis(9)), None);
    }
}

fn changes() -> impl Strategy<Value = Vec<Option<usize>>> {
    prop::collection::vec(prop::option::of(0_usize..220), 0..64)
}

proptest! {
    #[test]
    fn the_culprit_is_named_soon_and_nobody_else_ever(
        streams in 1_usize..200,
        processes in 2_usize..6,
        culprit in any::<prop::sample::Index>(),
        (decoding, quick) in any::<(bool, bool)>(),
        noise in prop::collection::vec(prop::option::of(0_usize..200), 0..64),
        changes in changes(),
    ) {
        let culprit = culprit.index(streams);
        let story = Story { streams, processes, culprits: vec![(culprit, decoding)], noise, changes, quick };
        let (named, crashes) = story.told();
        prop_assert_eq!(named, [culprit]);
        let halvings = usize::BITS - streams.leading_zeros();
        // Of two processes one is now and then kept for what was being decoded.
        let most = if processes == 2 { 2 * halvings + 4 } else { halvings + 5 };
        prop_assert!(crashes <= most as usize, "{} crashes", crashes);
    }

    #[test]
    fn of_two_that_break_decoders_both_are_named_and_nobody_else(
        streams in 2_usize..100,
        processes in 1_usize..5,
        (one, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        quick in any::<bool>(),
        noise in prop::collection::vec(prop::option::of(0_usize..100), 0..20),
        changes in changes(),
    ) {
        let (one, other) = (one.index(streams), other.index(streams));
        prop_assume!(one != other);
        let culprits = vec![(one, true), (other, true)];
        let (mut named, _) = Story { streams, processes, culprits, noise, changes, quick }.told();
        named.sort_unstable();
        // Where nobody can be kept apart, two that take turns cannot be told.
        prop_assert!(named == [one.min(other), one.max(other)] || (processes == 1 && named.is_empty()), "{:?}", named);
    }

    #[test]
    fn of_two_that_break_demuxers_nobody_else_is_taken_for_one(
        streams in 2_usize..100,
        processes in 1_usize..5,
        (one, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        changes in changes(),
    ) {
        let (one, other) = (one.index(streams), other.index(streams));
        prop_assume!(one != other);
        let culprits = vec![(one, false), (other, false)];
        let (named, _) = Story { streams, processes, culprits, changes, ..Story::default() }.told();
        prop_assert!(named.iter().all(|who| [one, other].contains(who)), "{:?}", named);
    }
}
