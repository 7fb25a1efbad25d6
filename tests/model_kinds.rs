//! Models of an operator's own, each described by a manifest alone: outputs of every kind, embeddings with what looks at
//! them, batches, calibrations; and what is said, and goes on, where something is broken.
//!
//! The models are tiny and made on the spot (`oracles/tiny_onnx.py`): each works with the mean red, green and blue of a
//! picture of 2 x 2, so that what it has to say of one can be told in the head.
#![cfg(test)]

#[path = "model_kinds/tiny.rs"]
mod tiny;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ndarray::Array4;
use sluicegate::clock::Clock;
use sluicegate::finding::Scores;
use sluicegate::metrics::Metrics;
use sluicegate::model::{
    self, Config, Health, Manifest, ModelError, Opened, OutputOf, Outputs, Owner, Provider, Session, Tensor, WhenBroken,
};
use tiny::Models;

const PATIENCE: Duration = Duration::from_secs(30);

fn session(load: &[&str]) -> Session {
    let opened = open(load);
    assert!(opened.broken.is_empty(), "{:?}", opened.broken);
    opened.sessions.into_iter().next().unwrap()
}

fn open(load: &[&str]) -> Opened {
    model::open(&config(load)).unwrap()
}

fn config(load: &[&str]) -> Config {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    assert!(assets.join("runtime/libonnxruntime.so").is_file(), "no ONNX Runtime in assets/: run `make setup` first");
    Config { load: load.iter().map(|named| (*named).to_owned()).collect(), assets: Some(assets), ..Config::default() }
}

/// A picture of one colour.
fn even(colour: [f32; 3]) -> Tensor {
    Tensor::F32(Array4::from_shape_fn((1, 3, 2, 2), |(_, channel, _, _)| colour[channel]))
}

fn one(session: &mut Session, tensor: Tensor) -> Result<Outputs, ModelError> {
    session.run(&[tensor])?.remove(0)
}

fn near(scores: &Scores, expected: &[(&str, f32)]) {
    let labels: Vec<&str> = scores.scores.iter().map(|(label, _)| &**label).collect();
    assert_eq!(labels, expected.iter().map(|(label, _)| *label).collect::<Vec<_>>());
    for ((label, score), (_, expected)) in scores.scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-5, "{label} is {score}, not {expected}");
    }
}

