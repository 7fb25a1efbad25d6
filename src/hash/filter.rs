//! From a picture of any size to 64x64: two passes of a running box mean along rows and columns, then every so-manieth
//! value.
//!
//! The four passes go over the picture together, in tiles of sixteen by sixteen: rows and columns change places in
//! registers, so that every running sum is sixteen running sums side by side, whichever way it runs, and a tile never
//! leaves the nearest cache. Each value that is kept still goes through exactly the additions, subtractions and divisions
//! of the reference, in its order: a running `f32` sum adds the value that enters the box, then subtracts the one that
//! leaves. So the result does not differ by a bit, and needs no tolerance.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

use super::axis::Axis;
use super::kernel::{LANES, Lanes, Line, sixteen_times};
use super::source::{Source, Trail};

/// Rows and columns of the shrunk picture.
pub(super) const SIDE: usize = 64;

/// The shrunk picture, row by row.
pub(super) type Small = [[f32; SIDE]; SIDE];

/// Lines to one row of the shrunk picture.
const WIDE: usize = SIDE / LANES;

/// Buffers for the filter, kept from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) across: Axis,
    down: Axis,
    /// Sixteen columns at a time: the running sums of the first pass down them.
    column_sums: Vec<Line>,
    /// Sixteen columns at a time: as many means as the box is high, in a ring.
    means: Vec<Line>,
    /// What enters the box of the second pass along sixteen rows.
    blurred: Trail<Line>,
    /// What enters the box of the second pass down the 64 columns that are left.
    narrow: Trail<[Line; WIDE]>,
}

impl Filter {
    /// Makes ready for a picture; allocates only where its size is new.
    pub(super) fn fit(&mut self, width: usize, height: usize) {
        self.across.fit(width);
        self.down.fit(height);
        let strips = self.across.counts.len();
        for (lines, len) in [(&mut self.column_sums, strips), (&mut self.means, strips * self.down.size)] {
            lines.clear();
            lines.resize(len, Line::default());
        }
        self.narrow.reset(self.down.size);
        self.blurred.reset(self.across.size);
    }

    /// Shrinks the picture that it was made ready for.
    #[inline(always)]
    pub(super) fn shrink<L: Lanes, S: Source>(&mut self, lanes: L, mut source: S, small: &mut Small) {
        let mut sums = [lanes.zero(); WIDE];
        let mut rows = small.iter_mut().zip(0..SIDE).peekable();
        for block in 0..self.down.counts.len() {
            source.start(block * LANES);
            let lines = self.shrink_rows(lanes, &mut source, block);
            let (leaving, entering) = self.narrow.next();
            for (r, line) in lines.iter().enumerate() {
                for (group, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.sub(lanes.add(*sum, lanes.load(&line[group])), lanes.load(&leaving[r].get()[group]));
                }
                entering[r].set(*line);
                let step = block * LANES + r;
                while let Some((row, i)) = rows.next_if(|(_, i)| self.down.kept[*i].0 == step) {
                    let count = self.down.kept[i].1;
                    for (to, sum) in row.as_chunks_mut().0.iter_mut().zip(sums) {
                        let mut line = Line::default();
                        lanes.store(lanes.divide(sum, lanes.splat(count), lanes.splat(1.0 / count)), &mut line);
                        *to = line.0;
                    }
                }
            }
        }
    }

