//! The index in its first form: every hash of a bank side by side, all of them compared. Exact, and pure.

use crate::hash::PdqHash;

/// The hashes of a bank in memory, in the order of its signals.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    hashes: Vec<PdqHash>,
}

impl Scan {
    /// The place and distance of the hash nearest to `query`, if that is at most `max_distance` bits; the first of those
    /// equally near.
    pub fn nearest(&self, query: &PdqHash, max_distance: u32) -> Option<(usize, u32)> {
        let mut nearest = None;
        let mut limit = max_distance.saturating_add(1);
        for (place, hash) in self.hashes.iter().enumerate() {
            let distance = hash.distance(query);
            if distance < limit {
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
