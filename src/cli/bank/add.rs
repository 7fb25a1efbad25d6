//! `sluicegate bank add`: from pictures and videos to signals.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::settings::SettingsArgs;
use super::{Answer, Results, Vouch, content, parted};
use crate::bank::{Added, BankError, BankName, Content, Provenance, Store, dense};
use crate::clock::Clock;

/// Add pictures and videos to a bank, and make it if it is not there.
///
/// Each file is added whole or not at all; one that fails does not stop the others.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluicegate bank add demo clip.mp4 --description 'Stands in for harmful content'
  sluicegate bank add cards title-cards/ --kind benign")]
pub(super) struct AddArgs {
    /// The bank: 1 to 64 of a-z, 0-9, _ and -.
    pub(super) name: BankName,
    /// Pictures (JPEG, PNG, WebP), videos, and folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Leave out a video's pictures that are within this many bits of the last one kept.
    #[arg(long, value_name = "BITS", default_value_t = dense::EVERY_BITS, value_parser = clap::value_parser!(u32).range(0..=256))]
    every_bits: u32,
    /// How far you vouch for the content. Only `positive` may cut a stream on its own.
    #[arg(long, value_enum, default_value_t = Vouch::Positive)]
    opinion: Vouch,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn add(store: &Store, args: &AddArgs) -> Results {
    // A bank that cannot be read is better known before hours of video are than after.
    match store.load(&args.name) {
        Ok(_) | Err(BankError::NoBank { .. }) => {}
        Err(unreadable) => return (Vec::new(), vec![unreadable.into()]),
    }
    let files = match content::files(&args.files) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), vec![error]),
    };
    parted(content::read_each(&files, |file, provenance, frames| {
        let (pictures, source) = (frames.len(), provenance.clone());
        let content = Content { provenance, opinion: args.opinion.into(), frames, every_bits: args.every_bits };
        let added = store
            .add(&args.name, &args.settings.changes(), content, Clock::system().now())
            .with_context(|| format!("{} was not added", file.display()))?;
        Ok(told(&args.name, &source, pictures, &added))
    }))
}

fn told(bank: &BankName, Provenance { file, sha256 }: &Provenance, pictures: usize, added: &Added) -> Answer {
    let Added { revision, chosen } = added;
    let Some(chosen) = chosen else {
        return Answer {
            text: format!("{file}: already in `{bank}` (revision {revision}), nothing added"),
            json: json!({ "file": file, "sha256": sha256, "bank": bank, "revision": revision, "added": 0, "already": true }),
        };
    };
    let count = chosen.kept.len();
    let mut parts = vec![format!("{file}: {count} of {pictures} pictures added to `{bank}` (revision {revision})")];
    if chosen.alike > 0 {
        parts.push(format!("{} like the one kept before", chosen.alike));
    }
    if !chosen.refused.is_empty() {
        parts.push(format!("refused {}", chosen.reasons()));
    }
    let refused: Vec<_> = chosen
        .refused
        .iter()
        .map(|(frame, reason)| json!({ "at": frame.at.map(|at| at.as_secs_f64()), "reason": reason }))
        .collect();
    let json = json!({
        "file": file, "sha256": sha256, "bank": bank, "revision": revision, "pictures": pictures, "added": count,
        "already": false, "alike": chosen.alike, "refused": refused,
    });
    Answer { text: parts.join("; "), json }
}
