//! What `sluicegate model` says: of models that are not there, and of the real ones on the real runtime.

use std::fs;
use std::path::Path;
use std::process::Command as Process;

use clap::Parser;
use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::decode::still;
use crate::model::Reference;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ModelArgs,
}

/// What is answered, and whether all is well; what is wrong otherwise.
fn answer(words: &[&str]) -> Result<(String, bool), String> {
    let args = Cli::parse_from(["model"].iter().chain(words)).args;
    let mut out = Vec::new();
    let code = run(&args, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok((String::from_utf8(out).unwrap(), format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)))
}

fn says(words: &[&str]) -> (String, bool) {
    answer(words).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// [`answer`] with the models that `make setup` fetched.
fn here(words: &[&str]) -> Result<(String, bool), String> {
    let assets = root().join("assets");
    assert!(assets.join("runtime/libonnxruntime.so").is_file(), "no ONNX Runtime in assets/: run `make setup` first");
    answer(&[words, &["--assets", assets.to_str().unwrap()]].concat())
}

/// The shipped models that whoever builds Sluicegate has: not those whose licence each operator has to accept.
fn fetched() -> impl Iterator<Item = Manifest> {
    let shipped = Manifest::shipped().map(|name| Manifest::named(name).unwrap());
    shipped.filter(|manifest| manifest.source.as_ref().is_some_and(|source| source.restricted.is_none()))
}

fn file_of(manifest: &Manifest) -> PathBuf {
    root().join("assets/models").join(&*manifest.name).join(&manifest.file.name)
}

#[test]
fn the_list_names_labels_licences_and_where_the_file_is() {
    let (text, fine) = says(&["list", "--assets", "/nowhere"]);
    for part in [
        "safety: ",
        "nsfl, nsfw, sfw",
        "MIT",
        "undisclosed",
        "missing: `sluicegate model fetch safety` fetches it",
        "gives    blade, firearm, military; an embedding of 1280 values",
        "terms    the package is proprietary",
        "missing: `sluicegate model fetch sscd --accept-licence` fetches it",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(fine);
}

#[test]
fn what_is_not_right_is_said_and_is_the_exit_code() {
    for (words, expected) in [
        (&["verify", "safty"][..], "no model called `safty`"),
        (&["verify", "--assets", "/nowhere", "safety"], "safety: no ONNX Runtime found"),
    ] {
        // An ORT_DYLIB_PATH of whoever runs the tests would be found instead of nothing.
        if std::env::var_os("ORT_DYLIB_PATH").is_none() || words.len() == 2 {
            let (text, fine) = says(words);
            assert!(text.contains(expected) && !fine, "{text}");
        }
    }
}

#[test]
fn the_models_of_this_machine_say_of_the_reference_pictures_what_their_manifests_record() {
    for manifest in fetched() {
        assert!(!manifest.references.is_empty(), "{}: nothing is recorded", manifest.name);
        let (text, fine) = here(&["verify", &manifest.name]).unwrap();
        assert!(fine, "{text}");
        for part in ["right, sha256 ", manifest.file.sha256.as_str(), "runs on     cpu", "references  ", "embers"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    }
}

#[test]
fn a_manifest_that_has_the_pictures_prepared_wrongly_is_found_out() {
    for (name, from, to, expected) in [
        ("safety", "range = [0, 255]", "range = [0, 1]", "of the reference picture `"),
        ("safety", "range = [0, 255]", "range = [-1, 1]", "of the reference picture `"),
        ("safety", "range = [0, 255]", "range = [0, 255]\nmean = [124, 116, 104]", "of the reference picture `"),
        ("safety", "colour = \"rgb\"", "colour = \"bgr\"", "of the reference picture `embers` it says"),
        ("efficientnet_lite0", "colour = \"rgb\"", "colour = \"bgr\"", "value "),
        ("efficientnet_lite0", "range = [0, 255]", "range = [0, 1]", "of its embedding"),
        ("efficientnet_lite0", "resize = \"warp\"", "resize = \"crop\"\nside = 256", "of its embedding"),
        ("open_nsfw", "colour = \"bgr\"", "colour = \"rgb\"", "of the reference picture `"),
        ("open_nsfw", "range = [0, 255]", "range = [0, 1]", "of the reference picture `"),
        ("open_nsfw", "layout = \"nhwc\"", "layout = \"nchw\"", "is not as its manifest says"),
        ("safety", "layout = \"nchw\"", "layout = \"nhwc\"", "is not as its manifest says"),
    ] {
        let right = fs::read_to_string(root().join(format!("models/{name}.toml"))).unwrap();
        assert!(right.contains(from), "{name}: {from}");
        let shape = ("[\"batch\", 3, 224, 224]", "[\"batch\", 224, 224, 3]");
        let wrong = match to {
            "layout = \"nhwc\"" => right.replace(from, to).replace(shape.0, shape.1),
            "layout = \"nchw\"" => right.replace(from, to).replace(shape.1, shape.0),
            _ => right.replace(from, to),
        };
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mine.toml");
        fs::write(&path, wrong).unwrap();
        let file = file_of(&Manifest::named(name).unwrap());
        std::os::unix::fs::symlink(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        let (text, fine) = here(&["verify", path.to_str().unwrap()]).unwrap();
        assert!(
            !fine && text.contains(expected) && (text.contains("[input]") || text.contains("correct the manifest")),
            "{name}, {to}: {text}"
        );
    }
}

#[test]
fn a_manifest_without_references_or_with_those_of_nothing_says_so() {
    let right = fs::read_to_string(root().join("models/safety.toml")).unwrap();
    let file = file_of(&Manifest::named("safety").unwrap());
    let plain = right.split("[[reference]]").next().unwrap();
    let other = "[[reference]]\npicture = \"lenna\"\nvalues = [0.1, 0.1, 0.8]\nwithin = 0.1\n";
    for (text, fine, expected) in [
        (plain.to_owned(), true, "none in its manifest: a wrong range, layout or colour order would go unnoticed"),
        (format!("{plain}\n{other}"), false, "there is no reference picture `lenna`, only embers"),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mine.toml");
        fs::write(&path, text).unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        let answered = here(&["verify", path.to_str().unwrap()]).unwrap();
        assert!(answered.1 == fine && answered.0.contains(expected), "{}", answered.0);
    }
}

#[test]
fn the_references_are_pictures_that_others_can_read() {
    let folder = TempDir::new().unwrap();
    let into = folder.path().join("new/folder");
    let (text, fine) = says(&["references", into.to_str().unwrap()]);
    assert!(fine && text.lines().count() == model::references().count(), "{text}");
    for name in model::references() {
        let (read, made) = (still(&into.join(format!("{name}.png"))).unwrap(), model::reference(name).unwrap());
        assert_eq!((read.luma.data, read.range), (made.luma.data, made.range), "{name}");
        let planes = |planes: Option<[crate::picture::Plane; 2]>| planes.unwrap().map(|plane| plane.data);
        assert_eq!(planes(read.chroma), planes(made.chroma), "{name}");
    }
}

/// What a manifest records is what Python finds, by Pillow and by ONNX Runtime's own interface.
#[test]
fn what_manifests_record_is_what_others_find() {
    #[derive(serde::Deserialize)]
    struct Found {
        reference: Vec<Reference>,
    }
    let folder = TempDir::new().unwrap();
    says(&["references", folder.path().to_str().unwrap()]);
    for manifest in fetched() {
        let done = Process::new(root().join("assets/venv/bin/python"))
            .arg(root().join("scripts/model_references.py"))
            .arg(folder.path())
            .args([root().join(format!("models/{}.toml", manifest.name)), file_of(&manifest)])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let found: Found = toml::from_str(&String::from_utf8(done.stdout).unwrap()).unwrap();
        assert_eq!(found.reference.len(), manifest.references.len(), "{}", manifest.name);
        for (found, recorded) in found.reference.iter().zip(&manifest.references) {
            assert_eq!((&found.picture, found.of), (&recorded.picture, recorded.of), "{}", manifest.name);
            for (found, recorded) in found.values.iter().zip(&recorded.values) {
                assert!((found - recorded).abs() < 0.002, "{}: {found} instead of {recorded}", manifest.name);
            }
        }
    }
}

/// A picture, a black one, one that is none, and a video of four seconds.
fn files() -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    says(&["references", folder.path().to_str().unwrap()]);
    fs::rename(path("embers.png"), path("a.png")).unwrap();
    for other in ["dunes.png", "balloons.png"] {
        fs::remove_file(path(other)).unwrap();
    }
    RgbImage::from_pixel(300, 200, Rgb([0, 0, 0])).save(path("b.png")).unwrap();
    let made = Process::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "mandelbrot=size=320x180:rate=5", "-t", "4"])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p"])
        .arg(path("c.mp4"))
        .status();
    assert!(made.unwrap().success());
    folder
}

#[test]
fn pictures_and_videos_are_tried_on_every_model() {
    let folder = files();
    let all = folder.path().to_str().unwrap();
    let (text, fine) =
        here(&["try", all, "--model", "safety", "--model", "efficientnet_lite0", "--every", "1500ms"]).unwrap();
    assert!(fine);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("FILE")).collect();
    // One picture, the black one, and three of the video.
    assert_eq!(lines.len(), 2 + 1 + 3 * 2, "{text}");
    for (line, parts) in [
        (0, &["a.png", "safety", "nsfl 0.0", "sfw 0."][..]),
        (1, &["a.png", "efficientnet_lite0", "firearm 0.0"]),
        (2, &["b.png", "it shows nothing: not scored"]),
        (3, &["c.mp4", "0.0s", "safety"]),
        (8, &["c.mp4", "3.0s", "efficientnet_lite0"]),
    ] {
        assert!(parts.iter().all(|part| lines[line].contains(part)), "{}", lines[line]);
    }
}

