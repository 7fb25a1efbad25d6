//! How the score of one label becomes a likelihood: three curves, none of which ever puts a lower score above a higher one.

use std::borrow::Cow;

/// How far from 0 and 1 a score is kept before its logarithm is taken: about what an `f32` can tell from 1.
const EDGE: f64 = 1e-6;

/// A curve from scores to likelihoods, both 0 to 1. It never falls.
#[derive(Debug, Clone, PartialEq)]
pub enum Curve {
    /// The logit of the score divided by this, above 0: more than 1 for a model that is too sure of itself. (Guo et al., "On
    /// Calibration of Modern Neural Networks", 2017.)
    Temperature {
        /// Above 0.
        temperature: f64,
        /// No likelihood is below the first or above the second.
        bounds: (f64, f64),
    },
    /// `slope` times the logit of the score, plus `offset`. (Platt, "Probabilistic Outputs for Support Vector Machines",
    /// 1999.)
    Platt {
        /// Above 0.
        slope: f64,
        /// Any finite number.
        offset: f64,
        /// No likelihood is below the first or above the second.
        bounds: (f64, f64),
    },
    /// Straight between these points, score and likelihood, and flat before the first and after the last. (Zadrozny and
    /// Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", 2002.)
    Isotonic(Vec<(f64, f64)>),
}

impl Curve {
    /// Bounds that are none.
    pub const UNBOUNDED: (f64, f64) = (0.0, 1.0);

    /// The likelihood that a score stands for.
    pub fn likelihood(&self, score: f32) -> f32 {
        let score = f64::from(score);
        let likelihood = match self {
            Self::Temperature { temperature, bounds } => kept(logistic(logit(score) / temperature), *bounds),
            Self::Platt { slope, offset, bounds } => kept(logistic(slope.mul_add(logit(score), *offset)), *bounds),
            Self::Isotonic(points) => between(points, score),
        };
        likelihood.clamp(0.0, 1.0) as f32
    }

    /// The lowest score that stands for `likelihood` or more; none where no score does.
    pub fn reaches(&self, likelihood: f32) -> Option<f32> {
        if self.likelihood(1.0) < likelihood {
            return None;
        }
        let (mut below, mut reached) = (0.0, 1.0);
        if self.likelihood(below) >= likelihood {
            return Some(below);
        }
        // Enough halvings to part an `f32` from the next.
        for _ in 0..32 {
            let middle = f32::midpoint(below, reached);
            if self.likelihood(middle) >= likelihood {
                reached = middle;
            } else {
                below = middle;
            }
        }
        Some(reached)
    }

    /// What is wrong with it, as the key and what would be right.
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        let within = |value: &f64| (0.0..=1.0).contains(value);
        match self {
            Self::Temperature { temperature, .. } if !(temperature.is_finite() && *temperature > 0.0) => {
                Some(format!("key `curve.temperature`: {temperature} is not above 0").into())
            }
            Self::Platt { slope, .. } if !(slope.is_finite() && *slope > 0.0) => {
                Some(format!("key `curve.slope`: {slope} is not above 0, so a higher score would mean less").into())
            }
            Self::Platt { offset, .. } if !offset.is_finite() => {
                Some(format!("key `curve.offset`: {offset} is no number").into())
            }
            Self::Temperature { bounds: (low, high), .. } | Self::Platt { bounds: (low, high), .. }
                if !(within(low) && within(high) && low < high) =>
            {
                Some(
                    "key `curve.bounds`: write [lowest, highest] likelihood, each 0 to 1, the second above the first"
                        .into(),
                )
            }
            Self::Isotonic(points) if points.is_empty() => {
                Some("key `curve.points`: write at least one [score, likelihood]".into())
            }
            Self::Isotonic(points) => {
                let wrong = |(score, likelihood): &(f64, f64)| !within(score) || !within(likelihood);
                let falls = |pair: &[(f64, f64)]| matches!(pair, [a, b] if a.0 >= b.0 || a.1 > b.1);
                (points.iter().any(wrong) || points.windows(2).any(falls)).then(|| {
                    "key `curve.points`: write [score, likelihood], each 0 to 1, scores rising, likelihoods never falling".into()
                })
            }
            Self::Temperature { .. } | Self::Platt { .. } => None,
        }
    }
}

/// The logarithm of the odds that a score stands for, of a score kept a little away from 0 and 1.
pub fn logit(score: f64) -> f64 {
    let score = score.clamp(EDGE, 1.0 - EDGE);
    (score / (1.0 - score)).ln()
}

