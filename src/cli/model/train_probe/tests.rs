//! From an operator's labelled pictures to a detector, its calibration and its figures: with discs and stripes, which harm
//! nobody.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use super::likelihoods;
use crate::cli::model::{ModelArgs, run};
use crate::eval::{self, Trial};
use crate::model::{Calibration, Described};

const EACH: u32 = 25;

fn colour(seed: u32) -> Rgb<u8> {
    Rgb([seed.wrapping_mul(97) as u8 | 32, seed.wrapping_mul(57) as u8 | 32, seed.wrapping_mul(151) as u8 | 32])
}

/// Discs of several sizes and colours on a ground of another.
fn discs(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let spots: Vec<(i64, i64, i64, u32)> =
        (0..6).map(|_| (next(160).into(), next(120).into(), (10 + next(25)).into(), next(1000))).collect();
    RgbImage::from_fn(160, 120, |x, y| {
        let hit = |&&(left, top, radius, _): &&(i64, i64, i64, u32)| {
            (i64::from(x) - left).pow(2) + (i64::from(y) - top).pow(2) < radius * radius
        };
        spots.iter().find(hit).map_or_else(|| colour(seed + 1), |(_, _, _, paint)| colour(*paint))
    })
}

/// Stripes of any width and slant.
fn stripes(seed: u32) -> RgbImage {
    let (width, slant) = (7 + seed % 11, seed % 5);
    RgbImage::from_fn(160, 120, |x, y| {
        let n = (x * (slant + 1) + y * (4 - slant) + seed * 3) / (width * 2);
        colour(if n.is_multiple_of(3) { seed + 7 } else { n * 5 + seed })
    })
}

/// Discs, one of them twice, and stripes.
fn material() -> (TempDir, PathBuf, PathBuf) {
    let folder = TempDir::new().unwrap();
    let (round, straight) = (folder.path().join("discs"), folder.path().join("stripes"));
    for (into, paint) in [(&round, discs as fn(u32) -> RgbImage), (&straight, stripes)] {
        fs::create_dir(into).unwrap();
        for seed in 0..EACH {
            paint(seed).save(into.join(format!("{seed}.png"))).unwrap();
        }
    }
    discs(3).save(round.join("again.jpg")).unwrap();
    fs::write(round.join("notes.txt"), "not a picture").unwrap();
    (folder, round, straight)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ModelArgs,
}

