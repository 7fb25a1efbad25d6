//! Makes a new base of a bank, of the old one and what has changed since.
//!
//! The work is done from a snapshot, without the lock: others change and read the bank meanwhile. Then, with the lock, what has
//! changed since the snapshot is carried over, and the new head put in place; killed before that, all is as it was. A change
//! that is itself too large for a head brings a new base with it at once, with the lock held.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Store;
use super::draft::{Based, Draft};
use super::files::Maker;
use crate::bank::base::{self, Base, Contents, Indexed};
use crate::bank::file::{self, Head};
use crate::bank::index::Index;
use crate::bank::mapped::{self, IndexError};
use crate::bank::{Bank, BankError, BankName};

/// What became of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// A new base was made, or a bank that had become small went without.
    Done {
        /// How many signals the new base has; 0 where there is none any more.
        in_base: usize,
    },
    /// Only the index was written again.
    Indexed,
    /// There was nothing to do.
    Idle,
    /// A large change, or somebody who moved the bank away, came first: what was made was dropped.
    Overtaken,
}

impl Store {
    /// Makes a new base of a bank, in the time that ten million signals take some ten seconds of; reading and changing it goes
    /// on meanwhile. One compaction at a time: waits for others.
    ///
    /// # Errors
    /// When there is no such bank, or it cannot be read or written; it is then as it was.
    pub fn compact(&self, name: &BankName) -> Result<Compaction, BankError> {
        let _turn = self.turn()?;
        let snapshot = self.load(name)?;
        let large = snapshot.len() >= self.worthwhile;
        if large && snapshot.head().changes() > 0 {
            return self.rebase(&snapshot);
        }
        if !large && snapshot.base().is_some() {
            return self.fold(&snapshot);
        }
        if let Some(indexed) = snapshot.base().filter(|indexed| indexed.problem.is_some()) {
            return self.index_again(snapshot.head(), indexed);
        }
        Ok(Compaction::Idle)
    }

