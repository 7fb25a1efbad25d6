//! Arranges hashes into an index: one counting sort a band, in the block of memory that the index then is.

use bytes::Bytes;

use super::bands::{BANDS, Banded, KEYS, band, banded};
use super::image::{Aligned, Shape};
use super::{Index, Parity};
use crate::hash::PdqHash;

impl Index {
    /// An index of these hashes, in this order; none of more than four thousand million, which places cannot tell apart.
    pub fn build<I: ExactSizeIterator<Item = PdqHash>>(hashes: I) -> Option<Self> {
        let shape = Shape::new(hashes.len())?;
        let mut body = Aligned::zeroed(shape.size());
        let bytes: &mut [u8] = body.as_mut();
        let (first, rest) = bytes.split_at_mut(shape.hashes().end);
        let arranged: &mut [Banded] = bytemuck::cast_slice_mut(first);
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
        let mut rest = rest;
        let mut begin = shape.hashes().end;
        for n in 0..BANDS {
            let [bounds, next, places] = shape.band(n);
            let mut cut = |section: std::ops::Range<usize>| {
                let (section_bytes, after) =
                    std::mem::take(&mut rest).split_at_mut(section.start - begin).1.split_at_mut(section.len());
                rest = after;
                begin = section.end;
                section_bytes
            };
            let bounds: &mut [u32] = bytemuck::cast_slice_mut(cut(bounds));
            let next: &mut [u16] = bytemuck::cast_slice_mut(cut(next));
            let places: &mut [u32] = bytemuck::cast_slice_mut(cut(places));
            sort(arranged, n, bounds, next, places);
        }
        Some(Self { body: Bytes::from_owner(body), shape, parity })
    }
}

/// Entries of one bucket keep their order.
fn sort(hashes: &[Banded], n: usize, bounds: &mut [u32], next: &mut [u16], places: &mut [u32]) {
    for hash in hashes {
        bounds[usize::from(band(hash, n)) + 1] += 1;
    }
    let mut entries = 0;
    for bound in &mut *bounds {
        entries += *bound;
        *bound = entries;
    }
    let mut free = bounds[..KEYS].to_vec();
    for (place, hash) in (0..).zip(hashes) {
        let slot = &mut free[usize::from(band(hash, n))];
        next[*slot as usize] = band(hash, n + 1);
        places[*slot as usize] = place;
        *slot += 1;
    }
}
