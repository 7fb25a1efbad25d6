//! Calibrations: what a model's scores are worth, so that one threshold of a policy means the same thing for each model.
//!
//! A model's `0.8` is a number on a scale of its own. A [`Calibration`] holds a [`Curve`] for some of its labels, found from
//! pictures of an operator's own (`sluicegate model calibrate`), which turns such a score into a *likelihood*: the share of
//! pictures with that score that are what the label says, were such pictures as frequent as others. Labels without a curve
//! keep their scores. The file names the digest of the model it was found with, and that of what the manifest makes of it;
//! with others it is refused, for their scores are on another scale.
//!
//! Finding curves is not done here; see `eval`.

mod curve;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::manifest::word;
use super::{ModelError, Sha256Hex};
use crate::finding::Scores;
pub use curve::{Curve, logistic, logit};

/// What the scores of one model are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    model: Arc<str>,
    model_sha256: Sha256Hex,
    meaning_sha256: Sha256Hex,
    curves: Vec<LabelCurve>,
    digest: Arc<str>,
}

/// The curve of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelCurve {
    /// The label.
    pub label: Arc<str>,
    /// From scores to likelihoods.
    pub curve: Curve,
    /// From what pictures it was found and how good it is, for people.
    pub made: String,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    model: String,
    model_sha256: Sha256Hex,
    meaning_sha256: Sha256Hex,
    #[serde(rename = "curve")]
    curves: Vec<RawCurve>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCurve {
    label: String,
    method: Method,
    made: String,
    temperature: Option<f64>,
    slope: Option<f64>,
    offset: Option<f64>,
    /// Left out by whoever writes a file by hand and wants none.
    bounds: Option<(f64, f64)>,
    points: Option<Vec<(f64, f64)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    Temperature,
    Platt,
    Isotonic,
}

impl Calibration {
    /// A calibration of the model called `model` whose file has the digest `model_sha256`, and whose manifest makes of it
    /// what `meaning_sha256` stands for (see [`Session::meaning`](super::Session::meaning)).
    ///
    /// # Errors
    /// When there is no curve, two are of one label, or one could fall.
    pub fn new(
        model: &str,
        model_sha256: &Sha256Hex,
        meaning_sha256: &Sha256Hex,
        curves: &[LabelCurve],
    ) -> Result<Self, ModelError> {
        Self::parse(&written(model, model_sha256, meaning_sha256, curves), &format!("of `{model}`"))
    }

    /// The calibration in the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or is not right.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ModelError::CalibrationUnreadable { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The calibration that `text` holds; `shown` is what errors call it.
    ///
    /// # Errors
    /// When it is not right.
    pub fn parse(text: &str, shown: &str) -> Result<Self, ModelError> {
        let refused = |problem: String| ModelError::Calibration { calibration: shown.to_owned(), problem };
        let raw: Raw = toml::from_str(text).map_err(|error| refused(error.to_string().trim_end().to_owned()))?;
        raw.checked(hex::encode(Sha256::digest(text)).into()).map_err(refused)
    }

    /// As [`Calibration::read`] reads it.
    pub fn to_text(&self) -> String {
        written(&self.model, &self.model_sha256, &self.meaning_sha256, &self.curves)
    }

    /// The name of the model that it is of, which may be a probe.
    pub const fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// SHA-256 of the file that holds it, hexadecimal.
    pub const fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// What it knows of each label.
    pub fn curves(&self) -> &[LabelCurve] {
        &self.curves
    }

    /// Whether it is of a model of this name, digest and meaning and these labels.
    ///
    /// # Errors
    /// When it is not: what differs, and what to do.
    pub fn fits<'a>(
        &self,
        model: &str,
        digest: &str,
        meaning: &Sha256Hex,
        labels: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Result<(), ModelError> {
        let refused = |problem: String| Err(ModelError::Calibration { calibration: format!("of `{model}`"), problem });
        if *self.model != *model {
            return refused(format!("it is of `{}`: take it out of `calibrations` in [model]", self.model));
        }
        if self.model_sha256.as_str() != digest {
            return refused(format!(
                "it was found with another file, of sha256 {}, whose scores are on another scale: run `sluicegate model \
                 calibrate` again",
                self.model_sha256
            ));
        }
        if self.meaning_sha256 != *meaning {
            return refused(format!(
                "it was found when the manifest said another thing of how pictures become scores (`meaning_sha256` was {} \
                 and is {meaning}): put that back, or run `sluicegate model calibrate` again",
                self.meaning_sha256
            ));
        }
        let labels: Vec<&Arc<str>> = labels.into_iter().collect();
        match self.curves.iter().find(|curve| !labels.contains(&&curve.label)) {
            Some(curve) => refused(format!("`{}` is no label of the model", curve.label)),
            None => Ok(()),
        }
    }

