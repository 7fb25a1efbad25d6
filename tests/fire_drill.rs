//! A short fire drill (see `make fire-drill` for the long one): benign films through the real line with a bank of other content
//! and the default policy, and as a counter-check films of what *is* banked, which must be cut.

#![expect(clippy::expect_used, clippy::panic, reason = "what is not as expected fails the test")]

#[path = "../benches/fire_drill/film.rs"]
mod film;
#[path = "../benches/fire_drill/line.rs"]
mod line;
#[path = "../benches/fire_drill/material.rs"]
mod material;

use std::path::Path;
use std::sync::Arc;

use film::{Care, Film};
use line::{Line, Tally, bank};
use sluicegate::decision::Verdict;
use sluicegate::model;

/// Seconds of each film.
const SECONDS: f64 = 40.0;

#[test]
fn benign_films_are_never_cut_and_films_of_what_is_banked_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder for photographs");
    let halves = material::halves(root, folder.path());
    let banks = [bank("first", &halves[0]), bank("second", &halves[1])];
    let config = model::Config { assets: Some(root.join("assets")), ..model::Config::default() };
    let mut drill = Tally::default();
    for (footage, other) in halves.iter().zip(banks.iter().rev()) {
        let film = Film::new(footage, Care::None, 1, SECONDS);
        drill.add(Line::new(&[Arc::clone(other)], &config).show("film", film));
    }
    assert!(drill.seconds >= 2.0 * SECONDS && drill.pictures >= SECONDS as u64, "{drill:?}");
    assert_eq!(drill.scored + drill.unchanged + drill.flat, drill.pictures);
    assert!(drill.scored > 0, "{drill:?}");
    assert_eq!(drill.at_least(Verdict::Cut), 0, "{:?}", drill.verdicts);

    // A line that recognises nothing would pass as well.
    let [clip, ..] = halves[0].as_slice() else { panic!("there are clips") };
    let film = Film::new(std::slice::from_ref(clip), Care::Whole, 1, SECONDS / 4.0);
    let caught = Line::new(&[Arc::clone(&banks[0])], &config).show("film", film);
    assert!(caught.at_least(Verdict::Cut) > 0, "{:?}", caught.verdicts);
}
