//! The manifest of a probe: which model's embedding it looks at, what it was trained on, how good it was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::parts::{FileSpec, Licence, Sha256Hex, Threshold};
use super::{Kind, plain_file_name, word};

/// One probe, as its manifest describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeManifest {
    /// Its name in the configuration, findings and metrics: lower-case letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// What it is, for people.
    pub about: String,
    /// The file of its weights.
    pub file: FileSpec,
    /// Who allows what.
    pub licence: Licence,
    /// The model whose embedding it looks at: a shipped one's name, or the path of a manifest, from this one's folder.
    pub embedding: String,
    /// Digest of that model's file: the embedding of another model means something else.
    pub embedding_sha256: Sha256Hex,
    /// [`Manifest::meaning`](super::Manifest::meaning) of that embedding: of a picture prepared otherwise it is another.
    pub meaning_sha256: Sha256Hex,
    /// The one label that it scores.
    pub label: Arc<str>,
    /// What it was trained on, and what cross-validation found.
    pub training: Training,
    /// Where to set thresholds, and how that was found out.
    pub thresholds: Vec<Threshold>,
    /// What somebody who sets thresholds should know, by topic.
    pub notes: BTreeMap<String, String>,
    /// The folder that the manifest was read from.
    pub folder: Option<PathBuf>,
}

/// What a probe was trained on, and what cross-validation found: each picture judged by a probe that had not seen it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Pictures of what it looks for.
    pub positives: usize,
    /// Pictures of anything else.
    pub negatives: usize,
    /// In how many parts the pictures were split.
    pub folds: usize,
    /// Of the pictures scored .5 or more, the share that were positive.
    pub precision: f32,
    /// Of the positive pictures, the share scored .5 or more.
    pub recall: f32,
    /// Area under the receiver operating characteristic: the chance that a positive picture scores above a negative one.
    pub auc: f32,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    name: String,
    #[serde(rename = "kind")]
    _kind: Kind,
    about: String,
    file: FileSpec,
    licence: Licence,
    probe: RawProbe,
    training: Training,
    #[serde(default, rename = "threshold")]
    thresholds: Vec<Threshold>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProbe {
    embedding: String,
    embedding_sha256: Sha256Hex,
    meaning_sha256: Sha256Hex,
    label: String,
}

impl Raw {
    pub(super) fn checked(self, folder: Option<PathBuf>) -> Result<ProbeManifest, String> {
        word("name", &self.name)?;
        word("probe.label", &self.probe.label)?;
        plain_file_name("file.name", &self.file.name)?;
        if let Some(threshold) = self.thresholds.iter().find(|threshold| threshold.label != self.probe.label) {
            return Err(format!("key `threshold.label`: `{}` is not `{}`", threshold.label, self.probe.label));
        }
        Ok(ProbeManifest {
            name: self.name.into(),
            about: self.about,
            file: self.file,
            licence: self.licence,
            embedding: self.probe.embedding,
            embedding_sha256: self.probe.embedding_sha256,
            meaning_sha256: self.probe.meaning_sha256,
            label: self.probe.label.into(),
            training: self.training,
            thresholds: self.thresholds,
            notes: self.notes,
            folder,
        })
    }
}
