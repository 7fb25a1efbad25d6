//! What the samplers of all streams share: the places for continuous decoding, the memory to look back at, and what is counted of
//! all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::sample::ring::Ring;
use crate::stream::AccessUnit;

/// See the module. Share it in an `Arc`.
#[derive(Debug)]
pub struct Pool {
    places: usize,
    /// Bytes that all may hold together.
    budget: usize,
    promoted: AtomicUsize,
    refused: AtomicU64,
    skipped: AtomicU64,
    held: AtomicUsize,
    samplers: AtomicUsize,
    cut: AtomicU64,
}

impl Pool {
    /// For up to `places` streams that are decoded continuously at once, that may hold any number of bytes.
    pub fn new(places: usize) -> Self {
        Self {
            places,
            budget: usize::MAX,
            promoted: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            samplers: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// The same, of which all may hold `bytes` of encoded frames together.
    #[must_use]
    pub fn holding(self, bytes: usize) -> Self {
        Self { budget: bytes, ..self }
    }

    /// How many streams are decoded continuously.
    pub fn promoted(&self) -> usize {
        self.promoted.load(Ordering::Relaxed)
    }

    /// How often a stream would have been decoded continuously, and there was no place, since this was last asked.
    pub fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Access units that were due to be decoded in a row and were passed over, because the decoders are behind, since this
    /// was last asked.
    pub fn take_skipped(&self) -> u64 {
        self.skipped.swap(0, Ordering::Relaxed)
    }

    /// Bytes of encoded frames that all samplers hold together.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How often a stream dropped what it held to look back at because all held too much together, since this was last asked.
    pub fn take_cut(&self) -> u64 {
        self.cut.swap(0, Ordering::Relaxed)
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn skip(&self, units: usize) {
        self.skipped.fetch_add(units as u64, Ordering::Relaxed);
    }

    /// A place for one stream, if one is free.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let one_more = |taken: usize| (taken < self.places).then_some(taken + 1);
        self.promoted.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

/// A stream's place among those decoded continuously; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Pool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.promoted.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One sampler's share of the bytes held.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Share {
    pub(super) fn of(pool: Arc<Pool>) -> Self {
        pool.samplers.fetch_add(1, Ordering::Relaxed);
        Self { pool, bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        // Added before it is taken away: the sum is unsigned.
        self.pool.held.fetch_add(bytes, Ordering::Relaxed);
        self.pool.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Share {
    /// Makes `ring` smaller where all hold too much together: first it drops the group before the current one, then everything
    /// until the next keyframe. Gives the units of the current group where that was dropped.
    ///
    /// Whoever holds no more than an equal part of what all may hold is left alone: nobody loses what was before their first
    /// suspicious picture because others send much.
    pub(super) fn fit(&mut self, ring: &mut Ring) -> Option<Vec<AccessUnit>> {
        self.set(ring.bytes());
        if !self.is_too_much() {
            return None;
        }
        self.pool.cut.fetch_add(1, Ordering::Relaxed);
        ring.drop_previous();
        self.set(ring.bytes());
        if !self.is_too_much() {
            return None;
        }
        let group = ring.give_up();
        self.set(0);
        Some(group)
    }

    fn is_too_much(&self) -> bool {
        let part = self.pool.budget / self.pool.samplers.load(Ordering::Relaxed).max(1);
        self.bytes > part && self.pool.held() > self.pool.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.pool.samplers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::sample::ring::cost;
    use crate::stream::Codec;

    fn unit(sequence: u64, keyframe: bool, bytes: usize) -> AccessUnit {
        AccessUnit {
            sequence,
            codec: Codec::H264,
            keyframe,
            pts: None,
            arrived: Timestamp::from_millis(33 * sequence),
            data: Bytes::from(vec![0; bytes]),
        }
    }

    /// Plays `k` for a keyframe and `.` for another unit to a ring, from unit `from` on: what it was given up with, if it was.
    fn play(share: &mut Share, ring: &mut Ring, from: u64, frames: &str) -> Option<usize> {
        let mut given_up = None;
        for (sequence, frame) in (from..).zip(frames.chars()) {
            assert!(ring.push(unit(sequence, frame == 'k', 100)).is_none());
            given_up = share.fit(ring).map(|units| units.len()).or(given_up);
        }
        given_up
    }

    #[test]
    fn where_all_hold_too_much_the_greedy_keep_their_group_or_nothing() {
        let each = cost(&unit(0, true, 100));
        let pool = Arc::new(Pool::new(0).holding(12 * each));
        let [mut greedy, mut modest] = [(); 2].map(|()| (Share::of(Arc::clone(&pool)), Ring::new(usize::MAX)));
        assert_eq!(play(&mut modest.0, &mut modest.1, 0, "k.."), None);
        assert_eq!(play(&mut greedy.0, &mut greedy.1, 0, "k..k....."), None);
        assert_eq!((pool.held(), pool.take_cut()), (12 * each, 0), "all that may be held is");
        assert_eq!(play(&mut greedy.0, &mut greedy.1, 9, "."), None);
        assert_eq!((greedy.1.bytes(), pool.take_cut()), (7 * each, 1), "the group before is dropped");
        assert_eq!(play(&mut greedy.0, &mut greedy.1, 10, ".."), None);
        assert_eq!(play(&mut modest.0, &mut modest.1, 3, "."), None);
        assert_eq!((modest.1.bytes(), pool.take_cut()), (4 * each, 0), "an equal part is nobody's to take");
        assert_eq!(play(&mut greedy.0, &mut greedy.1, 12, "."), Some(10));
        assert_eq!((pool.held(), pool.take_cut()), (4 * each, 1), "and then all of it");
        assert_eq!(play(&mut greedy.0, &mut greedy.1, 13, "...k."), None);
        assert_eq!(greedy.1.bytes(), 2 * each, "until the next keyframe");
    }

    proptest! {
        #[test]
        fn what_all_hold_is_bounded_and_an_equal_part_is_left_to_everybody(
            budget in 0..400_000_usize,
            frames in prop::collection::vec((0..5_usize, prop::bool::weighted(0.1), 0..20_000_usize), 0..600),
        ) {
            let pool = Arc::new(Pool::new(0).holding(budget));
            let stream = || (Share::of(Arc::clone(&pool)), Ring::new(usize::MAX), Ring::new(budget / 5), 0);
            let mut streams: Vec<_> = std::iter::repeat_with(stream).take(5).collect();
            for (stream, keyframe, bytes) in frames {
                let (share, ring, twin, sequence) = &mut streams[stream];
                ring.push(unit(*sequence, keyframe, bytes));
                share.fit(ring);
                twin.push(unit(*sequence, keyframe, bytes));
                *sequence += 1;
                // Whoever had an equal part to themselves would hold no more of the current group.
                let held = |ring: &Ring| ring.group().iter().map(cost).sum::<usize>();
                prop_assert!(held(ring) >= held(twin), "{} of {}", held(ring), held(twin));
                prop_assert!(pool.held() <= 2 * budget, "{} held", pool.held());
            }
        }
    }

    #[test]
    fn there_are_as_many_places_as_were_made() {
        let pool = Arc::new(Pool::new(2));
        let (first, second) = (pool.place(), pool.place());
        assert!(first.is_some() && second.is_some() && pool.place().is_none());
        drop(first);
        assert_eq!(pool.promoted(), 1);
        assert!(pool.place().is_some());
    }

    #[test]
    fn what_is_held_is_the_sum_and_ends_with_its_holder() {
        let pool = Arc::new(Pool::new(0));
        let (mut one, mut other) = (Share::of(Arc::clone(&pool)), Share::of(Arc::clone(&pool)));
        one.set(700);
        other.set(100);
        one.set(300);
        assert_eq!(pool.held(), 400);
        drop(one);
        assert_eq!(pool.held(), 100);
    }
}
