//! `sluicegate model train-probe`: a detector of an operator's own, from pictures that they have labelled.
//!
//! A probe is a handful of weights on what a model that is loaded anyway sees in a picture. It is fitted by logistic
//! regression and judged by cross-validation: each picture by a probe that has seen neither it nor anything that looks like
//! it or comes from the same video. Its scores are likelihoods: the same judgements say how far its logits may be believed.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::UNAVAILABLE;
use super::material::{self, Eye, FOLDS, Specimens};
use crate::config::duration;
use crate::eval::{self, Confusion, Judged, Linear, Trial};
use crate::model::{self, Config, Described, Manifest, ModelError, OutputOf, Training, Weights, logistic};

/// How stiff probes are tried, from the most pliable.
const PENALTIES: [f64; 3] = [0.01, 0.1, 1.0];

/// The likelihood that the manifest suggests to hold a stream from: nine to one.
const THRESHOLD: f64 = 0.9;

/// Train a detector of your own on labelled pictures.
///
/// Pictures of what it is to find are under --positive, pictures of anything else under --negative: the more like what your
/// streams show, the better. Of videos a picture is taken each --every. Pictures that look alike count once. What is written
/// is a manifest and its weights; name the manifest under `load` in [model].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sluicegate model train-probe --positive boats/ --negative other/ --embedding efficientnet_lite0
  sluicegate model train-probe --positive boats/ --negative other/ --label boats --out probes/
  sluicegate model train-probe --positive a/ --negative b/ --embedding my-tower.toml --label gear --out probes/")]
pub(super) struct Args {
    /// Pictures and videos of what is to be found, or folders of them.
    #[arg(long, required = true, value_name = "DIR")]
    positive: Vec<PathBuf>,
    /// Pictures and videos of anything else, or folders of them.
    #[arg(long, required = true, value_name = "DIR")]
    negative: Vec<PathBuf>,
    /// The model whose embedding is looked at: its name, or the path of its manifest.
    #[arg(long, value_name = "MODEL", default_value = "efficientnet_lite0")]
    embedding: String,
    /// What the score is called in policies: lower-case letters, digits, `-` and `_`; as the folder of --positive when left
    /// out.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// What the probe is called; as its label when left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder for the manifest and the weights.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// How far apart the pictures of a video are taken.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    every: Duration,
    /// Decides how pictures are split: the same pictures and the same seed give the same probe.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

/// Runs `sluicegate model train-probe`.
///
/// # Errors
/// When there are too few pictures, they say nothing about the label, or nothing can be written.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    // What is wrong with a name is told before anything is looked at.
    let label = label(args)?;
    let name = args.name.as_ref().unwrap_or(&label);
    model::plain_word(name).map_err(|problem| anyhow!("--name: {problem}"))?;
    let (manifest_path, weights_path) =
        (args.out.join(format!("{name}.toml")), args.out.join(format!("{name}.weights.json")));
    for path in [&manifest_path, &weights_path] {
        if path.exists() {
            bail!("{} is there already: remove it, or choose another --out or --name", path.display());
        }
    }
    let mut eye = match embedder(&args.embedding, config) {
        Ok(eye) => eye,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}").ok();
            return Ok(ExitCode::from(UNAVAILABLE));
        }
    };
    let embedding = eye.session.manifest().clone();
    let specimens = material::specimens(&args.positive, &args.negative, args.every, |picture| {
        unit(eye.look(picture)?.embedding.unwrap_or_default())
    })?;
    let trained = train(&specimens, args.seed)?;

    let weights = Weights {
        model: embedding.file.sha256.to_string(),
        label: label.clone(),
        weights: trained.probe.weights.iter().map(|weight| *weight as f32).collect(),
        bias: trained.probe.bias as f32,
        calibration: None,
    };
    let weights = serde_json::to_string(&weights)? + "\n";
    let text = manifest(args, name, &label, &embedding, &trained, &weights)?;
    Described::parse(&text, name, Some(&args.out))?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    for (path, text) in [(&weights_path, &weights), (&manifest_path, &text)] {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    answer(args, &label, &specimens.left_out, &trained, &manifest_path, out)?;
    Ok(ExitCode::SUCCESS)
}

/// What the probe finds, as it was said or as the folder of what it is to find is called.
fn label(args: &Args) -> anyhow::Result<String> {
    if let Some(label) = &args.label {
        model::plain_word(label).map_err(|problem| anyhow!("--label: {problem}"))?;
        return Ok(label.clone());
    }
    let [folder] = &args.positive[..] else {
        bail!("--positive names several folders: say with --label what is in them")
    };
    let whole = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    let label = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    model::plain_word(&label)
        .map_err(|problem| anyhow!("{problem}: say with --label what is in {}", folder.display()))?;
    Ok(label)
}

