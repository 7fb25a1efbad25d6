//! How far the short way may be from the reference, and so which of its results are certain.
//!
//! The short way gives true values, rounded once. The reference adds and subtracts its way through four running sums in
//! `f32`: each of some `2 (width + height)` additions rounds, errors add up as in a random walk, and what comes out
//! differs by some 0.0003 of 255. That decides nothing unless a bit hangs by a hair. So a result counts only where no
//! errors within the slack could change it; the rest, a few pictures in a hundred, are hashed again the long way.
//!
//! What is proven: within the slack, the result is the reference's. What is measured: that differences stay within it. Over
//! thousands of photographs, frames, patterns and noise of many sizes none came to a third of it (a test holds a sample of
//! them to half). A picture made on purpose could exceed it, if its roundings are made to go one way; it would gain a bit that is as good as tied,
//! or one point of quality.

use super::filter::SIDE;

/// How far values derived from the 64x64 may be from the reference's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slack {
    /// The difference of two neighbours.
    pub(super) difference: f32,
    /// A coefficient of the transform.
    pub(super) coefficient: f32,
}

/// How many steps of a random walk the difference of two neighbours may be off, and a coefficient.
const STEPS: Slack = Slack { difference: 6.0, coefficient: 12.0 };

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
