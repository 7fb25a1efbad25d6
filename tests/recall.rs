//! What dense banks are for: a stream shows a banked video at another frame rate, size and bit rate, and is looked at at
//! any moment. How many of its pictures are found, beside a bank that has one picture a second.
#![cfg(test)]

#[cfg(test)]
mod support;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use sluicegate::bank::dense::{self, Frame};
use sluicegate::decode::file::Video;
use sluicegate::hash::{Hasher, MATCH_DISTANCE, USEFUL_QUALITY};
use support::ffmpeg;

fn frames(path: &Path) -> Vec<Frame> {
    let mut hasher = Hasher::new();
    let video = Video::open(path, NonZeroUsize::new(2).unwrap()).unwrap().map(Result::unwrap);
    video.map(|picture| Frame { pdq: hasher.picture(&picture).unwrap(), at: picture.pts }).collect()
}

/// The first picture of each second.
fn one_a_second(frames: &[Frame]) -> Vec<Frame> {
    let second = |frame: &Frame| frame.at.unwrap().as_secs();
    let mut kept: Vec<Frame> = Vec::new();
    for frame in frames {
        if kept.last().is_none_or(|last| second(last) < second(frame)) {
            kept.push(*frame);
        }
    }
    kept
}

/// The share of the queries that show enough to be told apart and are within reach of a signal, over all moments; and the
/// same where one picture in two seconds is looked at, for the worst moment to begin.
fn found(bank: &[Frame], queries: &[Frame]) -> (f64, f64) {
    let queries: Vec<_> = queries.iter().filter(|query| query.pdq.quality >= USEFUL_QUALITY).collect();
    let is_found =
        |query: &Frame| bank.iter().any(|signal| signal.pdq.hash.distance(&query.pdq.hash) <= MATCH_DISTANCE);
    let share = |few: &[&&Frame]| few.iter().filter(|query| is_found(query)).count() as f64 / few.len() as f64;
    let phases = (0..20).map(|phase| {
        let slot = |query: &Frame| query.at.unwrap_or(Duration::ZERO).as_millis() as u64 / 100 % 20;
        let few: Vec<_> = queries.iter().filter(|query| slot(query) == phase).collect();
        if few.is_empty() { 1.0 } else { share(&few) }
    });
    (share(&queries.iter().collect::<Vec<_>>()), phases.fold(1.0, f64::min))
}

#[test]
fn a_densely_banked_video_is_found_at_any_phase() {
    let folder = tempfile::tempdir().unwrap();
    // Another rate with blended pictures, as players and capture cards make them, or with dropped ones; scaled; begun late.
    let forms = [
        ("30 a second, blended, 360p", "-vf framerate=30,scale=640:360"),
        ("24 a second, 720p", "-vf fps=24,scale=1280:720"),
        ("10 a second, 240p, begun 0.37 s late", "-ss 0.37 -vf fps=10,scale=426:240"),
    ];
    println!("{:<16}{:<40}{:>18}{:>20}", "clip", "form", "dense", "one a second");
    let (mut dense_shares, mut sparse_shares) = (Vec::new(), Vec::new());
    for clip in ["bigbuckbunny", "bikes", "carphone"] {
        let original = rig::asset(&format!("clips/{clip}.mp4")).unwrap();
        let all = frames(&original);
        let dense = dense::choose(&all, USEFUL_QUALITY, dense::EVERY_BITS).kept;
        let sparse = one_a_second(&all);
        println!("{clip}: {} pictures, {} banked densely, {} one a second", all.len(), dense.len(), sparse.len());
        for (name, form) in forms {
            let arguments = format!("-i {} {form} -an -c:v libx264 -preset veryfast -crf 30", original.display());
            let queries = frames(&ffmpeg(&arguments, &folder.path().join("query.mp4")));
            let ((all_dense, worst_dense), (all_sparse, worst_sparse)) =
                (found(&dense, &queries), found(&sparse, &queries));
            println!(
                "{clip:<16}{name:<40}{:>8.1} %{:>8.1} %{:>10.1} %{:>8.1} %",
                all_dense * 100.0,
                worst_dense * 100.0,
                all_sparse * 100.0,
                worst_sparse * 100.0
            );
            assert!(all_dense >= 0.9, "{clip}, {name}: only {all_dense:.3} found");
            assert!(all_dense >= all_sparse, "{clip}, {name}: {all_dense:.3} found, {all_sparse:.3} with fewer");
            dense_shares.push(all_dense);
            sparse_shares.push(all_sparse);
        }
    }
    let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
    println!("all: {:.1} % dense, {:.1} % one a second", mean(&dense_shares) * 100.0, mean(&sparse_shares) * 100.0);
    assert!(mean(&dense_shares) > mean(&sparse_shares) + 0.2, "{dense_shares:?} {sparse_shares:?}");
}
