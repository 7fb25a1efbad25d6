//! What scores are worth: by rank (precision and recall, area under the curve), and as likelihoods (log loss, error).

use super::{Judged, sides, tied, weights};

/// How often a threshold is right, and how often not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    /// Positive, and at or above it.
    pub hits: usize,
    /// Negative, and at or above it.
    pub false_alarms: usize,
    /// Positive, and below it.
    pub missed: usize,
    /// Negative, and below it.
    pub passed: usize,
}

/// A threshold, and how good it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Scores from here on count.
    pub threshold: f64,
    /// Of the positive, the share that counts.
    pub recall: f64,
    /// Of what counts, the share that is positive, in the mixture that was given.
    pub precision: f64,
}

impl Confusion {
    /// Of `judged` at `threshold`.
    pub fn at(judged: &[Judged], threshold: f64) -> Self {
        let mut found = Self::default();
        for one in judged {
            let which = match (one.score >= threshold, one.positive) {
                (true, true) => &mut found.hits,
                (true, false) => &mut found.false_alarms,
                (false, true) => &mut found.missed,
                (false, false) => &mut found.passed,
            };
            *which += 1;
        }
        found
    }

    /// Of the positive, the share at or above the threshold; none without any positive.
    pub fn recall(&self) -> Option<f64> {
        share(self.hits, self.hits + self.missed)
    }

