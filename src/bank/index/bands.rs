//! How a hash is cut into bands, and what a match must look like in them.
//!
//! A hash is 16 bands of 16 bits. Let `d[i]` be the bits that differ in band `i`, and give every band a limit `T[i]` so that
//! the limits add up to one more than the distance asked for. If two hashes are within that distance, the differences
//! `d[i] - T[i]` add up to less than nothing, so there is a band from which on, round the ring, every partial sum is below
//! nothing: the one after the last of the places where the running sum is highest. At that band `d[i] < T[i]` and
//! `d[i] + d[i + 1] < T[i] + T[i + 1]`. The first says which buckets have to be looked into, the second turns away all
//! but one in five hundred of the strangers in them. (J. Qin and C. Xiao, "Pigeonring", VLDB 2018; the cycle lemma of
//! Dvoretzky and Motzkin, 1947. Multi-index hashing: M. Norouzi et al., CVPR 2012.)

use crate::hash::PdqHash;

/// Bands of a hash.
pub(super) const BANDS: usize = 16;

/// Values that a band can have.
pub(super) const KEYS: usize = 1 << 16;

/// The farthest that is looked up in the bands: beyond it more buckets are looked into than a scan is worth.
pub(super) const FARTHEST: u32 = 63;

/// A hash with its bits arranged in bands: band `i` is bits `16 * (i % 4)..` of word `i / 4`. Distances are as they were.
pub(super) type Banded = [u64; 4];

/// Arranges the bits so that those of one band come from sixteen different rows and columns of frequencies: neighbours
/// depend on one another, and bands whose bits do have crowded buckets.
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

fn split(words: [u64; 4]) -> [u16; BANDS] {
    std::array::from_fn(|n| (words[n / 4] >> (16 * (n % 4))) as u16)
}

fn joined(parts: &[u16; BANDS]) -> [u64; 4] {
    std::array::from_fn(|word| (0..4).map(|n| u64::from(parts[4 * word + n]) << (16 * n)).sum())
}

/// Bit `b` of row `a` becomes bit `a` of row `b`: halves change places, then quarters, and so on.
fn transpose(rows: &mut [u16; BANDS]) {
    for (size, low) in [(8, 0x00ff), (4, 0x0f0f), (2, 0x3333), (1, 0x5555)] {
        for upper in (0..BANDS).filter(|row| row & size == 0) {
            let swapped = ((rows[upper] >> size) ^ rows[upper + size]) & low;
            rows[upper + size] ^= swapped;
            rows[upper] ^= swapped << size;
        }
    }
}

/// Band `band` of a hash, counted round the ring.
#[inline]
pub(super) fn band(hash: &Banded, band: usize) -> u16 {
    (hash[band / 4 % 4] >> (16 * (band % 4))) as u16
}

/// What to change in a band's value to get those that differ in less than `limit` bits, the nearest first.
pub(super) fn changes(limit: u32) -> &'static [u16] {
    COUNTS.get(limit as usize).and_then(|&count| CHANGES.get(..count)).unwrap_or_default()
}

/// How many values differ in less than so many bits.
const COUNTS: [usize; 5] = [0, 1, 17, 137, 697];

static CHANGES: [u16; COUNTS[4]] = all_changes();

const fn all_changes() -> [u16; COUNTS[4]] {
    let mut changes = [0; COUNTS[4]];
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

/// The Hamming distance.
#[inline]
pub(super) fn distance(a: &Banded, b: &Banded) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// The limits of the bands for one distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    distance: u32,
}

impl Limits {
    /// For everything within `distance`, at most [`FARTHEST`].
    pub(super) const fn within(distance: u32) -> Self {
        Self { distance }
    }

    /// What `d[band]` must be less than; nothing is to be found where it is 0. As equal as whole numbers can be.
    pub(super) const fn one(self, band: usize) -> u32 {
        let bands = BANDS as u32;
        let (each, over) = ((self.distance + 1) / bands, (self.distance + 1) % bands);
        if ((band % BANDS) as u32) < over { each + 1 } else { each }
    }

    /// What `d[band] + d[band + 1]` must be less than.
    pub(super) const fn two(self, band: usize) -> u32 {
        self.one(band) + self.one(band + 1)
    }

    /// The first band that shows two hashes to be a match, where they differ in the bits of `difference`.
    pub(super) fn shown_by(self, difference: &Banded) -> Option<usize> {
        let ones = |n| band(difference, n).count_ones();
        (0..BANDS).find(|&n| ones(n) < self.one(n) && ones(n) + ones(n + 1) < self.two(n))
    }
}
