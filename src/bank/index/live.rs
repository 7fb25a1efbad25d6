//! An index with what has changed since it was built: a change works at once, without a rebuild.
//!
//! Immutable, so that whoever searches needs no lock: the owner puts a changed one in its place (an `Arc` to swap) and, when
//! much has changed, builds an index anew.

use super::Index;
use crate::bank::Scan;
use crate::hash::PdqHash;

/// An index, a tail of entries added since, which is scanned, and the entries removed since, which are passed over.
///
/// Places go on where the index ends; a removed entry leaves its place empty.
#[derive(Debug, Clone)]
pub struct Live {
    index: Index,
    tail: Scan,
    removed: Places,
}

/// Some places, a bit each: in a crowd of near-duplicates every one that is met is looked up.
#[derive(Debug, Clone, Default)]
struct Places {
    bits: Vec<u64>,
}

impl Places {
    const fn new() -> Self {
        Self { bits: Vec::new() }
    }

    fn insert(&mut self, place: u32) {
        let word = place as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            *bits |= 1 << (place % 64);
        }
    }

    fn contains(&self, place: u32) -> bool {
        self.bits.get(place as usize / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }
}

impl Live {
    /// An index that nothing has changed in yet.
    pub const fn new(index: Index) -> Self {
        Self { index, tail: Scan::new(), removed: Places::new() }
    }

    /// How many places there are, removed ones among them.
    pub const fn places(&self) -> usize {
        self.index.len() + self.tail.len()
    }

    /// With these hashes behind all others, in this order.
    #[must_use]
    pub fn with(&self, added: impl IntoIterator<Item = PdqHash>) -> Self {
        let tail = self.tail.iter().copied().chain(added).collect();
        Self { index: self.index.clone(), tail, removed: self.removed.clone() }
    }

    /// Without the entries at these places.
    #[must_use]
    pub fn without(&self, places: impl IntoIterator<Item = u32>) -> Self {
        let mut removed = self.removed.clone();
        places.into_iter().filter(|place| (*place as usize) < self.places()).for_each(|place| removed.insert(place));
        Self { index: self.index.clone(), tail: self.tail.clone(), removed }
    }

    /// As [`Index::within`].
    pub fn within(&self, query: &PdqHash, distance: u32, mut found: impl FnMut(u32, u32)) {
        self.within_all(std::slice::from_ref(query), distance, |_, place, distance| found(place, distance));
    }

    /// As [`Index::within_all`].
    pub fn within_all(&self, queries: &[PdqHash], distance: u32, mut found: impl FnMut(usize, u32, u32)) {
        let mut found = |query, place, distance| {
            if self.has(place) {
                found(query, place, distance);
            }
        };
        self.index.within_all(queries, distance, &mut found);
        for (n, query) in queries.iter().enumerate() {
            self.tail.within(query, distance, |place, distance| found(n, self.place(place), distance));
        }
    }

    /// As [`Index::nearest`], of the entries that are `wanted` alone.
    pub fn nearest(&self, query: &PdqHash, distance: u32, wanted: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
        let counts = |place| self.has(place) && wanted(place);
        let indexed = self.index.nearest_where(query, distance, counts);
        let tail = self.tail.nearest_where(query, distance, |place| counts(self.place(place)));
        let tail = tail.map(|(place, distance)| (self.place(place), distance));
        indexed.into_iter().chain(tail).min_by_key(|(place, distance)| (*distance, *place))
    }

    fn has(&self, place: u32) -> bool {
        !self.removed.contains(place)
    }

    /// The place of the entry that is at `tail` of the tail.
    fn place(&self, tail: usize) -> u32 {
        u32::try_from(self.index.len() + tail).unwrap_or(u32::MAX)
    }
}
