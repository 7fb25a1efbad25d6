//! From judged scores to the curve that makes likelihoods of them, both sides weighing the same.
//!
//! Three ways, from the stiffest to the most pliable: one number, two, or as many steps as the data have. The more there are
//! the more pictures they want; `sluicegate model calibrate` chooses by their number.

use super::{Judged, sides, tied, weights};

/// Newton's method finds two numbers in far fewer steps.
const STEPS: usize = 100;

/// Between which likelihoods so few pictures leave it open what is certain: `1 / (n + 2)` with `n` negatives, and
/// `(p + 1) / (p + 2)` with `p` positives, by Laplace's rule of succession.
pub fn warranted(judged: &[Judged]) -> (f64, f64) {
    let (positives, negatives) = sides(judged);
    (1.0 / (negatives as f64 + 2.0), (positives as f64 + 1.0) / (positives as f64 + 2.0))
}

/// The temperature by which logits are divided for the least log loss, .05 to 20; takes logits and truths.
///
/// None unless there are both positives and negatives. Truths are drawn in as for [`platt`], so that logits that separate
/// both sides are not made certainties. (Guo et al., 2017; a golden-section search, for the loss has one
/// valley in the inverse of the temperature.)
pub fn temperature(logits: &[Judged]) -> Option<f64> {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let (positives, negatives) = sides(logits);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut low, mut high) = (0.05, 20.0);
    for _ in 0..STEPS {
        let reach = GOLDEN * (high - low);
        if loss(logits, high - reach, 0.0) < loss(logits, low + reach, 0.0) {
            high = low + reach;
        } else {
            low = high - reach;
        }
    }
    Some(1.0 / f64::midpoint(low, high))
}

/// The slope and offset of logits for the least log loss; takes logits and truths.
///
/// None unless there are both positives and negatives and the slope is above 0, that is, positives score higher. Truths are drawn in
/// from 0 and 1 as far as so few pictures warrant, so that logits that separate both sides give no infinite slope. (Platt,
/// 1999, with the targets given there; Newton's method after Lin, Lin and Weng, "A Note on Platt's Probabilistic Outputs
/// for Support Vector Machines", 2007.)
pub fn platt(logits: &[Judged]) -> Option<(f64, f64)> {
    let (positives, negatives) = sides(logits);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (of_positive, of_negative) = weights(logits);
    let (low, high) = warranted(logits);
    let (mut slope, mut offset) = (0.0f64, 0.0f64);
    for _ in 0..STEPS {
        // Gradient and Hessian, the latter kept away from being singular.
        let (mut g, mut h) = ((0.0, 0.0), (1e-12, 0.0, 1e-12));
        for one in logits {
            let (weight, aim) = if one.positive { (of_positive, high) } else { (of_negative, low) };
            let p = 1.0 / (1.0 + (-slope.mul_add(one.score, offset)).exp());
            let (off, bend) = (weight * (p - aim), weight * p * (1.0 - p));
            g = (g.0 + off * one.score, g.1 + off);
            h = (h.0 + bend * one.score * one.score, h.1 + bend * one.score, h.2 + bend);
        }
        let determinant = h.0 * h.2 - h.1 * h.1;
        let step = ((h.2 * g.0 - h.1 * g.1) / determinant, (h.0 * g.1 - h.1 * g.0) / determinant);
        if !(step.0.is_finite() && step.1.is_finite()) || step.0.abs() + step.1.abs() < 1e-10 {
            break;
        }
        // A whole step may lead too far; halve it until it leads down.
        let before = loss(logits, slope, offset);
        let Some(share) = (0..30)
            .map(|n| 0.5f64.powi(n))
            .find(|share| loss(logits, slope - share * step.0, offset - share * step.1) < before)
        else {
            break;
        };
        slope -= share * step.0;
        offset -= share * step.1;
    }
    (slope > 0.0 && slope.is_finite() && offset.is_finite()).then_some((slope, offset))
}

