//! Tables with a heading (RFC 4180), the form that keeps all that a bank knows of a signal.
//!
//! Only the column `hash` must be there; `quality`, `timestamp` (seconds), `opinion`, `file`, `sha256` and `record` may be,
//! in any order, and other columns mean nothing. So `sluicegate hash` can be read, and so can what
//! `threatexchange dataset --print-signals --csv` prints (`threatexchange/cli/dataset_cmd.py` of
//! github.com/facebook/ThreatExchange): there the hash is called `signal_str`, its opinion `category`, and a row is left out
//! whose `signal_type` is not `pdq`.

use std::io;

use csv::{ReaderBuilder, StringRecord, Trim};
use serde::{Deserialize, Serialize};

use super::{Item, Listed, Place, Read, hash, quality, seconds};
use crate::bank::{Provenance, Signal};
use crate::finding::Opinion;

#[derive(Deserialize)]
struct Row {
    #[serde(alias = "signal_str")]
    hash: String,
    signal_type: Option<String>,
    quality: Option<String>,
    timestamp: Option<String>,
    #[serde(alias = "category")]
    opinion: Option<String>,
    file: Option<String>,
    sha256: Option<String>,
    record: Option<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    hash: String,
    quality: Option<u8>,
    timestamp: Option<f64>,
    opinion: Opinion,
    file: &'a str,
    sha256: &'a str,
    record: Option<&'a str>,
}

pub(super) fn read(text: &str) -> Result<Read, String> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let heading = reader.headers().map_err(|error| error.to_string())?.clone();
    if !heading.iter().any(|column| column == "hash" || column == "signal_str") {
        return Err("its first line names no column `hash`".to_owned());
    }
    let mut read = Read::default();
    let mut row = StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut row) {
            Ok(false) => return Ok(read),
            Ok(true) => {
                let place = Place::Line(row.position().map_or(line, csv::Position::line));
                put(&row, &heading, place, &mut read);
            }
            Err(error) => {
                let place = error.position().map_or(line, csv::Position::line);
                read.fault(Place::Line(place), "it has more or fewer fields than the heading");
            }
        }
    }
}

fn put(row: &StringRecord, heading: &StringRecord, place: Place, read: &mut Read) {
    match row.deserialize::<Row>(Some(heading)) {
        Ok(row) if row.signal_type.as_ref().is_some_and(|kind| kind != "pdq") => read.other += 1,
        Ok(row) => match listed(row, place) {
            Ok(listed) => read.items.push(Item::Signal(listed)),
            Err(reason) => read.fault(place, reason),
        },
        Err(_) => read.fault(place, "it has no hash"),
    }
}

fn listed(row: Row, place: Place) -> Result<Listed, String> {
    let given = |field: Option<String>| field.filter(|text| !text.is_empty());
    Ok(Listed {
        place,
        hash: hash(&row.hash)?,
        quality: given(row.quality).as_deref().map(quality).transpose()?,
        at: given(row.timestamp).as_deref().map(seconds).transpose()?,
        opinion: given(row.opinion).as_deref().map(opinion).transpose()?,
        source: given(row.file).zip(given(row.sha256)).map(|(file, sha256)| Provenance { file, sha256 }),
        record: given(row.record).map(Into::into),
    })
}

fn opinion(text: &str) -> Result<Opinion, String> {
    match text.to_ascii_lowercase().trim_end_matches("_class") {
        "positive" => Ok(Opinion::Positive),
        "negative" => Ok(Opinion::Negative),
        "investigation_seed" => Ok(Opinion::InvestigationSeed),
        "disputed" => Ok(Opinion::Disputed),
        _ => Err("its opinion is none of positive, negative, investigation_seed and disputed".to_owned()),
    }
}

pub(super) fn write(signals: impl Iterator<Item = Signal>, out: &mut dyn io::Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut is_empty = true;
    for signal in signals {
        is_empty = false;
        let row = Written {
            hash: signal.hash.to_string(),
            quality: signal.quality,
            timestamp: signal.banked_at.map(|at| at.as_secs_f64()),
            opinion: signal.opinion,
            file: &signal.provenance.file,
            sha256: &signal.provenance.sha256,
            record: signal.record.as_deref(),
        };
        writer.serialize(row)?;
    }
    if is_empty {
        let heading = ["hash", "quality", "timestamp", "opinion", "file", "sha256", "record"];
        writer.write_record(heading)?;
    }
    writer.flush()
}
