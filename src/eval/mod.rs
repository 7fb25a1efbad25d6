//! How good scores are, and how to make better ones: the statistics behind `sluicegate model eval`, `calibrate` and
//! `train-probe`.
//!
//! It knows nothing of pictures and models: scores and what they were given to come in, figures and curves go out. The
//! figures say how sure they are, because the material that is at hand is often little: a recall comes with the interval
//! that it may lie in, and no alarm in a few minutes is told as what it is, at most so many an hour.
//!
//! Whatever is fitted, to the scores of positive and negative pictures, takes both to be equally frequent, however many
//! of each there were. So a likelihood means the same wherever it was found: `.9` is nine to one for the label, to be
//! multiplied with the odds that a stream shows such a thing at all.
//!
//! Pure: no clock, no file, no thread, no logging, and chance only from a seed.

mod alarms;
mod calibrate;
mod certainty;
mod cross;
mod groups;
mod plot;
mod probe;
mod ranked;

pub use alarms::{Watched, alarms};
pub use calibrate::{isotonic, platt, temperature, warranted};
pub use certainty::{at_most, between};
pub use cross::{Trial, logits, without_own_fold};
pub use groups::{Groups, folds};
pub use plot::{Axis, Chart, Line};
pub use probe::{Linear, NotFitted, fit};
pub use ranked::{Confusion, Point, area, average_precision, calibration_error, curve, log_loss};

/// A score and the truth about what it was given to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// 0 to 1.
    pub score: f64,
    /// It is what the label says.
    pub positive: bool,
}

/// How many are positive, and how many are not.
pub fn sides(judged: &[Judged]) -> (usize, usize) {
    let positives = judged.iter().filter(|one| one.positive).count();
    (positives, judged.len() - positives)
}

/// Whether two have one score.
fn tied(a: &Judged, b: &Judged) -> bool {
    a.score.total_cmp(&b.score).is_eq()
}

/// How much one of each side weighs when both sides together weigh 1 each: for a positive, and for a negative.
fn weights(judged: &[Judged]) -> (f64, f64) {
    let (positives, negatives) = sides(judged);
    (1.0 / positives.max(1) as f64, 1.0 / negatives.max(1) as f64)
}
