//! `sluicegate match`: whether a picture, a video or a hash is in a bank.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::bank::{Answer, BanksFolder, Results, content, parted, tell};
use crate::bank::dense::Frame;
use crate::bank::{Bank, BankName, Kind, Signal, Store};
use crate::clock::Clock;
use crate::hash::{Pdq, PdqHash};

/// Look for pictures, videos and hashes in banks.
///
/// Every frame of a video is looked for. A bank is asked whether or not it is enabled.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate match clip.mp4 --bank demo
  sluicegate match f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22 --json")]
pub(super) struct MatchArgs {
    /// Pictures, videos, folders of them, or hashes of 64 hexadecimal digits.
    #[arg(required = true, value_name = "FILE|HASH")]
    queries: Vec<PathBuf>,
    /// The bank; may be repeated; all of them when left out.
    #[arg(long = "bank", value_name = "NAME")]
    only: Vec<BankName>,
    /// How many bits a picture may differ from a signal; the bank's own distance when left out.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=256))]
    max_distance: Option<u32>,
    #[command(flatten)]
    folder: BanksFolder,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

/// Runs `sluicegate match`.
///
/// # Errors
/// When a query is neither a file nor a hash, a bank cannot be read, or `out` cannot be written to.
pub(super) fn run(args: &MatchArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (answers, failures) = match banks(args) {
        Ok(banks) => look(args, &banks),
        Err(error) => (Vec::new(), vec![error]),
    };
    tell(&answers, &failures, args.json, out)
}

fn banks(args: &MatchArgs) -> anyhow::Result<Vec<Bank>> {
    let store = Store::open(&args.folder.banks)?;
    let names = if args.only.is_empty() { store.names()? } else { args.only.clone() };
    if names.is_empty() {
        bail!("there is no bank in {}: `sluicegate bank add` makes one", args.folder.banks.display());
    }
    Ok(names.iter().map(|name| store.load(name)).collect::<Result<_, _>>()?)
}

/// What is to be answered of a query, in the order of the queries.
enum Part {
    /// This.
    Told(anyhow::Result<Answer>),
    /// The next so many files.
    Files(usize),
}

fn look(args: &MatchArgs, banks: &[Bank]) -> Results {
    let mut files = Vec::new();
    let parts: Vec<_> = args.queries.iter().map(|query| part(args, banks, query, &mut files)).collect();
    let read = content::read_each(&files, |_, provenance, frames| Ok(answer(args, banks, &provenance.file, &frames)));
    let mut read = read.into_iter();
    let mut results = Vec::new();
    for part in parts {
        match part {
            Part::Told(result) => results.push(result),
            Part::Files(count) => results.extend(read.by_ref().take(count)),
        }
    }
    parted(results)
}

/// Answers a hash, and puts what else is to be read to `files`.
fn part(args: &MatchArgs, banks: &[Bank], query: &PathBuf, files: &mut Vec<PathBuf>) -> Part {
    let text = query.to_string_lossy();
    match text.parse::<PdqHash>() {
        Ok(hash) => {
            let frame = Frame { pdq: Pdq { hash, quality: 100 }, at: None };
            Part::Told(Ok(answer(args, banks, "the hash", &[frame])))
        }
        Err(not_a_hash) if !query.exists() && !text.contains("://") => {
            let error = anyhow::Error::new(not_a_hash);
            Part::Told(Err(error.context(format!("{text} is neither a file nor a hash"))))
        }
        Err(_) => match content::files(std::slice::from_ref(query)) {
            Ok(found) => {
                let count = found.len();
                files.extend(found);
                Part::Files(count)
            }
            Err(error) => Part::Told(Err(error)),
        },
    }
}

fn answer(args: &MatchArgs, banks: &[Bank], query: &str, frames: &[Frame]) -> Answer {
    let mut lines = Vec::new();
    let mut matches = Vec::new();
    let (mut vetoed, now) = (false, Clock::system().now());
    for bank in banks {
        let settings = bank.settings();
        let max_distance = args.max_distance.unwrap_or(settings.max_distance);
        let hits: Vec<_> = frames
            .iter()
            .filter(|frame| frame.pdq.quality >= settings.min_quality)
            .filter_map(|frame| Some((frame, bank.nearest(&frame.pdq.hash, max_distance)?)))
            .collect();
        let Some((frame, (signal, distance))) = hits.iter().min_by_key(|(_, (_, distance))| *distance) else {
            continue;
        };
        vetoed |= settings.kind == Kind::Benign && settings.in_force(now);
        lines.push(format!(
            "{query}: {} of {} pictures match `{}` ({}{}); nearest at {:.3} s, {distance} bits from signal {}{} of {} at {:.3} s",
            hits.len(),
            frames.len(),
            bank.name(),
            settings.kind,
            match (settings.enabled, settings.in_force(now)) {
                (false, _) => ", disabled",
                (true, false) => ", ended",
                (true, true) => "",
            },
            frame.at.unwrap_or_default().as_secs_f64(),
            signal.id,
            if bank.quarantined(signal.id).is_some() { " (in quarantine)" } else { "" },
            signal.provenance.file,
            signal.banked_at.unwrap_or_default().as_secs_f64(),
        ));
        matches.extend(hits.iter().map(|(frame, (signal, distance))| found(bank, frame, signal, *distance)));
    }
    if lines.is_empty() {
        lines.push(format!("{query}: no match"));
    } else if vetoed {
        lines.push(format!("{query}: a picture that a benign bank matches is no evidence"));
    }
    Answer { text: lines.join("\n"), json: json!({ "query": query, "pictures": frames.len(), "matches": matches }) }
}

fn found(bank: &Bank, frame: &Frame, signal: &Signal, distance: u32) -> Value {
    json!({
        "at": frame.at.map(|at| at.as_secs_f64()), "quality": frame.pdq.quality, "bank": bank.name(),
        "bank_revision": bank.revision(), "kind": bank.settings().kind, "enabled": bank.settings().enabled,
        "signal": signal.id, "quarantined": bank.quarantined(signal.id).is_some(), "distance": distance, "opinion": signal.opinion, "record": signal.record,
        "provenance": signal.provenance, "banked_at": signal.banked_at.map(|at| at.as_secs_f64()),
    })
}
