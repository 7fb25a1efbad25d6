//! What the fire drill's films are cut from: the clips and photographs that `make setup` fetches, in two halves. Films of one
//! half are compared with a bank of the other, so that the bank is of the same kind and of other content.

use std::path::Path;
use std::process::Command;

use crate::film::Footage;

const CLIPS: [(&str, f64); 3] = [("bigbuckbunny", 5.2), ("bikes", 10.0), ("carphone", 4.0)];

/// The two halves. Photographs are written into `folder` first.
pub(crate) fn halves(root: &Path, folder: &Path) -> [Vec<Footage>; 2] {
    let assets = root.join("assets");
    let written = Command::new(assets.join("venv/bin/python"))
        .arg(root.join("scripts/photographs.py"))
        .arg(folder)
        .status()
        .expect("assets/venv runs: run `make setup`");
    assert!(written.success(), "the photographs could not be written");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut photographs: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    photographs.sort();
    let clip = |&(name, seconds): &(&str, f64)| Footage::Clip(assets.join(format!("clips/{name}.mp4")), seconds);
    let all = CLIPS.iter().map(clip).chain(photographs.into_iter().map(Footage::Photograph));
    let mut halves = [Vec::new(), Vec::new()];
    for (at, footage) in all.enumerate() {
        halves[at % 2].push(footage);
    }
    halves
}
