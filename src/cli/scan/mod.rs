//! `sluicegate scan`: inspects recordings with the line that live streams are inspected with, as fast as the machine can.
//!
//! It promises: what it could not inspect is said, and never counted as clear; nothing is kept from one call to the next,
//! and nothing is left behind, however it ends; the exit code is 0, 1 or 2 and means what [`Args`] says. Recordings are from
//! strangers: they are opened in a process of its own, and one that brings it down costs only itself.

mod apart;
mod asked;
mod brief;
mod download;
mod gather;
mod input;
mod inspection;
mod line;
mod page;
mod picks;
mod reading;
mod say;
mod thumbnail;
mod workers;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use self::brief::LabelThreshold;
use self::input::Input;
use self::inspection::Outcome;
use self::picks::Every;
use self::reading::Terms;
use super::failure::Exit;
use crate::clock::Clock;
use crate::config::duration;

/// Inspect recordings: compare their pictures with banks and give them to models.
///
/// A picture a second is looked at, keyframes where they come about as often. All cores are used. A finding is a picture
/// that a bank matches, unless a benign bank matches it too, or that a model scores above the threshold of its manifest.
/// Nothing is written but the answer and the report.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sluicegate scan upload.mp4 --config sluicegate.toml
  sluicegate scan *.mp4 --bank demo --model safety --threshold nsfl=0.9 --report out.html
  sluicegate scan https://example.org/vod/1.mp4 --bank demo --all-frames --json
  sluicegate scan upload.mp4 --config sluicegate.toml && mv upload.mp4 published/

Exit codes:
  0 everything was inspected, and there is no finding   1 there is a finding
  2 no finding, but something could not be inspected, or the command line is wrong")]
pub(super) struct Args {
    /// Recordings: files, or the http(s) addresses of files.
    #[arg(required = true, value_name = "FILE|URL")]
    inputs: Vec<PathBuf>,
    /// A bank's name, or a folder of banks; again for more. All in force of the folder when left out.
    #[arg(long = "bank", value_name = "NAME|FOLDER")]
    only: Vec<PathBuf>,
    /// Folder that holds the banks; that of the configuration when left out.
    #[arg(long, value_name = "FOLDER", env = "SLUICEGATE_BANKS")]
    banks: Option<PathBuf>,
    /// A model's name or the path of a manifest; again for more. Those of the configuration when left out.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Folder that holds models/ and runtime/; looked for when left out.
    #[arg(long, value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// The configuration whose `[banks]`, `[model]` and `[decode]` are used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The score above which a label is a finding; again for more. Those of the models' manifests when left out.
    #[arg(long = "threshold", value_name = "LABEL=SCORE")]
    thresholds: Vec<LabelThreshold>,
    /// The time from one inspected picture to the next, give or take a quarter.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    every: Duration,
    /// Inspect every picture.
    #[arg(long, conflicts_with = "every")]
    all_frames: bool,
    /// The most that is downloaded of one address.
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 30)]
    max_download: u64,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
    /// Write a report to this file too: one page of HTML that loads nothing.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Inspect the recordings of these numbers alone, and tell the process that started this one.
    #[arg(long, hide = true, value_name = "NUMBERS", value_delimiter = ',')]
    apart: Vec<usize>,
}

/// Runs `sluicegate scan`.
///
/// # Errors
/// When nothing was inspected because the command line, a bank or a model is wrong, or the answer or the report cannot be
/// written.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let inputs = args.inputs.iter().map(|input| Input::new(input)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(report) = &args.report {
        page::expect_place(report, &inputs)?;
    }
    let every = match (args.all_frames, args.every) {
        (true, _) => Every::Frame,
        (false, Duration::ZERO) => bail!("--every must be longer than zero: use --all-frames to inspect every picture"),
        (false, span) => Every::Span(span),
    };
    let (clock, terms) = (Clock::system(), Terms { every, max_download: args.max_download });
    if !args.apart.is_empty() {
        apart::work(args, &inputs, &terms, clock.now(), out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let started = clock.now();
    let (brief, inspections) = apart::all(&inputs)?;
    let inspections: Vec<_> = inspections.into_iter().map(|one| one.settled(&brief.thresholds, every)).collect();
    let spent = clock.now().since(started);

    let told = say::Told { inspections: &inspections, brief: &brief, every, started, spent };
    let written = if args.json { writeln!(out, "{}", told.json()) } else { writeln!(out, "{}", told.text()) };
    match written.and_then(|()| out.flush()) {
        // Whoever does not want to read on still wants to know how it ended.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write to standard output");
        }
        _ => {}
    }
    if let Some(path) = &args.report {
        page::write(path, &told)?;
    }
    Ok(match told.outcome() {
        Outcome::Clear => ExitCode::SUCCESS,
        Outcome::Findings => ExitCode::from(Exit::Unwell as u8),
        Outcome::NotInspected => ExitCode::from(Exit::NotInspected as u8),
    })
}
