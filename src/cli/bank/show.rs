//! What `sluicegate bank list`, `show` and `verify` say of a bank. Never a hash: what is printed ends up in tickets.

use anyhow::bail;
use serde_json::{Value, json};

use super::Answer;
use crate::bank::{Bank, Kind, Provenance, Quarantine};
use crate::decision::Verdict;

pub(super) fn listed(bank: &Bank) -> Answer {
    let (signals, files) = (bank.len(), bank.sources().len());
    let settings = bank.settings();
    let mut parts = vec![format!("{}: {signals} signals of {files} files, revision {}", bank.name(), bank.revision())];
    if settings.kind == Kind::Benign {
        parts.push("benign".to_owned());
    }
    if settings.quorum > 1 {
        parts.push(format!("quorum {}", settings.quorum));
    }
    if settings.at_most < Verdict::Ban {
        parts.push(format!("at most {}", settings.at_most));
    }
    if !settings.enabled {
        parts.push("disabled".to_owned());
    }
    parts.extend(settings.until.map(|until| format!("until {until}")));
    if !settings.description.is_empty() {
        parts.push(settings.description.clone());
    }
    Answer { text: parts.join(", "), json: summary(bank, files) }
}

/// A bank that could be read is whole; what is left to look at is its index.
pub(super) fn verified(bank: &Bank) -> anyhow::Result<Answer> {
    if let Some(problem) = bank.problem() {
        return Err(problem.into());
    }
    if !bank.is_index_sound() {
        bail!(
            "the index of `{name}` is not of its signals: remove it, then `sluicegate bank compact {name}`",
            name = bank.name()
        );
    }
    let text = format!("{}: whole, {} signals, revision {}", bank.name(), bank.len(), bank.revision());
    Ok(Answer { text, json: summary(bank, bank.sources().len()) })
}

fn summary(bank: &Bank, files: usize) -> Value {
    let (added, removed) = bank.since_base();
    let settings = bank.settings();
    json!({
        "bank": bank.name(), "revision": bank.revision(), "created": bank.created().to_string(),
        "description": settings.description, "label": settings.label, "max_distance": settings.max_distance,
        "min_quality": settings.min_quality, "kind": settings.kind, "quorum": settings.quorum,
        "at_most": settings.at_most, "enabled": settings.enabled,
        "until": settings.until.map(|until| until.to_string()), "signals": bank.len(),
        "base": { "signals": bank.in_base(), "added_since": added, "removed_since": removed },
        "files": files, "quarantined": set_aside(bank),
    })
}

fn set_aside(bank: &Bank) -> Vec<Value> {
    let told = |(id, Quarantine { since, reason }): (u64, &Quarantine)| json!({ "id": id, "since": since.to_string(), "reason": reason });
    bank.quarantine().map(told).collect()
}

pub(super) fn shown(bank: &Bank) -> Answer {
    let settings = bank.settings();
    let mut lines = vec![
        format!("bank          {}", bank.name()),
        format!("description   {}", settings.description),
        format!("label         {}", settings.label),
        format!("kind          {}", settings.kind),
        format!("quorum        {} distinct pictures", settings.quorum),
        format!("at most       {}", settings.at_most),
        format!("enabled       {}", if settings.enabled { "yes" } else { "no" }),
        format!("until         {}", settings.until.map_or_else(|| "never ends".to_owned(), |until| until.to_string())),
        format!("max distance  {} bits", settings.max_distance),
        format!("min quality   {}", settings.min_quality),
        format!("revision      {}, created {}", bank.revision(), bank.created()),
        format!("signals       {}", bank.len()),
    ];
    if bank.in_base() > 0 {
        let (added, removed) = bank.since_base();
        lines.push(format!("base          {} signals; {added} added and {removed} removed since", bank.in_base()));
    }
    for (id, Quarantine { since, reason }) in bank.quarantine() {
        lines.push(format!("set aside     signal {id} since {since}: {reason}"));
    }
    let mut files = Vec::new();
    let sources = bank.sources();
    let count = sources.len();
    for (Provenance { file, sha256 }, source) in sources {
        let last = source.last.as_secs_f64();
        lines.push(format!("  {file}: {} signals to {last:.1} s, added {}", source.signals, source.added));
        lines.push(format!("    sha256 {sha256}"));
        files.push(json!({ "file": file, "sha256": sha256, "signals": source.signals, "last": last }));
    }
    Answer { text: lines.join("\n"), json: with(summary(bank, count), "sources", files) }
}

pub(super) fn with_signals(bank: &Bank) -> Answer {
    let Answer { text, json } = shown(bank);
    let mut lines = vec![text];
    let mut signals = Vec::new();
    for signal in bank.signals() {
        let quality = signal.quality.map_or_else(|| "unknown".to_owned(), |quality| quality.to_string());
        let opinion = json!(signal.opinion);
        let record = signal.record.as_deref().unwrap_or_default();
        let line = format!(
            "{:>8}  {}  at {:.3} s  quality {quality}  {}  {record}",
            signal.id,
            signal.provenance.file,
            signal.banked_at.unwrap_or_default().as_secs_f64(),
            opinion.as_str().unwrap_or_default()
        );
        lines.push(line.trim_end().to_owned());
        signals.push(json!({
            "id": signal.id, "file": signal.provenance.file, "at": signal.banked_at.map(|at| at.as_secs_f64()),
            "quality": signal.quality, "opinion": opinion, "record": signal.record,
        }));
    }
    Answer { text: lines.join("\n"), json: with(json, "content", signals) }
}

fn with(mut json: Value, name: &str, values: Vec<Value>) -> Value {
    if let Some(fields) = json.as_object_mut() {
        fields.insert(name.to_owned(), values.into());
    }
    json
}
