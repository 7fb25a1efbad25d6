//! `make fire-drill`: hours of benign video through the real line, faster than they would last, with a bank of other content,
//! the shipped classifier and the default policy. Nothing may be cut, and every hold is counted.
//!
//! Argument: how many hours of streams. Prints a table and writes bench-results/fire-drill.json. Without arguments (as `cargo
//! test` and `cargo bench --no-run` have it) it does nothing.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot go on should say so at once"
)]

mod film;
mod line;
mod material;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use film::{Care, Film, Footage};
use line::{Line, Tally, bank};
use serde_json::json;
use sluicegate::bank::Bank;
use sluicegate::decision::Verdict;
use sluicegate::model;

/// How long each stream is.
const STREAM: f64 = 600.0;
/// Where chance begins: another number gives other films.
const SEED: u64 = 2026;

fn main() {
    let Some(hours) = std::env::args().skip(1).find_map(|argument| argument.parse::<f64>().ok()) else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder for photographs");
    let halves = material::halves(root, folder.path());
    let banks = [bank("first", &halves[0]), bank("second", &halves[1])];
    let config = model::Config { assets: Some(root.join("assets")), ..model::Config::default() };
    control(&halves[0], &banks[0], &config);
    let streams = (hours * 3600.0 / STREAM).ceil().max(1.0) as usize;
    let banked = [banks[0].len(), banks[1].len()];
    let path = root.join("bench-results/fire-drill.json");
    let (next, all) = (AtomicUsize::new(0), Mutex::new((0, Tally::default())));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut lines = [1, 0].map(|other: usize| Line::new(&[Arc::clone(&banks[other])], &config));
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= streams {
                        break;
                    }
                    let film = Film::new(&halves[at % 2], Care::None, SEED + at as u64, (hours * 3600.0).min(STREAM));
                    let shown = lines[at % 2].show(&format!("film-{at}"), film);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    let (streams, tally) = &mut *all;
                    *streams += 1;
                    tally.add(shown);
                    // Each time: a drill that is broken off leaves what it has.
                    write(&path, &report(tally, *streams, banked, began.elapsed().as_secs_f64()));
                    println!(
                        "{:.2} of {hours} stream-hours, {} cut",
                        tally.seconds / 3600.0,
                        tally.at_least(Verdict::Cut)
                    );
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let (streams, tally) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    table(&tally, streams, seconds);
    println!("written to {}", path.display());
    if tally.at_least(Verdict::Cut) > 0 {
        std::process::exit(1);
    }
}

fn write(path: &Path, report: &serde_json::Value) {
    let text = serde_json::to_string_pretty(report).expect("it is plain data");
    std::fs::write(path, text + "\n").expect("bench-results/ can be written to");
}

/// A line that recognises nothing would cut nothing either: a film of what is banked must be cut.
fn control(footage: &[Footage], bank: &Arc<Bank>, config: &model::Config) {
    let clip = footage.get(..1).expect("there are clips");
    let tally = Line::new(&[Arc::clone(bank)], config).show("control", Film::new(clip, Care::Whole, SEED, 10.0));
    assert!(tally.at_least(Verdict::Cut) > 0, "what is banked is not cut: {:?}", tally.verdicts);
    println!("a film of what is banked is cut");
}

fn hours(tally: &Tally) -> f64 {
    tally.seconds / 3600.0
}

/// The score that `share` of the pictures lie below.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

const QUANTILES: [(&str, f64); 4] = [("median", 0.5), ("p99", 0.99), ("p999", 0.999), ("most", 1.0)];

/// Every label, with its scores from the least to the most.
fn sorted(tally: &Tally) -> impl Iterator<Item = (&str, Vec<f32>)> {
    tally.scores.iter().map(|(label, scores)| {
        let mut scores = scores.clone();
        scores.sort_by(f32::total_cmp);
        (&**label, scores)
    })
}

fn report(tally: &Tally, streams: usize, banked: [usize; 2], seconds: f64) -> serde_json::Value {
    let (cuts, all) = (tally.at_least(Verdict::Cut), tally.at_least(Verdict::Hold));
    let rules = tally.verdicts.iter().map(|((verdict, rule), count)| {
        json!({
            "verdict": verdict.word(), "rule": rule, "count": count, "per_stream_hour": *count as f64 / hours(tally),
        })
    });
    let scores = sorted(tally).map(|(label, scores)| {
        let quantiles = QUANTILES.map(|(name, share)| (name.to_owned(), json!(quantile(&scores, share))));
        (label.to_owned(), serde_json::Value::Object(quantiles.into_iter().collect()))
    });
    json!({
        "stream_hours": hours(tally), "streams": streams, "seed": SEED, "seconds": seconds,
        "times_real_time": tally.seconds / seconds, "banked_signals": banked,
        "pictures": tally.pictures, "scored": tally.scored, "unchanged": tally.unchanged, "flat": tally.flat,
        "matches": tally.matches, "cuts": cuts, "holds": all - cuts,
        "cuts_per_stream_hour_at_most": bound(cuts, tally), "verdicts": rules.collect::<Vec<_>>(),
        "scores": serde_json::Value::Object(scores.collect()),
    })
}

/// What the rate may be at most, at 95 %, where nothing was seen (the "rule of three").
fn bound(count: u64, tally: &Tally) -> Option<f64> {
    (count == 0).then(|| 3.0 / hours(tally))
}

fn table(tally: &Tally, streams: usize, seconds: f64) {
    let Tally { pictures, scored, unchanged, flat, matches, .. } = tally;
    let (cuts, all) = (tally.at_least(Verdict::Cut), tally.at_least(Verdict::Hold));
    println!("| fire drill | |\n|---|---|");
    println!("| benign video | {:.2} stream-hours, {streams} streams |", hours(tally));
    println!("| inspected in | {:.0} s, {:.0} times as fast as it lasts |", seconds, tally.seconds / seconds);
    println!("| pictures | {pictures}: {scored} scored, {unchanged} unchanged, {flat} flat |");
    println!("| matches with a bank of other content | {matches} |");
    println!("| cuts | {cuts} |");
    println!("| holds | {} |", all - cuts);
    for ((verdict, rule), count) in &tally.verdicts {
        println!("| {verdict} by `{rule}` | {count}, {:.2} per stream-hour |", *count as f64 / hours(tally));
    }
    for (label, scores) in sorted(tally) {
        let quantiles = QUANTILES.map(|(name, share)| format!("{name} {:.3}", quantile(&scores, share)));
        println!("| `{label}` | {} |", quantiles.join(", "));
    }
}