/// The rising steps nearest to the truths, as points to draw straight lines between: each step's mean score and the share
/// of positives in it; takes scores and truths.
///
/// None unless there are both positives and negatives and there is more than one step. No likelihood goes nearer to 0 or 1
/// than so few pictures warrant ([`warranted`]). (Pool adjacent violators, Ayer et al.,
/// 1955; points at the middle of steps as in centred isotonic regression, Oron and Flournoy, 2017.)
pub fn isotonic(scores: &[Judged]) -> Option<Vec<(f64, f64)>> {
    let (positives, negatives) = sides(scores);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (low, high) = warranted(scores);
    let points: Vec<(f64, f64)> =
        steps(scores).iter().map(|step| (step.score, step.share().clamp(low, high))).collect();
    (points.len() > 1).then_some(points)
}

/// Scores that are given one likelihood.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Of all.
    weight: f64,
    /// Of the positives.
    positive: f64,
    /// The mean.
    score: f64,
}

impl Step {
    fn share(&self) -> f64 {
        self.positive / self.weight
    }

    fn and(self, other: Self) -> Self {
        let weight = self.weight + other.weight;
        let score = (self.weight * self.score + other.weight * other.score) / weight;
        Self { weight, positive: self.positive + other.positive, score }
    }
}

fn steps(scores: &[Judged]) -> Vec<Step> {
    let (of_positive, of_negative) = weights(scores);
    let mut rising = scores.to_vec();
    rising.sort_by(|a, b| a.score.total_cmp(&b.score));
    let mut steps: Vec<Step> = Vec::new();
    for same in rising.chunk_by(tied) {
        let (positives, negatives) = sides(same);
        let positive = positives as f64 * of_positive;
        let weight = positive + negatives as f64 * of_negative;
        let Some(first) = same.first() else { continue };
        let mut step = Step { weight, positive, score: first.score };
        // What is not above the step before is one step with it, and that may now be no longer above the one before it.
        while let Some(before) = steps.pop_if(|before| before.share() >= step.share()) {
            step = before.and(step);
        }
        steps.push(step);
    }
    steps
}

/// The log loss of logits times `slope` plus `offset`, each side weighing 1, against truths drawn in as far as is
/// [`warranted`].
fn loss(logits: &[Judged], slope: f64, offset: f64) -> f64 {
    let (of_positive, of_negative) = weights(logits);
    let (low, high) = warranted(logits);
    let losses = logits.iter().map(|one| {
        let (weight, aim) = if one.positive { (of_positive, high) } else { (of_negative, low) };
        let logit = slope.mul_add(one.score, offset);
        weight * (softplus(logit) - aim * logit)
    });
    losses.sum()
}

