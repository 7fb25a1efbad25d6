//! The short way from a picture to 64x64: each value is one weighted sum of pixels, in whole numbers.
//!
//! The rows under a tent are added up by their weights, as wide as registers are; along what comes out, each of the 64 tents
//! is one short sum. RGB stays interleaved until its three sums are there, as luma is a weighted sum too. Nothing is
//! rounded before the end, so every machine has the same numbers, and they are the true ones: what the algorithm would give
//! if it did not round. [`Slack`](super::slack::Slack) says what to make of that.
//!
//! There are no instructions to be seen here: loops over arrays of fixed length become the widest that a
//! [`Task`](super::kernel::Task) is compiled for.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

use super::filter::{SIDE, Small};
use super::pixels::{Luma, Pixels, Rgb, full_from_limited};
use super::tents::{Order, Tents};

/// The longest side: up to there the slack was measured. (Twice as far, four times the weight of a tent's top is more than a sum
/// of 32 bits bears.)
pub(super) const LONGEST: usize = 64 * SIDE;

/// The most rows under one tent.
const ROWS: usize = 127;

/// Weights up to which 16 bits hold a sum of bytes.
const WEIGHT: usize = 257;

/// Bytes of a row that are added up in registers at a time.
const STRIP: usize = 128;

/// Weights along a row that are multiplied at a time.
const BLOCK: usize = 32;

/// Zeros on the left of a row: what lies beyond the picture, and more, to keep it aligned.
const MARGIN: usize = 32;

/// What is taken off sums of 16 bits so that they fit in signed ones, which are faster to multiply.
const BIAS: u16 = 1 << 15;

/// A picture whose luma is a weighted sum of whole numbers.
pub(super) trait Channels {
    /// What each value of a pixel counts, in whole numbers.
    const SHARES: &'static [i64];

    /// The values of a row, pixel after pixel.
    fn values(&self, y: usize) -> &[u8];

    /// A value in full range.
    fn full(value: u8) -> u16;
}

impl Channels for Luma<'_> {
    const SHARES: &'static [i64] = &[1];

    fn values(&self, y: usize) -> &[u8] {
        self.row(y)
    }

    #[inline(always)]
    fn full(value: u8) -> u16 {
        u16::from(value)
    }
}

impl Channels for Rgb<'_> {
    const SHARES: &'static [i64] = &[299, 587, 114];

    fn values(&self, y: usize) -> &[u8] {
        self.row(y).as_flattened()
    }

    #[inline(always)]
    fn full(value: u8) -> u16 {
        u16::from(value)
    }
}

/// Luma of limited range.
pub(super) struct Limited<'a>(pub(super) Luma<'a>);

impl Channels for Limited<'_> {
    const SHARES: &'static [i64] = &[1];

    fn values(&self, y: usize) -> &[u8] {
        self.0.row(y)
    }

    #[inline(always)]
    fn full(value: u8) -> u16 {
        full_from_limited(u16::from(value))
    }
}

/// What is known of pictures of one size, and a row of sums.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    across: Tents,
    down: Tents,
    channels: usize,
    /// Sums of rows, less the bias, between zeros.
    row: Vec<i16>,
    /// For each channel, the weights of a tent along the row: zero where other channels are.
    tent: Vec<[i16; BLOCK]>,
    /// For each channel, those of the brim.
    brim: Vec<[i16; BLOCK]>,
}

impl Sketch {
    /// Makes ready for pictures of a size and kind; allocates only where they are new, and says whether they are.
    pub(super) fn fit(&mut self, pixels: &Pixels<'_>) -> bool {
        let (across, down) = (Tents::new(pixels.width()), Tents::new(pixels.height()));
        let channels = match pixels {
            Pixels::Luma(_) => Luma::SHARES.len(),
            Pixels::Rgb(_) => Rgb::SHARES.len(),
        };
        if (self.across, self.down, self.channels) == (across, down, channels) {
            return false;
        }
        (self.across, self.down, self.channels) = (across, down, channels);
        lay_out(&mut self.tent, channels, across.width(), |k| across.weight(k));
        let brim = across.brim(Order::Ahead).map_or(0, |brim| brim.len());
        lay_out(&mut self.brim, channels, brim, |_| 1);
        self.row.clear();
        self.row.resize(MARGIN + pixels.width() * channels + self.tent.as_flattened().len() + BLOCK, i16::MIN);
        true
    }

