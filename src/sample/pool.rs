//! What the samplers of all streams share: the places for continuous decoding, and what is counted of all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// See the module. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct Pool {
    places: usize,
    promoted: AtomicUsize,
    refused: AtomicU64,
    skipped: AtomicU64,
    held: AtomicUsize,
}

impl Pool {
    /// For up to `places` streams that are decoded continuously at once.
    pub fn new(places: usize) -> Self {
        Self { places, ..Self::default() }
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
        Self { pool, bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        // Added before it is taken away: the sum is unsigned.
        self.pool.held.fetch_add(bytes, Ordering::Relaxed);
        self.pool.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
