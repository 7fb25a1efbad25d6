//! From a picture of any size to 64x64: two passes of a running box mean along rows and columns, then every so-manieth
//! value.
//!
//! Only 64 columns and 64 rows of the last pass are ever read, and only as many rows as the box is high are needed at a
//! time. So the picture streams through row by row, and the last pass runs over 64 columns only. Each value that is kept
//! still goes through exactly the additions, subtractions and divisions of the reference, in its order: a running `f32`
//! sum adds the value that enters the box, then subtracts the one that leaves.

/// Rows and columns of the shrunk picture.
pub(super) const SIDE: usize = 64;

/// The shrunk picture, row by row.
pub(super) type Small = [[f32; SIDE]; SIDE];

/// Buffers for the filter, kept from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// One row on its way in, between zeros.
    row: Vec<f32>,
    /// One row that went through the first pass, between zeros.
    blurred: Vec<f32>,
    /// Running sums along a row.
    sums: Vec<f32>,
    /// Running sums down each column.
    column_sums: Vec<f32>,
    /// The last rows of means, as many as the box is high.
    ring: Vec<f32>,
    /// What the second pass along the rows leaves: 64 means for each row.
    narrow: Vec<[f32; SIDE]>,
}

impl Filter {
    /// Shrinks a picture that `read_row(y, row)` gives row by row, from the top, each exactly once.
    pub(super) fn shrink(
        &mut self,
        width: usize,
        height: usize,
        mut read_row: impl FnMut(usize, &mut [f32]),
        small: &mut Small,
    ) {
        if width == SIDE && height == SIDE {
            small.iter_mut().enumerate().for_each(|(y, row)| read_row(y, row));
            return;
        }
        let (across, down) = (Window::along(width), Window::along(height));
        self.reset(&across, &down);
        let picture = across.size..across.size + width;
        for step in 0..down.steps() {
            if step < height {
                read_row(step, &mut self.row[picture.clone()]);
            } else {
                self.row.fill(0.0);
            }
            across.run(&self.row, &mut self.sums);
            let oldest = (step % down.size) * width;
            let ring = &mut self.ring[oldest..oldest + width];
            for (((sum, old), new), count) in self.column_sums.iter_mut().zip(ring).zip(&self.sums).zip(&across.counts)
            {
                let mean = new / count;
                *sum = *sum + mean - *old;
                *old = mean;
            }
            let Some(y) = step.checked_sub(down.lead()) else { continue };
            let count = down.counts[y];
            for (to, sum) in self.blurred[picture.clone()].iter_mut().zip(&self.column_sums) {
                *to = sum / count;
            }
            across.run(&self.blurred, &mut self.sums);
            for (i, to) in self.narrow[y].iter_mut().enumerate() {
                let x = chosen(i, width);
                *to = self.sums[x] / across.counts[x];
            }
        }
        self.finish(&down, small);
    }

    fn reset(&mut self, across: &Window, down: &Window) {
        for (buffer, len) in [
            (&mut self.row, across.padded()),
            (&mut self.blurred, across.padded()),
            (&mut self.sums, across.len()),
            (&mut self.column_sums, across.len()),
            (&mut self.ring, across.len() * down.size),
        ] {
            buffer.clear();
            buffer.resize(len, 0.0);
        }
        self.narrow.resize(down.len(), [0.0; SIDE]);
    }

    /// The second pass down the columns, of which only 64 are left.
    fn finish(&self, down: &Window, small: &mut Small) {
        let nothing = [0.0; SIDE];
        let mut sums = [0.0; SIDE];
        let mut outputs = small.iter_mut().enumerate().peekable();
        for step in 0..down.steps() {
            let new = self.narrow.get(step).unwrap_or(&nothing);
            let old = step.checked_sub(down.size).map_or(&nothing, |leaving| &self.narrow[leaving]);
            for ((sum, new), old) in sums.iter_mut().zip(new).zip(old) {
                *sum = *sum + new - old;
            }
            let Some(y) = step.checked_sub(down.lead()) else { continue };
            while let Some((_, row)) = outputs.next_if(|(i, _)| chosen(*i, down.len()) == y) {
                *row = sums.map(|sum| sum / down.counts[y]);
            }
        }
    }
}

/// Which of `len` values becomes the `i`th of 64: the one in the middle of its share.
fn chosen(i: usize, len: usize) -> usize {
    (2 * i + 1) * len / (2 * SIDE)
}

/// The box along one dimension.
///
/// It enters at one end and leaves at the other, so the first and last means are of fewer values; a box of even size
/// reaches one value further ahead than back.
struct Window {
    size: usize,
    /// How many values lie in the box around each place.
    counts: Vec<f32>,
}

impl Window {
    fn along(len: usize) -> Self {
        let size = len.div_ceil(2 * SIDE);
        let lead = size / 2;
        let count = |at: usize| (at + lead + 1).min(len) - (at + lead + 1).saturating_sub(size);
        Self { size, counts: (0..len).map(|at| count(at) as f32).collect() }
    }

    fn len(&self) -> usize {
        self.counts.len()
    }

    /// How many values ahead of its place the box reaches.
    fn lead(&self) -> usize {
        self.size / 2
    }

    fn steps(&self) -> usize {
        self.len() + self.lead()
    }

    /// A row with a box of zeros before it, and as many after it as the box reaches ahead. Adding or subtracting a zero
    /// changes no sum, so the ends of a row need no code of their own.
    fn padded(&self) -> usize {
        self.size + self.steps()
    }

    /// The sum of the box around each place of a padded row.
    fn run(&self, padded: &[f32], sums: &mut [f32]) {
        let (entering, leaving) = (&padded[self.size..], padded);
        let mut sum = entering[..self.lead()].iter().fold(0.0, |sum, value| sum + value);
        let entering = &entering[self.lead()..];
        let leaving = &leaving[self.lead()..];
        for ((to, new), old) in sums.iter_mut().zip(entering).zip(leaving) {
            sum = sum + new - old;
            *to = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        if (width, height) != (SIDE, SIDE) {
            for _ in 0..2 {
                rows = rows.iter().map(|row| box_of(row, width.div_ceil(128))).collect();
                let columns: Vec<_> = transposed(&rows).iter().map(|c| box_of(c, height.div_ceil(128))).collect();
                rows = transposed(&columns);
            }
        }
        let place = |i: usize, len: usize| ((i as f64 + 0.5) * len as f64 / 64.0).floor() as usize;
        std::array::from_fn(|i| std::array::from_fn(|j| rows[place(i, height)][place(j, width)]))
    }

    fn pictures() -> impl Strategy<Value = Vec<Vec<f32>>> {
        let side = prop_oneof![5usize..140, Just(64), Just(128), Just(129), 250usize..900];
        (side.clone(), side).prop_flat_map(|(width, height)| {
            any::<u64>().prop_map(move |seed| {
                let mut state = seed | 1;
                let mut next = move || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 40) as f32 / 65_793.0
                };
                (0..height).map(|_| (0..width).map(|_| next()).collect()).collect()
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn streaming_gives_the_very_same_floats_as_four_whole_passes(rows in pictures()) {
            let mut filter = Filter::default();
            let mut small = [[0.0; SIDE]; SIDE];
            // Twice, the first time with another picture: nothing may stay behind in the buffers.
            let other = vec![vec![200.0; rows.len()]; rows[0].len()];
            for rows in [&other, &rows] {
                filter.shrink(rows[0].len(), rows.len(), |y, row| row.copy_from_slice(&rows[y]), &mut small);
            }
            prop_assert!(small == slow(rows));
        }
    }
}
