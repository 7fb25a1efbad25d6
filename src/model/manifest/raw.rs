//! The manifest of a model as it is written, and what has to hold of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::parts::{
    Colour, Dtype, Embedding, FileSpec, Filter, Input, Label, Layout, Licence, OutputOf, Prompts, Reference, Resize,
    RuntimeOptions, ScoresOutput, Source, Threshold, Values,
};
use super::{Kind, Manifest, plain_file_name, word};

/// Sides of a model's input, in pixels: more would be a mistake in the manifest.
const SIDES: RangeInclusive<usize> = 1..=4096;

/// Threads within one inference: more would be a mistake in the manifest.
const THREADS: RangeInclusive<usize> = 1..=256;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    name: String,
    kind: Kind,
    about: String,
    source: Option<Source>,
    file: FileSpec,
    licence: Licence,
    input: RawInput,
    output: Option<RawOutput>,
    embedding: Option<Embedding>,
    prompts: Option<Prompts>,
    #[serde(default, rename = "threshold")]
    thresholds: Vec<Threshold>,
    #[serde(default, rename = "reference")]
    references: Vec<Reference>,
    #[serde(default)]
    runtime: RuntimeOptions,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    name: String,
    shape: (Batch, usize, usize, usize),
    layout: Layout,
    dtype: Dtype,
    colour: Colour,
    range: (f32, f32),
    mean: Option<[f32; 3]>,
    deviation: Option<[f32; 3]>,
    resize: RawResize,
    /// Before the centre is taken.
    side: Option<usize>,
    #[serde(default)]
    filter: Filter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    name: String,
    #[serde(default)]
    values: Values,
    #[serde(default)]
    labels: Vec<String>,
    classes: Option<usize>,
    #[serde(default)]
    categories: BTreeMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Batch {
    Batch,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawResize {
    Warp,
    WarpCrop,
    Crop,
}

impl Raw {
    pub(super) fn checked(self, folder: Option<PathBuf>) -> Result<Manifest, String> {
        word("name", &self.name)?;
        plain_file_name("file.name", &self.file.name)?;
        self.source.as_ref().map_or(Ok(()), source_fits)?;
        let input = self.input.checked()?;
        let scores = self.output.map(RawOutput::checked).transpose()?;
        match (self.kind, &scores, &self.embedding) {
            (Kind::Classifier, None, _) => return Err("a classifier has an [output]: write one".to_owned()),
            (Kind::Embedding, Some(_), _) => {
                return Err(
                    "a model with an [output] is of kind `classifier`, which may have an [embedding] too".to_owned()
                );
            }
            (Kind::Embedding, _, None) => {
                return Err("a model of kind `embedding` has an [embedding]: write one".to_owned());
            }
            _ => {}
        }
        if self.embedding.as_ref().is_some_and(|embedding| embedding.size == 0) {
            return Err("key `embedding.size`: an embedding has at least one value".to_owned());
        }
        if let Some(prompts) = &self.prompts {
            plain_file_name("prompts.file", &prompts.file)?;
            if self.source.is_some() {
                return Err(
                    "[prompts] and [source] do not go together, for a package is fetched without labels: take \
                            [source] away and put both files beside the manifest"
                        .to_owned(),
                );
            }
            if self.kind != Kind::Embedding {
                return Err("[prompts] belong to a model of kind `embedding`".to_owned());
            }
            if !(prompts.scale.is_finite() && prompts.scale > 0.0) {
                return Err(format!("key `prompts.scale`: {} is not above 0", prompts.scale));
            }
        }
        if !THREADS.contains(&self.runtime.threads) {
            let (least, most) = (THREADS.start(), THREADS.end());
            return Err(format!("key `runtime.threads`: {} is not {least} to {most}", self.runtime.threads));
        }
        let manifest = Manifest {
            name: self.name.into(),
            kind: self.kind,
            about: self.about,
            source: self.source,
            file: self.file,
            licence: self.licence,
            input,
            scores,
            embedding: self.embedding,
            prompts: self.prompts,
            thresholds: self.thresholds,
            references: self.references,
            runtime: self.runtime,
            notes: self.notes,
            folder,
        };
        thresholds_fit(&manifest)?;
        references_fit(&manifest)?;
        Ok(manifest)
    }
}

impl RawInput {
    fn checked(self) -> Result<Input, String> {
        let Self { name, shape: (Batch::Batch, first, second, third), layout, dtype, colour, range, filter, .. } = self;
        let (written, (channels, height, width)) = match layout {
            Layout::Nchw => ("[\"batch\", 3, height, width]", (first, second, third)),
            Layout::Nhwc => ("[\"batch\", height, width, 3]", (third, first, second)),
        };
        if channels != 3 || !SIDES.contains(&height) || !SIDES.contains(&width) {
            return Err(format!(
                "key `input.shape`: [\"batch\", {first}, {second}, {third}] is not {written} with sides of {} to {}",
                SIDES.start(),
                SIDES.end()
            ));
        }
        if !(range.0.is_finite() && range.1.is_finite() && range.0 < range.1) {
            return Err(format!("key `input.range`: [{}, {}] is not [lowest, highest]", range.0, range.1));
        }
        let (mean, deviation) = (self.mean.unwrap_or([0.0; 3]), self.deviation.unwrap_or([1.0; 3]));
        if !mean.iter().all(|value| value.is_finite()) {
            return Err(format!("key `input.mean`: {mean:?} are not three numbers"));
        }
        if !deviation.iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(format!("key `input.deviation`: {deviation:?} are not three numbers above 0"));
        }
        if dtype == Dtype::U8 && (range != (0.0, 255.0) || self.mean.is_some() || self.deviation.is_some()) {
            return Err("key `input.dtype`: a u8 has the range [0, 255], and neither mean nor deviation".to_owned());
        }
        let resize = match (self.resize, self.side) {
            (RawResize::Warp, None) => Resize::Warp,
            (RawResize::Warp, Some(_)) => {
                return Err("key `input.side`: `warp` takes none; it is for `warp_crop` and `crop`".to_owned());
            }
            (_, None) => {
                return Err("key `input.side`: it is missing; write the side before the centre is taken".to_owned());
            }
            (_, Some(side)) if side < height.max(width) || !SIDES.contains(&side) => {
                return Err(format!(
                    "key `input.side`: {side} is less than the input's own side, or above {}",
                    SIDES.end()
                ));
            }
            (RawResize::WarpCrop, Some(side)) => Resize::WarpCrop(side),
            (RawResize::Crop, Some(side)) => Resize::Crop(side),
        };
        Ok(Input { name, height, width, layout, dtype, colour, range, mean, deviation, resize, filter })
    }
}

