//! Finds the clusters of a bank when its index is built.
//!
//! A sample of the entries is enough to see where many are near one another: whatever is worth a cluster has several entries in
//! it. Their centre is the value that most of them have in each bit. Then every entry is compared with the centres, and those within
//! [`RADIUS`] of one are pulled out of the bands. What is missed here, or pulled without need, costs time when it is
//! searched and nothing else: an index is exact with any clusters (see [`super::cluster`]).

use super::bands::Banded;
use super::cluster::RADIUS;
use super::simd::{BLOCK, Block, Near, compare};

/// How to look for clusters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathering {
    /// One entry in so many is looked at, to begin with.
    pub(super) every: usize,
    /// But never more than so many.
    pub(super) sample: usize,
    /// From so many entries of the sample on it is a cluster.
    pub(super) crowd: usize,
    /// Comparisons of an entry with a centre that may be made.
    pub(super) comparisons: usize,
}

impl Gathering {
    /// Some tenths of a second at most, a tenth where there is no cluster. It finds clusters of one in two thousand entries and,
    /// in banks below a quarter of a million, of a hundred and some.
    pub(super) const USUAL: Self = Self { every: 16, sample: 1 << 14, crowd: 8, comparisons: 1 << 30 };
}

/// Pairs of members that are on average as far from their centre as bands cannot cope with are this far from one another.
const PAIR: u32 = 64;

/// Most centres that a query is compared with: it takes a tenth of a microsecond.
pub(super) const CENTRES: usize = 256;

/// An entry of a cluster. In the order in which they lie: by cluster, then by shell, then by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) cluster: u16,
    pub(super) shell: u16,
    pub(super) place: u32,
}

/// The centres, and all members.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) centres: Vec<Banded>,
    pub(super) members: Vec<Member>,
}

/// Entries in blocks; what is left of the last block is as far away from `hashes` as it happens to be, and must be left out by number.
pub(super) fn blocks(hashes: impl Iterator<Item = Banded>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (n, hash) in hashes.enumerate() {
        if n % BLOCK == 0 {
            blocks.push(Block::default());
        }
        if let Some(block) = blocks.last_mut() {
            for (words, word) in block.iter_mut().zip(hash) {
                words[n % BLOCK] = word;
            }
        }
    }
    blocks
}

/// The clusters of these hashes.
pub(super) fn gather(hashes: &[Banded], how: Gathering) -> Gathered {
    let most = (how.comparisons / hashes.len().max(1)).clamp(BLOCK, CENTRES);
    let mut centres = centres(&sample(hashes, how), how.crowd, 2 * most);
    centres.truncate(most);
    if centres.is_empty() {
        return Gathered::default();
    }
    let members = members(hashes, &centres);
    // A cluster that the sample promised and that is none is not worth a centre.
    let mut sizes = vec![0; centres.len()];
    for member in &members {
        sizes[usize::from(member.cluster)] += 1;
    }
    let (mut kept, mut numbers) = (Vec::new(), Vec::new());
    for (centre, size) in centres.into_iter().zip(sizes) {
        numbers.push((size >= how.crowd).then_some(kept.len() as u16));
        kept.extend((size >= how.crowd).then_some(centre));
    }
    let renumbered = |member: Member| Some(Member { cluster: numbers[usize::from(member.cluster)]?, ..member });
    let mut members: Vec<Member> = members.into_iter().filter_map(renumbered).collect();
    members.sort_unstable();
    Gathered { centres: kept, members }
}

/// Evenly from everywhere, but in no step that the order of the entries could have too.
fn sample(hashes: &[Banded], how: Gathering) -> Vec<Banded> {
    let count = (hashes.len() / how.every.max(1)).min(how.sample);
    let places = (0..count as u64).map(|n| {
        let (start, end) = (n * hashes.len() as u64 / count as u64, (n + 1) * hashes.len() as u64 / count as u64);
        let chance = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        start + chance * (end - start) / (1 << 32)
    });
    places.filter_map(|place| hashes.get(place as usize).copied()).collect()
}

/// Where many of the sample are near one another, the most first: at most `most` places.
fn centres(sample: &[Banded], crowd: usize, most: usize) -> Vec<Banded> {
    let blocks = blocks(sample.iter().copied());
    let mut free = vec![true; sample.len()];
    let mut near = Vec::new();
    let mut around = |hash: &Banded, distance: u32, free: &[bool]| -> Vec<usize> {
        near.clear();
        compare(&blocks, hash, distance, &mut near);
        let numbers = near.iter().map(|Near { at, .. }| *at as usize);
        numbers.filter(|at| free.get(*at).is_some_and(|free| *free)).collect()
    };
    let mut found: Vec<(usize, Banded)> = Vec::new();
    for (n, hash) in sample.iter().enumerate() {
        if found.len() == most {
            break;
        }
        if !free[n] {
            continue;
        }
        let mut crowded = around(hash, PAIR, &free);
        if crowded.len() < crowd {
            continue;
        }
        let mut centre = *hash;
        for _ in 0..3 {
            centre = middle(crowded.iter().map(|at| &sample[*at]));
            crowded = around(&centre, RADIUS, &free);
        }
        // Between two crowds there may be nobody.
        if crowded.len() < crowd {
            centre = *hash;
            crowded = around(&centre, RADIUS, &free);
        }
        if crowded.len() >= crowd {
            found.push((crowded.len(), centre));
            for at in crowded {
                free[at] = false;
            }
        }
    }
    found.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    found.into_iter().map(|(_, centre)| centre).collect()
}

/// Each bit as most of them have it.
fn middle<'a>(hashes: impl Iterator<Item = &'a Banded>) -> Banded {
    let (mut ones, mut count) = ([[0_u32; 64]; 4], 0);
    for hash in hashes {
        count += 1;
        for (ones, word) in ones.iter_mut().zip(hash) {
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += (word >> bit & 1) as u32;
            }
        }
    }
    ones.map(|ones| (0..).zip(ones).map(|(bit, ones)| u64::from(2 * ones > count) << bit).sum())
}

/// Every entry within [`RADIUS`] of a centre, under the nearest of them, in the order of places.
fn members(hashes: &[Banded], centres: &[Banded]) -> Vec<Member> {
    let blocks = blocks(centres.iter().copied());
    let mut members = Vec::new();
    let mut near: Vec<Near> = Vec::new();
    for (place, hash) in (0..).zip(hashes) {
        near.clear();
        compare(&blocks, hash, RADIUS, &mut near);
        let real = near.iter().filter(|near| (near.at as usize) < centres.len());
        members.extend(real.min_by_key(|near| (near.apart, near.at)).map(|near| Member {
            cluster: near.at as u16,
            shell: near.apart as u16,
            place,
        }));
    }
    members
}
