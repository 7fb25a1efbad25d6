//! `sluicegate model calibrate`: what a model's scores are worth, found from pictures that an operator has labelled.
//!
//! Figures before and after are cross-validated: each picture's likelihood is that of a curve found from others, none of which
//! looks like it or comes from the same video.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::json;

use super::UNAVAILABLE;
use super::material::{self, Eye, FOLDS};
use crate::config::duration;
use crate::eval::{self, Judged};
use crate::model::{Calibration, Config, Curve, LabelCurve, Sha256Hex, logit};

/// From so many distinct pictures of each side on, steps are told from chance.
const ENOUGH_FOR_STEPS: usize = 200;

/// Likelihoods that thresholds are set at: which score is each is told.
const LIKELIHOODS: [f32; 3] = [0.5, 0.8, 0.9];

/// Whoever calibrates changes what every rule of the label means.
const LOOK_AGAIN: &str = "With this file named in [model], every threshold for this label is a likelihood, in your rules and \
                          in those of the policy that is built in: look at each again before you restart.";

/// Find out what a model's scores are worth, so that one threshold means the same for each model.
///
/// Pictures of what the label says are under --positive, pictures of anything else under --negative. What is written turns
/// each score into a likelihood; name the file under `calibrations` in [model]. A file that is there already keeps the
/// curves of its other labels.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sluicegate model calibrate safety --label nsfl --positive held/ --negative released/ --out safety.calibration.toml")]
pub(super) struct Args {
    /// The model's name, or the path of a manifest.
    model: String,
    /// Which of the model's labels.
    #[arg(long, value_name = "LABEL")]
    label: String,
    /// Pictures and videos of what the label says, or folders of them.
    #[arg(long, required = true, value_name = "DIR")]
    positive: Vec<PathBuf>,
    /// Pictures and videos of anything else, or folders of them.
    #[arg(long, required = true, value_name = "DIR")]
    negative: Vec<PathBuf>,
    /// File to write the calibration to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What kind of curve; chosen by how many pictures there are when left out.
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// How far apart the pictures of a video are taken.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    every: Duration,
    /// Decides how pictures are split for the figures.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// One number: the model is too sure of itself, or not sure enough.
    Temperature,
    /// Two numbers: it also leans to one side.
    Platt,
    /// As many steps as the pictures warrant; chosen from 200 of each side on.
    Isotonic,
}