impl RawOutput {
    fn checked(self) -> Result<ScoresOutput, String> {
        let Self { name, values, labels, classes, categories } = self;
        let labels = match (labels.is_empty(), categories.is_empty()) {
            (true, true) => {
                return Err("key `output.labels`: no label at all; name each of the model's outputs".to_owned());
            }
            (false, false) => {
                return Err("key `output.categories`: write either labels or categories, not both".to_owned());
            }
            (false, true) => {
                if classes.is_some_and(|classes| classes != labels.len()) {
                    return Err(format!("key `output.classes`: there are {} labels", labels.len()));
                }
                named(labels)?
            }
            (true, false) => {
                let classes =
                    classes.ok_or("key `output.classes`: it is missing; write how many classes the model has")?;
                grouped(categories, classes)?
            }
        };
        let classes = classes.unwrap_or(labels.len());
        Ok(ScoresOutput { name, values, classes, labels })
    }
}

/// A label for each class.
fn named(labels: Vec<String>) -> Result<Vec<Label>, String> {
    for (at, label) in labels.iter().enumerate() {
        word("output.labels", label)?;
        if labels.iter().take(at).any(|earlier| earlier == label) {
            return Err(format!("key `output.labels`: `{label}` stands there twice"));
        }
    }
    Ok(labels.into_iter().enumerate().map(|(at, name)| Label { name: Arc::from(name), classes: vec![at] }).collect())
}

/// A label for some classes together.
fn grouped(categories: BTreeMap<String, Vec<usize>>, classes: usize) -> Result<Vec<Label>, String> {
    let mut labels = Vec::with_capacity(categories.len());
    for (name, mut of) in categories {
        word("output.categories", &name)?;
        of.sort_unstable();
        let all = of.len();
        of.dedup();
        if of.is_empty() || of.len() < all || of.last().is_some_and(|last| *last >= classes) {
            return Err(format!(
                "key `output.categories.{name}`: write each class once, at least one of them, each below {classes}"
            ));
        }
        labels.push(Label { name: name.into(), classes: of });
    }
    Ok(labels)
}

/// What names a package becomes a part of addresses and of paths.
fn source_fits(source: &Source) -> Result<(), String> {
    let Source { package, version, member, notices, .. } = source;
    let marks = |text: &str, marks: &[u8]| text.bytes().all(|c| c.is_ascii_alphanumeric() || marks.contains(&c));
    let ends_well = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    if !marks(package, b"-_.") || !ends_well(package) {
        return Err(format!(
            "key `source.package`: `{package}` is no name of a package: write letters, digits, `-`, `_` and `.`, the first \
             and the last a letter or digit"
        ));
    }
    if !marks(version, b"-_.+!") || !ends_well(version) {
        return Err(format!("key `source.version`: `{version}` is no version: write one such as `1.2.0`"));
    }
    let each = notices.iter().map(|notice| ("source.notices", notice));
    for (key, path) in each.chain([("source.member", member)]) {
        if path.contains('\\') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("key `{key}`: `{path}` is no plain path within a wheel, such as `package/file`"));
        }
    }
    Ok(())
}

fn thresholds_fit(manifest: &Manifest) -> Result<(), String> {
    for Threshold { label, above, .. } in &manifest.thresholds {
        // The labels of prompts are in their file, which is read with the model.
        if manifest.prompts.is_none() && !manifest.labels().any(|known| **known == **label) {
            return Err(format!("key `threshold.label`: `{label}` is no label of the model"));
        }
        if !(0.0..=1.0).contains(above) {
            return Err(format!("key `threshold.above`: {above} is not 0 to 1"));
        }
    }
    Ok(())
}

fn references_fit(manifest: &Manifest) -> Result<(), String> {
    for Reference { picture, of, values, within } in &manifest.references {
        word("reference.picture", picture)?;
        let fits = match of {
            OutputOf::Scores => {
                manifest.scores.as_ref().is_some_and(|output| output.labels.len() == values.len())
                    || manifest.prompts.is_some()
            }
            OutputOf::Embedding => manifest.embedding.as_ref().is_some_and(|output| output.size >= values.len()),
        };
        if !fits || values.is_empty() || !values.iter().all(|value| value.is_finite()) {
            return Err(format!(
                "key `reference.values` of `{picture}`: write a score for each label, or the first values of the embedding"
            ));
        }
        if !(within.is_finite() && *within > 0.0) {
            return Err(format!("key `reference.within` of `{picture}`: {within} is not above 0"));
        }
    }
    Ok(())
}
