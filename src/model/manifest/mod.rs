//! What is known of a model: where its file comes from, what it takes in, what its outputs mean, under which licence.
//!
//! The format is that of `models/*.toml`; `docs/models.md` explains it to whoever brings a model of their own. A manifest
//! is read into a typed value or refused with the file, the key and what would be right; unknown keys are refused. Only
//! what this version of Sluicegate can do can be said: other kinds come with the code that does them.

mod parts;
mod probe;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::ModelError;
pub use parts::{
    Colour, Conversion, Dtype, Embedding, FileSpec, Filter, Input, Label, Layout, Licence, Optimisation, OutputOf,
    Prompts, Reference, Resize, RuntimeOptions, ScoresOutput, Sha256Hex, Source, Threshold, Values,
};
pub use probe::{ProbeManifest, Training};
use raw::Raw;

/// The manifests that come with Sluicegate, so that a configuration can name them from anywhere.
const SHIPPED: [(&str, &str); 5] = [
    ("safety", include_str!("../../../models/safety.toml")),
    ("efficientnet_lite0", include_str!("../../../models/efficientnet_lite0.toml")),
    ("open_nsfw", include_str!("../../../models/open_nsfw.toml")),
    ("sscd", include_str!("../../../models/sscd.toml")),
    ("sscd_distilled", include_str!("../../../models/sscd_distilled.toml")),
];

/// What a manifest describes.
#[derive(Debug, Clone, PartialEq)]
pub enum Described {
    /// A model: a file for ONNX Runtime.
    Model(Box<Manifest>),
    /// A probe: a few weights on the embedding of a model.
    Probe(Box<ProbeManifest>),
}

/// One model, as its manifest describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its name in the configuration, findings and metrics: lower-case letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// What its outputs are.
    pub kind: Kind,
    /// What it is, for people.
    pub about: String,
    /// The package that it is fetched from; none for an operator's own.
    pub source: Option<Source>,
    /// Its file.
    pub file: FileSpec,
    /// Who allows what.
    pub licence: Licence,
    /// What it takes in.
    pub input: Input,
    /// The output that becomes scores; a model that only embeds has none.
    pub scores: Option<ScoresOutput>,
    /// The output that probes and prompts look at.
    pub embedding: Option<Embedding>,
    /// Embeddings of labels, which the picture's is compared with.
    pub prompts: Option<Prompts>,
    /// Where to set thresholds, and how that was found out.
    pub thresholds: Vec<Threshold>,
    /// What the model says of pictures that everybody can make.
    pub references: Vec<Reference>,
    /// How ONNX Runtime is to run it.
    pub runtime: RuntimeOptions,
    /// What somebody who sets thresholds should know, by topic.
    pub notes: BTreeMap<String, String>,
    /// The folder that the manifest was read from; none for a shipped one.
    pub folder: Option<PathBuf>,
}

/// What a manifest describes. Kinds for sound and for overlaid text come with the code that runs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A picture in, a score for each label out.
    Classifier,
    /// A picture in, a vector out: near for pictures that are alike.
    Embedding,
    /// A linear classifier on the embedding of another model, from `sluicegate model train-probe`.
    Probe,
}

impl Described {
    /// What the shipped manifest called `named` describes, or the one in the file at that path.
    ///
    /// # Errors
    /// When there is neither, or it is not right.
    pub fn named(named: &str) -> Result<Self, ModelError> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == named) {
            return Self::parse(text, &format!("`{name}` (shipped)"), None);
        }
        let path = Path::new(named);
        if path.extension().is_some_and(|extension| extension == "toml") || named.contains('/') {
            return Self::read(path);
        }
        let known = Manifest::shipped().collect::<Vec<_>>().join(", ");
        Err(ModelError::Unknown { name: named.to_owned(), known })
    }

    /// What the manifest in a file describes.
    ///
    /// # Errors
    /// When the file cannot be read, or is not right.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ModelError::ManifestUnreadable { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string(), path.parent())
    }

    /// What `text` describes; `shown` is what errors call it, `folder` is where it was read from.
    ///
    /// # Errors
    /// When it is not right.
    pub fn parse(text: &str, shown: &str, folder: Option<&Path>) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Outline {
            kind: Kind,
        }
        let refused = |problem: String| ModelError::Manifest { manifest: shown.to_owned(), problem };
        let unread = |error: toml::de::Error| refused(error.to_string().trim_end().to_owned());
        let folder = folder.map(Path::to_owned);
        match toml::from_str::<Outline>(text).map_err(unread)?.kind {
            Kind::Probe => {
                let raw: probe::Raw = toml::from_str(text).map_err(unread)?;
                Ok(Self::Probe(Box::new(raw.checked(folder).map_err(refused)?)))
            }
            Kind::Classifier | Kind::Embedding => {
                let raw: Raw = toml::from_str(text).map_err(unread)?;
                Ok(Self::Model(Box::new(raw.checked(folder).map_err(refused)?)))
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Model(manifest) => &manifest.name,
            Self::Probe(probe) => &probe.name,
        }
    }
}

impl Manifest {
    /// The names of the shipped manifests.
    pub fn shipped() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The manifest of the model called `named`, or the one in the file at that path.
    ///
    /// # Errors
    /// When there is neither, it is not right, or it describes a probe.
    pub fn named(named: &str) -> Result<Self, ModelError> {
        Self::of_model(Described::named(named)?, named)
    }

    /// The manifest in a file.
    ///
    /// # Errors
    /// When the file cannot be read, is not right, or describes a probe.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Self::of_model(Described::read(path)?, &path.display().to_string())
    }

    fn of_model(described: Described, shown: &str) -> Result<Self, ModelError> {
        match described {
            Described::Model(manifest) => Ok(*manifest),
            Described::Probe(_) => Err(ModelError::Manifest {
                manifest: shown.to_owned(),
                problem: "describes a probe, and a model is needed here: name the model whose embedding it looks at"
                    .to_owned(),
            }),
        }
    }

    /// The labels that it scores by itself, in the order of its scores: none for a model that only embeds. The labels of
    /// [`Manifest::prompts`] are in their file.
    pub fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.scores.iter().flat_map(|output| output.labels.iter().map(|label| &label.name))
    }

    /// What stands for all that the manifest says of how one of its outputs comes about, from the picture on, apart from the
    /// model's file: SHA-256 of `[input]` and of what is said of that output. What was found with one such digest holds for
    /// no other, though the file be the same.
    pub fn meaning(&self, of: OutputOf) -> Sha256Hex {
        let Self { input, scores, embedding, prompts, .. } = self;
        let said = match of {
            OutputOf::Embedding => json!([input, embedding]),
            OutputOf::Scores if prompts.is_some() => json!([input, embedding, prompts]),
            OutputOf::Scores => json!([input, scores]),
        };
        Sha256Hex::of(said.to_string())
    }
}

/// Whether `text` may be a name or a label: these become metric labels, words of policies and names of folders.
///
/// # Errors
/// When it may not: what would be right.
pub fn plain_word(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        Ok(())
    } else {
        Err(format!("`{text}` is not 1 to 64 lower-case letters, digits, `-` and `_`"))
    }
}

/// [`plain_word`], of a key of a manifest.
pub(super) fn word(key: &str, text: &str) -> Result<(), String> {
    plain_word(text).map_err(|problem| format!("key `{key}`: {problem}"))
}

fn plain_file_name(key: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("key `{key}`: `{name}` is no plain file name"));
    }
    Ok(())
}
