//! ONNX models: which ones, where their files and their runtime lie, and how a picture becomes scores.
//!
//! A model is described by a [`Manifest`] (`models/*.toml`): where its file comes from, its SHA-256, what it takes in,
//! what its outputs mean, under which licence. [`open`] turns the configuration into [`Session`]s or says what is
//! missing and how to get it; a file whose digest differs from the manifest's is refused before any of it is parsed.
//! A session is then given to an [`Owner`], a thread of its own, for inference needs the session for itself.
//!
//! ONNX Runtime is a shared library loaded at run time, so that the program starts, and finds known content, without
//! it.

mod error;
mod flat;
mod manifest;
mod outputs;
mod owner;
mod places;
mod preprocess;
mod runtime;
mod session;
mod tensor;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

pub use self::error::ModelError;
pub use self::flat::flat;
pub use self::manifest::{
    Colour, Conversion, Described, Dtype, Embedding, FileSpec, Filter, Input, Kind, Label, Layout, Licence, Manifest,
    Optimisation, OutputOf, ProbeManifest, Prompts, Reference, Resize, RuntimeOptions, ScoresOutput, Sha256Hex, Source,
    Threshold, Training, Values,
};
pub use self::outputs::Outputs;
pub use self::owner::{Owner, Refused};
pub use self::places::{assets_folder, find_file, find_runtime};
pub use self::preprocess::Preprocessor;
pub use self::runtime::Runtime;
pub use self::session::Session;
pub use self::tensor::Tensor;

/// The section `[model]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The models that pictures are given to: names of models Sluicegate ships a manifest of, or paths of manifests.
    /// Empty: no models, and no need of a runtime.
    pub load: Vec<String>,
    /// ONNX Runtime's shared library. Left out, it is looked for (see [`find_runtime`]).
    pub runtime: Option<PathBuf>,
    /// The folder that holds `models/` and `runtime/`. Left out, it is looked for (see [`find_file`]).
    pub assets: Option<PathBuf>,
    /// Pictures that may wait for each model; more are shed and counted.
    pub queue: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
        Self { load: vec!["safety".to_owned()], runtime: None, assets: None, queue: QUEUE }
    }
}

/// The manifests that the configuration names, read and checked. No runtime and no model file is needed for this.
///
/// # Errors
/// The first manifest that is unknown, cannot be read, or is not right.
pub fn manifests(config: &Config) -> Result<Vec<Manifest>, ModelError> {
    let manifests = config.load.iter().map(|named| Manifest::named(named)).collect::<Result<Vec<_>, _>>()?;
    for (at, manifest) in manifests.iter().enumerate() {
        if manifests.iter().take(at).any(|earlier| earlier.name == manifest.name) {
            return Err(ModelError::NamedTwice { model: manifest.name.clone() });
        }
    }
    Ok(manifests)
}

/// Loads the runtime and every model that the configuration names.
///
/// # Errors
/// The first thing that is missing or not right; the message says how to get it.
pub fn open(config: &Config) -> Result<Vec<Session>, ModelError> {
    let manifests = manifests(config)?;
    if manifests.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = Runtime::load(&find_runtime(config)?)?;
    manifests.into_iter().map(|manifest| Session::load(&runtime, manifest, config)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_the_configuration_has_a_default() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let config: Config = toml::from_str("load = []\nqueue = 2").unwrap();
        assert_eq!((config.load.len(), config.queue.get()), (0, 2));
    }

    #[test]
    fn a_queue_of_nothing_and_unknown_keys_are_refused() {
        for (text, expected) in [("queue = 0", "queue"), ("threads = 4", "unknown field `threads`")] {
            let message = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
