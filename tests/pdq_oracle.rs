//! Hash and quality are those of PyPI's `pdqhash`, to the last bit, on real photographs and frames of every shape, and
//! whichever way they are computed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use sluicegate::clock::Timestamp;
use sluicegate::hash::{Hasher, Luma, Pdq, Rgb};
use sluicegate::picture::{ColourRange, Picture, Plane};

struct Case {
    name: String,
    kind: String,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    hash: String,
    quality: u8,
}

/// The interpreter with the packages, or a failure that says how to get one.
fn python() -> PathBuf {
    let python = std::env::var_os("SLUICEGATE_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/venv/bin/python3"), PathBuf::from);
    assert!(
        python.exists(),
        "no Python at {}: run `make setup`, or name another in SLUICEGATE_PYTHON",
        python.display()
    );
    python
}

fn cases() -> Vec<Case> {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (script, clips) = (root.join("tests/oracle/pdq.py"), root.join("assets/clips"));
    let asked = Command::new(python()).arg(script).arg(folder.path()).arg(clips).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "the oracle failed; `make setup` installs what it needs:\n{said}");
    let list = std::fs::read_to_string(folder.path().join("cases.tsv")).unwrap();
    list.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, kind, width, height, hash, quality] = fields[..] else { panic!("{line}") };
            Case {
                name: name.to_owned(),
                kind: kind.to_owned(),
                width: width.parse().unwrap(),
                height: height.parse().unwrap(),
                pixels: std::fs::read(folder.path().join(name)).unwrap(),
                hash: hash.to_owned(),
                quality: quality.parse().unwrap(),
            }
        })
        .collect()
}

fn check(case: &Case, how: &str, pdq: Pdq) {
    let Case { name, hash, quality, .. } = case;
    assert_eq!((pdq.hash.to_string(), pdq.quality), (hash.clone(), *quality), "{name}, {how}");
}

/// The same rows with rubbish between them, as decoders give them.
fn padded(case: &Case) -> Plane {
    let stride = case.width.next_multiple_of(32) + 32;
    let mut data = Vec::new();
    for row in case.pixels.chunks(case.width) {
        data.extend_from_slice(row);
        data.resize(data.len() + stride - case.width, 0xa5);
    }
    Plane { data: Bytes::from(data), width: case.width, height: case.height, stride }
}

fn picture(case: &Case, range: ColourRange) -> Picture {
    Picture { sequence: 0, pts: None, arrived: Timestamp::ZERO, luma: padded(case), chroma: None, range }
}

#[test]
fn hash_and_quality_are_identical_to_the_oracles_in_every_way() {
    let cases = cases();
    assert!(cases.len() >= 2000, "only {} cases", cases.len());
    let mut ways: Vec<_> = Hasher::every_way().collect();
    for case in &cases {
        let Case { width, height, ref pixels, .. } = *case;
        let (full, limited) = (picture(case, ColourRange::Full), picture(case, ColourRange::Limited));
        for (way, hasher) in &mut ways {
            match case.kind.as_str() {
                "rgb" => check(case, way, hasher.rgb(Rgb::new(pixels, width, height).unwrap())),
                "grey" => {
                    check(case, way, hasher.luma(Luma::new(pixels, width, height, width).unwrap()));
                    check(case, &format!("{way}, as a picture"), hasher.picture(&full).unwrap());
                }
                "limited" => check(case, &format!("{way}, as video"), hasher.picture(&limited).unwrap()),
                other => panic!("the oracle gave a case of kind {other}"),
            }
        }
    }
    // Both ways were put to the test: most pictures took the short one, and the plain ones at least took the long one.
    let sketched = cases.iter().filter(|case| case.width * case.height >= 1 << 16).count() as u64;
    let retaken = ways[0].1.retaken();
    println!("{} cases, {sketched} of them large; {retaken} hashed again the long way", cases.len());
    assert!((20..sketched / 2).contains(&retaken), "{retaken} of {sketched} pictures were hashed again");
}
