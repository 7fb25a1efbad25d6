//! Records of StopNCII.org: what `FetchHashes` answers, one page or several, or the `hashRecords` of it.
//!
//! The shape is that of `StopNCIIHashRecord` in
//! `python-threatexchange/threatexchange/exchanges/clients/stopncii/api.py` of github.com/facebook/ThreatExchange: a record is
//! known by its hash, its newest form stands for all before, and one whose status is `Withdrawn` or `Deleted` is to be
//! forgotten. Hashes are people's own reports: they come as `investigation_seed` unless a platform has confirmed one
//! (`Blocked`).

use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Item, Listed, Read, hash, json};
use crate::finding::Opinion;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    signal_type: String,
    hash_value: String,
    hash_status: String,
    #[serde(rename = "CSPFeedbacks", default)]
    feedbacks: Vec<Feedback>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    feedback_value: String,
}

pub(super) fn read(text: &str) -> Result<Read, String> {
    let mut read = Read::default();
    for (place, record) in json::records::<Record>(text, &["hashRecords"], &mut read)? {
        if record.signal_type != "ImagePDQ" {
            read.other += 1;
            continue;
        }
        let hash = match hash(&record.hash_value) {
            Ok(hash) => hash,
            Err(reason) => {
                read.fault(place, reason);
                continue;
            }
        };
        // The name of a record is shown to people; a hash is not.
        let digest = hex::encode(Sha256::digest(hash.to_string()));
        let name: Arc<str> = format!("stopncii:{}", digest.get(..16).unwrap_or(&digest)).into();
        read.items.push(Item::Anew(Arc::clone(&name)));
        if matches!(record.hash_status.as_str(), "Withdrawn" | "Deleted") {
            continue;
        }
        let confirmed = record.feedbacks.iter().any(|feedback| feedback.feedback_value == "Blocked");
        let rejected = record.feedbacks.iter().any(|feedback| feedback.feedback_value == "NotBlocked");
        let opinion = match (confirmed, rejected) {
            (true, false) => Opinion::Positive,
            (true, true) => Opinion::Disputed,
            (false, _) => Opinion::InvestigationSeed,
        };
        let listed = Listed { opinion: Some(opinion), record: Some(name), ..Listed::bare(place, hash) };
        read.items.push(Item::Signal(listed));
    }
    Ok(read)
}
