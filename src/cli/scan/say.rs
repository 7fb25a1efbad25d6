//! The answer: tables for people, one object for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::brief::Brief;
use super::inspection::{Hit, Inspection, Outcome, What, time};
use super::picks::Every;
use crate::cli::table::{harmless, table};
use crate::clock::Timestamp;

/// All that is told.
pub(super) struct Told<'a> {
    pub(super) inspections: &'a [Inspection],
    pub(super) brief: &'a Brief,
    pub(super) every: Every,
    pub(super) started: Timestamp,
    pub(super) spent: Duration,
}

impl Told<'_> {
    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.inspections.iter().map(Inspection::outcome))
    }

    /// For people: the findings, then what was not inspected, then what it comes to.
    pub(super) fn text(&self) -> String {
        let mut parts = Vec::new();
        let rows: Vec<_> = self.inspections.iter().flat_map(|one| self.rows(one)).collect();
        if !rows.is_empty() {
            parts.push(table(["RECORDING", "FROM", "TO", "PICTURES", "FOUND", "BEST"], &rows, ""));
        }
        let mut lines = Vec::new();
        for one in self.inspections {
            lines.extend(one.not_inspected.iter().map(|missing| {
                let part = missing.part.map_or(String::new(), |(from, to)| format!(", {} to {}", time(from), time(to)));
                format!("not inspected: {}{part}: {}", one.shown, harmless(&missing.reason))
            }));
            lines.extend(one.notes.iter().map(|note| format!("note: {}: {note}", one.shown)));
        }
        lines.extend(self.brief.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(self.inspections.iter().map(summary));
        parts.push(lines.join("\n"));
        parts.join("\n\n")
    }

    fn rows(&self, one: &Inspection) -> Vec<[String; 6]> {
        let spans = one.spans(self.every);
        let row = |span: &super::inspection::Span| {
            let best = describe(&span.best.what);
            let pictures = span.pictures.to_string();
            [one.shown.clone(), time(span.from), time(span.to), pictures, span.best.what.key(), best]
        };
        spans.iter().map(row).collect()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let banks = self.brief.banks.iter().map(|bank| {
            json!({ "bank": bank.name, "revision": bank.revision, "signals": bank.signals, "kind": bank.kind.to_string() })
        });
        let models = self.brief.scorers.iter().map(|(name, digest)| json!({ "model": name, "digest": digest }));
        json!({
            "outcome": self.outcome().word(),
            "results": self.inspections.iter().map(one).collect::<Vec<_>>(),
            "banks": banks.collect::<Vec<_>>(),
            "models": models.collect::<Vec<_>>(),
            "notes": self.brief.notes,
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

/// In a line: what came of a recording.
fn summary(one: &Inspection) -> String {
    let length = one.duration.map_or(String::new(), |duration| format!(" of {}", time(duration)));
    let found =
        one.hits.iter().filter(|hit| hit.counts).map(|hit| hit.at).collect::<std::collections::BTreeSet<_>>().len();
    let outcome = match one.outcome() {
        Outcome::Clear => "clear".to_owned(),
        Outcome::Findings if one.not_inspected.is_empty() => format!("{found} with a finding"),
        Outcome::Findings => format!("{found} with a finding, and not all was inspected"),
        Outcome::NotInspected => "no finding, but not all was inspected".to_owned(),
    };
    let mut also = Vec::new();
    if one.vetoed > 0 {
        also.push(format!("{} that a benign bank matches are no evidence", one.vetoed));
    }
    let uncounted = one.hits.iter().filter(|hit| !hit.counts).count();
    if uncounted > 0 {
        also.push(format!("{uncounted} matches are too few for their bank's quorum, or of a signal known to be wrong"));
    }
    let looked = format!("{}: {} pictures{length} inspected: {outcome}", one.shown, one.pictures.len());
    [vec![looked], also].concat().join("; ")
}

/// What a hit is, in a few words.
pub(super) fn describe(what: &What) -> String {
    match what {
        What::Match(found) => {
            let set_aside = if found.quarantined { " (in quarantine)" } else { "" };
            let banked_at = found.banked_at.map_or(String::new(), |at| format!(" at {}", time(at)));
            let file = found.provenance.split(" sha256:").next().unwrap_or_default();
            format!("{} bits from signal {}{set_aside} of {}{banked_at}", found.distance, found.signal, harmless(file))
        }
        What::Score(score) => format!("{:.3}, above {}", score.value, score.above),
    }
}

fn one(one: &Inspection) -> Value {
    let (findings, others): (Vec<&Hit>, Vec<&Hit>) = one.hits.iter().partition(|hit| hit.counts);
    let highest = one.highest().map(
        |(model, label, at, score)| json!({ "model": model, "label": label, "at": at.as_secs_f64(), "score": decimal(score) }),
    );
    let missing = one.not_inspected.iter().map(|missing| {
        let (from, to) = missing.part.unzip();
        json!({ "from": from.map(|at| at.as_secs_f64()), "to": to.map(|at| at.as_secs_f64()), "reason": missing.reason })
    });
    json!({
        "recording": one.shown,
        "sha256": one.sha256,
        "bytes": one.bytes,
        "duration": one.duration.map(|duration| duration.as_secs_f64()),
        "outcome": one.outcome().word(),
        "pictures": one.pictures.len(),
        "flat": one.flat,
        "vetoed": one.vetoed,
        "findings": findings.into_iter().map(hit).collect::<Vec<_>>(),
        "no_evidence": others.into_iter().map(hit).collect::<Vec<_>>(),
        "highest": highest.collect::<Vec<_>>(),
        "not_inspected": missing.collect::<Vec<_>>(),
        "notes": one.notes,
    })
}

fn hit(hit: &Hit) -> Value {
    match &hit.what {
        What::Match(found) => json!({
            "kind": "match", "at": hit.at.as_secs_f64(), "bank": found.bank, "bank_revision": found.bank_revision,
            "signal": found.signal, "distance": found.distance, "quality": found.quality, "opinion": found.opinion,
            "quarantined": found.quarantined, "provenance": found.provenance,
            "banked_at": found.banked_at.map(|at| at.as_secs_f64()), "quorum": found.quorum,
        }),
        What::Score(score) => json!({
            "kind": "score", "at": hit.at.as_secs_f64(), "model": score.model, "digest": score.digest,
            "calibration": score.calibration, "label": score.label, "score": decimal(score.value), "above": decimal(score.above),
        }),
    }
}

/// A number as it is written, which wider numbers would make longer: 0.9 and not 0.899999976158142.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_error| f64::from(value))
}