    /// Makes likelihoods of `scores`, and keeps what the model gave in [`Scores::raw`]. Scores of another model, and such
    /// as are calibrated already, stay as they are.
    pub fn apply(&self, scores: &mut Scores) {
        let its_own = scores.model == self.model && *scores.digest == *self.model_sha256.as_str();
        if !its_own || scores.calibration.is_some() {
            return;
        }
        scores.raw = scores.scores.iter().map(|(_, score)| *score).collect();
        for (label, score) in &mut scores.scores {
            if let Some(LabelCurve { curve, .. }) = self.curves.iter().find(|curve| curve.label == *label) {
                *score = curve.likelihood(*score);
            }
        }
        scores.calibration = Some(Arc::clone(&self.digest));
    }
}

impl Raw {
    fn checked(self, digest: Arc<str>) -> Result<Calibration, String> {
        word("model", &self.model)?;
        if self.curves.is_empty() {
            return Err("there is no [[curve]]: write one for each label that is calibrated".to_owned());
        }
        let curves = self.curves.into_iter().map(RawCurve::checked).collect::<Result<Vec<_>, _>>()?;
        for (at, curve) in curves.iter().enumerate() {
            if curves.iter().take(at).any(|earlier| earlier.label == curve.label) {
                return Err(format!("key `curve.label`: `{}` stands there twice", curve.label));
            }
        }
        let Self { model_sha256, meaning_sha256, .. } = self;
        Ok(Calibration { model: self.model.into(), model_sha256, meaning_sha256, curves, digest })
    }
}

impl RawCurve {
    fn checked(self) -> Result<LabelCurve, String> {
        word("curve.label", &self.label)?;
        let bounds = self.bounds.unwrap_or(Curve::UNBOUNDED);
        let curve = match (self.method, self.temperature, self.slope, self.offset, self.points) {
            (Method::Temperature, Some(temperature), None, None, None) => Curve::Temperature { temperature, bounds },
            (Method::Platt, None, Some(slope), Some(offset), None) => Curve::Platt { slope, offset, bounds },
            (Method::Isotonic, None, None, None, Some(points)) if self.bounds.is_none() => Curve::Isotonic(points),
            _ => {
                return Err(format!(
                    "the curve of `{}`: `temperature` takes a temperature, `platt` slope and offset, both of them bounds, \
                     `isotonic` points, and nothing else",
                    self.label
                ));
            }
        };
        match curve.problem() {
            Some(problem) => Err(format!("the curve of `{}`: {problem}", self.label)),
            None => Ok(LabelCurve { label: self.label.into(), curve, made: self.made }),
        }
    }
}

