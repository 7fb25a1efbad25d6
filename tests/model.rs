//! The real model on the real runtime: what it says of real photographs, held to what Pillow and ONNX Runtime's own
//! Python say, and what is said when a file is missing or is not the right one.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what is not as expected fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;
use std::sync::OnceLock;

use ndarray::Array4;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sluicegate::clock::Timestamp;
use sluicegate::finding::Scores;
use sluicegate::model::{self, Config, Manifest, ModelError, Preprocessor, Runtime, Session, Tensor};
use sluicegate::picture::{ColourRange, Picture, Plane};
use tempfile::TempDir;

const SHIPPED: &str = include_str!("../models/safety.toml");

fn assets() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    assert!(folder.join("runtime/libonnxruntime.so").is_file(), "no ONNX Runtime in assets/: run `make setup` first");
    folder
}

fn config() -> Config {
    Config { assets: Some(assets()), ..Config::default() }
}

fn session() -> Session {
    model::open(&config()).expect("the configuration is right").sessions.remove(0)
}

fn load(manifest: Manifest) -> Result<Session, ModelError> {
    let runtime = Runtime::load(&model::find_runtime(&config())?)?;
    Session::load(&runtime, manifest, &config())
}

/// A photograph and what Python makes of it.
struct Photograph {
    name: String,
    picture: Picture,
    /// As Pillow scales it: 224 rows of 224 times red, green, blue.
    scaled: Vec<u8>,
    /// What the model says of `scaled`, in Python.
    scores: Vec<f32>,
}

impl Photograph {
    fn scaled_tensor(&self) -> Tensor {
        Tensor::F32(Array4::from_shape_fn((1, 3, 224, 224), |(_, channel, y, x)| {
            f32::from(self.scaled[(y * 224 + x) * 3 + channel])
        }))
    }
}

fn photographs() -> &'static [Photograph] {
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        width: usize,
        height: usize,
        full_range: bool,
        scores: Vec<f32>,
    }
    static ONCE: OnceLock<Vec<Photograph>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let status = Command::new(assets().join("venv/bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/model.py"))
            .arg(assets().join("models/safety/image-safety-classifier-s.onnx"))
            .arg(folder.path())
            .status()
            .expect("assets/venv runs: run `make setup` first");
        assert!(status.success(), "the oracle failed");
        let index: Vec<Entry> = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
        index
            .into_iter()
            .map(|Entry { name, width, height, full_range, scores }| Photograph {
                picture: picture(
                    fs::read(folder.path().join(format!("{name}.yuv"))).unwrap(),
                    (width, height),
                    if full_range { ColourRange::Full } else { ColourRange::Limited },
                ),
                scaled: fs::read(folder.path().join(format!("{name}.rgb"))).unwrap(),
                scores,
                name,
            })
            .collect()
    })
}

fn picture(planes: Vec<u8>, (width, height): (usize, usize), range: ColourRange) -> Picture {
    let planes = bytes::Bytes::from(planes);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let chroma = |which: usize| Plane {
        data: planes.slice(width * height + which * half_width * half_height..),
        width: half_width,
        height: half_height,
        stride: half_width,
    };
    Picture {
        sequence: 0,
        pts: None,
        arrived: Timestamp::ZERO,
        luma: Plane { data: planes.clone(), width, height, stride: width },
        chroma: Some([chroma(0), chroma(1)]),
        range,
    }
}

fn score(session: &mut Session, tensor: &Tensor) -> Result<Scores, ModelError> {
    let outputs = session.run(slice::from_ref(tensor))?.remove(0)?;
    Ok(outputs.scores.into_iter().next().expect("a classifier scores"))
}

fn values(tensor: &Tensor) -> &Array4<f32> {
    let Tensor::F32(values) = tensor else { panic!("the shipped model takes floats") };
    values
}

fn labelled<'a>(scores: &'a Scores, label: &str) -> &'a f32 {
    &scores.scores.iter().find(|(name, _)| &**name == label).expect("the label is there").1
}

#[test]
fn benign_photographs_are_mostly_sfw() {
    let mut session = session();
    for photograph in photographs() {
        let tensor = Preprocessor::new(&session.manifest().input).tensor(&photograph.picture).unwrap();
        let scores = score(&mut session, &tensor).unwrap();
        assert!(*labelled(&scores, "sfw") > 0.8, "{}: {:?}", photograph.name, scores.scores);
        assert!(*labelled(&scores, "nsfl") < 0.1, "{}: {:?}", photograph.name, scores.scores);
        assert_eq!((&*scores.model, &*scores.digest), ("safety", session.manifest().file.sha256.as_str()));
    }
}

#[test]
fn the_scores_are_those_of_the_reference_on_the_same_tensor() {
    let mut session = session();
    for photograph in photographs() {
        let scores = score(&mut session, &photograph.scaled_tensor()).unwrap();
        for ((label, score), expected) in scores.scores.iter().zip(&photograph.scores) {
            assert!((score - expected).abs() < 1e-3, "{}: {label} is {score}, not {expected}", photograph.name);
        }
    }
}

/// Pillow has the original colours and we have halved ones, rounded to 8 bits, which shows most where a picture has to be
/// enlarged; and Pillow rounds after each pass.
#[test]
fn pictures_are_scaled_as_pillow_scales_them() {
    let session = session();
    for photograph in photographs() {
        let ours = Preprocessor::new(&session.manifest().input).tensor(&photograph.picture).unwrap();
        let theirs = photograph.scaled_tensor();
        let mut off: Vec<f32> =
            values(&ours).iter().zip(values(&theirs)).map(|(ours, theirs)| (ours - theirs).abs()).collect();
        off.sort_by(f32::total_cmp);
        let mean = off.iter().sum::<f32>() / off.len() as f32;
        let most = off[off.len() * 99 / 100];
        let enlarged = photograph.picture.luma.width < 224;
        let (mean_allowed, most_allowed) = if enlarged { (2.5, 15.0) } else { (1.0, 5.0) };
        assert!(mean < mean_allowed && most < most_allowed, "{}: mean {mean}, 99 % within {most}", photograph.name);
    }
}

