//! What recordings are inspected for, in words: which banks, which models, and which of their scores is a finding. It is all
//! that whoever tells of the outcome needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::bank::{Banks, Kind};
use crate::finding::Scores;
use crate::model::{self, Described, Threshold};

/// What is asked of recordings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Brief {
    pub(super) banks: Vec<AskedBank>,
    /// Who gives scores, each with its digest.
    pub(super) scorers: Vec<(Arc<str>, Arc<str>)>,
    pub(super) thresholds: Thresholds,
    /// What somebody may have expected to be asked, and is not.
    pub(super) notes: Vec<String>,
}

/// A bank that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AskedBank {
    pub(super) name: String,
    pub(super) revision: u64,
    pub(super) signals: usize,
    pub(super) kind: Kind,
}

impl Brief {
    /// Of `banks`; models are still to come.
    pub(super) fn of(banks: &Banks, notes: Vec<String>) -> Self {
        let banks = banks.iter().map(|bank| AskedBank {
            name: bank.name().to_string(),
            revision: bank.revision(),
            signals: bank.len(),
            kind: bank.settings().kind,
        });
        Self { banks: banks.collect(), notes, ..Self::default() }
    }
}

/// `LABEL=SCORE` on the command line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelThreshold(String, f32);

impl FromStr for LabelThreshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=').map(|(label, score)| (label, score.parse::<f32>()));
        match parts {
            Some((label, Ok(score))) if !label.is_empty() && (0.0..=1.0).contains(&score) => {
                Ok(Self(label.to_owned(), score))
            }
            _ => Err("use a label and a score of 0 to 1, such as nsfl=0.9".to_owned()),
        }
    }
}

/// Above which score which label of which model is a finding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Thresholds {
    /// By model and then by label, from manifests: of what the model itself gave.
    of_manifests: BTreeMap<Arc<str>, BTreeMap<Arc<str>, f32>>,
    /// By label, from the command line: of what rules would see, which is calibrated where the model is.
    said: BTreeMap<String, f32>,
}

impl Thresholds {
    pub(super) fn new(
        config: &model::Config,
        said: &[LabelThreshold],
        labels: &[(Arc<str>, Arc<str>)],
    ) -> anyhow::Result<Self> {
        let mut of_manifests: BTreeMap<Arc<str>, BTreeMap<Arc<str>, f32>> = BTreeMap::new();
        for described in model::described(config)?.0 {
            let (name, thresholds): (_, &[Threshold]) = match &described {
                Described::Model(manifest) => (&manifest.name, &manifest.thresholds),
                Described::Probe(probe) => (&probe.name, &probe.thresholds),
            };
            let of_model = of_manifests.entry(Arc::clone(name)).or_default();
            for threshold in thresholds {
                let above = of_model.entry(Arc::from(threshold.label.as_str())).or_insert(f32::INFINITY);
                *above = above.min(threshold.above);
            }
        }
        for LabelThreshold(label, _) in said {
            if !labels.iter().any(|(_, known)| **known == **label) {
                let known: BTreeSet<&str> = labels.iter().map(|(_, label)| &**label).collect();
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                bail!("no model that is asked has a label `{label}`: they have {known}");
            }
        }
        let said = said.iter().map(|LabelThreshold(label, score)| (label.clone(), *score)).collect();
        Ok(Self { of_manifests, said })
    }

    pub(super) fn none_of(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        labels.iter().all(|(model, label)| self.above(model, label).is_none())
    }

    /// Above which score a label is a finding; none where no score is.
    pub(super) fn above(&self, model: &Arc<str>, label: &Arc<str>) -> Option<f32> {
        let of_manifest = || self.of_manifests.get(model)?.get(label);
        self.said.get(&**label).or_else(of_manifest).copied()
    }

    /// The labels of `scores` that are findings, each with its score and what that is above.
    pub(super) fn exceeded(&self, scores: &Scores) -> Vec<(Arc<str>, f32, f32)> {
        let each = scores.scores.iter().enumerate().filter_map(|(at, (label, score))| {
            let above = self.above(&scores.model, label)?;
            // What a manifest says holds for the model as it is, not for what a calibration makes of it.
            let said = self.said.contains_key(&**label);
            let weighed = if said { *score } else { scores.raw.get(at).copied().unwrap_or(*score) };
            (weighed > above).then(|| (Arc::clone(label), weighed, above))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_label_and_a_score() {
        for (text, expected) in [
            ("nsfl=0.9", Some(LabelThreshold("nsfl".to_owned(), 0.9))),
            ("a=b=1", Some(LabelThreshold("a=b".to_owned(), 1.0))),
            ("nsfl", None),
            ("=0.5", None),
            ("nsfl=1.5", None),
            ("nsfl=nan", None),
            ("nsfl=high", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_said_comes_before_the_manifest_and_is_of_calibrated_scores() {
        let of_safety = BTreeMap::from([(Arc::from("nsfl"), 0.5), (Arc::from("nsfw"), 0.8)]);
        let thresholds = Thresholds {
            of_manifests: [(Arc::from("safety"), of_safety)].into(),
            said: [("nsfw".to_owned(), 0.3)].into(),
        };
        let scores = |nsfl: f32, nsfw: f32, raw: Vec<f32>| Scores {
            model: "safety".into(),
            scores: vec![("nsfl".into(), nsfl), ("nsfw".into(), nsfw), ("sfw".into(), 1.0)],
            raw,
            ..Scores::default()
        };
        let names =
            |scores: &Scores| thresholds.exceeded(scores).into_iter().map(|(label, ..)| label).collect::<Vec<_>>();
        assert_eq!(names(&scores(0.6, 0.2, vec![])), ["nsfl".into()]);
        assert_eq!(names(&scores(0.5, 0.31, vec![])), ["nsfw".into()], "exactly the threshold is not above it");
        assert_eq!(
            names(&scores(0.1, 0.1, vec![0.9, 0.9, 0.9])),
            ["nsfl".into()],
            "the manifest's is of the raw score"
        );
    }
}
