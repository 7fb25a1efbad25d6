//! Banks of known content: named sets of PDQ hashes, each with where it came from and how far it is vouched for.
//!
//! A [`Store`] is a folder with one file a bank. What it promises: a bank is replaced whole or not at all, two processes
//! that change it at once lose nothing, and a file that is cut short, altered or not ours is refused, never half-used. A loaded
//! [`Bank`] does not change; a changed one has a higher revision. How hashes are found (`scan`, and [`index`] in a large
//! bank) and the choice of pictures worth banking (`dense`) are pure.

pub mod dense;
mod file;
pub mod formats;
mod import;
mod in_force;
pub mod index;
mod kind;
pub mod mapped;
mod mmap;
mod name;
mod quarantine;
mod scan;
mod signal;
mod store;

use std::path::PathBuf;

use crate::clock::Timestamp;
use crate::decision::Verdict;
use crate::hash::PdqHash;
use index::Index;
use quarantine::Quarantined;

pub use file::{Fault, decode};
pub use import::{Import, Imported};
pub use in_force::{Banks, InForce, Refreshed, Watch};
pub use kind::{BadKind, Kind};
pub use name::{BadName, BankName};
pub use quarantine::Quarantine;
pub use scan::Scan;
pub use signal::{Provenance, Refusal, Signal};
pub use store::{Added, Changes, Content, Removed, Store, Which};

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

/// A bank as it was at one revision. Immutable.
#[derive(Debug, Clone)]
pub struct Bank {
    name: BankName,
    settings: Settings,
    revision: u64,
    created: Timestamp,
    signals: Vec<Signal>,
    quarantined: Quarantined,
    search: Search,
}

/// How signals are found by their hashes.
#[derive(Debug, Clone)]
enum Search {
    /// In a small bank: by comparing all.
    Scan(Scan),
    /// In a large one.
    Index(Index),
}

impl Bank {
    /// A bank of these signals.
    pub fn new(
        name: BankName,
        settings: Settings,
        revision: u64,
        created: Timestamp,
        mut signals: Vec<Signal>,
    ) -> Self {
        signals.sort_by_key(|signal| signal.id);
        let search = Search::new(signals.iter().map(|signal| signal.hash));
        Self { name, settings, revision, created, signals, quarantined: Quarantined::new(), search }
    }

    /// The same, with these signals set aside.
    #[must_use]
    pub(super) fn with_quarantined(self, quarantined: Quarantined) -> Self {
        Self { quarantined, ..self }
    }

    /// Its name.
    pub const fn name(&self) -> &BankName {
        &self.name
    }

    /// What it says of itself.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts its changes from 1.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// When its first content was added.
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// Its signals, by rising identifier.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Why and since when a signal is set aside; none if it is not. Such a signal is found as any other: whoever weighs
    /// matches passes it over.
    pub fn quarantined(&self, id: u64) -> Option<&Quarantine> {
        self.quarantined.get(&id)
    }

    /// All signals that are set aside, by rising identifier.
    pub fn quarantine(&self) -> impl ExactSizeIterator<Item = (u64, &Quarantine)> {
        self.quarantined.iter().map(|(id, quarantine)| (*id, quarantine))
    }

    /// The signal nearest to `hash` and its distance, if that is at most `max_distance` bits. Of signals equally near, the
    /// one with the lowest identifier.
    pub fn nearest(&self, hash: &PdqHash, max_distance: u32) -> Option<(&Signal, u32)> {
        let (place, distance) = match &self.search {
            Search::Scan(scan) => scan.nearest(hash, max_distance)?,
            Search::Index(index) => {
                let (place, distance) = index.nearest(hash, max_distance)?;
                (place as usize, distance)
            }
        };
        Some((self.signals.get(place)?, distance))
    }

    /// Every signal at most `max_distance` bits from `hash`, and its distance: the nearest first, of those equally near
    /// the one with the lowest identifier.
    pub fn within(&self, hash: &PdqHash, max_distance: u32) -> Vec<(&Signal, u32)> {
        let mut places = Vec::new();
        match &self.search {
            Search::Scan(scan) => scan.within(hash, max_distance, |place, distance| places.push((distance, place))),
            Search::Index(index) => {
                index.within(hash, max_distance, |place, distance| places.push((distance, place as usize)));
            }
        }
        places.sort_unstable();
        places.into_iter().filter_map(|(distance, place)| Some((self.signals.get(place)?, distance))).collect()
    }
}

impl Search {
    fn new(hashes: impl ExactSizeIterator<Item = PdqHash> + Clone) -> Self {
        let large = hashes.len() >= Index::WORTHWHILE;
        let index = if large { Index::build(hashes.clone()) } else { None };
        index.map_or_else(|| Self::Scan(hashes.collect()), Self::Index)
    }
}

const RESTORE: &str = "restore it from a backup, or remove it and add its content again";

