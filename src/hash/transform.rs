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
    let (mut least, mut most) = (0, 0);
    for (row, below) in small.iter().zip(&small[1..]) {
        add_differences(row, below, slack, &mut least, &mut most);
    }
    for row in small {
        add_differences(row, &row[1..], slack, &mut least, &mut most);
    }
    let [least, most] = [least, most].map(|sum: i32| (sum / 90).min(100));
    (least == most).then_some(u8::try_from(most).unwrap_or(100))
}

#[inline(always)]
fn add_differences(line: &[f32], beside: &[f32], slack: Slack, least: &mut i32, most: &mut i32) {
    let slack = slack.difference * 100.0 / 255.0;
    for (u, v) in line.iter().zip(beside) {
        let percentage = ((u - v) * 100.0 / 255.0).abs();
        *least += (percentage - slack).max(0.0) as i32;
        *most += (percentage + slack) as i32;
    }
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
