//! Which stream brings inspector processes down: found by keeping suspects apart, as one finds a bad fuse.
//!
//! When a process crashes, one of its streams may be the cause. What was being decoded is suspected first: it is put on one
//! process and the rest on others. Where that is cleared by the next crash, or nothing was being decoded (a demuxer
//! crashed), the suspects are halved with every crash: they are spread over all processes, and those on one that goes on
//! living are cleared by the next that does not. A stream that is the only suspect left where a process crashes for a second
//! time is the culprit. So with one culprit among `n` streams it is named after about `log n` crashes, base the number of
//! processes, and nobody else is. With one process alone nobody can be kept apart, and only what is decoded at two crashes is
//! found.
//!
//! Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;

/// After so long without a crash nobody is suspected any more.
const CALM: Duration = Duration::from_mins(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Suspects<K> {
    /// On which process each is to be.
    apart: BTreeMap<K, usize>,
    /// Those of them that were in hand at the first crash, and are by themselves.
    in_hand: BTreeSet<K>,
    processes: usize,
    last: Timestamp,
}

impl<K: Ord + Clone> Suspects<K> {
    /// Nobody, among the streams of so many processes.
    pub(super) const fn new(processes: usize) -> Self {
        Self { apart: BTreeMap::new(), in_hand: BTreeSet::new(), processes, last: Timestamp::ZERO }
    }

    /// Where a suspect is to be; none for a stream that is not suspected.
    pub(super) fn place(&self, stream: &K) -> Option<usize> {
        self.apart.get(stream).copied()
    }

    /// Forgets a stream that has ended.
    pub(super) fn forget(&mut self, stream: &K) {
        self.apart.remove(stream);
        self.in_hand.remove(stream);
    }

    /// Notes that a process crashed that had these streams, some of them `in_hand`; the culprit, if that is clear now.
    pub(super) fn crashed(&mut self, process: usize, streams: &[K], in_hand: &[K], now: Timestamp) -> Option<K> {
        if now.since(self.last) > CALM {
            self.apart.clear();
            self.in_hand.clear();
        }
        self.last = now;
        let left: Vec<K> = streams.iter().filter(|stream| self.apart.contains_key(*stream)).cloned().collect();
        let was_in_hand = std::mem::take(&mut self.in_hand);
        if left.is_empty() {
            // The first of its kind, or somebody else.
            self.apart.clear();
            let (first, rest): (Vec<K>, Vec<K>) = streams.iter().cloned().partition(|stream| in_hand.contains(stream));
            self.spread(&first, process + 1, 1);
            self.spread(&rest, process + 2, if first.is_empty() { self.processes } else { self.processes - 1 });
            self.in_hand = first.into_iter().collect();
            return None;
        }
        // Alone among the suspects, at the second crash that it has to do with.
        let was_alone = self.apart.len() == 1;
        let again: Vec<&K> = left.iter().filter(|stream| was_in_hand.contains(*stream)).collect();
        let culprit = match (left.as_slice(), again.as_slice()) {
            ([only], [_]) => Some(only.clone()),
            ([only], []) if was_alone => Some(only.clone()),
            // Those that were in hand are by themselves: one of them did it, and it is in hand again.
            (_, [_, ..]) => match again.iter().filter(|stream| in_hand.contains(stream)).collect::<Vec<_>>().as_slice()
            {
                [only] => Some((**only).clone()),
                _ => None,
            },
            _ => None,
        };
        self.apart.clear();
        if let Some(culprit) = culprit {
            return Some(culprit);
        }
        self.spread(&left, process + 1, self.processes);
        None
    }

    /// Puts suspects on `over` processes in turn, from the one called `first`.
    fn spread(&mut self, suspects: &[K], first: usize, over: usize) {
        for (nth, suspect) in suspects.iter().enumerate() {
            self.apart.insert(suspect.clone(), (first + nth % over.max(1)) % self.processes.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Streams on processes that crash for one culprit: how many crashes until it is named, and who is.
    struct Story {
        streams: usize,
        processes: usize,
        culprit: usize,
        /// Whether the culprit brings down what decodes it; else what demuxes it, while others may be in hand.
        decoding: bool,
        /// Who else is in hand, by crash.
        noise: Vec<Option<usize>>,
    }

    impl Story {
        fn named(&self) -> (usize, Option<usize>) {
            let mut suspects = Suspects::new(self.processes);
            let mut on: Vec<usize> = (0..self.streams).map(|stream| stream % self.processes).collect();
            for crash in 0..64 {
                let down = on[self.culprit];
                let there: Vec<usize> = (0..self.streams).filter(|stream| on[*stream] == down).collect();
                let noise = self.noise.get(crash).copied().flatten();
                let mut in_hand: Vec<usize> = noise.filter(|noise| there.contains(noise)).into_iter().collect();
                if self.decoding && !in_hand.contains(&self.culprit) {
                    in_hand.push(self.culprit);
                }
                let now = Timestamp::from_millis(1_000_000 + 1000 * crash as u64);
                if let Some(named) = suspects.crashed(down, &there, &in_hand, now) {
                    return (crash + 1, Some(named));
                }
                for stream in 0..self.streams {
                    match suspects.place(&stream) {
                        Some(place) => on[stream] = place,
                        None if on[stream] == down => on[stream] = (down + 1) % self.processes,
                        None => {}
                    }
                }
            }
            (64, None)
        }
    }

    #[test]
    fn what_is_decoded_at_two_crashes_is_named_at_the_second() {
        for (streams, processes) in [(1, 1), (50, 1), (1, 2), (50, 2), (50, 4), (1000, 3)] {
            let story = Story { streams, processes, culprit: streams / 2, decoding: true, noise: Vec::new() };
            assert_eq!(story.named(), (2, Some(streams / 2)), "{streams} streams, {processes} processes");
        }
    }

    #[test]
    fn what_crashes_a_demuxer_is_named_after_few_crashes() {
        for (streams, processes, within) in [(1, 2, 2), (2, 2, 3), (50, 2, 8), (1000, 2, 12), (50, 4, 5), (1000, 4, 7)]
        {
            let story = Story { streams, processes, culprit: streams / 3, decoding: false, noise: Vec::new() };
            let (crashes, named) = story.named();
            assert_eq!(named, Some(streams / 3));
            assert!(crashes <= within, "{streams} streams, {processes} processes: {crashes} crashes");
        }
    }

    #[test]
    fn who_was_suspected_long_ago_is_not_any_more() {
        let mut suspects = Suspects::new(2);
        assert_eq!(suspects.crashed(0, &["a", "b"], &["a"], Timestamp::from_millis(1000)), None);
        assert_eq!((suspects.place(&"a"), suspects.place(&"b")), (Some(1), Some(0)));
        let later = Timestamp::from_millis(2000) + CALM;
        assert_eq!(suspects.crashed(1, &["a"], &["a"], later), None, "a first crash again");
        suspects.forget(&"a");
        assert_eq!(suspects.place(&"a"), None);
    }

    proptest! {
        #[test]
        fn the_culprit_is_named_soon_and_nobody_else_ever(
            streams in 1_usize..200,
            processes in 2_usize..6,
            culprit in any::<prop::sample::Index>(),
            decoding: bool,
            noise in prop::collection::vec(prop::option::of(0_usize..200), 0..64),
        ) {
            let culprit = culprit.index(streams);
            let (crashes, named) = Story { streams, processes, culprit, decoding, noise }.named();
            prop_assert_eq!(named, Some(culprit));
            let halvings = usize::BITS - streams.leading_zeros();
            prop_assert!(crashes <= halvings as usize + 4, "{} crashes", crashes);
        }
    }
}
