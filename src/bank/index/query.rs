//! Asks an index what is near a hash.

use super::bands::{BANDS, Banded, FARTHEST, KEYS, Limits, banded, changes, distance as bits_between};
use super::steps::{Met, Wanted};
use super::{Index, Parity};
use crate::hash::PdqHash;

/// How many entries are compared in the time that it takes to look into one more bucket.
const BUCKET: usize = 12;

/// How many entries of a bucket are passed over in the time that it takes to compare one in full.
const SIFTED: usize = 4;

impl Index {
    /// Gives the place and distance of every entry at most `distance` bits from `query`, each once, in no order.
    pub fn within(&self, query: &PdqHash, distance: u32, mut found: impl FnMut(u32, u32)) {
        self.within_all(std::slice::from_ref(query), distance, |_, place, distance| found(place, distance));
    }

    /// [`Self::within`] for several hashes at once, such as those of the views of one picture: gives also which of them.
    pub fn within_all(&self, queries: &[PdqHash], distance: u32, mut found: impl FnMut(usize, u32, u32)) {
        if self.is_quicker_than_a_scan(distance) {
            return self.within_all_in_parts(queries, distance, found);
        }
        for (n, query) in queries.iter().enumerate() {
            self.scan(&banded(query), distance, |place, distance| found(n, place, distance));
        }
    }

    pub(super) fn within_all_in_parts(
        &self,
        queries: &[PdqHash],
        distance: u32,
        mut found: impl FnMut(usize, u32, u32),
    ) {
        let (mut numbers, mut wanted) = (Vec::new(), Vec::new());
        for (n, query) in queries.iter().enumerate() {
            let Some(one) = self.wanted(query, distance) else { continue };
            self.within_clusters(&one.hash, distance, |place, apart| found(n, place, apart));
            numbers.push(n);
            wanted.push(one);
        }
        self.look_through_bands(&mut wanted, |Met { query, band, place, hash }, wanted| {
            let difference: Banded = std::array::from_fn(|word| hash[word] ^ wanted.hash[word]);
            let apart = difference.iter().map(|word| word.count_ones()).sum();
            // Several bands show the same entry: the first of them speaks.
            if apart <= distance && wanted.limits.shown_by(&difference) == Some(band) {
                found(numbers.get(query).copied().unwrap_or_default(), place, apart);
            }
        });
    }

    /// The place and distance of the entry nearest to `query`, if that is at most `distance` bits; of those equally near
    /// the first.
    pub fn nearest(&self, query: &PdqHash, distance: u32) -> Option<(u32, u32)> {
        self.nearest_where(query, distance, |_| true)
    }

    /// [`Self::nearest`] of the places that are `kept`.
    pub(super) fn nearest_where(
        &self,
        query: &PdqHash,
        distance: u32,
        kept: impl Fn(u32) -> bool,
    ) -> Option<(u32, u32)> {
        if !self.is_quicker_than_a_scan(distance) {
            let mut nearest = Nearest::default();
            self.scan(&banded(query), distance, |place, distance| {
                nearest.offer(place, distance, &kept);
            });
            return nearest.place_first();
        }
        self.nearest_in_parts(query, distance, &kept)
    }

    pub(super) fn nearest_in_parts(
        &self,
        query: &PdqHash,
        distance: u32,
        kept: &impl Fn(u32) -> bool,
    ) -> Option<(u32, u32)> {
        let mut nearest = Nearest::default();
        self.nearest_in_clusters(&banded(query), distance, &mut nearest, kept);
        let distance = nearest.limit(distance);
        let mut wanted = self.wanted(query, distance);
        self.look_through_bands(wanted.as_mut_slice(), |Met { place, hash, .. }, wanted| {
            let apart = bits_between(hash, &wanted.hash);
            if apart <= distance && nearest.offer(place, apart, kept) {
                // Limits only ever fall with the distance, so what some band shows under the last of them it also shows
                // under those that were in force when it was its turn.
                wanted.limits = Limits::within(apart);
            }
        });
        nearest.place_first()
    }

    /// None where the number of set bits rules every distance up to `distance` out.
    fn wanted(&self, query: &PdqHash, distance: u32) -> Option<Wanted> {
        let hash = banded(query);
        let odd = u32::from(Parity::of(&hash) != self.parity);
        let distance =
            if self.parity == Parity::Mixed || distance % 2 == odd { Some(distance) } else { distance.checked_sub(1) };
        Some(Wanted { hash, limits: Limits::within(distance?) })
    }

    fn is_quicker_than_a_scan(&self, distance: u32) -> bool {
        if distance > FARTHEST {
            return false;
        }
        let limits = Limits::within(distance);
        let buckets: usize = (0..BANDS).map(|n| changes(limits.one(n)).len()).sum();
        buckets * BUCKET + self.shape.banded().div_ceil(KEYS) * buckets / SIFTED < self.len()
    }

    fn scan(&self, query: &Banded, distance: u32, mut found: impl FnMut(u32, u32)) {
        for (place, hash) in (0..).zip(self.hashes()) {
            let apart = bits_between(hash, query);
            if apart <= distance {
                found(place, apart);
            }
        }
    }
}

/// The nearest so far: distance, then place.
#[derive(Default)]
pub(super) struct Nearest(Option<(u32, u32)>);

impl Nearest {
    /// Whether it is the nearest now.
    pub(super) fn offer(&mut self, place: u32, distance: u32, kept: &impl Fn(u32) -> bool) -> bool {
        let nearer = self.0.is_none_or(|nearest| (distance, place) < nearest) && kept(place);
        if nearer {
            self.0 = Some((distance, place));
        }
        nearer
    }

    /// What anything nearer is at most away: as near as the nearest, or within `distance`.
    pub(super) fn limit(&self, distance: u32) -> u32 {
        self.0.map_or(distance, |(nearest, _)| nearest.min(distance))
    }

    fn place_first(self) -> Option<(u32, u32)> {
        self.0.map(|(distance, place)| (place, distance))
    }
}
