//! Contents of a bank of Hasher-Matcher-Actioner, as `GET /c/bank/NAME/content/ID?include_signals=true` gives them: one
//! object, a list, or one a line.
//!
//! The shape is that of `BankContentConfig` and `BankContentResponse` in `hasher-matcher-actioner/` of
//! github.com/facebook/ThreatExchange. `disable_until_ts` is 1 for content in force, 0 for content that is not, else the
//! second since the epoch until which it is not; such content counts as withdrawn.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer as _};

use super::{Item, Listed, Read, hash, json, vpdq};
use crate::bank::Bank;
use crate::clock::Timestamp;

const IN_FORCE: u64 = 1;

#[derive(Deserialize)]
struct Content {
    id: u64,
    disable_until_ts: Option<u64>,
    bank: Owner,
    #[serde(default)]
    signals: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Owner {
    name: String,
}

pub(super) fn read(text: &str, now: Timestamp) -> Result<Read, String> {
    let mut read = Read::default();
    for (place, content) in json::records::<Content>(text, &["contents"], &mut read)? {
        let record: Arc<str> = format!("hma:{}/{}", content.bank.name, content.id).into();
        read.items.push(Item::Anew(Arc::clone(&record)));
        let in_force = match content.disable_until_ts {
            None | Some(IN_FORCE) => true,
            Some(0) => false,
            Some(until) => until <= now.as_micros() / 1_000_000,
        };
        if !in_force {
            continue;
        }
        for (kind, signal) in &content.signals {
            match kind.as_str() {
                "pdq" => match hash(signal) {
                    Ok(hash) => {
                        let record = Some(Arc::clone(&record));
                        read.items.push(Item::Signal(Listed { record, ..Listed::bare(place, hash) }));
                    }
                    Err(reason) => read.fault(place, reason),
                },
                "vpdq" => vpdq::read_signal(signal, place, Some(&record), &mut read),
                _ => read.other += 1,
            }
        }
    }
    Ok(read)
}

#[derive(Serialize)]
struct Written<'a> {
    id: u64,
    disable_until_ts: u64,
    collab_metadata: BTreeMap<&'a str, Vec<&'a str>>,
    original_media_uri: Option<()>,
    bank: WrittenBank<'a>,
    signals: BTreeMap<&'a str, String>,
}

#[derive(Clone, Serialize)]
struct WrittenBank<'a> {
    name: &'a str,
    matching_enabled_ratio: f64,
}

pub(super) fn write(bank: &Bank, out: &mut dyn io::Write) -> io::Result<()> {
    // There, names of banks are in capitals.
    let name = bank.name().to_string().to_uppercase().replace('-', "_");
    let matching_enabled_ratio = if bank.settings().enabled { 1.0 } else { 0.0 };
    let contents = bank.signals().map(|signal| Written {
        id: signal.id,
        disable_until_ts: IN_FORCE,
        collab_metadata: BTreeMap::new(),
        original_media_uri: None,
        bank: WrittenBank { name: &name, matching_enabled_ratio },
        signals: BTreeMap::from([("pdq", signal.hash.to_string())]),
    });
    serde_json::Serializer::pretty(&mut *out).collect_seq(contents)?;
    writeln!(out)
}
