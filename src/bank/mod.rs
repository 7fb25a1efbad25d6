//! Banks of known content: named sets of PDQ hashes, each with where it came from and how far it is vouched for.
//!
//! A [`Store`] is a folder of banks: each a small file that a person can read, and where there is much in it a base of
//! signals that does not change, with an index, both mapped. What it promises: a bank is replaced whole or not at all, two processes
//! that change it at once lose nothing, what a change of ten million signals writes is what it changes, and a file that is cut short,
//! altered or not ours is refused, never half-used. A loaded [`Bank`] does not change; a changed one has a higher revision.
//! How hashes are found (`scan`, and [`index`] in a large bank) and the choice of pictures worth banking (`dense`) are pure.

mod base;
pub mod dense;
mod error;
mod file;
pub mod formats;
mod import;
mod in_force;
pub mod index;
mod kind;
mod loaded;
pub mod mapped;
mod mmap;
mod name;
mod quarantine;
mod scan;
mod signal;
mod sources;
mod store;

use crate::clock::Timestamp;
use crate::decision::Verdict;

pub use error::BankError;
pub use file::{Fault, Head, decode};
pub use import::{Import, Imported};
pub use in_force::{Banks, InForce, Refreshed, Watch};
pub use kind::{BadKind, Kind};
pub use loaded::Bank;
pub use name::{BadName, BankName};
pub use quarantine::Quarantine;
pub use scan::Scan;
pub use signal::{Provenance, Refusal, Signal};
pub use sources::Source;
pub use store::{Added, Changes, Compaction, Content, Removed, Store, Which};

/// What a bank says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the bank holds, for people.
    pub description: String,
    /// What its content is called in reports, such as `terrorism`.
    pub label: String,
    /// A picture at most this many bits from a signal matches it.
    pub max_distance: u32,
    /// Pictures of less PDQ quality are neither banked nor matched.
    pub min_quality: u8,
    /// What a match means.
    pub kind: Kind,
    /// How many distinct pictures of a stream must match the bank before any of them is evidence; at least 1.
    pub quorum: u32,
    /// The severest verdict that its matches may lead to, whatever a rule says.
    pub at_most: Verdict,
    /// Whether streams are compared with it at all.
    pub enabled: bool,
    /// From then on streams are no longer compared with it.
    pub until: Option<Timestamp>,
}

impl Settings {
    /// Whether streams are compared with the bank at `now`.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.enabled && self.until.is_none_or(|until| now < until)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            description: String::new(),
            label: String::new(),
            max_distance: crate::hash::MATCH_DISTANCE,
            min_quality: crate::hash::USEFUL_QUALITY,
            kind: Kind::Harmful,
            quorum: 1,
            at_most: Verdict::Ban,
            enabled: true,
            until: None,
        }
    }
}