#[test]
fn programs_get_the_same_and_a_file_that_is_none_costs_no_other() {
    let folder = files();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("words.png"), "no picture at all\n".repeat(9)).unwrap();
    let args = Cli::parse_from([
        "model",
        "try",
        &path("a.png"),
        &path("b.png"),
        &path("words.png"),
        "--json",
        "--assets",
        root().join("assets").to_str().unwrap(),
    ])
    .args;
    let mut out = Vec::new();
    let error = run(&args, &mut out).unwrap_err();
    assert!(format!("{error:#}").contains("words.png"), "{error:#}");
    let told: Value = serde_json::from_slice(&out).unwrap();
    let [first, second] = &told["results"].as_array().unwrap()[..] else { panic!("{told}") };
    let scores = &first["pictures"][0]["models"][0];
    assert_eq!((&scores["model"], &first["pictures"][0]["flat"]), (&"safety".into(), &false.into()));
    assert!(scores["digest"].as_str().unwrap().starts_with("fef443ed"), "{scores}");
    assert_eq!(scores["scores"].as_array().unwrap().len(), 3, "{scores}");
    assert_eq!(
        (&second["pictures"][0]["flat"], second["pictures"][0]["models"].as_array().unwrap().len()),
        (&true.into(), 0)
    );
    assert_eq!(told["errors"].as_array().unwrap().len(), 1);
}

#[test]
fn a_model_that_cannot_be_used_is_not_tried() {
    let folder = files();
    let picture = folder.path().join("a.png");
    let error = here(&["try", picture.to_str().unwrap(), "--model", "safty"]).unwrap_err();
    assert!(error.contains("no model called `safty`"), "{error}");
}

#[test]
fn a_bench_says_what_runs_the_model_how_fast_and_in_how_much_memory() {
    let (text, fine) = here(&["bench", "safety", "--rounds", "2"]).unwrap();
    assert!(fine && text.contains("PICTURES/s") && text.contains("safety") && text.contains("cpu"), "{text}");
    let (json, _) = here(&["bench", "safety", "--rounds", "2", "--json"]).unwrap();
    let told: Value = serde_json::from_str(&json).unwrap();
    let measured = &told["results"][0];
    for figure in ["prepare_ms", "infer_ms", "picture_ms", "pictures_a_second", "load_ms"] {
        assert!(measured[figure].as_f64().unwrap() > 0.0, "{figure}: {json}");
    }
    assert_eq!(measured["at_once"], 1);
    let error = here(&["bench", "safty"]).unwrap_err();
    assert!(error.contains("safty"), "{error}");
}
