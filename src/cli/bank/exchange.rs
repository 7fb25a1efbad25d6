//! `sluicegate bank import` and `export`: hashes from and for others.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::content::expect_file;
use super::settings::SettingsArgs;
use super::{Answer, Results, Vouch};
use crate::bank::formats::{self, Fault, Format, WriteError};
use crate::bank::{Bank, BankName, Import, Imported, Provenance, Store};
use crate::clock::Clock;

/// Banks may be confidential: the owner and their group only.
const MODE: u32 = 0o640;

/// How many faults are told to people one by one.
const TOLD: usize = 20;

/// Take hashes from elsewhere into a bank, and make it if it is not there.
///
/// A line that is not understood is told with its number and costs no other; degenerate hashes are refused and listed;
/// what the bank has already is left out; what the provider withdrew is removed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate bank import shared hashes.csv
  sluicegate bank import shared video.txt --format vpdq
  sluicegate bank import tat list.json --format tat --whole")]
pub(super) struct ImportArgs {
    /// The bank: 1 to 64 of a-z, 0-9, _ and -.
    pub(super) name: BankName,
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// hashes, csv, vpdq, vpdq-json, threatexchange, hma, ncmec, stopncii or tat; left out, .csv, .vpdq and .xml (ncmec)
    /// say it.
    #[arg(long)]
    format: Option<Format>,
    /// The file is all that its provider has: what an earlier import had and this file does not name is removed.
    #[arg(long)]
    whole: bool,
    /// How far you vouch for hashes of which the file does not say it. Only `positive` may cut a stream on its own.
    #[arg(long, value_enum, default_value_t = Vouch::Positive)]
    opinion: Vouch,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn import(store: &Store, args: &ImportArgs) -> Results {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for file in &args.files {
        match import_file(store, args, file) {
            Ok((answer, faults)) => {
                answers.push(answer);
                if !faults.is_empty() {
                    failures.push(misunderstood(file, &faults));
                }
            }
            Err(error) => failures.push(error.context(format!("{} was not imported", file.display()))),
        }
    }
    (answers, failures)
}

fn import_file(store: &Store, args: &ImportArgs, path: &Path) -> anyhow::Result<(Answer, Vec<Fault>)> {
    let format = args.format.or_else(|| by_ending(path));
    let format = format.context("its name does not say what it is: say it with --format")?;
    let whole = match (args.whole, format.provider()) {
        (true, None) => bail!("`{format}` names no records, so nothing can be missing from it: leave out --whole"),
        (true, provider) => provider,
        (false, _) => None,
    };
    expect_file(path)?;
    let bytes = fs::read(path).context("cannot read it: check its permissions")?;
    let now = Clock::system().now();
    let list = formats::read(format, &bytes, now)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let provenance = Provenance { file: file.clone(), sha256: hex::encode(Sha256::digest(&bytes)) };
    let (faults, other) = (list.faults.clone(), list.other);
    let import = Import { provenance, opinion: args.opinion.into(), list, whole };
    let (imported, revision) = store.import(&args.name, &args.settings.changes(), import, now)?;
    Ok((told(&args.name, &file, &imported, revision, other, &faults), faults))
}

fn by_ending(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "csv" => Some(Format::Csv),
        "vpdq" => Some(Format::Vpdq),
        "xml" => Some(Format::Ncmec),
        _ => None,
    }
}

fn told(bank: &BankName, file: &str, imported: &Imported, revision: u64, other: usize, faults: &[Fault]) -> Answer {
    let Imported { added, already, removed, refused } = imported;
    let mut parts = vec![format!("{file}: {added} signals added to `{bank}` (revision {revision})")];
    for (count, what) in [(*already, "there already"), (*removed, "removed"), (other, "of other kinds left out")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if !refused.is_empty() {
        let told = refused.iter().take(TOLD).map(|(place, refusal)| format!("\n    {place}: {}", refusal.words()));
        parts.push(format!("{} refused:{}{}", refused.len(), told.collect::<String>(), more(refused.len())));
    }
    let refused: Vec<_> = refused.iter().map(|(place, refusal)| json!({ "place": place, "reason": refusal })).collect();
    let json = json!({
        "file": file, "bank": bank, "revision": revision, "added": added, "already": already, "removed": removed,
        "other": other, "refused": refused, "faults": faults,
    });
    Answer { text: parts.join("; "), json }
}

fn misunderstood(file: &Path, faults: &[Fault]) -> anyhow::Error {
    let told = faults.iter().take(TOLD).map(|Fault { place, reason }| format!("\n    {place}: {reason}"));
    let told: String = told.collect();
    let (file, count) = (file.display(), faults.len());
    anyhow::anyhow!("{file}: {count} not understood; the others were imported:{told}{}", more(count))
}

/// The JSON answer has them all.
fn more(count: usize) -> String {
    if count > TOLD { format!("\n    and {} more, which --json lists", count - TOLD) } else { String::new() }
}

/// Write a bank for others, to a file or to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate bank export demo > demo.csv
  sluicegate bank export demo --format hma --to demo.json")]
pub(super) struct ExportArgs {
    /// The bank.
    name: BankName,
    /// csv, which alone keeps all there is to know; hashes, vpdq, vpdq-json, threatexchange or hma.
    #[arg(long, default_value_t = Format::Csv)]
    format: Format,
    /// The file, which must not be there yet; standard output when left out.
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
}

/// To standard output.
pub(super) fn write(store: &Store, args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut out = BufWriter::new(out);
    formats::write(args.format, &store.load(&args.name)?, &mut out)?;
    Ok(out.flush()?)
}

pub(super) fn export(store: &Store, args: &ExportArgs) -> anyhow::Result<Answer> {
    let ExportArgs { name, format, to } = args;
    let to = to.as_deref();
    let to = to.context("standard output cannot hold both a bank and an answer: name a file with --to")?;
    let bank = store.load(name)?;
    if !format.is_written() {
        return Err(WriteError::NotWritten { format: *format }.into());
    }
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(MODE)
        .open(to)
        .with_context(|| format!("cannot make {}: name a file that is not there yet", to.display()))?;
    if let Err(error) = written(*format, &bank, &file) {
        // Half a list would be taken for a whole one.
        fs::remove_file(to).ok();
        return Err(error).with_context(|| format!("cannot write {}: check the free space", to.display()));
    }
    let signals = bank.len();
    Ok(Answer {
        text: format!("{name}: {signals} signals written to {} as {format}", to.display()),
        json: json!({ "bank": name, "revision": bank.revision(), "signals": signals, "file": to.to_string_lossy(), "format": format.word() }),
    })
}

fn written(format: Format, bank: &Bank, file: &File) -> Result<(), WriteError> {
    let mut out = BufWriter::new(file);
    formats::write(format, bank, &mut out)?;
    out.flush()?;
    Ok(file.sync_all()?)
}
