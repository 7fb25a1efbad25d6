//! What is worked out from a model's embedding: a probe, or a comparison with the embeddings of labels.
//!
//! A head is a file of numbers with a digest of its own. It costs a few multiplications where its model costs
//! milliseconds, so any number of them share one inference.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::verified;
use super::manifest::word;
use super::scoring::{product, softmax, unit};
use super::{Config, Embedding, FileSpec, Manifest, ModelError, ProbeManifest, Prompts, find_weights, logistic};
use crate::finding::Scores;

/// The file of a probe's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// SHA-256 of the file of the model whose embedding it looks at.
    pub model: String,
    /// The label that it scores.
    pub label: String,
    /// One for each value of the embedding, which is scaled to length 1 before.
    pub weights: Vec<f32>,
    /// Added to the sum: the logit of a picture's score.
    pub bias: f32,
    /// What makes a likelihood of the logit; none where the logit is one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Platt>,
}

/// Platt's scaling of a logit: `slope * logit + offset`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    /// How steep.
    pub slope: f32,
    /// Where.
    pub offset: f32,
}

/// What is worked out from an embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    name: Arc<str>,
    digest: Arc<str>,
    /// How long the embedding has to be.
    size: usize,
    way: Way,
}

#[derive(Debug, Clone, PartialEq)]
enum Way {
    Probe {
        label: Arc<str>,
        weights: Vec<f32>,
        bias: f32,
    },
    /// Labels, each with its embedding scaled to length 1.
    Prompts {
        labels: Vec<(Arc<str>, Vec<f32>)>,
        scale: f32,
    },
}

impl Head {
    /// The probe that `manifest` describes, from its file beside it or below the assets folder.
    ///
    /// # Errors
    /// When the file is missing, has another digest, or holds no weights for that model and label.
    pub fn probe(manifest: &ProbeManifest, config: &Config) -> Result<Self, ModelError> {
        let path = find_weights(config, manifest)?;
        let bytes = verified(&path, &manifest.name, &manifest.file.sha256)?;
        let refused =
            |problem: String| ModelError::Head { model: Arc::clone(&manifest.name), path: path.clone(), problem };
        let weights: Weights = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        if weights.model != manifest.embedding_sha256.as_str() {
            return Err(refused(format!("they are for the model of digest {}", weights.model)));
        }
        if weights.label != *manifest.label {
            return Err(refused(format!("they are for the label `{}`", weights.label)));
        }
        weights.head(&manifest.name, &manifest.file.sha256.shared()).map_err(refused)
    }

    /// The labels that `manifest` compares pictures with, where it has any; their file lies beside `model`, the model's.
    ///
    /// # Errors
    /// When the file is missing, has another digest, or holds no embeddings of the right size.
    pub(super) fn prompts(manifest: &Manifest, model: &Path) -> Result<Option<Self>, ModelError> {
        let (Some(prompts), Some(embedding)) = (&manifest.prompts, &manifest.embedding) else { return Ok(None) };
        let path = model.with_file_name(&prompts.file);
        let bytes = verified(&path, &manifest.name, &prompts.sha256)?;
        let head = compared(manifest, prompts, embedding, &bytes);
        head.map(Some).map_err(|problem| ModelError::Head { model: Arc::clone(&manifest.name), path, problem })
    }

    /// Whether what [`Head::prompts`] reads is there, without reading it.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn look_for(manifest: &Manifest, model: &Path) -> Result<(), ModelError> {
        let Some(prompts) = &manifest.prompts else { return Ok(()) };
        let path = model.with_file_name(&prompts.file);
        match path.metadata() {
            Ok(_) => Ok(()),
            Err(source) => Err(ModelError::FileUnreadable { model: Arc::clone(&manifest.name), path, source }),
        }
    }

    /// The name that its scores go by: the probe's, or the model's.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// SHA-256 of its file; of a comparison with labels, of the model's digest and the file's, one after the other.
    pub const fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// How many values the embedding has to have.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// The labels that it scores, in order.
    pub fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, many) = match &self.way {
            Way::Probe { label, .. } => (Some(label), &[][..]),
            Way::Prompts { labels, .. } => (None, labels.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(label, _)| label))
    }

    /// What it makes of a picture's embedding, as the model gave it.
    ///
    /// # Errors
    /// What is wrong with the embedding.
    pub fn scores(&self, embedding: &[f32]) -> Result<Scores, String> {
        if embedding.len() != self.size {
            return Err(format!("an embedding of {} values, not {},", embedding.len(), self.size));
        }
        let embedding = unit(embedding)?;
        let scores = match &self.way {
            Way::Probe { label, weights, bias } => {
                let logit = product(weights, &embedding) + bias;
                vec![(Arc::clone(label), logistic(f64::from(logit)) as f32)]
            }
            Way::Prompts { labels, scale } => {
                let cosines: Vec<f32> = labels.iter().map(|(_, of)| scale * product(of, &embedding)).collect();
                labels.iter().map(|(label, _)| Arc::clone(label)).zip(softmax(&cosines)).collect()
            }
        };
        Ok(Scores { model: Arc::clone(&self.name), digest: Arc::clone(&self.digest), scores, ..Scores::default() })
    }
}

impl Weights {
    /// The head that these weights are, called `name`; `digest` is their file's.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn head(self, name: &Arc<str>, digest: &Arc<str>) -> Result<Head, String> {
        let Self { label, mut weights, mut bias, calibration, .. } = self;
        if let Some(Platt { slope, offset }) = calibration {
            for weight in &mut weights {
                *weight *= slope;
            }
            bias = slope * bias + offset;
        }
        if weights.is_empty() || !bias.is_finite() || !weights.iter().all(|weight| weight.is_finite()) {
            return Err("a weight is no number, or there is none".to_owned());
        }
        let (name, digest, size) = (Arc::clone(name), Arc::clone(digest), weights.len());
        Ok(Head { name, digest, size, way: Way::Probe { label: label.into(), weights, bias } })
    }
}

fn compared(manifest: &Manifest, prompts: &Prompts, embedding: &Embedding, bytes: &[u8]) -> Result<Head, String> {
    let written: BTreeMap<String, Vec<f32>> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if written.len() < 2 {
        return Err("there are fewer than two labels, and a picture is compared with each".to_owned());
    }
    let mut labels = Vec::with_capacity(written.len());
    for (label, of) in written {
        word("label", &label)?;
        if of.len() != embedding.size {
            return Err(format!("`{label}` has {} values, and the embedding {}", of.len(), embedding.size));
        }
        let of = unit(&of).map_err(|problem| format!("`{label}` has {problem}"))?;
        labels.push((Arc::from(label), of));
    }
    let FileSpec { sha256, .. } = &manifest.file;
    let digest = hex::encode(Sha256::digest(format!("{sha256}{}", prompts.sha256)));
    Ok(Head {
        name: Arc::clone(&manifest.name),
        digest: digest.into(),
        size: embedding.size,
        way: Way::Prompts { labels, scale: prompts.scale },
    })
}