/// Runs `sluicegate model calibrate`.
///
/// # Errors
/// When there are too few pictures, the scores say nothing about them, or the file cannot be written.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut eye = match Eye::open(&args.model, config) {
        Ok(eye) => eye,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}").ok();
            return Ok(ExitCode::from(UNAVAILABLE));
        }
    };
    let (scorer, digest) = scorer(&eye, &args.label)?;
    let meaning = eye.session.meaning(&scorer);
    let specimens = material::specimens(&args.positive, &args.negative, args.every, |picture| {
        let outputs = eye.look(picture)?;
        let said = outputs.scores.iter().filter(|scores| *scores.model == *scorer).flat_map(|scores| &scores.scores);
        let score = said.clone().find(|(label, _)| **label == *args.label).map(|(_, score)| *score);
        score.context("the model gave no score")
    })?;
    let scores: Vec<Judged> =
        specimens.all.iter().map(|one| Judged { score: f64::from(one.value), positive: one.positive }).collect();

    let (positives, negatives) = eval::sides(&scores);
    let method = args.method.unwrap_or(if positives.min(negatives) < ENOUGH_FOR_STEPS {
        Method::Platt
    } else {
        Method::Isotonic
    });
    let nothing = || {
        format!("`{}` does not score the positive pictures higher than the others: it cannot be calibrated", args.label)
    };
    let curve = found(method, &scores).with_context(nothing)?;
    let unseen = unseen(method, &scores, &specimens.folds(args.seed)).with_context(nothing)?;
    let (before, after) = (figures(&scores), figures(&unseen));
    let why = format!("`{}` says too little about them to be calibrated", args.label);
    material::expect_more_than_chance(&unseen, &why)?;
    let made = format!(
        "{positives} positive and {negatives} negative pictures; likelihoods were off by {:.3} before and are by {:.3} now, \
         log loss {:.3} before and {:.3} now, in {FOLDS}-fold cross-validation",
        before.error, after.error, before.log_loss, after.log_loss
    );
    let mut curves = if fs::exists(&args.out)? { others(args, &scorer, &digest, &meaning)? } else { Vec::new() };
    curves.push(LabelCurve { label: args.label.as_str().into(), curve: curve.clone(), made });
    let calibration = Calibration::new(&scorer, &digest, &meaning, &curves)?;
    fs::write(&args.out, calibration.to_text()).with_context(|| format!("cannot write {}", args.out.display()))?;

    if args.json {
        let object = json!({
            "calibration": args.out, "digest": calibration.digest(), "model": scorer, "label": args.label,
            "method": method.to_possible_value().map(|value| value.get_name().to_owned()),
            "positives": positives, "negatives": negatives, "left_out": specimens.left_out,
            "before": { "calibration_error": before.error, "log_loss": before.log_loss },
            "after": { "calibration_error": after.error, "log_loss": after.log_loss },
            "reached": LIKELIHOODS.map(|likelihood| json!({ "likelihood": likelihood, "score": curve.reaches(likelihood) })),
            "note": LOOK_AGAIN,
        });
        writeln!(out, "{object}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}: written", args.out.display())?;
    writeln!(out, "  pictures  {positives} positive, {negatives} negative")?;
    for left_out in &specimens.left_out {
        writeln!(out, "  left out  {left_out}")?;
    }
    writeln!(out, "  off by    {:.3} before, {:.3} now, on average", before.error, after.error)?;
    writeln!(out, "  log loss  {:.3} before, {:.3} now", before.log_loss, after.log_loss)?;
    let shown = [0.1f32, 0.3, 0.5, 0.7, 0.9].map(|score| format!("{score} is {:.2}", curve.likelihood(score)));
    writeln!(out, "  so that   {}", shown.join(", "))?;
    let reached = LIKELIHOODS.map(|likelihood| match curve.reaches(likelihood) {
        Some(score) => format!("{likelihood} from a score of {score:.3} on"),
        None => format!("{likelihood} is never reached"),
    });
    writeln!(out, "  likely    {}", reached.join(", "))?;
    writeln!(out, "{LOOK_AGAIN}")?;
    writeln!(out, "A likelihood is that of pictures like these, were both sides as frequent as each other.")?;
    Ok(ExitCode::SUCCESS)
}

/// Who gives the score, and with which digest.
fn scorer(eye: &Eye, label: &str) -> anyhow::Result<(String, Sha256Hex)> {
    let labels: Vec<String> = eye.session.labels().map(|(_, label)| label.to_string()).collect();
    let Some((model, _)) = eye.session.labels().find(|(_, known)| ***known == *label) else {
        bail!("`{label}` is no label of the model: choose one of {}", labels.join(", "));
    };
    let digest = eye.session.scorers().find(|(name, _)| *name == model).map(|(_, digest)| digest.to_string());
    let digest = Sha256Hex::try_from(digest.unwrap_or_default()).map_err(anyhow::Error::msg)?;
    Ok((model.to_string(), digest))
}

/// The curves of other labels in the file that is to be written.
fn others(args: &Args, model: &str, digest: &Sha256Hex, meaning: &Sha256Hex) -> anyhow::Result<Vec<LabelCurve>> {
    let before = Calibration::read(&args.out)?;
    let labels: Vec<_> = before.curves().iter().map(|curve| curve.label.clone()).collect();
    before.fits(model, digest.as_str(), meaning, &labels).with_context(|| {
        format!("{} is there already, and not of this model: choose another --out", args.out.display())
    })?;
    Ok(before.curves().iter().filter(|curve| *curve.label != *args.label).cloned().collect())
}