fn embedder(named: &str, config: &Config) -> Result<Eye, ModelError> {
    let manifest = Manifest::named(named)?;
    if manifest.embedding.is_none() {
        return Err(ModelError::Manifest {
            manifest: named.to_owned(),
            problem:
                "has no [embedding], which a probe looks at: name a model that gives one, such as efficientnet_lite0"
                    .to_owned(),
        });
    }
    Eye::open(named, config)
}

/// `embedding` scaled to length 1, as a probe sees it.
fn unit(mut embedding: Vec<f32>) -> anyhow::Result<Vec<f32>> {
    let length = embedding.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !(length.is_finite() && length > 0.0) {
        bail!("the model gave an embedding of length {length}: it cannot be used");
    }
    for value in &mut embedding {
        *value = (f64::from(*value) / length) as f32;
    }
    Ok(embedding)
}

/// A probe and how good it is.
struct Trained {
    /// Its logits are those of likelihoods.
    probe: Linear,
    penalty: f64,
    training: Training,
    /// Each picture's likelihood by probes and slopes that have not seen it.
    unseen: Vec<Judged>,
    /// From how many videos and stills the positive pictures are, and those from .5 on.
    sources: [usize; 2],
}

fn train(specimens: &Specimens<Vec<f32>>, seed: u64) -> anyhow::Result<Trained> {
    let folds = specimens.folds(seed);
    let trials: Vec<Trial<'_>> = specimens
        .all
        .iter()
        .zip(&folds)
        .map(|(one, fold)| Trial { vector: &one.value, positive: one.positive, fold: *fold })
        .collect();
    let (penalty, logits) = eval::without_own_fold(&trials, &PENALTIES)?;
    let (slope, offset) = eval::platt(&logits).context(NOTHING)?;
    let unseen = likelihoods(&trials, &logits, penalty)?;
    material::expect_more_than_chance(&unseen, NOTHING)?;

    let all: Vec<(&[f32], bool)> = trials.iter().map(|trial| (trial.vector, trial.positive)).collect();
    let fitted = eval::fit(&all, penalty)?;
    let probe = Linear {
        weights: fitted.weights.iter().map(|weight| slope * weight).collect(),
        bias: slope.mul_add(fitted.bias, offset),
    };
    let half = Confusion::at(&unseen, 0.5);
    let training = Training {
        positives: specimens.count(true),
        negatives: specimens.count(false),
        folds: FOLDS,
        precision: half.precision().unwrap_or_default() as f32,
        recall: half.recall().unwrap_or_default() as f32,
        auc: eval::area(&unseen).unwrap_or_default() as f32,
    };
    let from_half = |at: usize| unseen.get(at).is_some_and(|one| one.score >= 0.5);
    let positive = |at: usize| unseen.get(at).is_some_and(|one| one.positive);
    let sources = [specimens.sources(positive), specimens.sources(from_half)];
    Ok(Trained { probe, penalty, training, unseen, sources })
}

const NOTHING: &str = "the model sees no difference between the two sides: look at whether the pictures are sorted rightly, \
                       or try another --embedding";

