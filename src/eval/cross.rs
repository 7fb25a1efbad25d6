//! Cross-validation: everything is judged by what has not seen it.

use super::probe::{NotFitted, fit};
use super::{Judged, log_loss};

/// A vector, whether it is positive, and the fold it is judged in.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The embedding, of length 1.
    pub vector: &'a [f32],
    /// It is what the label says.
    pub positive: bool,
    /// Judged by a probe fitted to the other folds.
    pub fold: usize,
}

/// The penalty of those in `penalties` whose probes are the least surprised by what they have not seen, and the logits that
/// they give it, in the order of `trials`.
///
/// # Errors
/// When a probe cannot be fitted, or no penalty is given.
pub fn without_own_fold(trials: &[Trial<'_>], penalties: &[f64]) -> Result<(f64, Vec<Judged>), NotFitted> {
    let mut best: Option<(f64, f64, Vec<Judged>)> = None;
    for &penalty in penalties {
        let logits = logits(trials, penalty)?;
        let scores: Vec<Judged> =
            logits.iter().map(|one| Judged { score: 1.0 / (1.0 + (-one.score).exp()), ..*one }).collect();
        let loss = log_loss(&scores);
        if best.as_ref().is_none_or(|(_, least, _)| loss < *least) {
            best = Some((penalty, loss, logits));
        }
    }
    best.map(|(penalty, _, logits)| (penalty, logits)).ok_or(NotFitted::Vectors)
}

/// The logit of each of `trials` by a probe that has not seen its fold, in their order.
///
/// # Errors
/// When a probe cannot be fitted.
pub fn logits(trials: &[Trial<'_>], penalty: f64) -> Result<Vec<Judged>, NotFitted> {
    let mut logits: Vec<Judged> = trials.iter().map(|trial| Judged { score: 0.0, positive: trial.positive }).collect();
    let folds: std::collections::BTreeSet<usize> = trials.iter().map(|trial| trial.fold).collect();
    for fold in folds {
        let others: Vec<(&[f32], bool)> =
            trials.iter().filter(|trial| trial.fold != fold).map(|trial| (trial.vector, trial.positive)).collect();
        let probe = fit(&others, penalty)?;
        for (trial, logit) in trials.iter().zip(&mut logits).filter(|(trial, _)| trial.fold == fold) {
            logit.score = probe.logit(trial.vector);
        }
    }
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_judged_by_what_has_seen_it() {
        // Every vector has an axis of its own, so a probe that has seen it knows it by heart, and any other knows nothing.
        let vectors: Vec<Vec<f32>> =
            (0..20).map(|n| (0..20).map(|axis| if axis == n { 1.0 } else { 0.0 }).collect()).collect();
        let trials: Vec<Trial<'_>> =
            vectors.iter().enumerate().map(|(n, vector)| Trial { vector, positive: n % 2 == 0, fold: n / 4 }).collect();
        let (_, unseen) = without_own_fold(&trials, &[0.01]).unwrap();
        let seen = fit(&trials.iter().map(|t| (t.vector, t.positive)).collect::<Vec<_>>(), 0.01).unwrap();
        for (trial, unseen) in trials.iter().zip(&unseen) {
            assert!(unseen.score.abs() < 1.0, "{}", unseen.score);
            assert!(seen.logit(trial.vector).abs() > 1.0);
        }
    }

    #[test]
    fn the_penalty_that_generalises_is_chosen() {
        // One axis says it, though not always; thirty say nothing.
        let vectors: Vec<(Vec<f32>, bool)> = (0..60usize)
            .map(|n| {
                let positive = n % 2 == 0;
                let told = if n % 5 == 0 { !positive } else { positive };
                let noise = (0..30).map(|axis| ((n * (axis + 3) * 7919 % 101) as f32 - 50.0) / 50.0);
                ([if told { 0.7 } else { -0.7 }].into_iter().chain(noise).collect(), positive)
            })
            .collect();
        let trials: Vec<Trial<'_>> = vectors
            .iter()
            .enumerate()
            .map(|(n, (vector, positive))| Trial { vector, positive: *positive, fold: n / 2 % 5 })
            .collect();
        let (penalty, _) = without_own_fold(&trials, &[1e-4, 3.0]).unwrap();
        assert!(penalty > 1.0, "{penalty}");
        assert!(without_own_fold(&trials, &[]).is_err());
    }
}
