//! Signals that are set aside: still in their bank, still found, and no evidence until somebody has looked at them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::signal::rfc3339;
use crate::clock::Timestamp;

/// Why and since when a signal is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// Since when. In the file: RFC 3339.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// What is set aside, by the signals' identifiers.
pub(super) type Quarantined = BTreeMap<u64, Quarantine>;