    /// [`Self::compact`] where it is time to.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub fn compact_if_due(&self, name: &BankName) -> Result<Compaction, BankError> {
        let is_due = self.head(name)?.is_some_and(|head| head.changes() >= head.bearable(self.worthwhile));
        if is_due { self.compact(name) } else { Ok(Compaction::Idle) }
    }

    /// The turn is held, the lock is not.
    fn rebase(&self, snapshot: &Bank) -> Result<Compaction, BankError> {
        let head = snapshot.head();
        let base = snapshot.base().map(|indexed| &indexed.base);
        let contents = Contents { base, removed: &head.removed, tail: &head.tail };
        let made = Made::new(self.making(&head.name, Maker::Compaction), &head.name, &contents)?;

        let _lock = self.lock()?;
        let Some(now) = self.unless_overtaken(head)? else { return Ok(Compaction::Overtaken) };
        let in_tail: BTreeSet<u64> = now.tail.iter().map(|signal| signal.id).collect();
        let removed_from_tail = head.tail.iter().map(|signal| signal.id).filter(|id| !in_tail.contains(id));
        let removed = now.removed.difference(&head.removed).copied().chain(removed_from_tail).collect();
        let tail = now.tail.iter().filter(|signal| signal.id >= head.next_id).cloned().collect();
        let in_base = made.base.len();
        let next = Head { removed, tail, ..now };
        self.put_in_place(made, next)?;
        Ok(Compaction::Done { in_base })
    }

    /// A bank that has become small needs no base.
    fn fold(&self, snapshot: &Bank) -> Result<Compaction, BankError> {
        let _lock = self.lock()?;
        let Some(now) = self.unless_overtaken(snapshot.head())? else { return Ok(Compaction::Overtaken) };
        let Some(base) = self.base(&now)? else { return Ok(Compaction::Overtaken) };
        self.put_whole(Some(&base), now)?;
        Ok(Compaction::Done { in_base: 0 })
    }

    /// Puts a head in its place that has all signals and names no base. The lock is held.
    fn put_whole(&self, base: Option<&Base>, head: Head) -> Result<(), BankError> {
        let of_base = base.iter().flat_map(|base| base.signals(&head.removed));
        let tail = of_base.chain(head.tail.iter().cloned()).collect();
        let head = Head { base: None, removed: BTreeSet::new(), tail, ..head };
        self.replace(&head)?;
        self.tidy(&head);
        Ok(())
    }

    fn index_again(&self, head: &Head, indexed: &Indexed) -> Result<Compaction, BankError> {
        let _lock = self.lock()?;
        let Some(now) = self.unless_overtaken(head)? else { return Ok(Compaction::Overtaken) };
        save_index(&self.index_path(&now), &indexed.index, &indexed.base)?;
        // Whoever has the bank in force looks at its head only: seen anew, it is read with the index.
        self.replace(&now)?;
        Ok(Compaction::Indexed)
    }

    /// The head as it is now, where it still builds on what `before` did and is of the same bank.
    fn unless_overtaken(&self, before: &Head) -> Result<Option<Head>, BankError> {
        let is_the_same = |now: &Head| {
            let same = (now.numbers, &now.base, now.created) == (before.numbers, &before.base, before.created);
            same && now.revision >= before.revision
        };
        Ok(self.head(&before.name)?.filter(is_the_same))
    }

    /// The lock is held.
    fn put_in_place(&self, mut made: Made, head: Head) -> Result<(), BankError> {
        let outdated = head.base.is_some().then(|| self.numbered(&head.name, head.numbers.last));
        let numbers = self.next_numbers(&head)?;
        let places = self.numbered(&head.name, numbers.last);
        self.mark_unfinished(&head.name, numbers.last)?;
        for (from, to) in made.paths.iter().zip(&places) {
            fs::rename(from, to).map_err(|source| BankError::Io { doing: "write", path: to.clone(), source })?;
        }
        made.paths = places;
        self.sync().map_err(|source| BankError::Io { doing: "write", path: self.folder.clone(), source })?;
        let base = file::Base { signals: made.base.len() as u64, identity: *made.base.identity() };
        let head = Head { numbers, base: Some(base), ..head };
        // Even where this fails the head may be in its place already, and only the sync of the folder have failed: the base goes only
        // if it is certain that no head names it. What is left over the next writer clears away.
        made.in_place = true;
        self.replace(&head).inspect_err(|_| {
            made.in_place = !self.head(&head.name).is_ok_and(|now| now.is_none_or(|now| now.numbers != numbers));
        })?;
        outdated.iter().for_each(remove);
        self.tidy(&head);
        Ok(())
    }

    /// Puts a changed bank in the place of what was there; gives its revision. The lock is held.
    pub(super) fn settle(&self, draft: Draft) -> Result<u64, BankError> {
        let Draft { mut head, base, changed, worth_making } = draft;
        let as_it_was = if head.revision == 0 { !worth_making } else { !changed };
        if as_it_was {
            return Ok(head.revision);
        }
        head.revision += 1;
        let revision = head.revision;
        if head.changes() > 2 * head.bearable(self.worthwhile) {
            // With every checksum compared: nothing else of the base is to be copied.
            let base = self.base(&head)?;
            let left = base.as_ref().map_or(0, |base| base.kept(&head.removed).count()) + head.tail.len();
            if left < self.worthwhile {
                self.put_whole(base.as_ref(), head)?;
                return Ok(revision);
            }
            let contents = Contents { base: base.as_ref(), removed: &head.removed, tail: &head.tail };
            let made = Made::new(self.making(&head.name, Maker::Writer), &head.name, &contents)?;
            self.put_in_place(made, Head { removed: BTreeSet::new(), tail: Vec::new(), ..head })?;
            return Ok(revision);
        }
        if let Some((index, based)) = base.as_ref().and_then(|based: &Based| Some((based.unsaved_index()?, based))) {
            // Before the head, whose change has others read it again. One that cannot be written is built by whoever needs it.
            save_index(&self.index_path(&head), index, &based.base).ok();
        }
        self.replace(&head)?;
        self.tidy(&head);
        Ok(revision)
    }
}

fn save_index(path: &Path, index: &Index, base: &Base) -> Result<(), BankError> {
    mapped::save(path, index, *base.identity()).map_err(|error| match error {
        IndexError::Io { doing, path, source } => BankError::Io { doing, path, source },
        other => BankError::Index(other.into()),
    })
}

/// A new base and its index, on the disk; removed again unless they are put in place.
struct Made {
    paths: [PathBuf; 2],
    base: Base,
    in_place: bool,
}

impl Made {
    fn new(paths: [PathBuf; 2], name: &BankName, contents: &Contents<'_>) -> Result<Self, BankError> {
        let made = Self::make(&paths, name, contents);
        if made.is_err() {
            remove(&paths);
        }
        Ok(Self { base: made?, paths, in_place: false })
    }

    fn make(paths: &[PathBuf; 2], name: &BankName, contents: &Contents<'_>) -> Result<Base, BankError> {
        let [signals, index] = paths;
        let write = |source| BankError::Io { doing: "write", path: signals.clone(), source };
        base::write(signals, name, contents).map_err(write)?;
        let base = Base::open(signals, name)?;
        // More rows than places can number are refused when the base is opened.
        if let Some(built) = Index::build(base.hashes()) {
            save_index(index, &built, &base)?;
        }
        Ok(base)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.in_place {
            remove(&self.paths);
        }
    }
}

/// What cannot be removed is left to the next writer.
fn remove(paths: &[PathBuf; 2]) {
    for path in paths {
        fs::remove_file(path).ok();
    }
}