    /// Of what is at or above the threshold, the share that is positive, in the mixture that was given; none where nothing
    /// is.
    pub fn precision(&self) -> Option<f64> {
        share(self.hits, self.hits + self.false_alarms)
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Every threshold that makes a difference, from the highest score down; empty without any positive.
pub fn curve(judged: &[Judged]) -> Vec<Point> {
    let (positives, _) = sides(judged);
    if positives == 0 {
        return Vec::new();
    }
    let mut falling = judged.to_vec();
    falling.sort_by(|a, b| b.score.total_cmp(&a.score));
    let (mut hits, mut taken, mut points) = (0, 0, Vec::new());
    for same in falling.chunk_by(tied) {
        hits += same.iter().filter(|one| one.positive).count();
        taken += same.len();
        let Some(first) = same.first() else { continue };
        points.push(Point {
            threshold: first.score,
            recall: hits as f64 / positives as f64,
            precision: hits as f64 / taken as f64,
        });
    }
    points
}

/// The mean of the precision over all positives, each at its own score; none without any positive. No line is drawn
/// between points, which would flatter. (Davis and Goadrich, "The Relationship Between Precision-Recall and ROC Curves",
/// 2006.)
pub fn average_precision(judged: &[Judged]) -> Option<f64> {
    let points = curve(judged);
    let before = std::iter::once(0.0).chain(points.iter().map(|point| point.recall));
    let steps = points.iter().zip(before).map(|(point, before)| (point.recall - before) * point.precision);
    (!points.is_empty()).then(|| steps.sum())
}

/// The area under the receiver operating characteristic: the chance that a positive scores above a negative, ties counting
/// half. None unless there are both. (By ranks: Hanley and `McNeil`, 1982.)
pub fn area(judged: &[Judged]) -> Option<f64> {
    let (positives, negatives) = sides(judged);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut rising = judged.to_vec();
    rising.sort_by(|a, b| a.score.total_cmp(&b.score));
    let (mut below, mut won) = (0.0, 0.0);
    for same in rising.chunk_by(tied) {
        let (of_positives, of_negatives) = sides(same);
        won += of_positives as f64 * (below + of_negatives as f64 / 2.0);
        below += of_negatives as f64;
    }
    Some(won / (positives as f64 * negatives as f64))
}

/// How surprised somebody is on average who believes the scores, in nats, both sides weighing the same: .693 for whoever
/// says .5 of everything.
pub fn log_loss(judged: &[Judged]) -> f64 {
    const EDGE: f64 = 1e-6;
    let (of_positive, of_negative) = weights(judged);
    let losses = judged.iter().map(|one| {
        let score = one.score.clamp(EDGE, 1.0 - EDGE);
        if one.positive { -of_positive * score.ln() } else { -of_negative * (1.0 - score).ln() }
    });
    losses.sum::<f64>() / 2.0
}

/// How far scores are from the share of positives among those of about the same score, on average over ten bins, both
/// sides weighing the same. 0 is perfect. ("Expected calibration error", Naeini et al., 2015.)
pub fn calibration_error(judged: &[Judged]) -> f64 {
    const BINS: usize = 10;
    let (of_positive, of_negative) = weights(judged);
    // The weight, of all and of the positive, and the scores times their weight.
    let mut bins = [(0.0, 0.0, 0.0); BINS];
    for one in judged {
        let weight = if one.positive { of_positive } else { of_negative };
        let bin = ((one.score * BINS as f64) as usize).min(BINS - 1);
        if let Some((all, positive, scores)) = bins.get_mut(bin) {
            *all += weight;
            *positive += if one.positive { weight } else { 0.0 };
            *scores += weight * one.score;
        }
    }
    let whole: f64 = bins.iter().map(|(all, _, _)| all).sum();
    bins.iter().map(|(_, positive, scores)| (scores - positive).abs()).sum::<f64>() / whole.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn judged(scores: &[(f64, bool)]) -> Vec<Judged> {
        scores.iter().map(|&(score, positive)| Judged { score, positive }).collect()
    }

    #[test]
    fn a_perfect_and_a_useless_model_are_told_apart() {
        let perfect = judged(&[(0.9, true), (0.8, true), (0.2, false), (0.1, false)]);
        assert_eq!((area(&perfect), average_precision(&perfect)), (Some(1.0), Some(1.0)));
        let useless = judged(&[(0.5, true), (0.5, false), (0.5, false), (0.5, false)]);
        assert_eq!((area(&useless), average_precision(&useless)), (Some(0.5), Some(0.25)));
        let wrong = judged(&[(0.1, true), (0.9, false)]);
        assert_eq!((area(&wrong), average_precision(&wrong)), (Some(0.0), Some(0.5)));
        assert_eq!((area(&wrong[..1]), average_precision(&wrong[1..])), (None, None));
    }

    #[test]
    fn each_threshold_has_its_precision_and_recall() {
        let some = judged(&[(0.9, true), (0.7, false), (0.7, true), (0.4, true), (0.1, false)]);
        let points: Vec<_> = curve(&some).iter().map(|p| (p.threshold, p.recall * 3.0, p.precision)).collect();
        assert_eq!(points, [(0.9, 1.0, 1.0), (0.7, 2.0, 2.0 / 3.0), (0.4, 3.0, 0.75), (0.1, 3.0, 0.6)]);
        let found = Confusion::at(&some, 0.7);
        assert_eq!(found, Confusion { hits: 2, false_alarms: 1, missed: 1, passed: 1 });
        assert_eq!(Confusion::at(&some, 0.95).precision(), None);
        assert_eq!(Confusion::at(&some[1..2], 0.5).recall(), None);
    }

    #[test]
    fn likelihoods_are_held_to_the_truth() {
        let unsure = judged(&[(0.5, true), (0.5, false)]);
        assert!((log_loss(&unsure) - 2f64.ln()).abs() < 1e-12 && calibration_error(&unsure) < 1e-12);
        // A hundred negatives count no more than one positive.
        let uneven: Vec<Judged> = [(0.5, true)]
            .into_iter()
            .chain([(0.5, false); 100])
            .map(|(score, positive)| Judged { score, positive })
            .collect();
        assert!(calibration_error(&uneven) < 1e-12, "{}", calibration_error(&uneven));
        let vain = judged(&[(0.95, true), (0.95, false)]);
        assert!((calibration_error(&vain) - 0.45).abs() < 1e-12);
        assert!(log_loss(&judged(&[(0.0, true)])).is_finite(), "certainty that is wrong costs much, not everything");
    }

    fn some() -> impl Strategy<Value = Vec<Judged>> {
        // Few scores, so that many are the same.
        let one = (0u32..12, any::<bool>()).prop_map(|(n, positive)| Judged { score: f64::from(n) / 11.0, positive });
        proptest::collection::vec(one, 1..40)
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_order(judged in some()) {
            let (positive, negative): (Vec<Judged>, Vec<Judged>) = judged.iter().partition(|one| one.positive);
            let pairs = positive.iter().flat_map(|p| negative.iter().map(move |n| (p.score, n.score)));
            let wins: Vec<f64> = pairs
                .map(|(p, n)| match p.total_cmp(&n) {
                    Ordering::Greater => 1.0,
                    Ordering::Equal => 0.5,
                    Ordering::Less => 0.0,
                })
                .collect();
            let expected = (!wins.is_empty()).then(|| wins.iter().sum::<f64>() / wins.len() as f64);
            match (area(&judged), expected) {
                (Some(got), Some(expected)) => prop_assert!((got - expected).abs() < 1e-9),
                (got, expected) => prop_assert_eq!(got, expected),
            }
        }

        #[test]
        fn every_point_of_the_curve_is_what_its_threshold_gives(judged in some()) {
            for point in curve(&judged) {
                let found = Confusion::at(&judged, point.threshold);
                prop_assert_eq!((found.recall(), found.precision()), (Some(point.recall), Some(point.precision)));
            }
        }
    }
}
