//! A bank in memory: its head, its base where it has one, and a way to search both.

use std::sync::Arc;

use super::base::{Indexed, Row};
use super::file::Head;
use super::index::{Index, Live};
use super::quarantine::Quarantine;
use super::{BankError, BankName, Provenance, Scan, Settings, Signal};
use crate::clock::Timestamp;
use crate::hash::PdqHash;

/// A bank as it was at one revision. Immutable, and but for what changed since its base was made it takes no memory of its
/// own: signals are made when they are asked for.
#[derive(Debug, Clone)]
pub struct Bank {
    head: Head,
    base: Option<Arc<Indexed>>,
    search: Search,
}

/// How signals are found by their hashes. A place is one in the base, or goes on behind it in the tail.
#[derive(Debug, Clone)]
enum Search {
    /// In a small bank: by comparing all.
    Scan(Scan),
    /// In a large one.
    Live(Live),
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
        let next_id = signals.last().map_or(1, |last| last.id.saturating_add(1));
        let head = Head { next_id, tail: signals, ..Head::new(name, settings, revision, created) };
        Self::of(head, None)
    }

    /// The bank of a head and the base that it builds on.
    pub(super) fn of(head: Head, base: Option<Arc<Indexed>>) -> Self {
        let tail = head.tail.iter().map(|signal| signal.hash);
        let search = match &base {
            Some(indexed) => {
                let removed = head.removed.iter().filter_map(|id| indexed.base.place_of(*id));
                Search::Live(Live::new(indexed.index.clone()).with(tail).without(removed))
            }
            // Too many to scan, such as of a release that had no bases: indexed in memory until a base is made of them.
            None if head.tail.len() >= Index::WORTHWHILE => {
                let index = Index::build(tail.clone());
                index.map_or_else(|| Search::Scan(tail.collect()), |index| Search::Live(Live::new(index)))
            }
            None => Search::Scan(tail.collect()),
        };
        Self { head, base, search }
    }

    /// Its name.
    pub const fn name(&self) -> &BankName {
        &self.head.name
    }

    /// What it says of itself.
    pub const fn settings(&self) -> &Settings {
        &self.head.settings
    }

    /// Counts its changes from 1. Compaction is none.
    pub const fn revision(&self) -> u64 {
        self.head.revision
    }

    /// When its first content was added.
    pub const fn created(&self) -> Timestamp {
        self.head.created
    }

    /// How many signals it has.
    pub fn len(&self) -> usize {
        (self.in_base() + self.head.tail.len()).saturating_sub(self.head.removed.len())
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many signals its base has, those removed since among them; 0 where it has none.
    pub fn in_base(&self) -> usize {
        self.base.as_ref().map_or(0, |indexed| indexed.base.len())
    }

    /// How many signals were added, and how many removed, since its base was made.
    pub fn since_base(&self) -> (usize, usize) {
        (self.head.tail.len(), self.head.removed.len())
    }

    /// Whether it is time to make a new base of it, or its index has to be written again.
    pub fn is_compaction_due(&self) -> bool {
        self.head.changes() >= self.head.bearable(Index::WORTHWHILE) || self.problem().is_some()
    }

    /// Why its index had to be built in memory; none where it was mapped, or there is no base.
    pub fn problem(&self) -> Option<BankError> {
        let problem = self.base.as_ref()?.problem.as_ref()?;
        Some(BankError::Index(Arc::clone(problem)))
    }

    /// Whether the index, where there is a base, is an index of exactly that. Looks at every hash.
    pub fn is_index_sound(&self) -> bool {
        self.base.as_ref().is_none_or(|indexed| indexed.index.iter().eq(indexed.base.hashes()))
    }

    /// Its signals, by rising identifier.
    pub fn signals(&self) -> impl Iterator<Item = Signal> {
        let base = self.base.iter().flat_map(|indexed| indexed.base.signals(&self.head.removed));
        base.chain(self.head.tail.iter().cloned())
    }

    /// The signal with this identifier.
    pub fn signal(&self, id: u64) -> Option<Signal> {
        if let Ok(place) = self.head.tail.binary_search_by_key(&id, |signal| signal.id) {
            return self.head.tail.get(place).cloned();
        }
        let base = &self.base.as_ref()?.base;
        let row = base.row(base.place_of(id).filter(|_| !self.head.removed.contains(&id))?)?;
        Some(base.signal(&row))
    }

    /// Why and since when a signal is set aside; none if it is not. Such a signal is found as any other: whoever weighs
    /// matches passes it over.
    pub fn quarantined(&self, id: u64) -> Option<&Quarantine> {
        self.head.quarantined.get(&id)
    }

    /// All signals that are set aside, by rising identifier.
    pub fn quarantine(&self) -> impl ExactSizeIterator<Item = (u64, &Quarantine)> {
        self.head.quarantined.iter().map(|(id, quarantine)| (*id, quarantine))
    }

    /// The signal nearest to `hash` and its distance, if that is at most `max_distance` bits. Of signals equally near, the
    /// one with the lowest identifier.
    pub fn nearest(&self, hash: &PdqHash, max_distance: u32) -> Option<(Signal, u32)> {
        self.nearest_place(hash, max_distance, |_| true)
    }

    /// As [`Self::nearest`], of the signals that are `wanted` alone.
    pub fn nearest_where(
        &self,
        hash: &PdqHash,
        max_distance: u32,
        wanted: impl Fn(&Signal) -> bool,
    ) -> Option<(Signal, u32)> {
        self.nearest_place(hash, max_distance, |place| self.at(place).is_some_and(|signal| wanted(&signal)))
    }

    fn nearest_place(
        &self,
        hash: &PdqHash,
        max_distance: u32,
        wanted: impl Fn(usize) -> bool,
    ) -> Option<(Signal, u32)> {
        let (place, distance) = match &self.search {
            Search::Scan(scan) => scan.nearest_where(hash, max_distance, wanted)?,
            Search::Live(live) => {
                let (place, distance) = live.nearest(hash, max_distance, |place| wanted(place as usize))?;
                (place as usize, distance)
            }
        };
        Some((self.at(place)?, distance))
    }

    /// Every signal at most `max_distance` bits from `hash`, and its distance: the nearest first, of those equally near
    /// the one with the lowest identifier.
    pub fn within(&self, hash: &PdqHash, max_distance: u32) -> Vec<(Signal, u32)> {
        let mut places = Vec::new();
        match &self.search {
            Search::Scan(scan) => scan.within(hash, max_distance, |place, distance| places.push((distance, place))),
            Search::Live(live) => {
                live.within(hash, max_distance, |place, distance| places.push((distance, place as usize)));
            }
        }
        places.sort_unstable();
        places.into_iter().filter_map(|(distance, place)| Some((self.at(place)?, distance))).collect()
    }

    fn at(&self, place: usize) -> Option<Signal> {
        match (&self.base, place.checked_sub(self.in_base())) {
            (_, Some(place)) => self.head.tail.get(place).cloned(),
            (Some(indexed), None) => Some(indexed.base.signal(&indexed.base.row(u32::try_from(place).ok()?)?)),
            (None, None) => None,
        }
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    pub(super) const fn base(&self) -> Option<&Arc<Indexed>> {
        self.base.as_ref()
    }

    pub(super) fn tail(&self) -> &[Signal] {
        &self.head.tail
    }

    /// The rows of the base that were not removed.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.base.iter().flat_map(|indexed| indexed.base.kept(&self.head.removed))
    }

    pub(super) fn provenance(&self, number: u32) -> Option<Provenance> {
        Some(self.base.as_ref()?.base.provenance(number))
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
        assert!(matches!((&small.search, &large.search), (Search::Scan(_), Search::Live(_))));
        for (bank, n) in [(&small, 3), (&small, 400), (&large, 3), (&large, 9_000)] {
            let query = PdqHash::from_words([spread(n), spread(n + 1), spread(n + 2) | 3, n % 5]);
            for max in [0, 2, 31, 200] {
                let mut expected: Vec<_> = bank
                    .signals()
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
