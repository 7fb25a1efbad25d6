//! `sluicegate bank test`: what a bank would have hit among content that is known to be innocent.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Answer, Results, content};
use crate::bank::dense::Frame;
use crate::bank::{Bank, BankName, Provenance, Store};

/// Compare pictures and videos that are known to be innocent with a bank, before it is enabled.
///
/// Every frame of every file is looked at, and what the bank would have hit is listed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sluicegate bank test attack-2026-11 our-usual-streams/")]
pub(super) struct TestArgs {
    /// The bank.
    name: BankName,
    /// Innocent pictures and videos, and folders of them.
    #[arg(required = true, value_name = "FOLDER")]
    files: Vec<PathBuf>,
}

pub(super) fn test(store: &Store, args: &TestArgs) -> Results {
    let bank = match store.load(&args.name) {
        Ok(bank) => bank,
        Err(error) => return (Vec::new(), vec![error.into()]),
    };
    let files = match content::files(&args.files) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    let (mut pictures, mut hit_files, mut hits) = (0, 0, 0);
    let mut read = 0;
    for result in content::read_each(&files, |_, provenance, frames| Ok(compared(&bank, &provenance, &frames))) {
        match result {
            Ok((looked_at, hit, answer)) => {
                read += 1;
                pictures += looked_at;
                hits += hit;
                hit_files += usize::from(hit > 0);
                answers.extend(answer);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let name = bank.name();
    answers.push(Answer {
        text: format!(
            "{name}: {hits} of {pictures} pictures in {hit_files} of {read} files would have matched (revision {})",
            bank.revision()
        ),
        json: json!({
            "bank": name, "revision": bank.revision(), "files": read, "pictures": pictures, "hit_files": hit_files,
            "hits": hits,
        }),
    });
    (answers, failures)
}

/// How many pictures a file has, how many of them match, and what there is to say of those.
fn compared(bank: &Bank, provenance: &Provenance, frames: &[Frame]) -> (usize, usize, Option<Answer>) {
    let settings = bank.settings();
    let hits: Vec<_> = frames
        .iter()
        .filter(|frame| frame.pdq.quality >= settings.min_quality)
        .filter_map(|frame| Some((frame, bank.nearest(&frame.pdq.hash, settings.max_distance)?)))
        .collect();
    let Some((first, (signal, distance))) = hits.iter().min_by_key(|(_, (_, distance))| *distance) else {
        return (frames.len(), 0, None);
    };
    let at = first.at.unwrap_or_default().as_secs_f64();
    let listed: Vec<_> = hits
        .iter()
        .map(|(frame, (signal, distance))| {
            json!({ "at": frame.at.map(|at| at.as_secs_f64()), "signal": signal.id, "distance": distance })
        })
        .collect();
    let answer = Answer {
        text: format!(
            "{}: {} of {} pictures match; nearest at {at:.3} s, {distance} bits from signal {} of {}",
            provenance.file,
            hits.len(),
            frames.len(),
            signal.id,
            signal.provenance.file
        ),
        json: json!({ "file": provenance.file, "sha256": provenance.sha256, "pictures": frames.len(), "hits": listed }),
    };
    (frames.len(), hits.len(), Some(answer))
}
