//! Every hash side by side, all of them compared: the quickest way through few hashes, and what the index is held to. Exact, and
//! pure.

use crate::hash::PdqHash;

/// Hashes in memory, in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    hashes: Vec<PdqHash>,
}

impl Scan {
    /// No hash.
    pub const fn new() -> Self {
        Self { hashes: Vec::new() }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &PdqHash> {
        self.hashes.iter()
    }

    /// Gives the place and distance of every hash at most `distance` bits from `query`.
    pub fn within(&self, query: &PdqHash, distance: u32, mut found: impl FnMut(usize, u32)) {
        for (place, hash) in self.hashes.iter().enumerate() {
            let apart = hash.distance(query);
            if apart <= distance {
                found(place, apart);
            }
        }
    }

    /// The place and distance of the hash nearest to `query`, if that is at most `max_distance` bits; the first of those
    /// equally near.
    pub fn nearest(&self, query: &PdqHash, max_distance: u32) -> Option<(usize, u32)> {
        self.nearest_where(query, max_distance, |_| true)
    }

    /// [`Self::nearest`] of the places that are `kept`.
    pub(super) fn nearest_where(
        &self,
        query: &PdqHash,
        max_distance: u32,
        kept: impl Fn(usize) -> bool,
    ) -> Option<(usize, u32)> {
        let mut nearest = None;
        let mut limit = max_distance.saturating_add(1);
        for (place, hash) in self.hashes.iter().enumerate() {
            let distance = hash.distance(query);
            if distance < limit && kept(place) {
                limit = distance;
                nearest = Some((place, distance));
            }
        }
        nearest
    }
}

impl FromIterator<PdqHash> for Scan {
    fn from_iter<I: IntoIterator<Item = PdqHash>>(hashes: I) -> Self {
        Self { hashes: hashes.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Distances digit by digit, sorted.
    fn slow(hashes: &[PdqHash], query: &PdqHash, max_distance: u32) -> Option<(usize, u32)> {
        let digits = |hash: &PdqHash| hash.to_string().chars().map(|c| c.to_digit(16).unwrap()).collect::<Vec<_>>();
        let query = digits(query);
        let distance = |hash| digits(hash).iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        let mut all: Vec<_> = hashes.iter().map(distance).enumerate().map(|(place, d)| (d, place)).collect();
        all.sort_unstable();
        all.first().filter(|(distance, _)| *distance <= max_distance).map(|(distance, place)| (*place, *distance))
    }

    /// Few distinct bits, so that ties and near misses are common.
    fn hashes() -> impl Strategy<Value = PdqHash> {
        prop_oneof![
            any::<[u64; 4]>(),
            any::<[u8; 2]>().prop_map(|[a, b]| [u64::from(a & 7) << 60, 0, 0, u64::from(b & 7)]),
        ]
        .prop_map(PdqHash::from_words)
    }

    proptest! {
        #[test]
        fn finds_what_the_slow_twin_finds(
            bank in vec(hashes(), 0..40),
            query in hashes(),
            max in prop_oneof![0u32..8, Just(31), Just(128), Just(u32::MAX)],
        ) {
            let scan: Scan = bank.iter().copied().collect();
            prop_assert_eq!(scan.nearest(&query, max), slow(&bank, &query, max));
        }
    }
}