    /// Takes sixteen rows through three passes, of the last of which 64 columns are kept.
    #[inline(always)]
    fn shrink_rows<L: Lanes, S: Source>(&mut self, lanes: L, source: &mut S, block: usize) -> [[Line; WIDE]; LANES] {
        let Self { across, down, column_sums, means, blurred, .. } = self;
        let (counts, reciprocals) = (&down.counts[block].0, &down.reciprocals[block].0);
        let size = down.size;
        let last = (block * LANES + size - 1) % size;
        blurred.reset(across.size);
        let mut row_sum = lanes.zero();
        let mut kept = [Line::default(); SIDE];
        let mut next = across.kept.iter().zip(&mut kept).peekable();
        for (strip, (column_sum, means)) in column_sums.iter_mut().zip(means.chunks_exact_mut(size)).enumerate() {
            let mut tile = source.sums(lanes, strip * LANES);
            let (count, reciprocal) = (lanes.load(&across.counts[strip]), lanes.load(&across.reciprocals[strip]));
            let mut sum = lanes.load(column_sum);
            let mut at = last;
            sixteen_times!(r => {
                let mean = lanes.divide(tile[r], count, reciprocal);
                at = if at + 1 == size { 0 } else { at + 1 };
                let oldest = &mut means[at];
                sum = lanes.sub(lanes.add(sum, mean), lanes.load(oldest));
                lanes.store(mean, oldest);
                tile[r] = lanes.divide(sum, lanes.splat(counts[r]), lanes.splat(reciprocals[r]));
            });
            lanes.store(sum, column_sum);
            let mut sums = lanes.transpose(tile);
            let (leaving, entering) = blurred.next();
            sixteen_times!(c => {
                row_sum = lanes.sub(lanes.add(row_sum, sums[c]), lanes.load(&leaving[c].get()));
                entering[c].set(lanes.line(sums[c]));
                sums[c] = row_sum;
            });
            if next.peek().is_some_and(|((step, _), _)| step / LANES == strip) {
                let mut stored = [Line::default(); LANES];
                for (sum, to) in sums.into_iter().zip(&mut stored) {
                    lanes.store(sum, to);
                }
                while let Some(((step, count), to)) = next.next_if(|((step, _), _)| step / LANES == strip) {
                    let sum = lanes.load(&stored[step % LANES]);
                    lanes.store(lanes.divide(sum, lanes.splat(*count), lanes.splat(1.0 / count)), to);
                }
            }
        }
        let mut rows = [[Line::default(); WIDE]; LANES];
        for (group, columns) in kept.as_chunks::<LANES>().0.iter().enumerate() {
            let mut tile = [lanes.zero(); LANES];
            for (to, column) in tile.iter_mut().zip(columns) {
                *to = lanes.load(column);
            }
            for (row, to) in lanes.transpose(tile).into_iter().zip(&mut rows) {
                lanes.store(row, &mut to[group]);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::kernel::{self, Task};
    use crate::hash::pixels::{self, Luma, Rgb};
    use crate::hash::source::{Floats, Grey, Rings};
    use crate::picture::ColourRange;

    /// One box pass as the algorithm is told, in its four phases, over a copy of the whole line.
    fn box_of(line: &[f32], size: usize) -> Vec<f32> {
        let half = size.midpoint(2);
        let (mut sum, mut count) = (0.0f32, 0.0f32);
        let (mut enters, mut leaves) = (0, 0);
        let mut out = Vec::new();
        for _ in 0..half - 1 {
            sum += line[enters];
            enters += 1;
            count += 1.0;
        }
        for _ in 0..=(size - half) {
            sum += line[enters];
            enters += 1;
            count += 1.0;
            out.push(sum / count);
        }
        for _ in 0..(line.len() - size) {
            sum += line[enters];
            sum -= line[leaves];
            enters += 1;
            leaves += 1;
            out.push(sum / count);
        }
        for _ in 0..half - 1 {
            sum -= line[leaves];
            leaves += 1;
            count -= 1.0;
            out.push(sum / count);
        }
        out
    }

    fn transposed(rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        (0..rows[0].len()).map(|x| rows.iter().map(|row| row[x]).collect()).collect()
    }

    fn slow(mut rows: Vec<Vec<f32>>) -> Small {
        let (width, height) = (rows[0].len(), rows.len());
        for _ in 0..2 {
            rows = rows.iter().map(|row| box_of(row, width.div_ceil(128))).collect();
            let columns: Vec<_> = transposed(&rows).iter().map(|c| box_of(c, height.div_ceil(128))).collect();
            rows = transposed(&columns);
        }
        let place = |i: usize, len: usize| ((i as f64 + 0.5) * len as f64 / 64.0).floor() as usize;
        std::array::from_fn(|i| std::array::from_fn(|j| rows[place(i, height)][place(j, width)]))
    }

    /// A picture to be hashed in each way: RGB, or its red as grey.
    #[derive(Debug, Clone)]
    struct Case {
        width: usize,
        height: usize,
        rgb: Vec<u8>,
    }

    fn cases() -> impl Strategy<Value = Case> {
        let side = prop_oneof![5usize..140, Just(64), Just(128), Just(129), 250usize..900];
        (side.clone(), side, any::<u64>(), 0u32..8).prop_map(|(width, height, seed, plainness)| {
            let mut state = seed | 1;
            let next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0] >> plainness
            };
            Case { width, height, rgb: std::iter::repeat_with(next).take(width * height * 3).collect() }
        })
    }

    struct Run<'a, S>(&'a mut Filter, S);

    impl<S: Source> Task for Run<'_, S> {
        type Out = Small;

        fn run<L: Lanes>(self, lanes: L) -> Small {
            let mut small = [[0.0; SIDE]; SIDE];
            self.0.shrink(lanes, self.1, &mut small);
            small
        }
    }

    fn rows(values: &[f32], width: usize) -> Vec<Vec<f32>> {
        values.chunks(width).map(<[f32]>::to_vec).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_way_gives_the_very_same_floats_as_four_whole_passes(cases in [cases(), cases()]) {
            for kernel in kernel::all() {
                // One filter for both pictures: nothing may stay behind in its buffers.
                let (mut filter, mut rings) = (Filter::default(), Rings::default());
                for Case { width, height, rgb } in &cases {
                    let (width, height) = (*width, *height);
                    filter.fit(width, height);
                    let size = filter.across.size;
                    let view = Rgb::new(rgb, width, height).unwrap();
                    let luma: Vec<f32> = rgb.as_chunks().0.iter().map(|pixel| pixels::luma_of(*pixel)).collect();
                    let small = kernel.run(Run(&mut filter, Floats::new(view, size, &mut rings)));
                    prop_assert!(small == slow(rows(&luma, width)), "{kernel:?}, RGB");

                    let grey: Vec<u8> = rgb.iter().copied().step_by(3).collect();
                    for range in [ColourRange::Full, ColourRange::Limited] {
                        let view = Luma::new(&grey, width, height, width).unwrap().in_range(range);
                        let expected: Vec<f32> = grey.iter().map(|value| view.value(*value)).collect();
                        let expected = slow(rows(&expected, width));
                        filter.fit(width, height);
                        let small = kernel.run(Run(&mut filter, Grey::new(view, size, &mut rings)));
                        prop_assert!(small == expected, "{kernel:?}, {range:?}");
                        filter.fit(width, height);
                        let small = kernel.run(Run(&mut filter, Floats::new(view, size, &mut rings)));
                        prop_assert!(small == expected, "{kernel:?}, {range:?}, in floats");
                    }
                }
            }
        }
    }
}
