//! A linear probe: logistic regression on vectors, with a penalty on long weights.
//!
//! The fitting is done by `smartcore`, with L-BFGS from zero, so that the same data give the same probe.

use smartcore::error::Failed;
use smartcore::linalg::basic::arrays::{Array, Array2};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

/// Weights for the values of a vector, and what is added to their sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// One for each value.
    pub weights: Vec<f64>,
    /// Added.
    pub bias: f64,
}

/// No probe could be fitted.
#[derive(Debug, thiserror::Error)]
pub enum NotFitted {
    /// There is nothing to tell apart.
    #[error("there are not both positive and negative vectors to fit a probe to")]
    OneSided,
    /// The vectors are not of one length, or the numbers in them are none.
    #[error("the vectors to fit a probe to are of different lengths, or hold what is no number")]
    Vectors,
    /// The library gave up.
    #[error("no probe could be fitted: {0}")]
    Failed(#[from] Failed),
}

impl NotFitted {
    /// A bounded word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::OneSided => "one_sided",
            Self::Vectors => "vectors",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the same call may go through later: never.
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl Linear {
    /// The logit of `vector`, as far as it is as long as the weights.
    pub fn logit(&self, vector: &[f32]) -> f64 {
        self.weights.iter().zip(vector).map(|(weight, value)| weight * f64::from(*value)).sum::<f64>() + self.bias
    }
}

/// The probe that tells the positive of `vectors` from the others, with the least sum of log losses plus `penalty / 2` times
/// the squared length of the weights. A larger penalty makes it stiffer.
///
/// # Errors
/// When there is nothing to tell apart, or the vectors are not all of one length and of numbers.
pub fn fit(vectors: &[(&[f32], bool)], penalty: f64) -> Result<Linear, NotFitted> {
    let length = vectors.first().map_or(0, |(vector, _)| vector.len());
    if length == 0 || !vectors.iter().all(|(v, _)| v.len() == length && v.iter().all(|value| value.is_finite())) {
        return Err(NotFitted::Vectors);
    }
    let truths: Vec<u32> = vectors.iter().map(|(_, positive)| u32::from(*positive)).collect();
    if !(truths.contains(&0) && truths.contains(&1)) {
        return Err(NotFitted::OneSided);
    }
    // Values of an embedding are mostly far from 0 in the same way: taking the mean away is what makes L-BFGS quick.
    let mut mean = vec![0.0; length];
    for (vector, _) in vectors {
        for (mean, value) in mean.iter_mut().zip(*vector) {
            *mean += f64::from(*value) / vectors.len() as f64;
        }
    }
    let centred = vectors.iter().flat_map(|(vector, _)| vector.iter().zip(&mean).map(|(v, mean)| f64::from(*v) - mean));
    let matrix = DenseMatrix::from_iterator(centred, vectors.len(), length, 0);
    let parameters = LogisticRegressionParameters::default().with_alpha(penalty);
    let fitted = LogisticRegression::fit(&matrix, &truths, parameters)?;
    // The library's logit is of its second class, and it sorts classes.
    let weights: Vec<f64> = fitted.coefficients().iterator(0).copied().collect();
    let bias = fitted.intercept().get((0, 0)) - weights.iter().zip(&mean).map(|(w, mean)| w * mean).sum::<f64>();
    Ok(Linear { weights, bias })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clouds of vectors of length 3, the positive ones further along the first axis and both far from 0.
    fn clouds() -> Vec<(Vec<f32>, bool)> {
        let wobble = |n: usize, by: usize| ((n * by % 17) as f32 - 8.0) / 8.0;
        (0..80)
            .map(|n| {
                let positive = n % 4 == 0;
                let along = if positive { 6.5 } else { 5.0 };
                (vec![along + wobble(n, 5), 9.0 + wobble(n, 7), wobble(n, 11)], positive)
            })
            .collect()
    }

    fn fitted(clouds: &[(Vec<f32>, bool)], penalty: f64) -> Result<Linear, NotFitted> {
        let vectors: Vec<(&[f32], bool)> = clouds.iter().map(|(vector, positive)| (&vector[..], *positive)).collect();
        fit(&vectors, penalty)
    }

    /// The gradient of what is to be least, written down once more: it is nothing where it is least.
    fn gradient(clouds: &[(Vec<f32>, bool)], penalty: f64, probe: &Linear) -> Vec<f64> {
        let mut gradient: Vec<f64> = probe.weights.iter().map(|weight| penalty * weight).chain([0.0]).collect();
        for (vector, positive) in clouds {
            let off = 1.0 / (1.0 + (-probe.logit(vector)).exp()) - f64::from(u8::from(*positive));
            for (at, value) in vector.iter().copied().chain([1.0]).enumerate() {
                gradient[at] += off * f64::from(value);
            }
        }
        gradient
    }

    #[test]
    fn the_probe_is_the_best_one_and_its_sign_is_right() {
        let clouds = clouds();
        for penalty in [0.01, 1.0, 100.0] {
            let probe = fitted(&clouds, penalty).unwrap();
            let steepest = gradient(&clouds, penalty, &probe).into_iter().fold(0.0, |most: f64, g| most.max(g.abs()));
            assert!(steepest < 0.05, "{penalty}: {steepest}");
            assert!(probe.weights[0] > 0.0);
        }
        let (loose, stiff) = (fitted(&clouds, 0.01).unwrap(), fitted(&clouds, 100.0).unwrap());
        assert!(loose.weights[0] > 2.0 * stiff.weights[0], "{loose:?} {stiff:?}");
    }

    #[test]
    fn the_same_data_give_the_same_probe() {
        assert_eq!(fitted(&clouds(), 0.1).unwrap(), fitted(&clouds(), 0.1).unwrap());
    }

    #[test]
    fn what_cannot_be_fitted_is_said() {
        let mut odd = clouds();
        odd[3].0.pop();
        assert_eq!(fitted(&odd, 1.0).unwrap_err().kind(), "vectors");
        odd[3].0.push(f32::NAN);
        assert_eq!(fitted(&odd, 1.0).unwrap_err().kind(), "vectors");
        let positive: Vec<_> = clouds().into_iter().filter(|(_, positive)| *positive).collect();
        assert_eq!(fitted(&positive, 1.0).unwrap_err().kind(), "one_sided");
        assert_eq!(fitted(&[], 1.0).unwrap_err().kind(), "vectors");
    }
}
