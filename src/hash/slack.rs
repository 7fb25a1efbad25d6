//! How far the short way may be from the reference, and so which of its results are certain.
//!
//! The short way gives true values, rounded once. The reference adds and subtracts its way through four running sums in
//! `f32`: each of some `2 (width + height)` additions rounds, errors add up as in a random walk, and what comes out
//! differs by some 0.0003 of 255. That decides nothing unless a bit hangs by a hair. So a result counts only where no
//! errors within the slack could change it; the rest, a few pictures in a hundred, are hashed again the long way.
//!
//! What is proven: while the reference's values are within the slack, its hash and quality are those that are called certain. What is
//! measured: that they are. Over 900 frames and 720 photographs and crops none came to a quarter of it; over 2,700 gradients, waves,
//! steps and noise made to be awkward, to 0.7 of it (a test keeps a sample of patterns within half). It is no proof: a picture could be made
//! whose roundings all go one way. It would gain a bit that is as good as tied, or a point of quality, which decides nothing.

/// How far values derived from the 64x64 may be from the reference's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slack {
    /// The difference of two neighbours.
    pub(super) difference: f32,
    /// A coefficient of the transform, if it is about the median.
    pub(super) coefficient: f32,
}

/// How many steps of a random walk the difference of two neighbours may be off, and a coefficient.
const STEPS: Slack = Slack { difference: 8.0, coefficient: 16.0 };

impl Slack {
    /// Of values computed the reference's way.
    pub(super) const NONE: Self = Self { difference: 0.0, coefficient: 0.0 };

    /// Of values of a picture that took the short way.
    pub(super) fn of(width: usize, height: usize) -> Self {
        let step = step(width, height);
        Self { difference: STEPS.difference * step, coefficient: STEPS.coefficient * step }
    }
}

/// How far a random walk gets that goes, for each addition, as far as a mean near 255 is rounded.
fn step(width: usize, height: usize) -> f32 {
    let rounding = 256.0 * f32::EPSILON / 2.0;
    let additions = 2 * (width + height);
    rounding * (additions as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use crate::hash::filter::Small;
    use crate::hash::tents::Order;
    use crate::hash::transform::Dct;
    use crate::hash::{Hasher, Luma, Pixels, Rgb};

    use super::*;

    /// The largest error of a difference, and the largest by which coefficients about the median come nearer.
    fn errors(true_small: &Small, small: &Small) -> (f32, f32) {
        let off = |y: usize, x: usize| small[y][x] - true_small[y][x];
        let down = (0..63).flat_map(|y| (0..64).map(move |x| off(y + 1, x) - off(y, x)));
        let across = (0..64).flat_map(|y| (0..63).map(move |x| off(y, x + 1) - off(y, x)));
        let difference = down.chain(across).map(f32::abs).fold(0.0, f32::max);
        let dct = Dct::default();
        let pairs = [true_small, small].map(|small| dct.transform(small));
        let mut pairs: Vec<_> = pairs[0].as_flattened().iter().zip(pairs[1].as_flattened()).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(b.0));
        let (below, above) = pairs.split_at(128);
        let rises = below.iter().map(|(_, value)| *value - below[127].0).fold(f32::MIN, f32::max);
        let falls = above.iter().map(|(_, value)| above[0].0 - *value).fold(f32::MIN, f32::max);
        (difference, rises.max(falls))
    }

    #[test]
    fn the_long_way_stays_within_half_the_slack() {
        type Pattern = fn(f64, f64) -> f64;
        let patterns: [(&str, Pattern); 6] = [
            ("slope", |x, y| 0.3 * x + 0.1 * y),
            ("waves", |x, y| 127.0 + 120.0 * (x / 31.0).sin() * (y / 17.0).cos()),
            ("steps", |x, y| 25.0 * ((x + 2.0 * y) / 70.0).floor() % 256.0),
            ("saw", |x, y| (0.77 * x + 0.33 * y) % 256.0),
            ("grain", |x, y| ((x * 12.9898 + y * 78.233).sin() * 43_758.545).rem_euclid(1.0) * 255.0),
            ("disc", |x, y| if (x - 300.0).hypot(y - 200.0) < 150.0 { 240.0 } else { 31.0 }),
        ];
        let mut hasher = Hasher::new();
        for (width, height) in [(512, 512), (640, 360), (1001, 777), (1920, 1080), (3840, 2160), (300, 4096)] {
            let slack = Slack::of(width, height);
            for (name, pattern) in patterns {
                let value = |at: usize| pattern((at % width) as f64, (at / width) as f64) as u8;
                let luma: Vec<u8> = (0..width * height).map(value).collect();
                let rgb: Vec<u8> = luma.iter().flat_map(|y| [*y, y / 2 + 70, 255 - y]).collect();
                let views = [
                    Pixels::Luma(Luma::new(&luma, width, height, width).unwrap()),
                    Pixels::Rgb(Rgb::new(&rgb, width, height).unwrap()),
                ];
                for pixels in views {
                    hasher.fit(&pixels);
                    let [true_small] = hasher.sketch(pixels, Order::Ahead, [Order::Ahead]);
                    let (difference, coefficient) = errors(&true_small, &hasher.shrink(pixels));
                    let (difference, coefficient) = (difference / slack.difference, coefficient / slack.coefficient);
                    assert!(difference < 0.5 && coefficient < 0.5, "{name}: {difference}, {coefficient} of the slack");
                }
            }
        }
    }
}