#[test]
fn our_scaling_does_not_change_what_the_model_says() {
    let mut session = session();
    for photograph in photographs() {
        let tensor = Preprocessor::new(&session.manifest().input).tensor(&photograph.picture).unwrap();
        let scores = score(&mut session, &tensor).unwrap();
        for ((label, score), expected) in scores.scores.iter().zip(&photograph.scores) {
            assert!((score - expected).abs() < 0.02, "{}: {label} is {score}, not {expected}", photograph.name);
        }
    }
}

#[test]
fn what_is_no_picture_gives_no_score() {
    let mut session = session();
    let not_numbers = Tensor::F32(Array4::from_elem((1, 3, 224, 224), f32::NAN));
    assert_eq!(score(&mut session, &not_numbers).unwrap_err().kind(), "output");
    let other_size = Tensor::F32(Array4::zeros((1, 3, 100, 100)));
    assert_eq!(score(&mut session, &other_size).unwrap_err().kind(), "inference");
    assert!(score(&mut session, &photographs()[0].scaled_tensor()).is_ok(), "the session goes on");
}

/// A folder with a manifest and, beside it, the file that it speaks of.
fn own_model(manifest: &str, file: &[u8]) -> (TempDir, Manifest) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, manifest).unwrap();
    fs::write(folder.path().join("image-safety-classifier-s.onnx"), file).unwrap();
    let manifest = Manifest::read(&path).unwrap();
    (folder, manifest)
}

fn shipped_file() -> Vec<u8> {
    fs::read(assets().join("models/safety/image-safety-classifier-s.onnx")).unwrap()
}

fn refused(error: &ModelError, kind: &str, parts: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_file_with_another_digest_is_refused_before_it_is_loaded() {
    let mut file = shipped_file();
    let last = file.len() - 1;
    file[last] ^= 1;
    let (_folder, manifest) = own_model(SHIPPED, &file);
    let got = hex::encode(Sha256::digest(&file));
    let error = load(manifest).unwrap_err();
    refused(&error, "digest", &["safety", "expected sha256 fef443ed", &got, "`sluicegate model fetch safety`"]);
}

#[test]
fn a_missing_file_is_named_with_every_place_looked_at() {
    let nowhere = Config { assets: Some("/nowhere".into()), ..config() };
    let runtime = Runtime::load(&model::find_runtime(&config()).unwrap()).unwrap();
    let error = Session::load(&runtime, Manifest::named("safety").unwrap(), &nowhere).unwrap_err();
    refused(
        &error,
        "file_missing",
        &["/nowhere/models/safety/image-safety-classifier-s.onnx", "model fetch safety", "`load`"],
    );
}

#[test]
fn a_missing_runtime_is_named_with_the_way_to_get_it() {
    let opened = model::open(&Config { runtime: Some("/nowhere/ort.so".into()), ..config() }).unwrap();
    assert!(opened.sessions.is_empty());
    refused(&opened.broken[0].error, "runtime_missing", &["/nowhere/ort.so", "make setup", "ORT_DYLIB_PATH"]);
}

#[test]
fn a_runtime_that_is_none_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("libonnxruntime.so");
    fs::write(&path, "not a library").unwrap();
    let error = Runtime::load(&path).unwrap_err();
    refused(&error, "runtime_unusable", &[path.to_str().unwrap()]);
}

#[test]
fn no_models_need_no_runtime() {
    let none = Config { load: Vec::new(), runtime: Some("/nowhere/ort.so".into()), ..config() };
    let opened = model::open(&none).unwrap();
    assert!(opened.sessions.is_empty() && opened.broken.is_empty());
}

#[test]
fn a_model_named_twice_is_refused() {
    let twice = Config { load: vec!["safety".into(), "models/safety.toml".into()], ..config() };
    refused(&model::open(&twice).unwrap_err(), "model_name", &["two models are called `safety`"]);
}

#[test]
fn garbage_of_the_right_digest_is_no_model() {
    let garbage: Vec<u8> = (0..5000_u32).map(|at| (at * 31 % 251) as u8).collect();
    let right = hex::encode(Sha256::digest(&garbage));
    let shipped = Manifest::named("safety").unwrap().file.sha256;
    let (_folder, manifest) = own_model(&SHIPPED.replace(shipped.as_str(), &right), &garbage);
    refused(&load(manifest).unwrap_err(), "unloadable", &["safety", "image-safety-classifier-s.onnx", "no ONNX model"]);
}

#[test]
fn a_model_that_does_not_fit_its_manifest_is_refused() {
    for (from, to, expected) in [
        ("name = \"image\"", "name = \"picture\"", "an input `image` that the manifest does not know"),
        ("[\"batch\", 3, 224, 224]", "[\"batch\", 3, 256, 256]", "not [batch, 3, 256, 256]"),
        ("name = \"probabilities\"", "name = \"logits\"", "no output `logits`, only probabilities"),
        ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"bad\", \"good\"]", "not [batch, 2]"),
    ] {
        // Thresholds and references speak of the labels that are there.
        let plain = SHIPPED.split("\n[[").next().unwrap();
        assert!(plain.contains(from), "{from}");
        let (_folder, manifest) = own_model(&plain.replace(from, to), &shipped_file());
        refused(&load(manifest).unwrap_err(), "mismatch", &[expected, "correct the manifest"]);
    }
}
