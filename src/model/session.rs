//! A model loaded and checked, ready to score pictures.
//!
//! A session promises that the file it was made from has the digest of its manifest, that its input and output are those
//! of its manifest, and that every score it gives is a number from 0 to 1.

use std::path::Path;
use std::sync::Arc;

use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use sha2::{Digest, Sha256};

use super::{Config, Layout, Manifest, ModelError, Outputs, Runtime, Tensor, find_file};
use crate::finding::Scores;

/// How far outside of 0 to 1 a probability may lie by rounding.
const ROUNDING: f32 = 1e-3;

/// A loaded model. Inference needs it for itself: see [`Owner`](super::Owner).
#[derive(Debug)]
pub struct Session {
    manifest: Manifest,
    session: ort::session::Session,
}

impl Session {
    /// Finds the model's file, checks its digest, loads it and checks that it fits the manifest.
    ///
    /// # Errors
    /// When the file is missing or unreadable, has another digest, is no model, or does not fit the manifest.
    pub fn load(runtime: &Runtime, manifest: Manifest, config: &Config) -> Result<Self, ModelError> {
        let path = find_file(config, &manifest)?;
        // The bytes checked are the bytes loaded: the file is read once.
        let bytes = verified(&path, &manifest)?;
        let unloadable = |source| ModelError::Unloadable { model: manifest.name.clone(), path: path.clone(), source };
        let session =
            one_thread(runtime).and_then(|mut builder| builder.commit_from_memory(&bytes)).map_err(unloadable)?;
        fits(&manifest, session.inputs(), session.outputs())
            .map_err(|problem| ModelError::Mismatch { model: manifest.name.clone(), problem })?;
        Ok(Self { manifest, session })
    }

    /// The manifest it was loaded by.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the model says of each of `pictures`, given as the tensors that the manifest's input describes, in their order.
    ///
    /// # Errors
    /// As a whole, when inference fails; of a single picture, when the model gave another number of scores than there are
    /// labels, or something that is no probability.
    pub fn run(&mut self, pictures: &[Tensor]) -> Result<Vec<Result<Outputs, ModelError>>, ModelError> {
        let Self { manifest, session } = self;
        pictures.iter().map(|tensor| one(session, manifest, tensor)).collect()
    }
}

fn one(
    session: &mut ort::session::Session,
    manifest: &Manifest,
    tensor: &Tensor,
) -> Result<Result<Outputs, ModelError>, ModelError> {
    let Some(output) = &manifest.scores else { return Ok(Ok(Outputs::default())) };
    let values = infer(session, &manifest.input.name, &output.name, tensor)
        .map_err(|source| ModelError::Inference { model: manifest.name.clone(), source })?;
    let scores = probabilities(&values, output.classes).map(|values| Scores {
        model: Arc::clone(&manifest.name),
        digest: manifest.file.sha256.shared(),
        scores: manifest.labels().cloned().zip(values).collect(),
        ..Scores::default()
    });
    Ok(match scores {
        Ok(scores) => Ok(Outputs { scores: vec![scores], embedding: None }),
        Err(problem) => Err(ModelError::Output { model: manifest.name.clone(), problem }),
    })
}

fn infer(session: &mut ort::session::Session, input: &str, output: &str, tensor: &Tensor) -> ort::Result<Vec<f32>> {
    let outputs = match tensor {
        Tensor::F32(values) => session.run(ort::inputs![input => TensorRef::from_array_view(values)?])?,
        Tensor::U8(values) => session.run(ort::inputs![input => TensorRef::from_array_view(values)?])?,
    };
    let output = outputs.get(output).ok_or_else(|| ort::Error::new(format!("there is no output `{output}`")))?;
    let (_, values) = output.try_extract_tensor::<f32>()?;
    Ok(values.to_vec())
}

/// One thread a session: the machine's cores belong to the workers, and more threads gain nothing on pictures one by one.
fn one_thread(runtime: &Runtime) -> ort::Result<SessionBuilder> {
    let builder = ort::session::Session::builder(runtime.environment())?;
    Ok(builder.with_intra_threads(1)?.with_inter_threads(1)?)
}

/// The file's bytes, once they are known to be the right ones.
pub(super) fn verified(path: &Path, manifest: &Manifest) -> Result<Vec<u8>, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::FileUnreadable {
        model: manifest.name.clone(),
        path: path.to_owned(),
        source,
    })?;
    let got = hex::encode(Sha256::digest(&bytes));
    if got == manifest.file.sha256.as_str() {
        Ok(bytes)
    } else {
        Err(ModelError::Digest {
            model: manifest.name.clone(),
            path: path.to_owned(),
            expected: manifest.file.sha256.to_string(),
            got,
        })
    }
}

/// Whether a model takes and gives what its manifest says; what differs, otherwise.
fn fits(manifest: &Manifest, inputs: &[Outlet], outputs: &[Outlet]) -> Result<(), String> {
    let input = &manifest.input;
    if let Some(other) = inputs.iter().find(|outlet| outlet.name() != input.name) {
        return Err(format!("it has an input `{}` that the manifest does not know", other.name()));
    }
    let sides = match input.layout {
        Layout::Nchw => [3, input.height, input.width],
        Layout::Nhwc => [input.height, input.width, 3],
    };
    outlet_fits("input", &input.name, inputs, &sides)?;
    if let Some(scores) = &manifest.scores {
        outlet_fits("output", &scores.name, outputs, &[scores.classes])?;
    }
    if let Some(embedding) = &manifest.embedding {
        outlet_fits("output", &embedding.name, outputs, &[embedding.size])?;
    }
    Ok(())
}

/// `expected` leaves out the batch, which comes first and must be free or 1.
fn outlet_fits(which: &str, name: &str, outlets: &[Outlet], expected: &[usize]) -> Result<(), String> {
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
        return Err(format!("it has no {which} `{name}`, only {}", names.join(", ")));
    };
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype() else {
        return Err(format!("its {which} `{name}` is {}, not a tensor of f32", outlet.dtype()));
    };
    let batch_fits = matches!(shape.first(), Some(-1 | 1));
    let rest_fits = shape.len() == expected.len() + 1
        && shape.iter().skip(1).zip(expected).all(|(&has, &want)| has == -1 || usize::try_from(has) == Ok(want));
    if batch_fits && rest_fits {
        Ok(())
    } else {
        Err(format!("its {which} `{name}` has the shape {:?}, not [batch, {}]", shape.to_vec(), dimensions(expected)))
    }
}

fn dimensions(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn probabilities(values: &[f32], labels: usize) -> Result<Vec<f32>, String> {
    if values.len() != labels {
        return Err(format!("{} values for {labels} labels", values.len()));
    }
    if let Some(strange) = values.iter().find(|value| !(-ROUNDING..=1.0 + ROUNDING).contains(*value)) {
        return Err(format!("{strange}, which is no probability"));
    }
    Ok(values.iter().map(|value| value.clamp(0.0, 1.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probabilities_are_scores() {
        assert_eq!(probabilities(&[0.25, 0.75], 2), Ok(vec![0.25, 0.75]));
        assert_eq!(probabilities(&[-0.000_1, 1.000_1], 2), Ok(vec![0.0, 1.0]));
        for (values, expected) in [
            (&[0.5][..], "1 values for 2 labels"),
            (&[0.5, f32::NAN], "NaN"),
            (&[0.5, f32::INFINITY], "inf"),
            (&[-3.2, 4.1], "-3.2, which is no probability"),
        ] {
            assert!(probabilities(values, 2).unwrap_err().contains(expected), "{values:?}");
        }
    }
}
