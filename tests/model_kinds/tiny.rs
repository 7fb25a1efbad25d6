//! Tiny models, made on the spot, and the manifests that describe them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};
use sluicegate::model::{Manifest, OutputOf};
use tempfile::TempDir;

/// A folder of models, their manifests and what goes with them.
pub(crate) struct Models {
    folder: TempDir,
}

impl Models {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let writer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/tiny_onnx.py");
        let done = Command::new("python3").arg(writer).arg(folder.path()).status().expect("python3 runs");
        assert!(done.success(), "the models could not be written");
        Self { folder }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn digest(&self, file: &str) -> String {
        hex::encode(Sha256::digest(fs::read(self.path(file)).unwrap()))
    }

    /// Describes the model in `file`.onnx as a model called `name`; `outputs` are the sections of what it gives.
    pub(crate) fn describe(&self, name: &str, file: &str, outputs: &str) -> String {
        let kind = if outputs.contains("[output]") { "classifier" } else { "embedding" };
        let (shape, layout, dtype) = match file {
            "bytes" => ("[\"batch\", 2, 2, 3]", "nhwc", "u8"),
            _ => ("[\"batch\", 3, 2, 2]", "nchw", "f32"),
        };
        let text = format!(
            "name = {name:?}\nkind = {kind:?}\nabout = 'tiny'\n{}[licence]\nweights = 'ours'\ntraining_data = 'none'\n\
             [input]\nname = 'image'\nshape = {shape}\nlayout = {layout:?}\ndtype = {dtype:?}\ncolour = 'rgb'\n\
             range = [0, 255]\nresize = 'warp'\n{outputs}",
            self.file(&format!("{file}.onnx"))
        );
        self.write(&format!("{name}.toml"), &text)
    }

    /// Describes a probe called `name` on the model that `base`.toml describes; red less green is what it looks for.
    pub(crate) fn describe_probe(&self, name: &str, base: &str) -> String {
        let base = format!("{base}.toml");
        let model = Manifest::read(&self.path(&base)).unwrap();
        let (digest, meaning) = (&model.file.sha256, model.meaning(OutputOf::Embedding));
        let weights = json!({"model": digest.as_str(), "label": "reddish", "weights": [4.0, -4.0, 0.0], "bias": 0.0,
            "calibration": {"slope": 0.5, "offset": 1.0}});
        self.write(&format!("{name}.json"), &weights.to_string());
        let text = format!(
            "name = {name:?}\nkind = 'probe'\nabout = 'tiny'\n{}[licence]\nweights = 'ours'\ntraining_data = 'none'\n\
             [probe]\nembedding = {base:?}\nembedding_sha256 = '{digest}'\nmeaning_sha256 = '{meaning}'\n\
             label = 'reddish'\n[training]\npositives = 40\nnegatives = 40\nfolds = 5\nprecision = 1\nrecall = 1\nauc = 1\n",
            self.file(&format!("{name}.json"))
        );
        self.write(&format!("{name}.toml"), &text)
    }

    /// The section of a manifest that is about a file.
    pub(crate) fn file(&self, name: &str) -> String {
        let bytes = fs::metadata(self.path(name)).unwrap().len();
        format!("[file]\nname = {name:?}\nsha256 = {:?}\nbytes = {bytes}\n", self.digest(name))
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }
}