fn found(method: Method, scores: &[Judged]) -> Option<Curve> {
    let logits = || -> Vec<Judged> { scores.iter().map(|one| Judged { score: logit(one.score), ..*one }).collect() };
    let bounds = eval::warranted(scores);
    match method {
        Method::Temperature => {
            eval::temperature(&logits()).map(|temperature| Curve::Temperature { temperature, bounds })
        }
        Method::Platt => eval::platt(&logits()).map(|(slope, offset)| Curve::Platt { slope, offset, bounds }),
        Method::Isotonic => eval::isotonic(scores).map(Curve::Isotonic),
    }
}

/// Each picture's likelihood by a curve that has not seen it.
fn unseen(method: Method, scores: &[Judged], folds: &[usize]) -> Option<Vec<Judged>> {
    let mut unseen = scores.to_vec();
    for fold in 0..FOLDS {
        let others: Vec<Judged> =
            scores.iter().zip(folds).filter(|(_, of)| **of != fold).map(|(one, _)| *one).collect();
        let curve = found(method, &others)?;
        for (one, _) in unseen.iter_mut().zip(folds).filter(|(_, of)| **of == fold) {
            one.score = f64::from(curve.likelihood(one.score as f32));
        }
    }
    Some(unseen)
}

/// How far likelihoods may be believed.
struct Figures {
    error: f64,
    log_loss: f64,
}

fn figures(judged: &[Judged]) -> Figures {
    Figures { error: eval::calibration_error(judged), log_loss: eval::log_loss(judged) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A model that never says more than .6 and is right two times in three from .3 on.
    fn shy() -> (Vec<Judged>, Vec<usize>) {
        let judged: Vec<Judged> = (0..300usize)
            .map(|n| {
                let score = (n % 60) as f64 / 100.0;
                Judged { score, positive: if score >= 0.3 { n % 3 != 0 } else { n % 17 == 0 } }
            })
            .collect();
        let folds = (0..judged.len()).map(|n| n / 60).collect();
        (judged, folds)
    }

    #[test]
    fn every_way_of_calibrating_makes_likelihoods_that_can_be_believed_more() {
        let (judged, folds) = shy();
        let before = figures(&judged);
        for method in [Method::Platt, Method::Isotonic] {
            let after = figures(&unseen(method, &judged, &folds).unwrap());
            assert!(after.error < before.error && after.log_loss < before.log_loss, "{method:?}: {}", after.error);
        }
        assert!(matches!(found(Method::Temperature, &judged), Some(Curve::Temperature { .. })));
        let contrary: Vec<Judged> = judged.iter().map(|one| Judged { positive: !one.positive, ..*one }).collect();
        assert!(unseen(Method::Platt, &contrary, &folds).is_none());
    }

    proptest! {
        #[test]
        fn no_likelihood_is_surer_than_so_many_pictures_warrant_and_none_falls(
            pictures in proptest::collection::vec((0.0f64..=1.0, any::<bool>()), 2..60),
            apart: bool, scores in proptest::collection::vec(0.0f32..=1.0, 2..20)
        ) {
            // The surest of all: every positive above every negative.
            let push = |score: f64, positive: bool| if positive { 0.5 + score / 2.0 } else { score / 2.01 };
            let judged: Vec<Judged> = pictures
                .iter()
                .map(|&(score, positive)| Judged { score: if apart { push(score, positive) } else { score }, positive })
                .collect();
            let (positives, negatives) = eval::sides(&judged);
            let (low, high) = (1.0 / (negatives as f32 + 2.0), (positives as f32 + 1.0) / (positives as f32 + 2.0));
            let mut rising: Vec<f32> = scores.into_iter().chain([0.0, 1.0]).collect();
            rising.sort_by(f32::total_cmp);
            for method in [Method::Temperature, Method::Platt, Method::Isotonic] {
                let Some(curve) = found(method, &judged) else { continue };
                let likelihoods: Vec<f32> = rising.iter().map(|score| curve.likelihood(*score)).collect();
                prop_assert!(likelihoods.iter().all(|one| *one > low - 1e-6 && *one < high + 1e-6), "{method:?} {likelihoods:?}");
                prop_assert!(likelihoods.windows(2).all(|two| two[0] <= two[1]), "{method:?} {likelihoods:?}");
            }
        }
    }
}
