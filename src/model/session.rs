//! A model loaded and checked, ready to look at pictures.
//!
//! A session promises that the file it was made from has the digest of its manifest, that its input and outputs are those
//! of its manifest, that every score it gives is a number from 0 to 1, and that every value of an embedding is a number.

use std::borrow::Borrow;
use std::sync::Arc;

use ndarray::{ArrayView4, Axis, concatenate};
use ort::session::{OutputSelector, RunOptions, SessionInputValue};
use ort::value::TensorRef;

use super::batch::Batching;
use super::files::verified;
use super::fitting::{fits, takes_many};
use super::placement::{self, Placement};
use super::{
    Calibration, Config, Head, Manifest, ModelError, OutputOf, Outputs, Runtime, Sha256Hex, Tensor, find_file, scoring,
};
use crate::finding::Scores;

/// A loaded model. Inference needs it for itself: see [`Owner`](super::Owner).
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "both crates call it a session, and it is one")]
pub struct Session {
    manifest: Manifest,
    session: ort::session::Session,
    placement: Placement,
    batching: Batching,
    heads: Vec<Head>,
    calibrations: Vec<Calibration>,
    /// The outputs that are asked for: the one of scores, where the model gives some itself, and the embedding.
    scored: Option<usize>,
    embedded: Option<usize>,
    asked: Arc<[String]>,
}

impl Session {
    /// Finds the model's file, checks its digest, loads it and checks that it fits the manifest. Where the manifest has
    /// prompts, they become a head at once.
    ///
    /// # Errors
    /// When the file is missing or unreadable, has another digest, is no model, or does not fit the manifest; when it
    /// would not run on the provider that the configuration requires.
    pub fn load(runtime: &Runtime, manifest: Manifest, config: &Config) -> Result<Self, ModelError> {
        let path = find_file(config, &manifest)?;
        let bytes = verified(&path, &manifest.name, &manifest.file.sha256)?;
        let model = Arc::clone(&manifest.name);
        let (session, placement) = placement::place(runtime, &manifest, config, &bytes)
            .map_err(|source| ModelError::unloadable(&model, &path, source))?;
        if let (true, Some((asked, reason))) = (config.require_provider, &placement.instead_of) {
            return Err(ModelError::Provider { model, provider: asked.word(), reason: reason.clone() });
        }
        fits(&manifest, session.inputs(), session.outputs())
            .map_err(|problem| ModelError::Mismatch { model, problem })?;
        // A batch was configured for what was asked for: a CPU only makes the first of it wait.
        let batching = if placement.instead_of.is_none() && takes_many(&manifest, session.inputs(), session.outputs()) {
            config.batching(placement.provider)
        } else {
            Batching::ONE_BY_ONE
        };
        let heads = Head::prompts(&manifest, &path)?.into_iter().collect();
        let mut loaded = Self {
            manifest,
            session,
            placement,
            batching,
            heads,
            calibrations: Vec::new(),
            scored: None,
            embedded: None,
            asked: Arc::default(),
        };
        loaded.ask(true);
        Ok(loaded)
    }

    /// The manifest it was loaded by.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it really runs on.
    pub const fn placement(&self) -> &Placement {
        &self.placement
    }

    /// How pictures are put together for it.
    pub const fn batching(&self) -> Batching {
        self.batching
    }

    /// Whose scores it gives: its own name first, where it scores by itself, then those of its heads, each with the digest
    /// that its scores bear.
    pub fn scorers(&self) -> impl Iterator<Item = (&Arc<str>, Arc<str>)> {
        let own = self.scored.map(|_| (&self.manifest.name, self.manifest.file.sha256.shared()));
        own.into_iter().chain(self.heads.iter().map(|head| (head.name(), Arc::clone(head.digest()))))
    }

    /// Who is told of when it is loaded, or fails: whoever gives scores (see [`Session::scorers`]); where nobody does, the
    /// model itself, which then only embeds.
    pub fn entries(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut entries: Vec<_> = self.scorers().map(|(name, digest)| (Arc::clone(name), digest)).collect();
        if entries.is_empty() {
            entries.push((Arc::clone(&self.manifest.name), self.manifest.file.sha256.shared()));
        }
        entries
    }

    /// What the scores of `scorer`, the model's own or a head's, are made from, apart from what its digest is of: see
    /// [`Manifest::meaning`].
    pub fn meaning(&self, scorer: &str) -> Sha256Hex {
        let own = *self.manifest.name == *scorer;
        self.manifest.meaning(if own { OutputOf::Scores } else { OutputOf::Embedding })
    }