/// What can go wrong with a bank.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    /// The folder of banks is not there.
    #[error("there is no folder of banks at {}: make it (mkdir -p), or name another", folder.display())]
    NoFolder {
        /// Where it should be.
        folder: PathBuf,
    },
    /// No bank of that name.
    #[error("there is no bank `{name}` in {}: add content to it, or name another", folder.display())]
    NoBank {
        /// The name asked for.
        name: BankName,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// There is a bank of that name.
    #[error("there is a bank `{name}` already: name another, or `sluicegate bank add` to it")]
    Exists {
        /// The name.
        name: BankName,
    },
    /// Nothing in the bank is what was named.
    #[error("nothing in `{bank}` is {what}: `sluicegate bank show {bank}` lists what there is")]
    NotInBank {
        /// The bank.
        bank: BankName,
        /// What was named.
        what: String,
    },
    /// A list that has faults cannot stand for the provider's whole list.
    #[error(
        "{file} was not understood in {faults} places, so what it does not name may still be in force: \
         mend it, or import it without --whole"
    )]
    NotWhole {
        /// The file.
        file: String,
        /// How many places.
        faults: usize,
    },
    /// A file ends in `.bank`, but no bank can be called so.
    #[error("{} is not named as a bank can be: rename it, or move it out of the folder", path.display())]
    NotABankName {
        /// The file.
        path: PathBuf,
        /// What is wrong with its name.
        source: BadName,
    },
    /// The end of the file is missing.
    #[error("bank file {} is cut short: {RESTORE}", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what was written.
    #[error("bank file {} was altered or damaged after it was written: {RESTORE}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a bank file: {RESTORE}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later release.
    #[error("bank file {} is of format version {version}, newer than this release reads: update, or {RESTORE}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u64,
    },
    /// The file holds a bank of another name.
    #[error("bank file {} holds the bank `{holds}`: rename it back, or {RESTORE}", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The name inside.
        holds: BankName,
    },
    /// No picture of a file can be told apart from others.
    #[error("none of the {pictures} pictures of {file} is worth banking for `{bank}` ({reasons}): add a clearer copy")]
    NothingUseful {
        /// The bank that it was for.
        bank: BankName,
        /// The file.
        file: String,
        /// How many pictures it gave.
        pictures: usize,
        /// Why they were refused, counted.
        reasons: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: check the folder's permissions and free space", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl BankError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoFolder { .. } => "no_folder",
            Self::NoBank { .. } => "no_bank",
            Self::Exists { .. } => "exists",
            Self::NotInBank { .. } => "not_in_bank",
            Self::NotWhole { .. } => "not_whole",
            Self::NotABankName { .. } => "not_a_bank_name",
            Self::CutShort { .. } => "cut_short",
            Self::Altered { .. } => "altered",
            Self::Foreign { .. } => "foreign",
            Self::Newer { .. } => "newer",
            Self::Misnamed { .. } => "misnamed",
            Self::NothingUseful { .. } => "nothing_useful",
            Self::Io { .. } => "io",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(id: u64, hash: PdqHash) -> Signal {
        Signal { id, hash, ..Signal::example() }
    }

    #[test]
    fn no_hash_of_a_bank_shows_in_logs() {
        let bank = Bank::new("b".parse().unwrap(), Settings::default(), 1, Timestamp::ZERO, vec![Signal::example()]);
        let logged = format!("{bank:?}");
        let hash = Signal::example().hash;
        assert!(logged.contains("clip.mp4") && !logged.contains(&hash.to_string()), "{logged}");
        assert!(hash.words().iter().all(|word| *word == 0 || !logged.contains(&word.to_string())), "{logged}");
    }

    #[test]
    fn of_signals_equally_near_the_lowest_identifier_wins() {
        let (near, far) = (PdqHash::from_words([0, 0, 0, 1]), PdqHash::from_words([0, 0, 0, 0b111]));
        let signals = vec![signal(9, near), signal(3, near), signal(7, near), signal(1, far)];
        let bank = Bank::new("b".parse().unwrap(), Settings::default(), 1, Timestamp::ZERO, signals);
        let nearest = |max| bank.nearest(&PdqHash::ZERO, max).map(|(signal, distance)| (signal.id, distance));
        assert_eq!(nearest(31), Some((3, 1)));
        assert_eq!(nearest(1), Some((3, 1)));
        assert_eq!(nearest(0), None);
    }

    #[test]
    fn a_large_bank_answers_as_a_small_one_does() {
        let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = |n: u64| PdqHash::from_words([spread(n), spread(n + 1), spread(n + 2) & !0xff, n % 5]);
        let large = Index::WORTHWHILE as u64;
        let signals: Vec<Signal> = (0..large).map(|n| signal(large - n, hash(n / 2))).collect();
        let bank = |signals| Bank::new("b".parse().unwrap(), Settings::default(), 1, Timestamp::ZERO, signals);
        let (small, large) = (bank(signals[..1000].to_vec()), bank(signals));
        assert!(matches!((&small.search, &large.search), (Search::Scan(_), Search::Index(_))));
        for (bank, n) in [(&small, 3), (&small, 400), (&large, 3), (&large, 9_000)] {
            let query = PdqHash::from_words([spread(n), spread(n + 1), spread(n + 2) | 3, n % 5]);
            for max in [0, 2, 31, 200] {
                let mut expected: Vec<_> = bank
                    .signals()
                    .iter()
                    .map(|signal| (signal.hash.distance(&query), signal.id))
                    .filter(|(distance, _)| *distance <= max)
                    .collect();
                expected.sort_unstable();
                let found: Vec<_> =
                    bank.within(&query, max).iter().map(|(signal, distance)| (*distance, signal.id)).collect();
                assert_eq!(found, expected);
                let nearest = bank.nearest(&query, max).map(|(signal, distance)| (distance, signal.id));
                assert_eq!(nearest.as_ref(), expected.first());
            }
        }
    }
}
