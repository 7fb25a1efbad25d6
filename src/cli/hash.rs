//! `sluicegate hash`: the PDQ hashes of pictures and videos, in a form that `sluicegate bank import` reads.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::bank::{Answer, content, parted, tell};
use crate::bank::Provenance;
use crate::bank::dense::{self, Frame};

/// Hash pictures and videos with PDQ.
///
/// The answer is a table of hash, quality, timestamp, file and sha256, which `sluicegate bank import` reads: whoever may
/// hold content but not send it away can pass on its hashes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate hash photo.jpg
  sluicegate hash clips/ --every-bits 16 > hashes.csv
  sluicegate hash photo.jpg --json")]
pub(super) struct HashArgs {
    /// Pictures (JPEG, PNG, WebP), videos, and folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Leave out a video's pictures that are within this many bits of the last one kept; 16 is what banks do. All when
    /// left out.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=256))]
    every_bits: Option<u32>,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

/// Runs `sluicegate hash`.
///
/// # Errors
/// When a file is neither a picture nor a video, or `out` cannot be written to.
pub(super) fn run(args: &HashArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (answers, failures) = match content::files(&args.files) {
        Ok(files) => parted(content::read_each(&files, |_, provenance, frames| {
            answer(&provenance, &kept(frames, args.every_bits))
        })),
        Err(error) => (Vec::new(), vec![error]),
    };
    if !args.json {
        writeln!(out, "hash,quality,timestamp,file,sha256")?;
    }
    tell(&answers, &failures, args.json, out)
}

fn kept(frames: Vec<Frame>, every_bits: Option<u32>) -> Vec<Frame> {
    let Some(every_bits) = every_bits else { return frames };
    let mut kept: Vec<Frame> = Vec::new();
    for frame in frames {
        if dense::keep(kept.last().map(|last| &last.pdq.hash), &frame.pdq.hash, every_bits) {
            kept.push(frame);
        }
    }
    kept
}

fn answer(Provenance { file, sha256 }: &Provenance, frames: &[Frame]) -> anyhow::Result<Answer> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut pictures = Vec::new();
    for Frame { pdq, at } in frames {
        let at = at.map(|at| at.as_secs_f64());
        writer.serialize((pdq.hash, pdq.quality, at, file, sha256))?;
        pictures.push(json!({ "hash": pdq.hash, "quality": pdq.quality, "timestamp": at }));
    }
    let text = String::from_utf8(writer.into_inner()?)?.trim_end().to_owned();
    Ok(Answer { text, json: json!({ "file": file, "sha256": sha256, "pictures": pictures }) })
}
