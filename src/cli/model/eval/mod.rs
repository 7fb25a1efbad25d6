//! `sluicegate model eval`: what models say of an operator's own benign material, and how often that would be a false alarm.
//!
//! With labelled positive pictures it tells precision and recall of those too. What it never tells is how much harmful
//! material a model finds, for there is none to try it with; every report says so.

mod page;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::UNAVAILABLE;
use super::material::{self, Eye};
use crate::cli::bank::content;
use crate::config::duration;
use crate::finding::Scores;
use crate::model::{Config, Described, ModelError, Outputs};
use crate::picture::Picture;
use report::{Benign, Report};

/// Find out how often models raise a false alarm on your own material.
///
/// Pictures and videos under --corpus are to be benign, and like what your streams show. With --positive and --label, what
/// share of those pictures is found is told too. Prints a histogram of the scores, what each threshold lets through and the
/// false alarms an hour of stream; scores at a threshold less than 10 s apart are one alarm.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sluicegate model eval safety --corpus recordings/ --html safety.html
  sluicegate model eval safety open_nsfw --corpus recordings/ --every 1s --json
  sluicegate model eval probes/boats.toml --corpus other/ --positive boats/ --label boats")]
pub(super) struct Args {
    /// Models' names, or paths of manifests.
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Benign pictures and videos, or folders of them.
    #[arg(long, required = true, value_name = "DIR")]
    corpus: Vec<PathBuf>,
    /// Pictures and videos of what --label says, or folders of them.
    #[arg(long, value_name = "DIR", requires = "label")]
    positive: Vec<PathBuf>,
    /// The only label that is told of, and what the pictures under --positive are.
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Calibrations to apply; may be repeated.
    #[arg(long = "calibration", value_name = "FILE")]
    calibrations: Vec<PathBuf>,
    /// How far apart the pictures of a video are taken; as often as streams are looked at.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    every: Duration,
    /// Write a page with charts too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

/// What has to be said whatever the figures are.
const UNMEASURED: &str =
    "Recall on harmful material is unmeasured: nothing here says how much of it a model finds, or misses.";
const UNMEASURED_BUT: &str = "Recall on harmful material is unmeasured: the recall given here is that of your own positive \
                              pictures, and of nothing else.";

/// Runs `sluicegate model eval`.
///
/// # Errors
/// When there is nothing to look at, a model knows no such label, or a file cannot be written.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut eyes = match eyes(args, config) {
        Ok(eyes) => eyes,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            return Ok(ExitCode::from(UNAVAILABLE));
        }
    };
    if let Some(label) = &args.label
        && !eyes.iter().any(|eye| eye.session.labels().any(|(_, known)| **known == **label))
    {
        bail!("`{label}` is no label of these models: `sluicegate model list` shows them");
    }
    let (mut tables, mut failed) = (Tables::new(), BTreeSet::new());
    let files = content::files(&args.corpus)?;
    let looked = material::look_at(&files, args.every, |place, picture| {
        let path = files.get(place.file).map_or(Path::new(""), PathBuf::as_path);
        for (key, score) in said(&mut eyes, picture, path, args.label.as_deref(), &mut failed)? {
            tables.entry(key).or_default().benign.push((place, score));
        }
        Ok(())
    })?;
    let mut left_out = looked.unreadable.clone();
    let mut flat = looked.flat;
    if !args.positive.is_empty() {
        let files = content::files(&args.positive)?;
        let positive = material::look_at(&files, args.every, |place, picture| {
            let path = files.get(place.file).map_or(Path::new(""), PathBuf::as_path);
            for (key, score) in said(&mut eyes, picture, path, args.label.as_deref(), &mut failed)? {
                tables.entry(key).or_default().positive.push((place, score));
            }
            Ok(())
        })?;
        left_out.extend(positive.unreadable);
        flat += positive.flat;
    }
    left_out.extend(failed);
    if flat > 0 {
        left_out.push(format!("pictures that show nothing: {flat}"));
    }
    let reports: Vec<Report> = tables
        .into_iter()
        .map(|((model, label), table)| {
            let benign = Benign::new(table.benign, &looked.videos);
            Report::new(&model, &label, &benign, &table.positive)
        })
        .collect();
    if reports.is_empty() {
        bail!(
            "no picture was scored ({}): give pictures or videos that show something",
            material::in_a_line(&left_out)
        );
    }
    let unmeasured = if args.positive.is_empty() { UNMEASURED } else { UNMEASURED_BUT };
    if let Some(path) = &args.html {
        fs::write(path, page::page(&reports, &left_out, unmeasured))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        writeln!(out, "{}", json!({ "reports": reports, "left_out": left_out, "note": unmeasured }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for report in &reports {
        writeln!(out, "{}\n", report.text())?;
    }
    for left_out in &left_out {
        writeln!(out, "left out: {left_out}")?;
    }
    writeln!(out, "{unmeasured}")?;
    Ok(ExitCode::SUCCESS)
}

/// A model and one of its labels.
type Key = (Arc<str>, Arc<str>);

type Tables = BTreeMap<Key, Table>;

/// The scores of one label.
#[derive(Default)]
struct Table {
    benign: Vec<(material::Place, f64)>,
    positive: Vec<(material::Place, f64)>,
}

/// Every model, with the calibrations that are of it.
fn eyes(args: &Args, config: &Config) -> anyhow::Result<Vec<Eye>> {
    let mut eyes = Vec::with_capacity(args.models.len());
    for named in &args.models {
        let name = Described::named(named)?.name().clone();
        let its_own = |path: &&PathBuf| {
            // One that cannot be read is told when the model is opened.
            crate::model::Calibration::read(path).is_ok_and(|calibration| *calibration.model() == name)
        };
        let calibrations = args.calibrations.iter().filter(its_own).cloned().collect();
        eyes.push(Eye::open(named, &Config { calibrations, ..config.clone() })?);
    }
    for path in &args.calibrations {
        let calibration = crate::model::Calibration::read(path)?;
        if !eyes.iter().any(|eye| eye.session.scorers().any(|(name, _)| name == calibration.model())) {
            bail!("{} is of `{}`, which is none of the models", path.display(), calibration.model());
        }
    }
    Ok(eyes)
}

/// What every model says of a picture in the file at `path`: of `only` where that is given, otherwise of every label. What one
/// can make nothing of is told in `failed`, and the others are asked all the same.
fn said(
    eyes: &mut [Eye],
    picture: &Picture,
    path: &Path,
    only: Option<&str>,
    failed: &mut BTreeSet<String>,
) -> anyhow::Result<Vec<(Key, f64)>> {
    let mut said = Vec::new();
    for eye in eyes {
        let looked = eye.look(picture);
        for Scores { model, scores, .. } in alone(looked, &eye.session.manifest().name, path, failed)?.scores {
            let wanted = scores.into_iter().filter(|(label, _)| only.is_none_or(|only| **label == *only));
            said.extend(wanted.map(|(label, score)| ((Arc::clone(&model), label), f64::from(score))));
        }
    }
    Ok(said)
}

/// What one model said. What it could not say of this picture is nobody else's fault; a model that is broken is all of theirs.
fn alone(
    looked: Result<Outputs, ModelError>,
    model: &str,
    path: &Path,
    failed: &mut BTreeSet<String>,
) -> Result<Outputs, ModelError> {
    match looked {
        Err(error) if error.is_retryable() => {
            failed.insert(format!("{}, for {model}: {error}", path.display()));
            Ok(Outputs::default())
        }
        looked => looked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_model_can_make_nothing_of_is_told_and_costs_no_other() {
        let mut failed = BTreeSet::new();
        let of_picture = || ModelError::Picture { problem: "it has no pixels" };
        for _ in 0..3 {
            let looked = alone(Err(of_picture()), "safety", Path::new("a.mp4"), &mut failed).unwrap();
            assert!(looked.scores.is_empty());
        }
        assert_eq!(failed.len(), 1, "a video is told of once: {failed:?}");
        assert!(failed.iter().all(|line| line.starts_with("a.mp4, for safety: ") && line.contains("no pixels")));
        let broken = ModelError::Manifest { manifest: "x".to_owned(), problem: "y".to_owned() };
        assert!(alone(Err(broken), "safety", Path::new("a.mp4"), &mut failed).is_err());
    }
}
