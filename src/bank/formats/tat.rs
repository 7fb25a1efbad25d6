//! Tech Against Terrorism's hash list.
//!
//! The shape is that of `TATHashListEntry` in
//! `python-threatexchange/threatexchange/exchanges/clients/techagainstterrorism/api.py` of github.com/facebook/ThreatExchange:
//! pages whose `results` have `id`, `hash_digest`, `algorithm`, `ideology`, `file_type` and `deleted` each; a deleted one is to
//! be forgotten. Version 1 was a JSON list without `deleted`, made anew each day, of which one release spells `algorithim`:
//! what a later list leaves out is withdrawn, so import it as the whole list.

use std::sync::Arc;

use serde::Deserialize;

use super::{Item, Listed, Read, hash, json};

#[derive(Deserialize)]
struct Record {
    id: u64,
    hash_digest: String,
    #[serde(alias = "algorithim")]
    algorithm: String,
    #[serde(default)]
    deleted: bool,
}

pub(super) fn read(text: &str) -> Result<Read, String> {
    let mut read = Read::default();
    for (place, record) in json::records::<Record>(text, &["results"], &mut read)? {
        let name: Arc<str> = format!("tat:{}", record.id).into();
        if record.deleted {
            read.items.push(Item::Anew(name));
            continue;
        }
        if !record.algorithm.to_ascii_lowercase().ends_with("pdq") {
            read.items.push(Item::Anew(name));
            read.other += 1;
            continue;
        }
        match hash(&record.hash_digest) {
            Ok(hash) => {
                read.items.push(Item::Anew(Arc::clone(&name)));
                read.items.push(Item::Signal(Listed { record: Some(name), ..Listed::bare(place, hash) }));
            }
            Err(reason) => read.fault(place, reason),
        }
    }
    Ok(read)
}
