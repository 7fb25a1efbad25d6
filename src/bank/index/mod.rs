//! The index of a large bank: every entry within a distance of a hash, found without looking at most of them. Exact.
//!
//! It promises what a scan gives: no entry within the distance is left out, each is given once, and no other is given, for
//! every distance and whatever the hashes are. It is one block of bytes, the same in memory and in a file, so that
//! processes can share it; see `docs/matching.md` for how it works and what it costs. Pure.

mod bands;
mod build;
mod cluster;
mod gather;
mod image;
mod live;
mod query;
mod simd;
mod steps;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::hash::PdqHash;
use bands::Banded;
use image::Shape;

pub use image::{Built, Fault};
pub use live::Live;

/// What the number of set bits says of the distances between hashes: it is odd where one is odd and one even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parity {
    Even,
    Odd,
    Mixed,
}

impl Parity {
    fn of(hash: &Banded) -> Self {
        if hash.iter().map(|word| word.count_ones()).sum::<u32>().is_multiple_of(2) { Self::Even } else { Self::Odd }
    }
}

/// The hashes of a bank, arranged for searching. Immutable, and cheap to clone.
///
/// An entry is known by its place: how many hashes came before it when the index was built.
#[derive(Clone)]
pub struct Index {
    body: Bytes,
    shape: Shape,
    parity: Parity,
}

/// One band of an index: where the bucket of each value ends, and what is in the buckets.
#[derive(Clone, Copy)]
struct Band<'a> {
    /// `bounds[key]..bounds[key + 1]` is the bucket of `key`.
    bounds: &'a [u32],
    /// The value of the next band of each entry.
    next: &'a [u16],
    /// The place of each entry.
    places: &'a [u32],
}

impl Index {
    /// From so many entries on an index is worth the 4 MB that it takes at least: it is quicker than comparing all from some
    /// three thousand on, and five times as quick here. Measured: see `docs/matching.md`.
    pub const WORTHWHILE: usize = 10_000;

    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.shape.count()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it takes, in memory and, but for a header, in a file.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// All hashes, by place.
    pub fn iter(&self) -> impl Iterator<Item = PdqHash> {
        self.hashes().iter().map(bands::unbanded)
    }

    fn hashes(&self) -> &[Banded] {
        self.section(self.shape.hashes())
    }

    fn band(&self, band: usize) -> Band<'_> {
        let [bounds, next, places] = self.shape.band(band);
        Band { bounds: self.section(bounds), next: self.section(next), places: self.section(places) }
    }

    /// Empty where the block is not of this shape or lies askew in memory, which is ruled out when it is made.
    fn section<T: bytemuck::Pod>(&self, bytes: Range<usize>) -> &[T] {
        self.body.get(bytes).and_then(|bytes| bytemuck::try_cast_slice(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} entries)", self.len())
    }
}

#[cfg(test)]
mod tests;
