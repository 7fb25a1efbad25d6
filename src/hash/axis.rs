//! The box along one dimension, told in steps.
//!
//! A box of `size` values reaches `lead` values ahead of its place. So at step `s` the value at place `s` enters and the
//! mean at place `s - lead` comes out; after the second pass it is place `s - 2 lead`. What lies outside the picture
//! counts as zero, which changes no sum, so that the ends need no code of their own.

use super::filter::SIDE;
use super::kernel::{LANES, Line};

/// One dimension of pictures of one size.
#[derive(Debug, Default)]
pub(super) struct Axis {
    len: usize,
    /// How many values the box holds.
    pub(super) size: usize,
    /// For sixteen steps at a time: how many values lie in the box of the first pass, at least 1.
    pub(super) counts: Vec<Line>,
    /// One over the count, or zero where there is no place.
    pub(super) reciprocals: Vec<Line>,
    /// The steps at which the 64 values that are kept come out of the second pass, and the counts at their places.
    pub(super) kept: Vec<(usize, f32)>,
}

impl Axis {
    /// Becomes the axis of `len` places.
    pub(super) fn fit(&mut self, len: usize) {
        if self.len == len {
            return;
        }
        let size = len.div_ceil(2 * SIDE);
        let lead = size / 2;
        let count = |place: usize| ((place + lead + 1).min(len) - (place + lead + 1).saturating_sub(size)) as f32;
        let blocks = (len + 2 * lead).div_ceil(LANES);
        (self.len, self.size) = (len, size);
        for lines in [&mut self.counts, &mut self.reciprocals] {
            lines.clear();
            lines.resize(blocks, Line::default());
        }
        let counts = self.counts.iter_mut().flat_map(|line| &mut line.0);
        let reciprocals = self.reciprocals.iter_mut().flat_map(|line| &mut line.0);
        for (step, (to, reciprocal)) in counts.zip(reciprocals).enumerate() {
            let inside = step.checked_sub(lead).filter(|place| *place < len);
            *to = inside.map_or(1.0, count);
            *reciprocal = inside.map_or(0.0, |place| 1.0 / count(place));
        }
        self.kept.clear();
        self.kept.extend((0..SIDE).map(|i| chosen(i, len)).map(|place| (place + 2 * lead, count(place))));
    }
}

/// Which of `len` values becomes the `i`th of 64: the one in the middle of its share.
fn chosen(i: usize, len: usize) -> usize {
    (2 * i + 1) * len / (2 * SIDE)
}
