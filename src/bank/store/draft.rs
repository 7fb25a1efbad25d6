//! A bank while it is being changed. What is in its base stays there: that something of it is gone is noted in the head, and
//! what is looked for in it is found without going through it where that can be.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::Changes;
use crate::bank::base::{Base, Row};
use crate::bank::file::Head;
use crate::bank::index::Index;
use crate::bank::mapped::{self, IndexError};
use crate::bank::quarantine::Quarantine;
use crate::bank::{Settings, Signal};
use crate::hash::PdqHash;

/// See the module.
pub(in crate::bank) struct Draft {
    pub(super) head: Head,
    pub(super) base: Option<Based>,
    pub(super) changed: bool,
    pub(super) worth_making: bool,
}

/// The base of a draft, and its index once that is needed.
pub(super) struct Based {
    pub(super) base: Base,
    index_path: PathBuf,
    index: OnceCell<(Option<Index>, Option<IndexError>)>,
}

impl Based {
    fn index(&self) -> Option<&Index> {
        let open = || match mapped::open(&self.index_path) {
            Ok((index, built)) if built == *self.base.identity() && index.len() == self.base.len() => {
                (Some(index), None)
            }
            Ok(_) => (Index::build(self.base.hashes()), Some(IndexError::Other { path: self.index_path.clone() })),
            Err(problem) => (Index::build(self.base.hashes()), Some(problem)),
        };
        self.index.get_or_init(open).0.as_ref()
    }

    /// An index that had to be built, since the file is not fit: to be put in its place.
    pub(super) fn unsaved_index(&self) -> Option<&Index> {
        self.index.get().filter(|(_, problem)| problem.is_some())?.0.as_ref()
    }
}

impl Draft {
    /// A bank that is there.
    pub(super) fn of(base: Option<Base>, index_path: PathBuf, head: Head) -> Self {
        let base = base.map(|base| Based { base, index_path, index: OnceCell::new() });
        Self { head, base, changed: false, worth_making: true }
    }

    /// A bank that is to be made.
    pub(super) const fn new(head: Head) -> Self {
        Self { head, base: None, changed: true, worth_making: true }
    }

    /// Whether the bank is there already.
    pub(super) const fn is_there(&self) -> bool {
        self.head.revision > 0
    }

    /// Whether a bank that is not there is worth making.
    pub(super) const fn is_worth_making(&mut self, it_is: bool) {
        self.worth_making = it_is;
    }

    pub(in crate::bank) const fn settings(&self) -> &Settings {
        &self.head.settings
    }

    pub(super) fn set(&mut self, changes: &Changes) {
        let changed = changes.clone().apply(self.head.settings.clone());
        self.changed |= changed != self.head.settings;
        self.head.settings = changed;
    }

    /// Puts signals to the others and gives them identifiers.
    pub(in crate::bank) fn extend(&mut self, signals: impl IntoIterator<Item = Signal>) {
        for signal in signals {
            let id = self.head.next_id;
            self.head.tail.push(Signal { id, ..signal });
            self.head.next_id += 1;
            self.changed = true;
        }
    }

    pub(super) fn has(&self, id: u64) -> bool {
        let in_base = || {
            let place = self.base.as_ref().and_then(|based| based.base.place_of(id));
            place.is_some() && !self.head.removed.contains(&id)
        };
        self.head.tail.binary_search_by_key(&id, |signal| signal.id).is_ok() || in_base()
    }

    /// Whether anything was taken from, or came with, the file of this SHA-256.
    pub(super) fn has_file(&self, sha256: &str) -> bool {
        let in_base = || {
            let Some(Based { base, .. }) = &self.base else { return false };
            let numbers = base.provenances_of(sha256);
            // Those of it that are in the base may all be removed by now.
            !numbers.is_empty() && self.kept().any(|row| numbers.contains(&row.provenance))
        };
        self.head.tail.iter().any(|signal| signal.provenance.sha256 == sha256) || in_base()
    }

