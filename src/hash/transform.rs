//! From 64x64 to quality and hash: neighbouring differences, a discrete cosine transform, and a comparison with the
//! median.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

use super::filter::{SIDE, Small};
use super::pdq_hash::PdqHash;
use super::slack::Slack;

/// Frequencies kept in each direction.
const FREQUENCIES: usize = 16;

/// The 128th smallest of 256 coefficients, counted from 0: the lower median.
const LOWER_MEDIAN: usize = FREQUENCIES * FREQUENCIES / 2 - 1;

/// How much a picture shows: the sum of the differences between neighbours, each cut down to a whole percentage. Nothing
/// where that is another for other differences within the slack.
#[inline(always)]
pub(super) fn quality(small: &Small, slack: Slack) -> Option<u8> {
    let mut sums = Sums { least: [0.0; SIDE], most: [0.0; SIDE], slack: slack.difference * 100.0 / 255.0 };
    for (row, below) in small.iter().zip(&small[1..]) {
        sums.add(row, below);
    }
    for row in small {
        let mut next = *row;
        next[..SIDE - 1].copy_from_slice(&row[1..]);
        sums.add(row, &next);
    }
    let [least, most] = [sums.least, sums.most].map(|sums| (sums.iter().sum::<f32>() as u32 / 90).min(100) as u8);
    (least == most).then_some(most)
}

/// Sums of whole percentages, side by side: whole numbers, all of them below 2^24 and so exact.
struct Sums {
    least: [f32; SIDE],
    most: [f32; SIDE],
    slack: f32,
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, line: &[f32; SIDE], beside: &[f32; SIDE]) {
        for x in 0..SIDE {
            let percentage = ((line[x] - beside[x]) * 100.0 / 255.0).abs();
            self.least[x] += cut_down((percentage - self.slack).max(0.0));
            self.most[x] += cut_down(percentage + self.slack);
        }
    }
}

/// The whole number below, of 0 to 2^22. `as` does the same, but one at a time.
#[inline(always)]
fn cut_down(value: f32) -> f32 {
    const NO_FRACTIONS: f32 = (1 << 23) as f32;
    let nearest = value + NO_FRACTIONS - NO_FRACTIONS;
    nearest - if nearest > value { 1.0 } else { 0.0 }
}

/// The transform's matrix, 16x64: the 16 lowest frequencies but for the mean.
#[derive(Debug)]
pub(super) struct Dct {
    down: [[f32; SIDE]; FREQUENCIES],
    /// The same, rows and columns swapped: sixteen frequencies side by side.
    across: [[f32; FREQUENCIES]; SIDE],
}

impl Default for Dct {
    fn default() -> Self {
        // The scale is rounded to f32 before it multiplies an f64 cosine, as in the reference: done all in f64, one
        // coefficient in a few hundred comes out a last bit different.
        let scale = f64::from((2.0 / SIDE as f32).sqrt());
        let step = std::f64::consts::PI / 2.0 / SIDE as f64;
        let entry = |i: usize, j: usize| (scale * (step * (i + 1) as f64 * (2 * j + 1) as f64).cos()) as f32;
        Self {
            down: std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j))),
            across: std::array::from_fn(|j| std::array::from_fn(|i| entry(i, j))),
        }
    }
}

impl Dct {
    /// A bit for each coefficient, set where it is greater than the lower median. Nothing where that is another for
    /// other coefficients within the slack.
    #[inline(always)]
    pub(super) fn hash(&self, small: &Small, slack: Slack) -> Option<PdqHash> {
        let coefficients = self.transform(small);
        let mut sorted = coefficients;
        let (_, &mut median, above) = sorted.as_flattened_mut().select_nth_unstable_by(LOWER_MEDIAN, f32::total_cmp);
        // Which 128 coefficients are the greater ones is all that the bits tell: it is certain if the least of them
        // cannot change places with the median.
        let next = above.iter().copied().fold(f32::INFINITY, f32::min);
        if next - median < 2.0 * slack.coefficient {
            return None;
        }
        let mut hash = PdqHash::ZERO;
        for (k, coefficient) in coefficients.as_flattened().iter().enumerate() {
            if *coefficient > median {
                hash.set(k);
            }
        }
        Some(hash)
    }