/// What is answered with the models that `make setup` fetched; what is wrong otherwise.
fn answer(words: &[&str]) -> Result<String, String> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    assert!(assets.join("runtime/libonnxruntime.so").is_file(), "no ONNX Runtime in assets/: run `make setup` first");
    let words = [&["model"], words, &["--assets", text(&assets)]].concat();
    let mut out = Vec::new();
    run(&Cli::parse_from(words).args, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

fn does(words: &[&str]) -> String {
    answer(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

#[test]
fn labelled_pictures_become_a_detector_whose_figures_are_told() {
    let (folder, round, straight) = material();
    let train = |out: &Path| {
        let sides = ["--positive", text(&round), "--negative", text(&straight)];
        does(&[&["train-probe", "--label", "discs", "--out", text(out), "--json"][..], &sides].concat())
    };
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let answer: Value = serde_json::from_str(&train(&first)).unwrap();
    assert_eq!((&answer["training"]["positives"], &answer["training"]["negatives"]), (&25.into(), &25.into()));
    assert!(answer["training"]["auc"].as_f64().unwrap() > 0.9, "{answer}");
    let left_out = answer["left_out"].to_string();
    assert!(left_out.contains("pictures that look like another: 1") && left_out.contains("notes.txt"), "{left_out}");
    train(&second);
    for name in ["discs.toml", "discs.weights.json"] {
        assert_eq!(fs::read(first.join(name)).unwrap(), fs::read(second.join(name)).unwrap(), "{name}");
    }
    let probe = first.join("discs.toml");
    assert!(matches!(Described::read(&probe), Ok(Described::Probe(_))));

    let page = folder.path().join("page.html");
    let judge = ["eval", text(&probe), "--corpus", text(&straight)];
    let found = ["--positive", text(&round), "--label", "discs", "--json", "--html", text(&page)];
    let answer: Value = serde_json::from_str(&does(&[&judge[..], &found].concat())).unwrap();
    let report = &answer["reports"][0];
    assert_eq!((&report["model"], &report["stills"]), (&"discs".into(), &25.into()));
    let half = report["thresholds"].as_array().unwrap().iter().find(|one| one["from"] == 0.5).unwrap();
    assert!(half["recall"].as_f64().unwrap() > 0.9 && half["precision"].as_f64().unwrap() > 0.9, "{half}");
    assert!(fs::read_to_string(&page).unwrap().contains("<svg"));
    let plain = does(&judge);
    assert!(plain.contains("Recall on harmful material is unmeasured") && plain.contains("no video"), "{plain}");

    let calibration = folder.path().join("discs.calibration.toml");
    let sides = ["--positive", text(&round), "--negative", text(&straight)];
    let find = ["calibrate", text(&probe), "--label", "discs", "--out", text(&calibration)];
    let answer = does(&[&find[..], &sides].concat());
    for part in ["25 positive, 25 negative", "0.5 from a score of ", "0.9 ", "threshold for this label is a likelihood"]
    {
        assert!(answer.contains(part), "`{part}` is not in: {answer}");
    }
    assert_eq!(**Calibration::read(&calibration).unwrap().model(), *"discs");
    let again = does(&[&find[..], &sides, &["--method", "temperature"]].concat());
    assert!(again.contains("written"), "{again}");
    assert_eq!(Calibration::read(&calibration).unwrap().curves().len(), 1, "the label's curve is replaced");
    does(&[&judge[..], &["--calibration", text(&calibration)]].concat());
}

#[test]
fn too_few_pictures_are_no_detector() {
    let (folder, round, straight) = material();
    for seed in 0..6 {
        fs::remove_file(straight.join(format!("{seed}.png"))).unwrap();
    }
    let out = folder.path().join("out");
    let sides = ["--positive", text(&round), "--negative", text(&straight)];
    let error = answer(&[&["train-probe", "--label", "discs", "--out", text(&out)][..], &sides].concat()).unwrap_err();
    assert!(error.contains("--negative has 19 distinct pictures") && error.contains("at least 20"), "{error}");
    assert!(!out.exists(), "nothing is written");
}

#[test]
fn names_are_checked_before_any_picture_is_looked_at() {
    let folder = TempDir::new().unwrap();
    let named = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        text(&path).to_owned()
    };
    let (boats, odd) = (named("boats"), named("My Boats"));
    fs::write(folder.path().join("boats.toml"), "").unwrap();
    for (words, expected) in [
        // Nothing says what is looked for but the folder; what is there of that name is kept.
        (&["--positive", &boats, "--out", text(folder.path())][..], "boats.toml is there already"),
        (&["--positive", &odd], "`My Boats` is not 1 to 64 lower-case letters"),
        (&["--positive", &boats, "--positive", &odd], "say with --label"),
        (&["--positive", &odd, "--label", "Boats"], "--label: `Boats` is not"),
        (&["--positive", &odd, "--label", "boats", "--name", "../boats"], "--name: `../boats` is not"),
    ] {
        let all = [&["train-probe", "--negative", &boats, "--embedding", "efficientnet_lite0"][..], words].concat();
        let error = answer(&all).unwrap_err();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn what_a_picture_is_has_no_say_in_its_own_likelihood() {
    let vectors: Vec<[f32; 3]> = (0..60u8)
        .map(|n| [f32::from(n % 2) - f32::from(n % 7) / 9.0, f32::from(n % 5) / 5.0, f32::from(n % 11) / 11.0])
        .collect();
    // As it is, and with some truths of the first fold turned round.
    let [told, turned] = [false, true].map(|turned| {
        let trials: Vec<Trial<'_>> = vectors
            .iter()
            .enumerate()
            .map(|(n, vector)| {
                let fold = n / 12;
                Trial { vector, positive: (n % 2 == 1) != (turned && n < 4), fold }
            })
            .collect();
        likelihoods(&trials, &eval::logits(&trials, 0.1).unwrap(), 0.1).unwrap()
    });
    for (n, (told, turned)) in told.iter().zip(&turned).enumerate() {
        let same = (told.score - turned.score).abs() < 1e-9;
        assert_eq!(same, n < 12, "{n}: {} {}", told.score, turned.score);
    }
}