    /// The labels it gives scores for, each with whose they are, in the order of [`Session::scorers`].
    pub fn labels(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let own = self.scored.map(|_| self.manifest.labels().map(|label| (&self.manifest.name, label)));
        let heads = self.heads.iter().flat_map(|head| head.labels().map(|label| (head.name(), label)));
        own.into_iter().flatten().chain(heads)
    }

    /// Lets `head` look at the embedding of every picture too.
    ///
    /// # Errors
    /// When the model gives no embedding, or one of another size.
    pub fn attach(&mut self, head: Head) -> Result<(), ModelError> {
        let name = &self.manifest.name;
        let problem = match &self.manifest.embedding {
            None => format!("it looks at the embedding of `{name}`, which gives none"),
            Some(embedding) if embedding.size != head.size() => format!(
                "it has weights for an embedding of {} values, and `{name}` gives {}",
                head.size(),
                embedding.size
            ),
            Some(_) => {
                self.heads.push(head);
                return Ok(());
            }
        };
        Err(ModelError::Mismatch { model: Arc::clone(head.name()), problem })
    }

    /// Makes likelihoods of the scores that the calibration is of: the model's own, or a head's.
    ///
    /// # Errors
    /// When none of its scores are by that name, digest and labels.
    pub fn calibrate(&mut self, calibration: Calibration) -> Result<(), ModelError> {
        let of = calibration.model();
        let (model, digest) = self
            .scorers()
            .find(|(model, _)| *model == of)
            .unwrap_or((&self.manifest.name, self.manifest.file.sha256.shared()));
        calibration.fits(
            model,
            &digest,
            &self.meaning(model),
            self.labels().filter(|(of, _)| *of == model).map(|(_, label)| label),
        )?;
        self.calibrations.push(calibration);
        Ok(())
    }

    /// Gives the scores that are called `model`, the model's own or a head's, no longer. What only they need is not worked
    /// out either.
    pub fn silence(&mut self, model: &str) {
        self.heads.retain(|head| **head.name() != *model);
        if *self.manifest.name == *model {
            self.ask(false);
        }
    }

    fn ask(&mut self, own: bool) {
        let mut asked = Vec::new();
        let mut ask = |name: &String| {
            asked.push(name.clone());
            asked.len() - 1
        };
        self.scored = self.manifest.scores.as_ref().filter(|_| own).map(|output| ask(&output.name));
        self.embedded = self.manifest.embedding.as_ref().map(|output| ask(&output.name));
        self.asked = asked.into();
    }

    /// What the model says of each of `pictures`, given as the tensors that the manifest's input describes, in their order
    /// and in one inference where the model takes more than one picture.
    ///
    /// # Errors
    /// As a whole, when inference fails; of a single picture, when the model gave for it another number of values than it
    /// should, or something that is no number or no probability.
    pub fn run<P: Borrow<Tensor>>(&mut self, pictures: &[P]) -> Result<Vec<Result<Outputs, ModelError>>, ModelError> {
        match pictures {
            [] => Ok(Vec::new()),
            [one] => self.infer(one.borrow(), 1),
            many if self.batching.most.get() == 1 => {
                let each = many.iter().map(|one| self.infer(one.borrow(), 1));
                Ok(each.map(|outputs| outputs?.pop().unwrap_or_else(|| Ok(Outputs::default()))).collect())
            }
            many => {
                let stacked = stacked(many).ok_or_else(|| self.output("pictures of different sizes".to_owned()))?;
                self.infer(&stacked, many.len())
            }
        }
    }

    fn infer(&mut self, tensor: &Tensor, pictures: usize) -> Result<Vec<Result<Outputs, ModelError>>, ModelError> {
        let values = self.values(tensor).map_err(|source| self.inference(source))?;
        let mut outputs = Vec::with_capacity(pictures);
        let mut each = Vec::with_capacity(values.len());
        for (name, (shape, values)) in self.asked.iter().zip(&values) {
            each.push(
                parts(shape, values, pictures).map_err(|problem| self.output(format!("{problem} as `{name}`,")))?,
            );
        }
        for at in 0..pictures {
            let of = |output: Option<usize>| output.and_then(|output| each.get(output)?.get(at).copied());
            outputs.push(self.outputs(of(self.scored), of(self.embedded)).map_err(|problem| self.output(problem)));
        }
        Ok(outputs)
    }