    /// The records that name a hash, with none for each signal that came without.
    pub(in crate::bank) fn records_in_base(&self, hash: &PdqHash) -> Vec<Option<Arc<str>>> {
        let mut records = Vec::new();
        if let Some(based) = &self.base {
            let mut found = |place, _distance| {
                let row = based.base.row(place).filter(|row| !self.head.removed.contains(&row.id));
                records.extend(row.map(|row| row.record.map(|record| based.base.record(record).into())));
            };
            if let Some(index) = based.index() {
                index.within(hash, 0, &mut found);
            }
        }
        records
    }

    /// What was added since the base was made.
    pub(in crate::bank) fn tail(&self) -> &[Signal] {
        &self.head.tail
    }

    /// Takes out what `renewed` records and, where a list is all that a provider has, other records of it brought, but for
    /// what the list still names; gives how many signals that were.
    pub(in crate::bank) fn withdraw(
        &mut self,
        renewed: &HashSet<Arc<str>>,
        whole: Option<&str>,
        is_named: impl Fn(&Arc<str>, &PdqHash) -> bool,
    ) -> usize {
        let is_of_provider = |record: &str| whole.is_some_and(|provider| record.starts_with(provider));
        let gone = |record: &Arc<str>, hash: &PdqHash| {
            (renewed.contains(record) || is_of_provider(record)) && !is_named(record, hash)
        };
        let tail = self.head.tail.iter();
        let tail = tail.filter(|signal| signal.record.as_ref().is_some_and(|record| gone(record, &signal.hash)));
        let mut ids: Vec<u64> = tail.map(|signal| signal.id).collect();
        if let Some(Based { base, .. }) = &self.base {
            let mut numbers: HashSet<u32> = renewed.iter().filter_map(|record| base.number_of(record)).collect();
            numbers.extend(whole.map_or(0..0, |provider| base.records_of(provider)));
            if !numbers.is_empty() {
                let of_record = |row: &Row| row.record.filter(|record| numbers.contains(record));
                let rows = self.kept().filter_map(|row| Some((of_record(&row)?, row)));
                let rows = rows.filter(|(record, row)| gone(&base.record(*record).into(), &row.hash));
                ids.extend(rows.map(|(_, row)| row.id));
            }
        }
        self.remove(&ids)
    }

    /// Takes out all that was taken from, or came with, the file of this name or SHA-256; gives how many signals that were.
    pub(super) fn remove_file(&mut self, file: &str) -> usize {
        let is_of_file = |signal: &&Signal| signal.provenance.file == file || signal.provenance.sha256 == file;
        let mut ids: Vec<u64> = self.head.tail.iter().filter(is_of_file).map(|signal| signal.id).collect();
        if let Some(Based { base, .. }) = &self.base {
            let numbers = base.provenances_named(file);
            if !numbers.is_empty() {
                ids.extend(self.kept().filter(|row| numbers.contains(&row.provenance)).map(|row| row.id));
            }
        }
        self.remove(&ids)
    }

    /// Takes signals out that are in the bank; gives how many there were.
    pub(super) fn remove(&mut self, ids: &[u64]) -> usize {
        let ids: BTreeSet<u64> = ids.iter().copied().collect();
        let before = self.head.tail.len();
        self.head.tail.retain(|signal| !ids.contains(&signal.id));
        let of_tail = before - self.head.tail.len();
        let mut of_base = 0;
        if let Some(Based { base, .. }) = &self.base {
            for id in ids.iter().filter(|id| base.place_of(**id).is_some()) {
                of_base += usize::from(self.head.removed.insert(*id));
            }
        }
        self.head.quarantined.retain(|id, _| !ids.contains(id));
        self.changed |= of_tail + of_base > 0;
        of_tail + of_base
    }

    /// Sets a signal aside, if it is in the bank and is not set aside yet.
    pub(super) fn quarantine(&mut self, id: u64, why: impl FnOnce() -> Quarantine) {
        if self.has(id) && !self.head.quarantined.contains_key(&id) {
            self.head.quarantined.insert(id, why());
            self.changed = true;
        }
    }

    /// Lets a signal count again; whether it was set aside.
    pub(super) fn release(&mut self, id: u64) -> bool {
        let was = self.head.quarantined.remove(&id).is_some();
        self.changed |= was;
        was
    }

    fn kept(&self) -> impl Iterator<Item = Row> {
        self.base.iter().flat_map(|based| based.base.kept(&self.head.removed))
    }
}