/// The likelihood of each picture, by a slope and offset found without its fold: from logits that the other folds are given
/// by probes that have seen neither them nor it.
fn likelihoods(trials: &[Trial<'_>], logits: &[Judged], penalty: f64) -> anyhow::Result<Vec<Judged>> {
    let mut slopes = Vec::with_capacity(FOLDS);
    for fold in 0..FOLDS {
        let others: Vec<Trial<'_>> = trials.iter().filter(|trial| trial.fold != fold).copied().collect();
        slopes.push(eval::platt(&eval::logits(&others, penalty)?).context(NOTHING)?);
    }
    let likelihood = |(logit, trial): (&Judged, &Trial<'_>)| {
        let (slope, offset) = slopes.get(trial.fold).copied().unwrap_or((1.0, 0.0));
        Judged { score: logistic(slope.mul_add(logit.score, offset)), ..*logit }
    };
    Ok(logits.iter().zip(trials).map(likelihood).collect())
}

fn manifest(
    args: &Args,
    name: &str,
    label: &str,
    embedding: &Manifest,
    trained: &Trained,
    weights: &str,
) -> anyhow::Result<String> {
    let named = if Manifest::shipped().any(|shipped| shipped == args.embedding) {
        args.embedding.clone()
    } else {
        // From the folder of the probe's own manifest, which may be another one.
        let path = Path::new(&args.embedding).canonicalize();
        path.with_context(|| format!("cannot find {} again", args.embedding))?.display().to_string()
    };
    let Training { positives, negatives, folds, precision, recall, auc } = &trained.training;
    let at = Confusion::at(&trained.unseen, THRESHOLD);
    let text = |text: &str| toml::Value::from(text).to_string();
    Ok(format!(
        "# A probe on what a model sees, from `sluicegate model train-probe`: see docs/models.md.\n\n\
         name = {name}\n\
         kind = \"probe\"\n\
         about = {about}\n\n\
         [file]\nname = {file}\nsha256 = \"{sha256}\"\nbytes = {bytes}\n\n\
         [licence]\nweights = \"of whoever trained it\"\ntraining_data = {data}\n\n\
         [probe]\nembedding = {named}\nembedding_sha256 = \"{embedding_sha256}\"\n\
         meaning_sha256 = \"{meaning_sha256}\"\nlabel = {label}\n\n\
         [training]\npositives = {positives}\nnegatives = {negatives}\nfolds = {folds}\n\
         precision = {precision:.4}\nrecall = {recall:.4}\nauc = {auc:.4}\n\n\
         [[threshold]]\nlabel = {label}\nabove = {THRESHOLD}\nverdict = \"hold\"\nchosen = {chosen}\n\n\
         [notes]\nmeaning = {meaning}\n",
        name = text(name),
        about = text(&format!("Finds `{label}` in what {} sees", embedding.name)),
        file = text(&format!("{name}.weights.json")),
        sha256 = hex::encode(Sha256::digest(weights)),
        bytes = weights.len(),
        data = text(&format!("{positives} positive and {negatives} negative pictures of whoever trained it")),
        named = text(&named),
        embedding_sha256 = embedding.file.sha256,
        meaning_sha256 = embedding.meaning(OutputOf::Embedding),
        label = text(label),
        chosen = text(&format!(
            "nine to one, if both sides were as frequent; in cross-validation {} of {positives} positive and {} of \
             {negatives} negative pictures scored that much",
            at.hits, at.false_alarms
        )),
        meaning = text(
            "a score is the likelihood of the label where both sides are as frequent as each other; it was measured on \
             pictures like those it was trained on, and on no others"
        ),
    ))
}

fn answer(
    args: &Args,
    label: &str,
    left_out: &[String],
    trained: &Trained,
    manifest: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Training { positives, negatives, folds, precision, recall, auc } = trained.training;
    let half = Confusion::at(&trained.unseen, 0.5);
    let [positive, from_half] = trained.sources;
    let sure = |share: Option<f64>, independent: usize| {
        let (low, high) = eval::between(share.unwrap_or_default(), independent);
        format!("{low:.2} to {high:.2}")
    };
    let error = eval::calibration_error(&trained.unseen);
    if args.json {
        let object = json!({
            "manifest": manifest, "label": label, "training": trained.training, "penalty": trained.penalty,
            "calibration_error": error, "left_out": left_out,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(out, "{}: written", manifest.display())?;
    writeln!(out, "  pictures     {positives} positive, {negatives} negative")?;
    for left_out in left_out {
        writeln!(out, "  left out     {left_out}")?;
    }
    writeln!(out, "  judged       in {folds} folds, each picture by a probe that has seen nothing like it")?;
    writeln!(out, "  precision    {precision:.2} from .5 on (95 %: {})", sure(half.precision(), from_half))?;
    writeln!(out, "  recall       {recall:.2} from .5 on (95 %: {})", sure(half.recall(), positive))?;
    writeln!(
        out,
        "  sure of it   as far as {positive} positive videos and stills, and {from_half} from .5 on, allow: what is of one \
         video or looks alike says little more than one picture"
    )?;
    writeln!(out, "  area         {auc:.3} under the curve")?;
    writeln!(out, "  calibration  likelihoods are off by {error:.3} on average")?;
    writeln!(
        out,
        "These figures hold for pictures like these. On your streams, ask `sluicegate model eval {} --corpus DIR`.",
        manifest.display()
    )?;
    writeln!(
        out,
        "To use it, add {:?} to `load` in [model], and a rule with label = {:?}.",
        manifest.display().to_string(),
        label
    )?;
    Ok(())
}
