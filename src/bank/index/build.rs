//! Arranges hashes into an index: clusters first, then one counting sort a band, in the block of memory that the index then is.

use std::ops::Range;

use bytes::Bytes;

use super::bands::{BANDS, Banded, KEYS, band, banded};
use super::cluster::SHELLS;
use super::gather::{CENTRES, Gathered, Gathering, blocks, gather};
use super::image::{Aligned, Shape};
use super::simd::{BLOCK, Block};
use super::{Index, Parity};
use crate::hash::PdqHash;

impl Index {
    /// An index of these hashes, in this order; none of more than four thousand million, which places cannot tell apart.
    pub fn build<I: ExactSizeIterator<Item = PdqHash>>(hashes: I) -> Option<Self> {
        Self::arrange(hashes, Gathering::USUAL)
    }

    pub(super) fn arrange<I: ExactSizeIterator<Item = PdqHash>>(hashes: I, gathering: Gathering) -> Option<Self> {
        let plain = Shape::new(hashes.len())?;
        // Clusters nearly always make it smaller, and never so much larger; what is never written takes no memory.
        let mut body = Aligned::zeroed(plain.size() + CENTRES * plain.with_clusters(1, 0, BLOCK)?.size_of_clusters());
        let arranged: &mut [Banded] = bytemuck::cast_slice_mut(&mut body.as_mut()[plain.hashes()]);
        let mut parities = [false; 2];
        for (slot, hash) in arranged.iter_mut().zip(hashes) {
            *slot = banded(&hash);
            parities[usize::from(Parity::of(slot) == Parity::Odd)] = true;
        }
        let parity = match parities {
            [_, false] => Parity::Even,
            [false, true] => Parity::Odd,
            [true, true] => Parity::Mixed,
        };
        let gathered = gather(arranged, gathering);
        let mut sizes = vec![0; gathered.centres.len()];
        for member in &gathered.members {
            sizes[usize::from(member.cluster)] += 1_usize;
        }
        let slots = sizes.iter().map(|size| size.next_multiple_of(BLOCK)).sum();
        let shape = plain.with_clusters(sizes.len(), gathered.members.len(), slots)?;
        let (first, rest) = body.as_mut().split_at_mut(shape.hashes().end);
        let mut rest = Rest { bytes: rest, begin: first.len() };
        let arranged: &[Banded] = bytemuck::cast_slice(first);
        place_clusters(arranged, &gathered, shape, &mut rest);
        let runs = runs(&gathered, shape.count() as u32);
        drop(gathered);
        for n in 0..BANDS {
            let [bounds, next, places] = shape.band(n).map(|section| rest.cut(section));
            let (bounds, next) = (bytemuck::cast_slice_mut(bounds), bytemuck::cast_slice_mut(next));
            sort(arranged, &runs, n, bounds, next, bytemuck::cast_slice_mut(places));
        }
        Some(Self { body: Bytes::from_owner(body).slice(..shape.size()), shape, parity })
    }
}

/// What has not been handed out yet of the block, which is cut up from the front.
struct Rest<'a> {
    bytes: &'a mut [u8],
    begin: usize,
}

impl<'a> Rest<'a> {
    fn cut(&mut self, section: Range<usize>) -> &'a mut [u8] {
        let from_here = std::mem::take(&mut self.bytes).split_at_mut(section.start - self.begin).1;
        let (cut, after) = from_here.split_at_mut(section.len());
        *self = Self { bytes: after, begin: section.end };
        cut
    }
}

fn place_clusters(hashes: &[Banded], gathered: &Gathered, shape: Shape, rest: &mut Rest<'_>) {
    let [centres, shells, members, places] = shape.cluster().map(|section| rest.cut(section));
    let (members, places): (&mut [Block], &mut [u32]) =
        (bytemuck::cast_slice_mut(members), bytemuck::cast_slice_mut(places));
    bytemuck::cast_slice_mut(centres).copy_from_slice(&blocks(gathered.centres.iter().copied()));
    let mut slot = 0;
    let clusters = gathered.members.chunk_by(|a, b| a.cluster == b.cluster);
    for (cluster, shells) in clusters.zip(bytemuck::cast_slice_mut::<_, u32>(shells).chunks_exact_mut(SHELLS)) {
        shells.fill(slot as u32);
        for member in cluster {
            let hash = hashes[member.place as usize];
            for (words, word) in members[slot / BLOCK].iter_mut().zip(hash) {
                words[slot % BLOCK] = word;
            }
            places[slot] = member.place;
            slot += 1;
            shells[usize::from(member.shell) + 1..].fill(slot as u32);
        }
        slot = slot.next_multiple_of(BLOCK);
    }
}

/// The places of the entries that are in no cluster.
fn runs(gathered: &Gathered, count: u32) -> Vec<Range<u32>> {
    let mut pulled: Vec<u32> = gathered.members.iter().map(|member| member.place).collect();
    pulled.sort_unstable();
    let mut runs = Vec::new();
    let mut start = 0;
    for place in pulled.into_iter().chain([count]) {
        if start < place {
            runs.push(start..place);
        }
        start = place + 1;
    }
    runs
}

/// Entries of one bucket keep their order.
fn sort(hashes: &[Banded], runs: &[Range<u32>], n: usize, bounds: &mut [u32], next: &mut [u16], places: &mut [u32]) {
    let of = |run: &Range<u32>| &hashes[run.start as usize..run.end as usize];
    for hash in runs.iter().flat_map(of) {
        bounds[usize::from(band(hash, n)) + 1] += 1;
    }
    let mut entries = 0;
    for bound in &mut *bounds {
        entries += *bound;
        *bound = entries;
    }
    let mut free = bounds[..KEYS].to_vec();
    for run in runs {
        for (place, hash) in run.clone().zip(of(run)) {
            let slot = &mut free[usize::from(band(hash, n))];
            next[*slot as usize] = band(hash, n + 1);
            places[*slot as usize] = place;
            *slot += 1;
        }
    }
}