    /// The shape and the values of each output that is asked for.
    fn values(&mut self, tensor: &Tensor) -> ort::Result<Vec<(Vec<i64>, Vec<f32>)>> {
        let wanted = Arc::clone(&self.asked);
        let selected = wanted.iter().fold(OutputSelector::no_default(), OutputSelector::with);
        let input: SessionInputValue<'_> = match tensor {
            Tensor::F32(values) => TensorRef::from_array_view(values)?.into(),
            Tensor::U8(values) => TensorRef::from_array_view(values)?.into(),
        };
        let inputs = vec![(self.manifest.input.name.as_str(), input)];
        let options = RunOptions::new()?.with_outputs(selected);
        let outputs = self.session.run_with_options(inputs, &options)?;
        let mut values = Vec::with_capacity(wanted.len());
        for name in wanted.iter() {
            let output = outputs.get(name).ok_or_else(|| ort::Error::new(format!("there is no output `{name}`")))?;
            let (shape, of) = output.try_extract_tensor::<f32>()?;
            values.push((shape.to_vec(), of.to_vec()));
        }
        Ok(values)
    }

    /// What one picture's values mean. Where a head can make nothing of them, the other scores stand; only where nothing
    /// is left is that an error.
    fn outputs(&self, scored: Option<&[f32]>, embedded: Option<&[f32]>) -> Result<Outputs, String> {
        let (mut scores, mut failed) = (Vec::with_capacity(1 + self.heads.len()), Vec::new());
        if let (Some(output), Some(values)) = (&self.manifest.scores, scored) {
            let of_labels = scoring::scores(output, values)?;
            scores.push(Scores {
                model: Arc::clone(&self.manifest.name),
                digest: self.manifest.file.sha256.shared(),
                scores: self.manifest.labels().cloned().zip(of_labels).collect(),
                ..Scores::default()
            });
        }
        if let (Some(output), Some(values)) = (&self.manifest.embedding, embedded) {
            if values.len() != output.size {
                return Err(format!("an embedding of {} values, not {},", values.len(), output.size));
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err("an embedding that holds what is no number,".to_owned());
            }
            for head in &self.heads {
                match head.scores(values) {
                    Ok(of_head) => scores.push(of_head),
                    Err(problem) => failed.push((Arc::clone(head.name()), problem)),
                }
            }
            if scores.is_empty()
                && let Some((_, problem)) = failed.pop()
            {
                return Err(problem);
            }
        }
        for scores in &mut scores {
            self.calibrations.iter().for_each(|calibration| calibration.apply(scores));
        }
        Ok(Outputs { scores, embedding: embedded.map(<[f32]>::to_vec), failed })
    }

    fn inference(&self, source: ort::Error) -> ModelError {
        ModelError::Inference { model: Arc::clone(&self.manifest.name), source }
    }

    fn output(&self, problem: String) -> ModelError {
        ModelError::Output { model: Arc::clone(&self.manifest.name), problem }
    }
}

/// Each picture's part of an output of `shape`.
fn parts<'v>(shape: &[i64], values: &'v [f32], pictures: usize) -> Result<Vec<&'v [f32]>, String> {
    if pictures == 1 {
        return Ok(vec![values]);
    }
    let fits = shape.first().is_some_and(|first| usize::try_from(*first) == Ok(pictures));
    if !fits || values.is_empty() {
        return Err(format!("the shape {shape:?} for {pictures} pictures"));
    }
    Ok(values.chunks_exact(values.len() / pictures).collect())
}

/// Several pictures as one batch; none where they are not of one kind and size.
fn stacked<P: Borrow<Tensor>>(pictures: &[P]) -> Option<Tensor> {
    let floats = pictures.iter().map(|picture| match picture.borrow() {
        Tensor::F32(values) => Some(values.view()),
        Tensor::U8(_) => None,
    });
    if let Some(views) = floats.collect::<Option<Vec<ArrayView4<'_, f32>>>>() {
        return concatenate(Axis(0), &views).ok().map(Tensor::F32);
    }
    let bytes = pictures.iter().map(|picture| match picture.borrow() {
        Tensor::U8(values) => Some(values.view()),
        Tensor::F32(_) => None,
    });
    concatenate(Axis(0), &bytes.collect::<Option<Vec<ArrayView4<'_, u8>>>>()?).ok().map(Tensor::U8)
}