fn refused(error: &ModelError, kind: &str, parts: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn logistic(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

const PROBABILITIES: &str = "[output]\nname = 'probabilities'\nlabels = ['red', 'green', 'blue']\n";
const EMBEDDING: &str = "[embedding]\nname = 'means'\nsize = 3\n";

#[test]
fn values_of_every_kind_become_scores() {
    let models = Models::new();
    let [e0, e1, e2] = [0.0_f32, 1.0, 2.0].map(f32::exp);
    for (file, output, expected) in [
        (
            "logits",
            "name = 'logits'\nvalues = 'logits'\nlabels = ['a', 'b']",
            vec![("a", e1 / (e1 + e2)), ("b", e2 / (e1 + e2))],
        ),
        (
            "logits",
            "name = 'logits'\nvalues = 'independent_logits'\nlabels = ['a', 'b']",
            vec![("a", logistic(1.0)), ("b", logistic(2.0))],
        ),
        // Classes 0 to 3 have the logits 1, 2, 0 and 2.
        (
            "four",
            "name = 'logits'\nvalues = 'logits'\nclasses = 4\n[output.categories]\nevens = [0, 2]\nlast = [3]",
            vec![("evens", (e1 + e0) / (e1 + e2 + e0 + e2)), ("last", e2 / (e1 + e2 + e0 + e2))],
        ),
        ("roots", "name = 'probabilities'\nlabels = ['a', 'b', 'c']", vec![]),
    ] {
        let named = models.describe("tiny", file, &format!("[output]\n{output}\n"));
        let mut session = session(&[&named]);
        match one(&mut session, even([1.0, 2.0, 0.0])) {
            Ok(outputs) => near(&outputs.scores[0], &expected),
            // The root of 2 is no probability.
            Err(error) => refused(&error, "output", &["tiny", "1.4142", "no probability"]),
        }
    }
}

#[test]
fn bytes_with_the_channels_last_are_taken_in() {
    let models = Models::new();
    let mut session = session(&[&models.describe("tiny", "bytes", PROBABILITIES)]);
    let tensor = Tensor::U8(Array4::from_shape_fn((1, 2, 2, 3), |(_, _, _, channel)| [51, 0, 255][channel]));
    near(&one(&mut session, tensor).unwrap().scores[0], &[("red", 0.2), ("green", 0.0), ("blue", 1.0)]);
    refused(&one(&mut session, even([0.0; 3])).unwrap_err(), "inference", &["tiny"]);
}

#[test]
fn scores_and_embedding_come_of_one_inference() {
    let models = Models::new();
    let mut session = session(&[&models.describe("tiny", "both", &format!("{PROBABILITIES}{EMBEDDING}"))]);
    let outputs = one(&mut session, even([0.5, 0.5, 0.5])).unwrap();
    near(&outputs.scores[0], &[("red", 1.0 / 3.0), ("green", 1.0 / 3.0), ("blue", 1.0 / 3.0)]);
    assert_eq!(outputs.embedding.unwrap(), [0.5, 0.5, 0.5]);
}

#[test]
fn an_embedding_is_compared_with_those_of_labels() {
    let models = Models::new();
    let labels = r#"{"red": [2, 0, 0], "grey": [1, 1, 1]}"#;
    models.write("labels.json", labels);
    let prompts =
        |digest: &str| format!("{EMBEDDING}[prompts]\nfile = 'labels.json'\nsha256 = {digest:?}\nscale = 10\n");
    let named = models.describe("tiny", "means", &prompts(&models.digest("labels.json")));
    let mut session = session(&[&named]);
    // The cosine with grey is 1, that with red the inverse of the root of 3.
    let outputs = one(&mut session, even([7.0, 7.0, 7.0])).unwrap();
    let grey = logistic(10.0 * (1.0 - 1.0 / 3.0_f32.sqrt()));
    near(&outputs.scores[0], &[("grey", grey), ("red", 1.0 - grey)]);
    assert_eq!(&*outputs.scores[0].model, "tiny");
    refused(&one(&mut session, even([0.0; 3])).unwrap_err(), "output", &["an embedding of no length"]);

    let broken = |text: &str, parts: &[&str], kind: &str| {
        models.write("labels.json", text);
        let named = models.describe("tiny", "means", &prompts(&models.digest("labels.json")));
        refused(&open(&[&named]).broken[0].error, kind, parts);
    };
    broken(r#"{"red": [2, 0], "grey": [1, 1, 1]}"#, &["labels.json", "`red` has 2 values"], "head");
    broken(r#"{"red": [0, 0, 0], "grey": [1, 1, 1]}"#, &["`red` has an embedding of no length"], "head");
    broken(r#"{"red": [1, 0, 0]}"#, &["fewer than two labels"], "head");
    fs::remove_file(models.path("labels.json")).unwrap();
    refused(&model::missing(&config(&[&named])).unwrap()[0].error, "file_unreadable", &["tiny", "labels.json"]);
    models.write("labels.json", labels);
    let other = models.describe("tiny", "means", &prompts(&"0".repeat(64)));
    refused(&open(&[&other]).broken[0].error, "digest", &["tiny", "labels.json"]);
}

#[test]
fn a_probe_brings_its_model_and_shares_its_inference() {
    let models = Models::new();
    let base = models.describe("base", "both", &format!("{PROBABILITIES}{EMBEDDING}"));
    let probe = models.describe_probe("coats", "base");
    let other = models.describe_probe("hats", "base");
    // Red less green of (3, 0, 4), scaled to length 1, is .6: a logit of 2.4, halved, and 1 more.

    let mut alone = session(&[&probe]);
    let outputs = one(&mut alone, even([3.0, 0.0, 4.0])).unwrap();
    assert_eq!(outputs.scores.len(), 1, "the model was not asked for");
    near(&outputs.scores[0], &[("reddish", logistic(2.2))]);
    assert_eq!((&*outputs.scores[0].model, &*outputs.scores[0].digest), ("coats", &*models.digest("coats.json")));

    // Another manifest of the same file is another model, and what is wrong with it is none of the probe's business.
    let wrong = models.describe("wrong", "both", "[output]\nname = 'logits'\nlabels = ['a']\n");
    let opened = open(&[&wrong, &probe]);
    assert_eq!((opened.sessions.len(), opened.broken.len(), &*opened.broken[0].model), (1, 1, "wrong"));

    let mut both = session(&[&base, &probe]);
    // What the probe can make nothing of costs the model no scores.
    let outputs = one(&mut both, even([0.0; 3])).unwrap();
    assert_eq!((outputs.scores.len(), &*outputs.scores[0].model, outputs.failed.len()), (1, "base", 1));
    assert_eq!((&*outputs.failed[0].0, &*outputs.failed[0].1), ("coats", "an embedding of no length"));
    let metrics = Arc::new(Metrics::new().unwrap());
    let mut health = Health::new(&both, Arc::clone(&metrics));
    (0..10).for_each(|_| health.note(&Ok(outputs.clone())));
    let text = metrics.render().unwrap();
    assert!(
        text.contains("sluicegate_model_up{model=\"coats\"} 0") && !text.contains("up{model=\"base\"} 0"),
        "{text}"
    );

    for load in [[&probe, &base, &other], [&base, &probe, &other]] {
        let opened = open(&load.map(String::as_str));
        assert_eq!(opened.sessions.len(), 1, "one inference serves them all");
        let scorers: Vec<_> = opened.sessions[0].scorers().map(|(name, _)| name.to_string()).collect();
        assert_eq!(scorers, ["base", "coats", "hats"]);
    }
}

#[test]
fn a_probe_of_another_model_is_broken_and_nothing_else_is() {
    let models = Models::new();
    models.describe("base", "means", EMBEDDING);
    let probe = models.describe_probe("coats", "base");
    let good = models.describe("good", "both", PROBABILITIES);
    models.describe("base", "both", &format!("{PROBABILITIES}{EMBEDDING}"));
    let opened = open(&[&probe, &good]);
    assert_eq!((opened.sessions.len(), &*opened.broken[0].model), (1, "coats"));
    refused(&opened.broken[0].error, "base", &["coats", "base.toml", "train it again"]);

    // The file is the same, and gets pictures otherwise.
    models.describe("base", "means", EMBEDDING);
    let base = fs::read_to_string(models.path("base.toml")).unwrap();
    models.write("base.toml", &base.replace("range = [0, 255]", "range = [0, 1]"));
    refused(&open(&[&probe]).broken[0].error, "base", &["coats", "[input]", "meaning_sha256", "train it again"]);
    let other = models.write("other.toml", &base.replace("resize = 'warp'", "resize = 'crop'\nside = 2"));
    models.write("base.toml", &base);
    let opened = open(&[&other, &probe]);
    assert_eq!(opened.sessions.len(), 1);
    refused(&opened.broken[0].error, "base", &["coats", "another model of that name", "change the `name`"]);

    let text = fs::read_to_string(models.path("coats.json")).unwrap();
    models.describe("base", "means", EMBEDDING);
    for (from, to, expected) in [
        ("reddish", "greenish", "they are for the label `greenish`"),
        ("4.0,", "", "weights for an embedding of 2 values, and `base` gives 3"),
        ("weights", "weight", "unknown field `weight`"),
    ] {
        models.write("coats.json", &text.replacen(from, to, 1));
        let digest = models.digest("coats.json");
        let manifest = fs::read_to_string(&probe).unwrap();
        let (before, after) = manifest.split_once("sha256 = ").unwrap();
        models.write("coats.toml", &format!("{before}sha256 = '{digest}'{}", &after[66..]));
        let error = &open(&[&probe]).broken[0].error;
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_a_model_gives_wrongly_costs_that_picture_only() {
    let models = Models::new();
    let mut roots = session(&[&models.describe("tiny", "roots", PROBABILITIES)]);
    refused(&one(&mut roots, even([-1.0, 0.0, 0.0])).unwrap_err(), "output", &["tiny", "NaN", "no number"]);
    near(&one(&mut roots, even([0.25, 0.0, 1.0])).unwrap().scores[0], &[("red", 0.5), ("green", 0.0), ("blue", 1.0)]);

    let mut six = session(&[&models.describe("tiny", "six", PROBABILITIES)]);
    refused(&one(&mut six, even([0.1; 3])).unwrap_err(), "output", &["6 values for 3 classes"]);

    let mut vector = session(&[&models.describe("tiny", "means", EMBEDDING)]);
    assert_eq!(vector.entries(), [("tiny".into(), models.digest("means.onnx").into())], "it is told of all the same");
    refused(&one(&mut vector, even([f32::NAN; 3])).unwrap_err(), "output", &["embedding", "no number"]);
}

#[test]
fn a_file_of_a_newer_onnx_is_told_from_one_that_is_none() {
    let models = Models::new();
    for (file, expected) in [("opset", "knows (ONNX Runtime only"), ("ir", "knows (Unsupported model IR version: 99")] {
        let opened = open(&[&models.describe("tiny", file, EMBEDDING)]);
        let parts = ["tiny", &format!("{file}.onnx"), "newer than this ONNX Runtime", expected, "older opset"];
        refused(&opened.broken[0].error, "opset", &parts);
    }
    models.write("none.onnx", "no model at all");
    let opened = open(&[&models.describe("tiny", "none", EMBEDDING)]);
    refused(&opened.broken[0].error, "unloadable", &["tiny", "none.onnx"]);
}

/// Gives `pictures` to a model that puts four together, and waits for what becomes of them.
fn owned(session: Session, pictures: &[[f32; 3]]) -> Vec<(usize, Result<Outputs, ModelError>)> {
    let (results, received) = crossbeam_channel::bounded(pictures.len());
    let on_result = move |ticket, outputs| results.send_timeout((ticket, outputs), PATIENCE).unwrap();
    let owner = Owner::start(session, NonZeroUsize::new(64).unwrap(), Clock::system(), on_result).unwrap();
    for (ticket, colour) in pictures.iter().enumerate() {
        owner.submit(even(*colour), ticket).unwrap();
    }
    drop(owner);
    received.iter().collect()
}

#[test]
fn a_receiver_of_results_that_panics_costs_what_it_was_given_and_no_more() {
    let models = Models::new();
    let session = session(&[&models.describe("tiny", "both", PROBABILITIES)]);
    let (results, received) = crossbeam_channel::bounded(3);
    let on_result = move |ticket: u8, _| {
        assert!(ticket != 1, "the second result is one too many");
        results.send_timeout(ticket, PATIENCE).unwrap();
    };
    let owner = Owner::start(session, NonZeroUsize::new(8).unwrap(), Clock::system(), on_result).unwrap();
    for ticket in 0..3 {
        owner.submit(even([0.5; 3]), ticket).unwrap();
    }
    drop(owner);
    assert_eq!(received.iter().collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn pictures_together_are_scored_as_each_would_be_alone_and_in_their_order() {
    let models = Models::new();
    let pictures: Vec<[f32; 3]> = (0..22_u8).map(|at| [f32::from(at) / 22.0, f32::from(at % 5) / 5.0, 0.0]).collect();
    // `alone` says that it takes many and fails with them; `one` says itself that it takes one.
    for (file, outputs) in [("both", PROBABILITIES), ("alone", PROBABILITIES), ("one", EMBEDDING)] {
        let named = models.describe("tiny", file, outputs);
        let batched =
            Config { batch: NonZeroUsize::new(4), batch_wait: Duration::from_millis(50), ..config(&[&named]) };
        let opened = || model::open(&batched).unwrap().sessions.remove(0);
        let got = owned(opened(), &pictures);
        let mut alone = session(&[&named]);
        assert_eq!(opened().batching().most.get(), if file == "one" { 1 } else { 4 });
        assert_eq!(got.len(), pictures.len());
        for ((at, (ticket, outputs)), colour) in got.into_iter().enumerate().zip(&pictures) {
            assert_eq!((ticket, outputs.unwrap()), (at, one(&mut alone, even(*colour)).unwrap()), "{file}");
        }
    }
}

#[test]
fn one_bad_picture_costs_no_other_of_its_batch() {
    let models = Models::new();
    let named = models.describe("tiny", "roots", PROBABILITIES);
    let batched = Config { batch: NonZeroUsize::new(4), batch_wait: Duration::from_millis(50), ..config(&[&named]) };
    let session = model::open(&batched).unwrap().sessions.remove(0);
    let got = owned(session, &[[0.25; 3], [-1.0; 3], [1.0; 3], [0.25; 3], [-1.0; 3]]);
    let went_well: Vec<bool> = got.iter().map(|(_, outputs)| outputs.is_ok()).collect();
    assert_eq!(went_well, [true, false, true, true, false]);
}

#[test]
fn what_is_broken_is_said_and_the_rest_is_loaded_unless_the_configuration_would_rather_not_start() {
    let models = Models::new();
    let good = models.describe("good", "both", PROBABILITIES);
    let gone = models.describe("gone", "four", EMBEDDING);
    let changed = models.describe("changed", "six", PROBABILITIES);
    let misfit = models.describe("misfit", "both", "[output]\nname = 'logits'\nlabels = ['a']\n");
    let slip = models.write("slip.toml", "name = 3");
    fs::remove_file(models.path("four.onnx")).unwrap();
    models.write("six.onnx", "another");
    let load = [&*gone, &*good, &*slip, &*changed, &*misfit];

    let opened = open(&load);
    assert_eq!(opened.sessions.len(), 1);
    assert_eq!(&*opened.sessions[0].manifest().name, "good");
    let broken: Vec<_> = opened.broken.iter().map(|broken| (&*broken.model, broken.error.kind())).collect();
    let expected = [("slip", "manifest"), ("gone", "file_missing"), ("changed", "digest"), ("misfit", "mismatch")];
    assert_eq!(broken, expected);

    let missing = model::missing(&config(&load)).unwrap();
    assert_eq!(missing.iter().map(|broken| &*broken.model).collect::<Vec<_>>(), ["slip", "gone"]);

    let strict = Config { when_broken: WhenBroken::Refuse, ..config(&load) };
    refused(&model::open(&strict).unwrap_err(), "manifest", &["slip.toml"]);
    let no_runtime = Config { runtime: Some("/nowhere/ort.so".into()), ..config(&[&good, &misfit]) };
    let kinds: Vec<_> = model::open(&no_runtime).unwrap().broken.iter().map(|broken| broken.error.kind()).collect();
    assert_eq!(kinds, ["runtime_missing"; 2]);
}

#[test]
fn a_provider_that_cannot_be_had_falls_back_unless_it_is_required() {
    let models = Models::new();
    let named = models.describe("tiny", "both", PROBABILITIES);
    for provider in [Provider::Cuda, Provider::Tensorrt, Provider::Openvino] {
        let (batch, batch_wait) = (NonZeroUsize::new(16), Duration::from_millis(33));
        let wanted = Config { provider, batch, batch_wait, ..config(&[&named]) };
        let mut session = model::open(&wanted).unwrap().sessions.remove(0);
        let placement = session.placement().clone();
        assert_eq!(
            (placement.provider, placement.instead_of.as_ref().map(|(asked, _)| *asked)),
            (Provider::Cpu, Some(provider))
        );
        assert_eq!(session.batching(), model::Batching::ONE_BY_ONE, "a CPU gains nothing by more");
        assert!(one(&mut session, even([0.5; 3])).is_ok());
        let required = Config { require_provider: true, ..wanted };
        refused(&model::open(&required).unwrap_err(), "provider", &["tiny", provider.word(), "require_provider"]);
    }
}

#[test]
fn a_calibration_makes_likelihoods_and_one_of_another_file_silences_its_model_only() {
    let models = Models::new();
    let tiny = models.describe("tiny", "both", &format!("{PROBABILITIES}{EMBEDDING}"));
    let probe = models.describe_probe("coats", "tiny");
    let manifest = Manifest::read(&models.path("tiny.toml")).unwrap();
    let calibration = |model: &str, digest: &str, label: &str| {
        let meaning = manifest.meaning(if model == "tiny" { OutputOf::Scores } else { OutputOf::Embedding });
        let text = format!(
            "model = {model:?}\nmodel_sha256 = {digest:?}\nmeaning_sha256 = '{meaning}'\n[[curve]]\nlabel = {label:?}\nmethod = 'platt'\n\
             made = 'by hand'\nslope = 1\noffset = 1\n"
        );
        models.write(&format!("{model}.calibration.toml"), &text)
    };
    let with = |files: &[&str]| {
        let calibrations = files.iter().map(PathBuf::from).collect();
        model::open(&Config { calibrations, ..config(&[&tiny, &probe]) })
    };
    let right = calibration("tiny", &models.digest("both.onnx"), "red");
    let of_probe = calibration("coats", &models.digest("coats.json"), "reddish");
    let opened = with(&[&right, &of_probe]).unwrap();
    assert!(opened.broken.is_empty(), "{:?}", opened.broken);
    let outputs = one(&mut { opened.sessions }[0], even([1.0; 3])).unwrap();
    // A third is the odds of 1 to 2, which the curve makes e to 2.
    let e = 1.0_f32.exp();
    near(&outputs.scores[0], &[("red", e / (e + 2.0)), ("green", 1.0 / 3.0), ("blue", 1.0 / 3.0)]);
    assert!(outputs.scores.iter().all(|scores| scores.calibration.is_some() && !scores.raw.is_empty()));

    for wrong in [calibration("tiny", &"0".repeat(64), "red"), calibration("tiny", &models.digest("both.onnx"), "grey")]
    {
        let opened = with(&[&wrong]).unwrap();
        assert_eq!((&*opened.broken[0].model, opened.broken[0].error.kind()), ("tiny", "calibration"));
        let scorers: Vec<_> = opened.sessions[0].scorers().map(|(name, _)| name.to_string()).collect();
        assert_eq!(scorers, ["coats"]);
    }
    let stranger = calibration("hats", &"0".repeat(64), "red");
    refused(&with(&[&stranger]).unwrap_err(), "calibration", &["hats", "`load` in [model] does not name"]);
    let second = models.write("second.toml", &fs::read_to_string(&of_probe).unwrap());
    refused(&with(&[&of_probe, &second]).unwrap_err(), "calibration", &["second.toml", "`coats`", "into one file"]);
    refused(&with(&["/nowhere.toml"]).unwrap_err(), "calibration", &["/nowhere.toml", "cannot be read"]);
}

#[test]
fn how_a_model_is_run_changes_nothing_it_says() {
    let models = Models::new();
    let plain = one(&mut session(&[&models.describe("tiny", "both", PROBABILITIES)]), even([0.3, 0.2, 0.9])).unwrap();
    for options in ["threads = 2", "optimisation = 'none'", "optimisation = 'basic'"] {
        let named = models.describe("tiny", "both", &format!("{PROBABILITIES}[runtime]\n{options}\n"));
        let scores = one(&mut session(&[&named]), even([0.3, 0.2, 0.9])).unwrap().scores.remove(0);
        let expected: Vec<(&str, f32)> =
            plain.scores[0].scores.iter().map(|(label, score)| (&**label, *score)).collect();
        near(&scores, &expected);
    }
}

#[test]
fn a_model_that_keeps_failing_is_reported_until_it_no_longer_does() {
    let models = Models::new();
    let session = session(&[&models.describe("tiny", "roots", PROBABILITIES)]);
    let metrics = Arc::new(Metrics::new().unwrap());
    let mut health = Health::new(&session, Arc::clone(&metrics));
    let up = |expected: &str| {
        let text = metrics.render().unwrap();
        let line = text.lines().find(|line| line.starts_with("sluicegate_model_up{")).map(str::to_owned);
        assert_eq!(line, Some(format!("sluicegate_model_up{{model=\"tiny\"}} {expected}")));
    };
    for (_, outputs) in owned(session, &[[-1.0; 3]; 10]) {
        health.note(&outputs);
    }
    up("0");
    health.note(&Ok(Outputs::default()));
    up("1");
}
