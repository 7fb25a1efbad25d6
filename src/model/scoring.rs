//! From the values that a model gives to scores from 0 to 1, one a label. Pure.

use super::{ScoresOutput, Values, logistic};

/// How far outside of 0 to 1 a probability may lie by rounding.
const ROUNDING: f32 = 1e-3;

/// The score of each of `output`'s labels, in order, from the model's `values` for one picture.
///
/// # Errors
/// What is wrong with the values: their number, or one that is no number or no probability.
pub(super) fn scores(output: &ScoresOutput, values: &[f32]) -> Result<Vec<f32>, String> {
    if values.len() != output.classes {
        return Err(format!("{} values for {} classes", values.len(), output.classes));
    }
    if let Some(strange) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!("{strange}, which is no number,"));
    }
    let of_classes = match output.values {
        Values::Probabilities => probabilities(values)?,
        Values::Logits => softmax(values),
        Values::IndependentLogits => values.iter().map(|value| logistic(f64::from(*value)) as f32).collect(),
    };
    let sum = |classes: &[usize]| classes.iter().filter_map(|class| of_classes.get(*class)).sum::<f32>();
    Ok(output.labels.iter().map(|label| sum(&label.classes).clamp(0.0, 1.0)).collect())
}

fn probabilities(values: &[f32]) -> Result<Vec<f32>, String> {
    if let Some(strange) = values.iter().find(|value| !(-ROUNDING..=1.0 + ROUNDING).contains(*value)) {
        return Err(format!("{strange}, which is no probability,"));
    }
    Ok(values.iter().map(|value| value.clamp(0.0, 1.0)).collect())
}

/// Shares of 1. The largest value is taken away first, so that nothing overflows. None of no values.
pub(super) fn softmax(values: &[f32]) -> Vec<f32> {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let lifted: Vec<f32> = values.iter().map(|value| (value - most).exp()).collect();
    let all: f32 = lifted.iter().sum();
    lifted.into_iter().map(|value| value / all).collect()
}

/// `embedding`, scaled to length 1.
///
/// # Errors
/// When it has no length, or holds something that is no number.
pub(super) fn unit(embedding: &[f32]) -> Result<Vec<f32>, String> {
    let length = embedding.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return Err("an embedding that holds what is no number".to_owned());
    }
    if length == 0.0 {
        return Err("an embedding of no length".to_owned());
    }
    Ok(embedding.iter().map(|value| (f64::from(*value) / length) as f32).collect())
}

/// How far two vectors of the same size point the same way; the cosine, where both have length 1.
pub(super) fn product(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Label;

    fn output(values: Values, classes: usize, labels: &[&[usize]]) -> ScoresOutput {
        let label = |classes: &&[usize]| Label { name: Arc::from("x"), classes: classes.to_vec() };
        ScoresOutput { name: "y".to_owned(), values, classes, labels: labels.iter().map(label).collect() }
    }

    fn near(got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-4, "{got} instead of {expected}");
        }
    }

    #[test]
    fn values_become_scores_as_the_manifest_says() {
        let each: &[&[usize]] = &[&[0], &[1]];
        for (kind, values, expected) in [
            (Values::Probabilities, [0.25, 0.75], [0.25, 0.75]),
            (Values::Probabilities, [-0.000_1, 1.000_1], [0.0, 1.0]),
            (Values::Logits, [0.0, 0.0], [0.5, 0.5]),
            (Values::Logits, [900.0, 898.0], [0.880_797, 0.119_203]),
            (Values::IndependentLogits, [0.0, 2.0], [0.5, 0.880_797]),
            (Values::IndependentLogits, [-900.0, 900.0], [0.0, 1.0]),
        ] {
            near(&scores(&output(kind, 2, each), &values).unwrap(), &expected);
        }
    }

    #[test]
    fn a_category_is_the_sum_of_its_classes() {
        let grouped = output(Values::Probabilities, 4, &[&[0, 3], &[2]]);
        near(&scores(&grouped, &[0.2, 0.1, 0.3, 0.4]).unwrap(), &[0.6, 0.3]);
        let full = output(Values::Probabilities, 2, &[&[0, 1]]);
        near(&scores(&full, &[0.6, 0.400_5]).unwrap(), &[1.0]);
    }

    #[test]
    fn what_is_no_score_is_refused() {
        for (kind, values, expected) in [
            (Values::Probabilities, &[0.5][..], "1 values for 2 classes"),
            (Values::Probabilities, &[0.5, f32::NAN], "NaN"),
            (Values::Logits, &[0.5, f32::NAN], "NaN"),
            (Values::IndependentLogits, &[0.5, f32::INFINITY], "inf"),
            (Values::Probabilities, &[-3.2, 4.1], "-3.2, which is no probability"),
        ] {
            let problem = scores(&output(kind, 2, &[&[0]]), values).unwrap_err();
            assert!(problem.contains(expected), "{values:?}: {problem}");
        }
    }

    #[test]
    fn only_an_embedding_with_a_length_has_a_direction() {
        near(&unit(&[3.0, 4.0]).unwrap(), &[0.6, 0.8]);
        near(&unit(&[3e30, 4e30]).unwrap(), &[0.6, 0.8]);
        for (embedding, expected) in [([0.0, 0.0], "no length"), ([f32::NAN, 1.0], "no number")] {
            assert!(unit(&embedding).unwrap_err().contains(expected));
        }
    }

    proptest! {
        #[test]
        fn softmax_is_what_its_definition_says(values in prop::collection::vec(-20.0_f32..20.0, 1..12)) {
            let all: f64 = values.iter().map(|value| f64::from(*value).exp()).sum();
            for (got, value) in softmax(&values).iter().zip(&values) {
                prop_assert!((f64::from(*got) - f64::from(*value).exp() / all).abs() < 1e-5);
            }
        }
    }
}
