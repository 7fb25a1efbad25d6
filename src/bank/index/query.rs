//! Asks an index what is near a hash.

use super::bands::{BANDS, Banded, FARTHEST, KEYS, Limits, band, banded, distance as bits_between};
use super::simd::{Bucket, sift};
use super::{Index, Parity};
use crate::hash::PdqHash;

/// How many values of a band differ in less than so many bits.
const NEIGHBOURS: [usize; 5] = [0, 1, 17, 137, 697];

/// What to change in a band's value to get its neighbours, the nearest first.
const CHANGES: [u16; NEIGHBOURS[4]] = changes();

const fn changes() -> [u16; NEIGHBOURS[4]] {
    let mut changes = [0; NEIGHBOURS[4]];
    let (mut at, mut ones) = (0, 0);
    while ones < 4 {
        let mut change = 0;
        while change < KEYS {
            if change.count_ones() == ones {
                changes[at] = change as u16;
                at += 1;
            }
            change += 1;
        }
        ones += 1;
    }
    changes
}

/// How many entries are compared in the time that it takes to look into one more bucket.
const BUCKET: usize = 12;

/// How many entries of a bucket are passed over in the time that it takes to compare one in full.
const SIFTED: usize = 4;

/// Most that matches are nearer than a picture of something else ever is: looked for first, as it takes next to no time.
const NEAR: u32 = 15;

/// What to look for.
struct Wanted {
    hash: Banded,
    limits: Limits,
}

impl Index {
    /// Gives the place and distance of every entry at most `distance` bits from `query`, each once, in no order.
    pub fn within(&self, query: &PdqHash, distance: u32, mut found: impl FnMut(u32, u32)) {
        self.within_all(std::slice::from_ref(query), distance, |_, place, distance| found(place, distance));
    }

    /// [`Self::within`] for several hashes at once, such as those of the views of one picture: gives also which of them.
    pub fn within_all(&self, queries: &[PdqHash], distance: u32, mut found: impl FnMut(usize, u32, u32)) {
        if self.is_quicker_than_a_scan(distance) {
            return self.within_all_in_bands(queries, distance, found);
        }
        for (n, query) in queries.iter().enumerate() {
            self.scan(&banded(query), distance, |place, distance| found(n, place, distance));
        }
    }

    pub(super) fn within_all_in_bands(
        &self,
        queries: &[PdqHash],
        distance: u32,
        mut found: impl FnMut(usize, u32, u32),
    ) {
        let hashes = self.hashes();
        let mut wanted: Vec<(usize, Wanted, Seen)> = queries
            .iter()
            .enumerate()
            .filter_map(|(n, query)| Some((n, self.wanted(query, distance)?, Seen::default())))
            .collect();
        let mut scratch = Scratch::default();
        for n in 0..BANDS {
            for (query, wanted, seen) in &mut wanted {
                for &place in self.sifted(n, wanted, &mut scratch) {
                    if !seen.is_new(place, self.len()) {
                        continue;
                    }
                    let Some(hash) = hashes.get(place as usize) else { continue };
                    let difference: Banded = std::array::from_fn(|word| hash[word] ^ wanted.hash[word]);
                    let apart = difference.iter().map(|word| word.count_ones()).sum();
                    // Several bands show the same entry: the first of them speaks.
                    if apart <= distance && wanted.limits.shown_by(&difference) == Some(n) {
                        found(*query, place, apart);
                    }
                }
            }
        }
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
            self.scan(&banded(query), distance, |place, distance| nearest.offer(place, distance, &kept));
            return nearest.place_first();
        }
        let near = (distance > NEAR).then(|| self.nearest_in_bands(query, NEAR, &kept)).flatten();
        near.or_else(|| self.nearest_in_bands(query, distance, &kept))
    }

    pub(super) fn nearest_in_bands(
        &self,
        query: &PdqHash,
        distance: u32,
        kept: &impl Fn(u32) -> bool,
    ) -> Option<(u32, u32)> {
        let mut wanted = self.wanted(query, distance)?;
        let hashes = self.hashes();
        let mut scratch = Scratch::default();
        let mut nearest = Nearest::default();
        for n in 0..BANDS {
            for &place in self.sifted(n, &wanted, &mut scratch) {
                let apart = hashes.get(place as usize).map_or(u32::MAX, |hash| bits_between(hash, &wanted.hash));
                if apart <= distance {
                    nearest.offer(place, apart, kept);
                }
            }
            // Limits only ever fall with the distance, so what some band shows under the last of them it also shows under
            // those that were in force when it was its turn.
            if let Some((apart, _)) = nearest.0 {
                wanted.limits = Limits::within(apart);
            }
        }
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

    /// The places of the entries that band `n` and the one after it do not rule out.
    fn sifted<'a>(&self, n: usize, wanted: &Wanted, scratch: &'a mut Scratch) -> &'a [u32] {
        let Wanted { hash, limits } = wanted;
        let index = self.band(n);
        let (key, next) = (band(hash, n), band(hash, n + 1));
        scratch.buckets.clear();
        scratch.near.clear();
        let neighbours =
            NEIGHBOURS.get(limits.one(n) as usize).and_then(|&count| CHANGES.get(..count)).unwrap_or_default();
        for change in neighbours {
            let bucket = usize::from(key ^ change);
            if let Some(&[start, end]) = index.bounds.get(bucket..bucket + 2) {
                scratch.buckets.push(Bucket { start, end, limit: limits.two(n) - 1 - change.count_ones() });
            }
        }
        sift(index.next, &scratch.buckets, next, &mut scratch.near);
        for entry in &mut scratch.near {
            *entry = index.places.get(*entry as usize).copied().unwrap_or(u32::MAX);
        }
        &scratch.near
    }

    fn is_quicker_than_a_scan(&self, distance: u32) -> bool {
        if distance > FARTHEST {
            return false;
        }
        let limits = Limits::within(distance);
        let buckets: usize = (0..BANDS).filter_map(|n| NEIGHBOURS.get(limits.one(n) as usize)).sum();
        buckets * BUCKET + self.len().div_ceil(KEYS) * buckets / SIFTED < self.len()
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

/// Memory that a query uses again for every band.
#[derive(Default)]
struct Scratch {
    buckets: Vec<Bucket>,
    near: Vec<u32>,
}

/// How often an entry has to be met before it is worth remembering which were.
const CROWD: usize = 1024;

/// The entries that a query has met: in a crowd of near-duplicates most bands show the same ones, and it is dear to look each
/// up every time. Only what was met after the [`CROWD`]th is remembered; what was met before is told by its bands.
#[derive(Default)]
struct Seen {
    met: usize,
    places: Vec<u64>,
}

impl Seen {
    fn is_new(&mut self, place: u32, entries: usize) -> bool {
        self.met += 1;
        if self.met < CROWD {
            return true;
        }
        if self.places.is_empty() {
            self.places = vec![0; entries.div_ceil(64)];
        }
        let Some(word) = self.places.get_mut(place as usize / 64) else { return false };
        let before = *word;
        *word |= 1 << (place % 64);
        *word != before
    }
}

/// The nearest so far: distance, then place.
#[derive(Default)]
struct Nearest(Option<(u32, u32)>);

impl Nearest {
    fn offer(&mut self, place: u32, distance: u32, kept: &impl Fn(u32) -> bool) {
        if self.0.is_none_or(|nearest| (distance, place) < nearest) && kept(place) {
            self.0 = Some((distance, place));
        }
    }

    fn place_first(self) -> Option<(u32, u32)> {
        self.0.map(|(distance, place)| (place, distance))
    }
}
