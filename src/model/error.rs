//! What can go wrong with models: each message names the thing and the next step.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::placement;

/// Something about a model or its runtime is missing, not as its manifest says, or failed.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// `[model] load` names no shipped manifest.
    #[error(
        "no model called `{name}` is known: write one of {known}, or the path of a manifest such as \"models/{name}.toml\""
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Two manifests of the same name would share their metrics and findings.
    #[error("two models are called `{model}`: change the `name` in one of their manifests")]
    NamedTwice {
        /// The name.
        model: Arc<str>,
    },
    /// A manifest could not be read.
    #[error("manifest {} cannot be read: {source}", path.display())]
    ManifestUnreadable {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest is not right.
    #[error("manifest {manifest}: {problem}")]
    Manifest {
        /// Path or shipped name.
        manifest: String,
        /// The key, what is wrong with it, and what would be right.
        problem: String,
    },
    /// A calibration could not be read.
    #[error("calibration {} cannot be read: {source}; correct `calibrations` in [model]", path.display())]
    CalibrationUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A calibration is not right, or not of this model.
    #[error("calibration {calibration}: {problem}")]
    Calibration {
        /// Its path, or whose it is.
        calibration: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// No shared library of ONNX Runtime.
    #[error(
        "no ONNX Runtime found, which models need: looked for {looked_for}; run `make setup`, or set `runtime` in [model] \
         (or ORT_DYLIB_PATH) to a libonnxruntime.so of version 1.24 or newer, or empty `load` in [model]"
    )]
    RuntimeMissing {
        /// The places looked at.
        looked_for: String,
    },
    /// The shared library is there and cannot be used.
    #[error(
        "ONNX Runtime at {} cannot be used: {reason}; run `make setup` to fetch the right one, or correct `runtime` in \
         [model]", path.display()
    )]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// One process can hold one runtime only.
    #[error(
        "ONNX Runtime is loaded from {} already, so {} cannot be: restart to change it", loaded.display(), asked.display()
    )]
    RuntimeFixed {
        /// The library in use.
        loaded: PathBuf,
        /// The other one.
        asked: PathBuf,
    },
    /// The model's file is nowhere.
    #[error(
        "the file of model `{model}` is missing: looked for {looked_for}; run `sluicegate model fetch {model}`, or take \
         the model out of `load` in [model]"
    )]
    FileMissing {
        /// The model.
        model: Arc<str>,
        /// The places looked at.
        looked_for: String,
    },
    /// The model's file is there and cannot be read.
    #[error("the file of model `{model}`, {}, cannot be read: {source}", path.display())]
    FileUnreadable {
        /// The model.
        model: Arc<str>,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not the one that the manifest was written for.
    #[error(
        "the file of model `{model}`, {}, is not the one its manifest was written for: expected sha256 {expected}, got \
         {got}; fetch the right one with `sluicegate model fetch {model}`", path.display()
    )]
    Digest {
        /// The model.
        model: Arc<str>,
        /// The file.
        path: PathBuf,
        /// The manifest's SHA-256.
        expected: String,
        /// The file's.
        got: String,
    },
    /// The digest is right, and ONNX Runtime does not take the file.
    #[error(
        "model `{model}` does not load: {} is no ONNX model that this ONNX Runtime understands: {source}", path.display()
    )]
    Unloadable {
        /// The model.
        model: Arc<str>,
        /// The file.
        path: PathBuf,
        /// What ONNX Runtime said.
        source: ort::Error,
    },
    /// The file is of a newer ONNX than the runtime.
    #[error(
        "model `{model}` does not load: {} is written for an ONNX newer than this ONNX Runtime knows ({reason}); set \
         `runtime` in [model] to a newer libonnxruntime.so, or write the model anew for an older opset", path.display()
    )]
    Opset {
        /// The model.
        model: Arc<str>,
        /// The file.
        path: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// The model would run on something else than it has to.
    #[error(
        "model `{model}` would run on the CPU, and `require_provider` in [model] demands `{provider}`: {reason}; install \
         what `{provider}` needs, give an ONNX Runtime that has it as `runtime`, or take `require_provider` away"
    )]
    Provider {
        /// The model.
        model: Arc<str>,
        /// What was asked for.
        provider: &'static str,
        /// Why it cannot be had.
        reason: String,
    },
    /// The model that a probe looks at cannot be used for it.
    #[error("the probe `{model}` looks at the embedding of `{base}`, and that cannot be used: {problem}")]
    Base {
        /// The probe.
        model: Arc<str>,
        /// The model, as the probe's manifest names it.
        base: String,
        /// Why.
        problem: String,
    },
    /// The file of a probe's weights, or of labels' embeddings, is not right.
    #[error("the numbers of `{model}` in {} cannot be used: {problem}; make the file anew", path.display())]
    Head {
        /// The probe or model.
        model: Arc<str>,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The model's own inputs or outputs are not what the manifest says.
    #[error("model `{model}` is not as its manifest says: {problem}; correct the manifest")]
    Mismatch {
        /// The model.
        model: Arc<str>,
        /// What differs.
        problem: String,
    },
    /// The model does not say of the reference pictures what its manifest records.
    #[error(
        "model `{model}` is loaded, and is not used as its manifest means it: {problem}; check range, mean, deviation, \
         colour, layout, dtype, resize and filter in [input]"
    )]
    Reference {
        /// The model.
        model: Arc<str>,
        /// What differs.
        problem: String,
    },
    /// Inference failed.
    #[error("inference with model `{model}` failed: {source}")]
    Inference {
        /// The model.
        model: Arc<str>,
        /// What ONNX Runtime said.
        source: ort::Error,
    },
    /// The model gave something that is no score.
    #[error("model `{model}` gave {problem}: its scores for this picture are not used")]
    Output {
        /// The model.
        model: Arc<str>,
        /// What it gave.
        problem: String,
    },
    /// The picture cannot be made into a tensor.
    #[error("a picture cannot be given to a model: {problem}")]
    Picture {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A mistake in Sluicegate or in what it is built on.
    #[error("what prepares or scores pictures for model `{model}` panicked: report this, with what the log says of it")]
    Panicked {
        /// The model.
        model: Arc<str>,
    },
    /// What breaks several models, or is both told and returned.
    #[error(transparent)]
    Broken(Arc<ModelError>),
    /// The operating system gave no thread.
    #[error("no thread could be started for model `{model}`: {source}")]
    Thread {
        /// The model.
        model: Arc<str>,
        /// Why.
        source: io::Error,
    },
}

