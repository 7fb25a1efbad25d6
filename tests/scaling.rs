//! Pictures are scaled as Pillow scales them, by every resize rule and filter that a manifest can name: real photographs, in
//! shades of grey, so that it is the scaling alone that is compared. (Colours are compared in `tests/model.rs`.)

#![expect(clippy::panic, reason = "what is not as expected fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use serde::Deserialize;
use sluicegate::clock::Timestamp;
use sluicegate::model::{Colour, Dtype, Filter, Input, Layout, Preprocessor, Resize, Tensor};
use sluicegate::picture::{ColourRange, Picture, Plane};
use tempfile::TempDir;

/// How far any value may be from Pillow's, in levels of 255. Pillow rounds to whole levels after each of its two passes, half
/// a level each at most; Sluicegate does not round.
const TOLERANCE: f32 = 1.25;

/// What Pillow made of a photograph.
#[derive(Debug, Deserialize)]
struct Scaled {
    name: String,
    size: (usize, usize),
    rule: String,
    side: usize,
    taken: (usize, usize),
    filter: Filter,
    file: String,
}

impl Scaled {
    fn input(&self) -> Input {
        Input {
            name: "image".to_owned(),
            height: self.taken.1,
            width: self.taken.0,
            layout: Layout::Nchw,
            dtype: Dtype::F32,
            colour: Colour::Rgb,
            range: (0.0, 255.0),
            mean: [0.0; 3],
            deviation: [1.0; 3],
            resize: match self.rule.as_str() {
                "warp" => Resize::Warp,
                "warp_crop" => Resize::WarpCrop(self.side),
                "crop" => Resize::Crop(self.side),
                other => panic!("the oracle knows a rule `{other}`"),
            },
            filter: self.filter,
        }
    }
}

fn grey((width, height): (usize, usize), luma: Vec<u8>) -> Picture {
    let plane = |data: Bytes, width, height| Plane { data, width, height, stride: width };
    let half = (width.div_ceil(2), height.div_ceil(2));
    let chroma = || plane(vec![128; half.0 * half.1].into(), half.0, half.1);
    Picture {
        sequence: 0,
        pts: None,
        arrived: Timestamp::ZERO,
        luma: plane(luma.into(), width, height),
        chroma: Some([chroma(), chroma()]),
        range: ColourRange::Full,
    }
}

#[test]
fn every_rule_and_filter_scales_as_pillow_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = TempDir::new().unwrap();
    let status = Command::new(root.join("assets/venv/bin/python"))
        .arg(root.join("tests/oracles/scaling.py"))
        .arg(folder.path())
        .status()
        .expect("assets/venv runs: run `make setup` first");
    assert!(status.success(), "the oracle failed");
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let all: Vec<Scaled> = serde_json::from_slice(&read("index.json")).unwrap();
    assert!(all.len() >= 40, "only {} comparisons", all.len());
    for one in all {
        let photograph = grey(one.size, read(&format!("{}.grey", one.name)));
        let Tensor::F32(ours) = Preprocessor::new(&one.input()).tensor(&photograph).unwrap() else {
            panic!("floats were asked for")
        };
        let theirs = read(&one.file);
        for (channel, ours) in ours.index_axis_move(ndarray::Axis(0), 0).outer_iter().enumerate() {
            assert_eq!(ours.len(), theirs.len(), "{one:?}");
            let off = ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - f32::from(*theirs)).abs());
            let (most, mean) = (off.clone().fold(0.0, f32::max), off.sum::<f32>() / theirs.len() as f32);
            assert!(most < TOLERANCE && mean < 0.4, "{one:?}: channel {channel} is off by {most}, {mean} on average");
        }
    }
}