    /// `D A Dᵗ`. Products are added from the first to the last, which is what fixes the rounding.
    #[inline(always)]
    pub(super) fn transform(&self, small: &Small) -> [[f32; FREQUENCIES]; FREQUENCIES] {
        let mut coefficients = [[0.0; FREQUENCIES]; FREQUENCIES];
        for (down, to) in self.down.iter().zip(&mut coefficients) {
            let mut folded = [0.0; SIDE];
            for (weight, row) in down.iter().zip(small) {
                for (sum, value) in folded.iter_mut().zip(row) {
                    *sum += weight * value;
                }
            }
            for (value, across) in folded.iter().zip(&self.across) {
                for (sum, weight) in to.iter_mut().zip(across) {
                    *sum += value * weight;
                }
            }
        }
        coefficients
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(seed: u64) -> Small {
        let mut state = seed | 1;
        std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 65_793.0
            })
        })
    }

    proptest! {
        #[test]
        fn a_healthy_hash_has_128_ones(seed: u64) {
            prop_assert_eq!(Dct::default().hash(&noise(seed), Slack::NONE).unwrap().ones(), 128);
        }

        #[test]
        fn a_negative_has_the_opposite_bits_but_for_the_two_medians(seed: u64) {
            let (small, dct) = (noise(seed), Dct::default());
            let negative = small.map(|row| row.map(|value| 255.0 - value));
            let [hash, opposite] = [small, negative].map(|small| dct.hash(&small, Slack::NONE).unwrap());
            prop_assert!(hash.distance(&opposite) >= 250);
        }
    }

    proptest! {
        #[test]
        fn what_is_certain_stands_whatever_the_errors_within_the_slack(
            seed: u64, error in 0.0005f32..0.2, contrast in 0.01f32..0.5,
        ) {
            let (small, errors, dct) = (noise(seed), noise(seed ^ 0xfeed), Dct::default());
            let small = small.map(|row| row.map(|value| 100.0 + contrast * value));
            let mut off = small;
            for (value, other) in off.as_flattened_mut().iter_mut().zip(errors.as_flattened()) {
                *value += error * (other / 127.5 - 1.0);
            }
            // A row of the matrix adds up to 7.2 at most, so coefficients are off by at most 7.2 * 7.2 errors; and a little for rounding.
            let slack = Slack { difference: 2.0 * error + 1e-4, coefficient: 52.0 * error + 1e-2 };
            let (certain, is) = (quality(&small, slack), quality(&off, Slack::NONE));
            prop_assert!(certain.is_none_or(|certain| Some(certain) == is), "{certain:?} {is:?}");
            let (certain, is) = (dct.hash(&small, slack), dct.hash(&off, Slack::NONE));
            prop_assert!(certain.is_none_or(|certain| Some(certain) == is));
        }
    }

    #[test]
    fn what_hangs_by_a_hair_is_uncertain() {
        let (slack, dct) = (Slack::of(1920, 1080), Dct::default());
        assert!(dct.hash(&noise(7), slack).is_some());
        assert_eq!(dct.hash(&[[77.0; SIDE]; SIDE], slack), None);
        let ramp = |step: f32| -> Small { std::array::from_fn(|_| std::array::from_fn(|x| step * x as f32)) };
        assert_eq!(quality(&ramp(2.6), slack), quality(&ramp(2.6), Slack::NONE));
        assert_eq!(quality(&ramp(2.551), slack), None);
        assert_eq!(quality(&ramp(2.549), slack), None);
    }

    #[test]
    fn the_transform_is_that_of_the_textbook() {
        let (small, dct) = (noise(7), Dct::default());
        let got = dct.transform(&small);
        let angle = |frequency: usize, at: usize| (frequency as f64 + 1.0) * (at as f64 + 0.5) / 64.0;
        for (u, row) in got.iter().enumerate() {
            for (v, value) in row.iter().enumerate() {
                let mut expected = 0.0;
                for (y, line) in small.iter().enumerate() {
                    for (x, pixel) in line.iter().enumerate() {
                        let wave =
                            (std::f64::consts::PI * angle(u, y)).cos() * (std::f64::consts::PI * angle(v, x)).cos();
                        expected += f64::from(*pixel) * wave / 32.0;
                    }
                }
                assert!((f64::from(*value) - expected).abs() < 1e-2, "{u},{v}: {value} {expected}");
            }
        }
    }

    #[test]
    fn quality_truncates_each_difference() {
        // Steps of 2 are 0.78 % of the range each, and so count as nothing; steps of 3 are 1.18 %, and count as 1.
        let ramp = |step: f32| -> Small { std::array::from_fn(|_| std::array::from_fn(|x| step * x as f32)) };
        let quality = |small: &Small| quality(small, Slack::NONE).unwrap();
        assert_eq!(quality(&ramp(2.0)), 0);
        assert_eq!(quality(&ramp(3.0)), u8::try_from(64 * 63 / 90).unwrap());
        assert_eq!(quality(&ramp(-3.0)), u8::try_from(64 * 63 / 90).unwrap());
        assert_eq!(quality(&noise(3)), 100);
    }
}