/// `ln(1 + exp(x))`, for any `x`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of every thousand at a logit, as many are positive as a model of this slope and offset would have it.
    fn as_if(slope: f64, offset: f64) -> Vec<Judged> {
        let mut judged = Vec::new();
        for n in -20..=20 {
            let logit = f64::from(n) / 5.0;
            let share = 1.0 / (1.0 + (-(slope * logit + offset)).exp());
            let positives = (1000.0 * share).round() as usize;
            judged.extend((0..1000).map(|k| Judged { score: logit, positive: k < positives }));
        }
        judged
    }

    #[test]
    fn the_temperature_that_a_model_was_heated_by_is_found() {
        for expected in [0.5, 1.0, 2.5] {
            let got = temperature(&as_if(1.0 / expected, 0.0)).unwrap();
            assert!((got - expected).abs() < 0.02 * expected, "{got} for {expected}");
        }
        assert_eq!(temperature(&as_if(1.0, 50.0)), None, "all are positive");
    }

    #[test]
    fn the_slope_and_offset_that_were_hidden_are_found() {
        for slope in [0.5, 1.0, 3.0] {
            let (got, offset) = platt(&as_if(slope, 0.0)).unwrap();
            assert!((got - slope).abs() < 0.03 * slope && offset.abs() < 0.05, "{got} {offset} for {slope}");
        }
    }

    #[test]
    fn how_many_there_are_of_each_side_does_not_matter() {
        let even = as_if(1.5, 0.0);
        let thrice: Vec<Judged> =
            even.iter().flat_map(|one| std::iter::repeat_n(*one, if one.positive { 1 } else { 3 })).collect();
        let ((a, b), (c, d)) = (platt(&even).unwrap(), platt(&thrice).unwrap());
        assert!((a - c).abs() < 0.01 && (b - d).abs() < 0.01, "{a} {b}, {c} {d}");
        for (a, b) in isotonic(&even).unwrap().iter().zip(isotonic(&thrice).unwrap()) {
            assert!((a.1 - b.1).abs() < 0.01, "{a:?} {b:?}");
        }
    }

    #[test]
    fn few_pictures_warrant_no_certainty() {
        let apart: Vec<Judged> = (0..20).map(|n| Judged { score: f64::from(n) - 9.5, positive: n >= 10 }).collect();
        let (slope, offset) = platt(&apart).unwrap();
        let highest = 1.0 / (1.0 + (-(slope * 9.5 + offset)).exp());
        assert!(highest > 0.9 && highest < 0.999, "{highest}");
        let hottest = 1.0 / (1.0 + (-9.5 / temperature(&apart).unwrap()).exp());
        assert!(hottest > 0.9 && hottest < 0.999, "{hottest}");
        assert_eq!(warranted(&apart), (1.0 / 12.0, 11.0 / 12.0));
        let points = isotonic(&apart).unwrap();
        assert_eq!((points[0].1, points[points.len() - 1].1), (1.0 / 12.0, 11.0 / 12.0));
    }

    #[test]
    fn scores_that_say_nothing_or_the_contrary_have_no_curve() {
        let contrary: Vec<Judged> = (0..20).map(|n| Judged { score: f64::from(n), positive: n < 10 }).collect();
        assert_eq!((platt(&contrary), isotonic(&contrary)), (None, None));
        let same = [Judged { score: 0.5, positive: true }, Judged { score: 0.5, positive: false }];
        assert_eq!((platt(&same), isotonic(&same)), (None, None));
        assert_eq!((platt(&[]), isotonic(&[]), temperature(&[])), (None, None, None));
    }

    proptest! {
        /// Of isotonic regression: each value is the greatest, over where a stretch begins, of the least, over where it
        /// ends, of the stretch's mean.
        #[test]
        fn steps_are_those_of_the_definition(
            judged in proptest::collection::vec((0u32..15, any::<bool>()), 2..30)
        ) {
            let scores: Vec<Judged> =
                judged.iter().map(|&(n, positive)| Judged { score: f64::from(n) / 14.0, positive }).collect();
            let (of_positive, of_negative) = weights(&scores);
            let mut levels: Vec<f64> = scores.iter().map(|one| one.score).collect();
            levels.sort_by(f64::total_cmp);
            levels.dedup();
            let mean = |from: usize, to: usize| {
                let within = scores.iter().filter(|one| levels[from] <= one.score && one.score <= levels[to]);
                let (mut all, mut positive) = (0.0, 0.0);
                for one in within {
                    let weight = if one.positive { of_positive } else { of_negative };
                    all += weight;
                    positive += if one.positive { weight } else { 0.0 };
                }
                positive / all
            };
            let steps = steps(&scores);
            for (at, level) in levels.iter().enumerate() {
                let expected = (0..=at)
                    .map(|from| (at..levels.len()).map(|to| mean(from, to)).fold(f64::INFINITY, f64::min))
                    .fold(f64::NEG_INFINITY, f64::max);
                // The step that a level belongs to is the nearest share, for no two steps are equal.
                let near = steps.iter().any(|step| (step.share() - expected).abs() < 1e-9);
                prop_assert!(near, "{level}: {expected} is not among {steps:?}");
            }
            prop_assert!(steps.windows(2).all(|two| two[0].share() < two[1].share() && two[0].score < two[1].score));
        }
    }
}