/// The score whose logit this is.
pub fn logistic(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// `likelihood` no further out than `bounds`, which are not the wrong way round.
const fn kept(likelihood: f64, (low, high): (f64, f64)) -> f64 {
    likelihood.max(low).min(high)
}

/// The line through `points` at `score`; 0 where there are no points.
fn between(points: &[(f64, f64)], score: f64) -> f64 {
    let after = points.partition_point(|(at, _)| *at <= score);
    match (after.checked_sub(1).and_then(|before| points.get(before)), points.get(after)) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (score - x0) / (x1 - x0) * (y1 - y0),
        (Some((_, likelihood)), None) | (None, Some((_, likelihood))) => *likelihood,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn heated(temperature: f64) -> Curve {
        Curve::Temperature { temperature, bounds: Curve::UNBOUNDED }
    }

    const fn platt(slope: f64, offset: f64) -> Curve {
        Curve::Platt { slope, offset, bounds: Curve::UNBOUNDED }
    }

    fn near(curve: &Curve, cases: &[(f32, f32)]) {
        for (score, expected) in cases {
            let got = curve.likelihood(*score);
            assert!((got - expected).abs() < 1e-5, "{curve:?} of {score}: {got}, not {expected}");
        }
    }

    #[test]
    fn each_curve_gives_what_its_formula_says() {
        near(&heated(1.0), &[(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)]);
        // Odds of 9 to 1 become odds of 3 to 1.
        near(&heated(2.0), &[(0.1, 0.25), (0.5, 0.5), (0.9, 0.75)]);
        near(&Curve::Temperature { temperature: 2.0, bounds: (0.3, 0.7) }, &[(0.1, 0.3), (0.5, 0.5), (0.9, 0.7)]);
        // Ten times the odds.
        near(&platt(1.0, std::f64::consts::LN_10), &[(0.5, 10.0 / 11.0), (0.1, 10.0 / 19.0)]);
        let steps = Curve::Isotonic(vec![(0.2, 0.1), (0.4, 0.5), (0.6, 0.5)]);
        near(&steps, &[(0.0, 0.1), (0.2, 0.1), (0.3, 0.3), (0.5, 0.5), (0.6, 0.5), (1.0, 0.5)]);
    }

    #[test]
    fn a_curve_that_could_fall_is_refused() {
        let point = |points: &[(f64, f64)]| Curve::Isotonic(points.to_vec());
        for (curve, expected) in [
            (heated(0.0), "temperature"),
            (heated(f64::NAN), "temperature"),
            (platt(-1.0, 0.0), "a higher score would mean less"),
            (platt(1.0, f64::INFINITY), "offset"),
            (Curve::Temperature { temperature: 1.0, bounds: (0.6, 0.4) }, "bounds"),
            (Curve::Platt { slope: 1.0, offset: 0.0, bounds: (0.1, 1.1) }, "bounds"),
            (Curve::Platt { slope: 1.0, offset: 0.0, bounds: (f64::NAN, 1.0) }, "bounds"),
            (point(&[]), "at least one"),
            (point(&[(0.1, 0.5), (0.2, 0.4)]), "never falling"),
            (point(&[(0.2, 0.4), (0.2, 0.5)]), "rising"),
            (point(&[(0.2, 1.5)]), "0 to 1"),
        ] {
            let problem = curve.problem().unwrap_or_default();
            assert!(problem.contains(expected), "{curve:?}: {problem}");
        }
    }

    fn bounds() -> impl Strategy<Value = (f64, f64)> {
        (0.0..0.5, 0.5001..=1.0)
    }

    fn curves() -> impl Strategy<Value = Curve> {
        let points = proptest::collection::vec((0.0..=1.0, 0.0..=1.0), 1..6).prop_map(|points: Vec<(f64, f64)>| {
            let (mut scores, mut likelihoods): (Vec<_>, Vec<_>) = points.into_iter().unzip();
            scores.sort_by(f64::total_cmp);
            likelihoods.sort_by(f64::total_cmp);
            scores.dedup();
            Curve::Isotonic(scores.into_iter().zip(likelihoods).collect())
        });
        prop_oneof![
            (0.05..20.0, bounds()).prop_map(|(temperature, bounds)| Curve::Temperature { temperature, bounds }),
            (0.05..20.0, -10.0..10.0, bounds()).prop_map(|(slope, offset, bounds)| Curve::Platt {
                slope,
                offset,
                bounds
            }),
            points,
        ]
    }

    proptest! {
        #[test]
        fn a_higher_score_never_means_less(curve in curves(), a in 0.0f32..=1.0, b in 0.0f32..=1.0) {
            prop_assert_eq!(curve.problem(), None);
            let (low, high) = (curve.likelihood(a.min(b)), curve.likelihood(a.max(b)));
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0, "{low} {high}");
        }

        #[test]
        fn the_score_that_reaches_a_likelihood_is_the_lowest_that_does(curve in curves(), wanted in 0.0f32..=1.0) {
            match curve.reaches(wanted) {
                None => prop_assert!(curve.likelihood(1.0) < wanted),
                Some(score) => {
                    prop_assert!(curve.likelihood(score) >= wanted, "{score}");
                    let lower = score - 1e-6;
                    prop_assert!(lower < 0.0 || curve.likelihood(lower) < wanted, "{score}");
                }
            }
        }
    }
}