fn written(model: &str, model_sha256: &Sha256Hex, meaning_sha256: &Sha256Hex, curves: &[LabelCurve]) -> String {
    let text = |text: &str| toml::Value::from(text).to_string();
    let mut file = format!(
        "# What the scores of a model are worth: see docs/models.md. Name this file under `calibrations` in [model].\n\n\
         model = {}\nmodel_sha256 = {}\nmeaning_sha256 = {}\n",
        text(model),
        text(model_sha256.as_str()),
        text(meaning_sha256.as_str())
    );
    for LabelCurve { label, curve, made } in curves {
        let curve = match curve {
            Curve::Temperature { temperature, bounds: (low, high) } => {
                format!("method = \"temperature\"\ntemperature = {temperature:?}\nbounds = [{low:?}, {high:?}]")
            }
            Curve::Platt { slope, offset, bounds: (low, high) } => {
                format!("method = \"platt\"\nslope = {slope:?}\noffset = {offset:?}\nbounds = [{low:?}, {high:?}]")
            }
            Curve::Isotonic(points) => {
                let points: Vec<String> =
                    points.iter().map(|(score, likelihood)| format!("    [{score:?}, {likelihood:?}],\n")).collect();
                format!("method = \"isotonic\"\npoints = [\n{}]", points.concat())
            }
        };
        // Nothing can fail that only grows a string.
        write!(file, "\n[[curve]]\nlabel = {}\nmade = {}\n{curve}\n", text(label), text(made)).ok();
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "fef443ed68ae25ed693b6fef9e456071692ed3963cff4168acb39c3de6f017e7";

    fn curve(label: &str, curve: Curve) -> LabelCurve {
        LabelCurve { label: label.into(), curve, made: "of \"ten\" pictures\nby hand".to_owned() }
    }

    fn calibration() -> Calibration {
        let curves = [
            curve("nsfl", Curve::Platt { slope: 1.5, offset: 1e-7, bounds: (0.05, 0.95) }),
            curve("nsfw", Curve::Isotonic(vec![(0.0, 0.25), (0.5, 1.0)])),
            curve("odd", Curve::Temperature { temperature: 2.0, bounds: Curve::UNBOUNDED }),
        ];
        Calibration::new("safety", &DIGEST.to_owned().try_into().unwrap(), &Sha256Hex::of("meant"), &curves).unwrap()
    }

    fn scores(model: &str) -> Scores {
        Scores {
            model: model.into(),
            digest: DIGEST.into(),
            scores: vec![("nsfl".into(), 0.5), ("nsfw".into(), 0.25), ("sfw".into(), 0.25)],
            ..Scores::default()
        }
    }

    #[test]
    fn scores_become_likelihoods_and_what_the_model_gave_is_kept() {
        let calibration = calibration();
        let mut calibrated = scores("safety");
        calibration.apply(&mut calibrated);
        let values: Vec<f32> = calibrated.scores.iter().map(|(_, score)| *score).collect();
        assert!((values[0] - 0.5).abs() < 1e-6 && (values[1] - 0.625).abs() < 1e-6, "{values:?}");
        assert!((values[2] - 0.25).abs() < f32::EPSILON, "a label without a curve keeps its score");
        assert_eq!(calibrated.raw, [0.5, 0.25, 0.25]);
        assert_eq!(calibrated.calibration.as_ref(), Some(calibration.digest()));

        let once = calibrated.clone();
        calibration.apply(&mut calibrated);
        assert_eq!(calibrated, once, "a likelihood is no score");
        let mut of_another = scores("other");
        calibration.apply(&mut of_another);
        assert_eq!(of_another, scores("other"));
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let calibration = calibration();
        let again = Calibration::parse(&calibration.to_text(), "again").unwrap();
        assert_eq!(again, calibration);
        assert_eq!(**again.digest(), *hex::encode(Sha256::digest(calibration.to_text())));
    }

    #[test]
    fn it_is_refused_with_another_model() {
        let labels: Vec<Arc<str>> = ["nsfl", "nsfw", "odd"].map(Arc::from).to_vec();
        let calibration = calibration();
        assert!(calibration.fits("safety", DIGEST, &Sha256Hex::of("meant"), &labels).is_ok());
        for (model, digest, meaning, labels, expected) in [
            ("open_nsfw", DIGEST, "meant", &labels[..], "it is of `safety`"),
            ("safety", &*"0".repeat(64), "meant", &labels, "found with another file"),
            ("safety", DIGEST, "otherwise", &labels, "the manifest said another thing"),
            ("safety", DIGEST, "meant", &labels[..2], "`odd` is no label"),
        ] {
            let message = calibration.fits(model, digest, &Sha256Hex::of(meaning), labels).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_is_not_right_is_refused_with_its_key() {
        let text = calibration().to_text();
        for (from, to, expected) in [
            ("model = \"safety\"", "model = \"Safety\"", "key `model`"),
            ("model_sha256 = \"f", "model_sha256 = \"g", "is no SHA-256"),
            ("label = \"nsfw\"", "label = \"nsfl\"", "stands there twice"),
            ("label = \"nsfw\"", "label = \"NSFW\"", "key `curve.label`"),
            ("slope = 1.5", "slope = -1.5", "curve of `nsfl`: key `curve.slope`"),
            ("slope = 1.5", "points = []", "`platt` slope and offset"),
            ("slope = 1.5", "slop = 1.5", "unknown field `slop`"),
            ("bounds = [0.05, 0.95]", "bounds = [0.95, 0.05]", "curve of `nsfl`: key `curve.bounds`"),
            ("method = \"isotonic\"", "method = \"isotonic\"\nbounds = [0, 1]", "both of them bounds"),
            ("method = \"platt\"", "method = \"plat\"", "expected one of `temperature`"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from}");
            let message = Calibration::parse(&wrong, "some.toml").unwrap_err().to_string();
            assert!(message.contains("calibration some.toml: ") && message.contains(expected), "{to}: {message}");
        }
        let (head, _) = text.split_once("[[curve]]").unwrap();
        assert!(
            Calibration::parse(&format!("{head}\ncurve = []"), "x").unwrap_err().to_string().contains("no [[curve]]")
        );
    }
}