    /// Shrinks a picture that it was made ready for: from its upper or lower end, and for each way along the rows once.
    #[inline(always)]
    pub(super) fn draw<C: Channels, const N: usize>(
        &mut self,
        picture: &C,
        down: Order,
        across: [Order; N],
    ) -> [Small; N] {
        let (tents, len) = (self.down, self.down.len());
        let whole = (self.across.top() * tents.top()).pow(2) as i64 * C::SHARES.iter().sum::<i64>();
        let mut smalls = [[[0.0; SIDE]; SIDE]; N];
        for i in 0..SIDE {
            let mut sums = [[0.0; SIDE]; N];
            let weighed = (0..tents.width()).zip(tents.first(i, down)..).map(|(k, y)| (y, tents.weight(k)));
            // Only of the cut tent, one row lies outside.
            let inside =
                weighed.filter_map(|(y, weight)| Some((usize::try_from(y).ok().filter(|y| *y < len)?, weight)));
            self.add(picture, inside, 1.0, across, &mut sums);
            if i == SIDE - 1
                && let Some(brim) = tents.brim(down)
            {
                let share = 1.0 / brim.len() as f64;
                self.add(picture, brim.map(|y| (y, 1)), share, across, &mut sums);
            }
            for (small, sums) in smalls.iter_mut().zip(sums) {
                for (to, sum) in small[i].iter_mut().zip(sums) {
                    *to = (sum / whole as f64) as f32;
                }
            }
        }
        smalls
    }

    /// Adds, to the 64 sums for each way along the rows, a share of what rows and their weights come to.
    #[inline(always)]
    fn add<C: Channels, const N: usize>(
        &mut self,
        picture: &C,
        weighed: impl Iterator<Item = (usize, usize)>,
        share: f64,
        across: [Order; N],
        sums: &mut [[f64; SIDE]; N],
    ) {
        let mut weighed = weighed.peekable();
        while weighed.peek().is_some() {
            let (mut rows, mut len, mut room) = ([(&[][..], 0); ROWS], 0, WEIGHT);
            while len < ROWS
                && let Some((y, weight)) = weighed.next_if(|(_, weight)| *weight <= room)
            {
                rows[len] = (picture.values(y), weight as u16);
                len += 1;
                room -= weight;
            }
            self.add_rows::<C>(&rows[..len]);
            for (sums, order) in sums.iter_mut().zip(across) {
                self.add_tents::<C>(share, order, sums);
            }
        }
    }

    /// Rows, each times its weight, added up into one.
    #[inline(always)]
    fn add_rows<C: Channels>(&mut self, rows: &[(&[u8], u16)]) {
        let len = rows.first().map_or(0, |(row, _)| row.len());
        let to = &mut self.row[MARGIN..MARGIN + len];
        if len < STRIP {
            for at in 0..len {
                add_strip::<C, 1>(rows, at, to);
            }
        } else {
            // The last strip begins earlier, so as to end with the row.
            for at in (0..len).step_by(STRIP) {
                add_strip::<C, STRIP>(rows, at.min(len - STRIP), to);
            }
        }
    }

    /// Adds a share of the 64 sums along the row.
    #[inline(always)]
    fn add_tents<C: Channels>(&self, share: f64, order: Order, sums: &mut [f64; SIDE]) {
        let (tents, channels) = (self.across, C::SHARES.len() as isize);
        let whole = tents.top() * tents.top();
        for (i, sum) in sums.iter_mut().enumerate() {
            let first = MARGIN as isize + tents.first(i, order) * channels;
            *sum += share * self.weigh::<C>(&self.tent, first as usize, whole) as f64;
        }
        if let Some(brim) = tents.brim(order) {
            let sum = self.weigh::<C>(&self.brim, MARGIN + brim.start * channels as usize, brim.len());
            sums[SIDE - 1] += share / brim.len() as f64 * sum as f64;
        }
    }

    /// The luma of the row from `first`, times its weights, which add up to `whole`.
    #[inline(always)]
    fn weigh<C: Channels>(&self, weights: &[[i16; BLOCK]], first: usize, whole: usize) -> i64 {
        let blocks = weights.len() / C::SHARES.len();
        let values = self.row[first..first + blocks * BLOCK].as_chunks::<BLOCK>().0;
        let mut luma = 0;
        for (weights, share) in weights.chunks_exact(blocks).zip(C::SHARES) {
            let mut sums = [0; BLOCK / 2];
            for (values, weights) in values.iter().zip(weights) {
                // In pairs, because there is an instruction that multiplies and adds them.
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum += i32::from(values[2 * k]) * i32::from(weights[2 * k])
                        + i32::from(values[2 * k + 1]) * i32::from(weights[2 * k + 1]);
                }
            }
            luma += share * (i64::from(sums.iter().sum::<i32>()) + i64::from(BIAS) * whole as i64);
        }
        luma
    }
}

/// `N` columns of rows, each times its weight, from `at`.
#[inline(always)]
fn add_strip<C: Channels, const N: usize>(rows: &[(&[u8], u16)], at: usize, to: &mut [i16]) {
    let mut sums = [0u16; N];
    for (row, weight) in rows {
        if let Some(values) = row.get(at..).and_then(<[u8]>::first_chunk::<N>) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = sum.wrapping_add(C::full(*value).wrapping_mul(*weight));
            }
        }
    }
    for (to, sum) in to[at..at + N].iter_mut().zip(sums) {
        *to = (sum ^ BIAS) as i16;
    }
}

