//! ONNX models: which ones, where their files and their runtime lie, and how a picture becomes scores.
//!
//! A model is described by a [`Manifest`] (`models/*.toml`): where its file comes from, its SHA-256, what it takes in,
//! what its outputs mean, under which licence. [`open`] turns the configuration into [`Session`]s and says what is
//! broken and how to mend it; a file whose digest differs from the manifest's is refused before any of it is parsed.
//! What is worked out from a model's embedding is a [`Head`], which shares the model's inference. A session is then given
//! to an [`Owner`], a thread of its own, for inference needs the session for itself.
//!
//! ONNX Runtime is a shared library loaded at run time, so that the program starts, and finds known content, without
//! it.

mod agreement;
mod assignment;
mod bars;
mod batch;
mod calibration;
mod config;
mod error;
mod files;
mod fitting;
mod flat;
mod head;
mod health;
mod manifest;
mod opening;
mod outputs;
mod owner;
mod placement;
mod places;
mod preprocess;
mod references;
mod runtime;
mod scoring;
mod session;
mod tensor;

pub use self::agreement::{Agreement, agreement};
pub use self::bars::{Rect, inside_bars};
pub use self::batch::Batching;
pub use self::calibration::{Calibration, Curve, LabelCurve, logistic, logit};
pub use self::config::{Config, Provider, WhenBroken};
pub use self::error::ModelError;
pub use self::flat::flat;
pub use self::head::{Head, Platt, Weights};
pub use self::health::Health;
pub use self::manifest::{
    Colour, Conversion, Described, Dtype, Embedding, FileSpec, Filter, Input, Kind, Label, Layout, Licence, Manifest,
    Optimisation, OutputOf, ProbeManifest, Prompts, Reference, Resize, RuntimeOptions, ScoresOutput, Sha256Hex, Source,
    Threshold, Training, Values, plain_word,
};
pub use self::opening::{Broken, Opened, described, missing, open};
pub use self::outputs::Outputs;
pub use self::owner::{Owner, Refused, unpanicked};
pub use self::placement::Placement;
pub use self::places::{assets_folder, find_file, find_runtime, find_weights};
pub use self::preprocess::Preprocessor;
pub use self::references::{REFERENCE_SIZE, reference, reference_pixels, references};
pub use self::runtime::Runtime;
pub use self::session::Session;
pub use self::tensor::Tensor;