impl ModelError {
    /// What ONNX Runtime said of the file of `model` at `path`, told apart by its words: it has no code for it.
    pub(super) fn unloadable(model: &Arc<str>, path: &Path, source: ort::Error) -> Self {
        let (model, path) = (Arc::clone(model), path.to_owned());
        // What stands before is the place in ONNX Runtime's own source.
        let begins = ["Unsupported model IR version", "ONNX Runtime only", "Opset "];
        let said = placement::one_line(&source);
        if let Some(reason) = begins.iter().find_map(|begins| Some(said.get(said.find(begins)?..)?.to_owned())) {
            return Self::Opset { model, path, reason };
        }
        Self::Unloadable { model, path, source }
    }

    /// A bounded word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::NamedTwice { .. } => "model_name",
            Self::ManifestUnreadable { .. } | Self::Manifest { .. } => "manifest",
            Self::CalibrationUnreadable { .. } | Self::Calibration { .. } => "calibration",
            Self::RuntimeMissing { .. } => "runtime_missing",
            Self::RuntimeUnusable { .. } | Self::RuntimeFixed { .. } => "runtime_unusable",
            Self::FileMissing { .. } => "file_missing",
            Self::FileUnreadable { .. } => "file_unreadable",
            Self::Digest { .. } => "digest",
            Self::Unloadable { .. } => "unloadable",
            Self::Opset { .. } => "opset",
            Self::Provider { .. } => "provider",
            Self::Base { .. } => "base",
            Self::Head { .. } => "head",
            Self::Broken(error) => error.kind(),
            Self::Mismatch { .. } => "mismatch",
            Self::Reference { .. } => "reference",
            Self::Inference { .. } => "inference",
            Self::Output { .. } => "output",
            Self::Picture { .. } => "picture",
            Self::Panicked { .. } => "panicked",
            Self::Thread { .. } => "thread",
        }
    }

    /// Whether the same call may go through later: only what is done with a picture, on another one.
    pub const fn is_retryable(&self) -> bool {
        // What is broken is found broken while opening, which no picture changes.
        matches!(self, Self::Inference { .. } | Self::Output { .. } | Self::Picture { .. } | Self::Panicked { .. })
    }
}