/// The weights of `len` pixels, written for each channel as they meet the values of a row.
fn lay_out(to: &mut Vec<[i16; BLOCK]>, channels: usize, len: usize, weight: impl Fn(usize) -> usize) {
    let blocks = (len * channels).div_ceil(BLOCK);
    to.clear();
    to.resize(channels * blocks, [0; BLOCK]);
    for (channel, own) in to.as_flattened_mut().chunks_exact_mut((blocks * BLOCK).max(1)).enumerate() {
        for (k, to) in own.iter_mut().skip(channel).step_by(channels).take(len).enumerate() {
            *to = weight(k) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::kernel::{self, Lanes, Task};

    struct Run<'a, C>(&'a mut Sketch, &'a C, Order);

    impl<C: Channels> Task for Run<'_, C> {
        type Out = [Small; 2];

        #[inline(always)]
        fn run<L: Lanes>(self, _: L) -> [Small; 2] {
            self.0.draw(self.1, self.2, [Order::Ahead, Order::Back])
        }
    }

    /// Which places along `len` make the `i`th value and their weights, and what these add up to.
    fn weights(len: usize, i: usize, order: Order) -> (Vec<(usize, i64)>, i64) {
        let tents = Tents::new(len);
        let brim = tents.brim(order).filter(|_| i == SIDE - 1);
        let times = brim.as_ref().map_or(1, |brim| brim.len() as i64);
        let tent = (0..tents.width()).map(|k| (tents.first(i, order) + k as isize, times * tents.weight(k) as i64));
        let tent =
            tent.filter_map(|(place, weight)| Some((usize::try_from(place).ok().filter(|at| *at < len)?, weight)));
        let weights: Vec<_> = tent.chain(brim.into_iter().flatten().map(|place| (place, 1))).collect();
        let whole = weights.iter().map(|(_, weight)| weight).sum();
        assert_eq!(whole, times * (tents.top() * tents.top()) as i64);
        (weights, whole)
    }

    /// Every value of the 64x64 as one fraction of whole numbers.
    fn slow(luma: &[Vec<i64>], scale: i64, down: Order, across: Order) -> Vec<f64> {
        let columns: Vec<_> = (0..SIDE).map(|j| weights(luma[0].len(), j, across)).collect();
        let value = |i: usize, j: usize| {
            let (rows, height) = weights(luma.len(), i, down);
            let (columns, width) = &columns[j];
            let along = |y: usize| columns.iter().map(|(x, weight)| luma[y][*x] * weight).sum::<i64>();
            let sum: i64 = rows.into_iter().map(|(y, weight)| weight * along(y)).sum();
            sum as f64 / (height * width * scale) as f64
        };
        (0..SIDE * SIDE).map(|at| value(at / SIDE, at % SIDE)).collect()
    }

    /// Every kernel gives the very same floats, and they are the true values rounded.
    fn check<C: Channels>(picture: &C, pixels: Pixels<'_>) {
        let full = |y: usize| picture.values(y).iter().map(|value| i64::from(C::full(*value))).collect::<Vec<_>>();
        let luma = |values: &[i64]| values.iter().zip(C::SHARES).map(|(value, share)| value * share).sum();
        let luma: Vec<Vec<i64>> =
            (0..pixels.height()).map(|y| full(y).chunks(C::SHARES.len()).map(luma).collect()).collect();
        let scale = C::SHARES.iter().sum();
        for down in [Order::Ahead, Order::Back] {
            let mut first = None;
            for kernel in kernel::all() {
                let mut sketch = Sketch::default();
                // Nothing may stay behind from a picture of another size.
                sketch.fit(&Pixels::Luma(Luma::new(&[0; 300], 15, 20, 15).unwrap()));
                sketch.fit(&pixels);
                let drawn = kernel.run(Run(&mut sketch, picture, down));
                assert_eq!(*first.get_or_insert(drawn), drawn, "{kernel:?}");
            }
            for (drawn, across) in first.unwrap().iter().zip([Order::Ahead, Order::Back]) {
                for (got, expected) in drawn.as_flattened().iter().zip(slow(&luma, scale, down, across)) {
                    assert!((f64::from(*got) - expected).abs() <= 1e-5, "{got} {expected} {down:?} {across:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn every_kernel_draws_the_true_picture(
            // Short and long rows; few, many and very many to a tent.
            (width, height) in prop_oneof![
                (5usize..500, 5usize..500), (5usize..40, 1000usize..2600), (1000usize..2600, 5usize..40),
                Just((6, LONGEST)), Just((LONGEST, 6)), Just((128, 256)),
            ],
            seed: u64,
            bright: bool,
        ) {
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if bright { 255 } else { state.to_be_bytes()[0] }
            };
            let pixels: Vec<u8> = (0..width * height * 3).map(|_| next()).collect();
            let rgb = Rgb::new(&pixels, width, height).unwrap();
            check(&rgb, Pixels::Rgb(rgb));
            let luma = Luma::new(&pixels, width, height, width + 3).unwrap();
            check(&luma, Pixels::Luma(luma));
            check(&Limited(luma), Pixels::Luma(luma));
        }
    }
}
