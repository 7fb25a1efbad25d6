//! How a hash is cut into bands, and what a match must look like in them.
//!
//! A hash is cut into bands of equal width. Let `d[i]` be the bits that differ in band `i`, and give every band a limit `T[i]` so that
//! the limits add up to one more than the distance asked for. If two hashes are within that distance, the differences
//! `d[i] - T[i]` add up to less than nothing, so there is a band from which on, round the ring, every partial sum is below
//! nothing: the one after the last of the places where the running sum is highest. At that band `d[i] < T[i]`, and what
//! `d` adds up to over it and the next few is less than what `T` does. The first says which buckets have to be looked into, the
//! second turns away all but one in five hundred of the strangers in them. (J. Qin and C. Xiao, "Pigeonring", VLDB 2018; the
//! cycle lemma of Dvoretzky and Motzkin, 1947. Multi-index hashing: M. Norouzi et al., CVPR 2012.)

use crate::hash::PdqHash;

/// The farthest that is looked up in the bands: beyond it more buckets are looked into than a scan is worth.
pub(super) const FARTHEST: u32 = 63;

/// A hash with its bits arranged in bands: a band of `w` bits begins at every `w`th bit, counted from the lowest of the first
/// word. Distances are as they were.
pub(super) type Banded = [u64; 4];

const ROWS: usize = 16;

/// Arranges the bits so that any sixteen (or eight) of one band come from as many different rows and columns of frequencies:
/// neighbours depend on one another, and bands whose bits do have crowded buckets.
pub(super) fn banded(hash: &PdqHash) -> Banded {
    let [high, b, c, low] = *hash.words();
    let mut rows = split([low, c, b, high]);
    for (n, row) in (0..).zip(&mut rows) {
        *row = row.rotate_left(5 * n % 16);
    }
    transpose(&mut rows);
    joined(&rows)
}

/// The hash that [`banded`] made this of.
pub(super) fn unbanded(banded: &Banded) -> PdqHash {
    let mut rows = split(*banded);
    transpose(&mut rows);
    for (n, row) in (0..).zip(&mut rows) {
        *row = row.rotate_right(5 * n % 16);
    }
    let [low, c, b, high] = joined(&rows);
    PdqHash::from_words([high, b, c, low])
}

fn split(words: [u64; 4]) -> [u16; ROWS] {
    std::array::from_fn(|n| (words[n / 4] >> (16 * (n % 4))) as u16)
}

fn joined(parts: &[u16; ROWS]) -> [u64; 4] {
    std::array::from_fn(|word| (0..4).map(|n| u64::from(parts[4 * word + n]) << (16 * n)).sum())
}

/// Bit `b` of row `a` becomes bit `a` of row `b`: halves change places, then quarters, and so on.
fn transpose(rows: &mut [u16; ROWS]) {
    for (size, low) in [(8, 0x00ff), (4, 0x0f0f), (2, 0x3333), (1, 0x5555)] {
        for upper in (0..ROWS).filter(|row| row & size == 0) {
            let swapped = ((rows[upper] >> size) ^ rows[upper + size]) & low;
            rows[upper + size] ^= swapped;
            rows[upper] ^= swapped << size;
        }
    }
}

/// The sixteen bits of a hash from this byte on, counted round the ring.
#[inline]
fn sixteen(hash: &Banded, byte: usize) -> u16 {
    let (word, shift) = (byte / 8, 8 * (byte % 8));
    let low = hash[word % 4] >> shift;
    if shift > 48 { (low | hash[(word + 1) % 4] << (64 - shift)) as u16 } else { low as u16 }
}

/// The Hamming distance.
#[inline]
pub(super) fn distance(a: &Banded, b: &Banded) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// How the hashes of an index are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// 32 bands of 8 bits: few buckets to look into, with much in each. For banks that fit into a processor's cache.
    Narrow,
    /// 16 bands of 16 bits: many buckets, with little in each.
    Wide,
}

impl Cut {
    pub(super) const ALL: [Self; 2] = [Self::Narrow, Self::Wide];

    pub(super) const fn bands(self) -> usize {
        256 / self.width()
    }

    /// Bits of a band.
    const fn width(self) -> usize {
        match self {
            Self::Narrow => 8,
            Self::Wide => 16,
        }
    }

    /// Values that a band can have.
    pub(super) const fn keys(self) -> usize {
        1 << self.width()
    }

    /// The value of a band.
    #[inline]
    pub(super) fn key(self, hash: &Banded, band: usize) -> u16 {
        let value = sixteen(hash, band * self.width() / 8);
        if matches!(self, Self::Narrow) { value & 0xff } else { value }
    }

    /// The sixteen bits that follow a band.
    #[inline]
    pub(super) fn next(self, hash: &Banded, band: usize) -> u16 {
        sixteen(hash, (band + 1) * self.width() / 8)
    }

    /// What to change in a band's value to get those that differ in less than so many bits, the nearest first.
    pub(super) fn changes(self, limit: u32) -> &'static [u16] {
        match self {
            Self::Narrow => [0, 1, 9, 37].get(limit as usize).and_then(|&count| NARROW.get(..count)),
            Self::Wide => [0, 1, 17, 137, 697].get(limit as usize).and_then(|&count| WIDE.get(..count)),
        }
        .unwrap_or_default()
    }
}

static NARROW: [u16; 37] = changes(8);
static WIDE: [u16; 697] = changes(16);

const fn changes<const COUNT: usize>(width: u32) -> [u16; COUNT] {
    let mut changes = [0; COUNT];
    let (mut at, mut ones) = (0, 0);
    while at < COUNT {
        let mut change = 0_u32;
        while change < 1 << width {
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

/// The limits of the bands for one distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    cut: Cut,
    each: u32,
    over: usize,
}

impl Limits {
    /// For everything within `distance`, at most [`FARTHEST`].
    pub(super) const fn within(distance: u32, cut: Cut) -> Self {
        let bands = cut.bands() as u32;
        Self { cut, each: (distance + 1) / bands, over: ((distance + 1) % bands) as usize }
    }

    /// What `d[band]` must be less than; nothing is to be found where it is 0. As equal as whole numbers can be.
    #[inline]
    pub(super) const fn one(self, band: usize) -> u32 {
        self.each + (band % self.cut.bands() < self.over) as u32
    }

    /// What the bits that differ in a band and in the sixteen that follow it must be less than.
    #[inline]
    pub(super) const fn with_next(self, band: usize) -> u32 {
        match self.cut {
            Cut::Narrow => self.one(band) + self.one(band + 1) + self.one(band + 2),
            Cut::Wide => self.one(band) + self.one(band + 1),
        }
    }

    /// The first band that shows two hashes to be a match, where they differ in the bits of `difference`.
    pub(super) fn shown_by(self, difference: &Banded) -> Option<usize> {
        (0..self.cut.bands()).find(|&n| {
            let here = self.cut.key(difference, n).count_ones();
            here < self.one(n) && here + self.cut.next(difference, n).count_ones() < self.with_next(n)
        })
    }
}
