//! A folder of banks, and all that can be done to one.
//!
//! Whoever changes a bank holds the folder's lock, writes a new head beside the old one, has it reach the disk and then
//! puts it in the old one's place; so a reader, who needs no lock, and a crash at any point, find the old bank or the new
//! one. The files are told in `files`; how a new base is made in `compaction`.

mod compaction;
mod draft;
mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::{Base, Indexed};
use super::dense::{self, Chosen, Frame};
use super::file::Head;
use super::index::Index;
use super::quarantine::Quarantine;
use super::{Bank, BankError, BankName, Import, Imported, Kind, Provenance, Settings, Signal};
use crate::clock::Timestamp;
use crate::decision::Verdict;
use crate::finding::Opinion;

pub use compaction::Compaction;
pub(super) use draft::Draft;
use files::ENDING;

/// A folder of banks.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    /// From how many signals on a bank has a base.
    worthwhile: usize,
    /// How often its names reach the disk before that fails.
    #[cfg(test)]
    syncs: tests::Syncs,
}

/// What to add to a bank: the pictures of one file.
#[derive(Debug, Clone)]
pub struct Content {
    /// The file.
    pub provenance: Provenance,
    /// How far it is vouched for.
    pub opinion: Opinion,
    /// Its pictures, in order.
    pub frames: Vec<Frame>,
    /// Bits that a picture must differ by from the last one kept: see [`dense::keep`].
    pub every_bits: u32,
}

/// Settings to change while adding; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// See [`Settings::description`].
    pub description: Option<String>,
    /// See [`Settings::label`].
    pub label: Option<String>,
    /// See [`Settings::max_distance`].
    pub max_distance: Option<u32>,
    /// See [`Settings::min_quality`].
    pub min_quality: Option<u8>,
    /// See [`Settings::kind`].
    pub kind: Option<Kind>,
    /// See [`Settings::quorum`].
    pub quorum: Option<u32>,
    /// See [`Settings::at_most`].
    pub at_most: Option<Verdict>,
    /// See [`Settings::enabled`].
    pub enabled: Option<bool>,
    /// See [`Settings::until`].
    pub until: Option<Option<Timestamp>>,
}

/// What became of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The bank's revision with it.
    pub revision: u64,
    /// What was kept, left out and refused; none if the bank already had the very same file.
    pub chosen: Option<Chosen>,
}

/// Which signals to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those with these identifiers.
    Ids(Vec<u64>),
    /// Those that were taken from, or imported with, the file of this name or SHA-256.
    File(String),
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// How many signals were removed.
    pub signals: usize,
    /// The bank's revision without them.
    pub revision: u64,
}

impl Store {
    /// The banks in `folder`.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open(folder: &Path) -> Result<Self, BankError> {
        if folder.is_dir() {
            Ok(Self {
                folder: folder.to_owned(),
                worthwhile: Index::WORTHWHILE,
                #[cfg(test)]
                syncs: tests::Syncs::default(),
            })
        } else {
            Err(BankError::NoFolder { folder: folder.to_owned() })
        }
    }

    /// The names of all banks, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file in it ends in `.bank` and has a name that no bank can have.
    pub fn names(&self) -> Result<Vec<BankName>, BankError> {
        let unreadable = |source| BankError::Io { doing: "read the folder", path: self.folder.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                names.push(stem.parse().map_err(|source| BankError::NotABankName { path: path.clone(), source })?);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads one bank.
    ///
    /// # Errors
    /// When there is none of that name, or its file is not exactly what was written.
    pub fn load(&self, name: &BankName) -> Result<Bank, BankError> {
        self.load_keeping(name, None)
    }

    /// [`Self::load`], which keeps the base that is `known` where the bank still builds on it.
    pub(super) fn load_keeping(&self, name: &BankName, known: Option<&Arc<Indexed>>) -> Result<Bank, BankError> {
        let head = || self.head(name)?.ok_or_else(|| self.no_bank(name));
        let mut read = head()?;
        loop {
            let missing = match self.indexed(&read, known) {
                Ok(base) => return Ok(Bank::of(read, base)),
                Err(missing) => missing,
            };
            // A compaction may have put another base in the place of this one since the head was read.
            let now = head()?;
            if now.numbers == read.numbers && now.base == read.base {
                return Err(missing);
            }
            read = now;
        }
    }

    /// Makes a bank with nothing in it.
    ///
    /// # Errors
    /// When there is one of that name, or it cannot be written.
    pub fn create(&self, name: &BankName, changes: &Changes, now: Timestamp) -> Result<u64, BankError> {
        let made = self.alter_head(name, now, |draft| {
            if draft.is_there() {
                return Err(BankError::Exists { name: name.clone() });
            }
            draft.set(changes);
            Ok(())
        });
        Ok(made?.1)
    }

    /// Changes the settings of a bank; gives its revision with them.
    ///
    /// # Errors
    /// When there is no such bank, or it cannot be read or written.
    pub fn set(&self, name: &BankName, changes: &Changes, now: Timestamp) -> Result<u64, BankError> {
        let set = self.alter_head(name, now, |draft| {
            self.must_be_there(name, draft)?;
            draft.set(changes);
            Ok(())
        });
        Ok(set?.1)
    }

    /// Adds the pictures of one file to a bank, all that are fit or, on any error, none. A bank that is not there yet is
    /// made. Waits for other processes that change a bank of the same folder.
    ///
    /// # Errors
    /// When the bank cannot be read or written, or no picture is fit to be banked.
    pub fn add(
        &self,
        name: &BankName,
        changes: &Changes,
        content: Content,
        now: Timestamp,
    ) -> Result<Added, BankError> {
        let Content { provenance, opinion, frames, every_bits } = content;
        let (chosen, revision) = self.alter(name, now, |draft| {
            draft.set(changes);
            if draft.has_file(&provenance.sha256) {
                return Ok(None);
            }
            let chosen = dense::choose(&frames, draft.settings().min_quality, every_bits);
            if chosen.kept.is_empty() {
                let (bank, reasons) = (name.clone(), chosen.reasons());
                return Err(BankError::NothingUseful { bank, file: provenance.file, pictures: frames.len(), reasons });
            }
            let provenance = Arc::new(provenance);
            draft.extend(chosen.kept.iter().map(|frame| Signal {
                id: 0,
                hash: frame.pdq.hash,
                quality: Some(frame.pdq.quality),
                opinion,
                provenance: Arc::clone(&provenance),
                banked_at: frame.at,
                record: None,
                added: now,
            }));
            Ok(Some(chosen))
        })?;
        Ok(Added { revision, chosen })
    }

    /// Adds and removes what a list from elsewhere says, all of it or, on any error, nothing. A bank that is not there yet
    /// is made, unless nothing of the list is fit for it. Waits for other processes as [`Store::add`] does.
    ///
    /// # Errors
    /// When the bank cannot be read or written, or a list that is to stand for all that its provider has is not whole.
    pub fn import(
        &self,
        name: &BankName,
        changes: &Changes,
        list: Import,
        now: Timestamp,
    ) -> Result<(Imported, u64), BankError> {
        self.alter(name, now, |draft| {
            draft.set(changes);
            let imported = list.apply(draft, now)?;
            draft.is_worth_making(imported.added > 0);
            Ok(imported)
        })
    }

    /// Removes signals.
    ///
    /// # Errors
    /// When there is no such bank, nothing in it is what is named, or it cannot be read or written.
    pub fn remove(&self, name: &BankName, which: &Which, now: Timestamp) -> Result<Removed, BankError> {
        let base = match which {
            Which::Ids(_) => Self::base_unread,
            Which::File(_) => Self::base,
        };
        let (signals, revision) = self.alter_with(base, name, now, |draft| {
            self.must_be_there(name, draft)?;
            let missing = |what| Err(BankError::NotInBank { bank: name.clone(), what });
            let signals = match which {
                Which::Ids(ids) => {
                    if let Some(id) = ids.iter().find(|id| !draft.has(**id)) {
                        return missing(format!("signal {id}"));
                    }
                    draft.remove(ids)
                }
                Which::File(file) => draft.remove_file(file),
            };
            match which {
                Which::File(file) if signals == 0 => missing(format!("of the file {file}")),
                _ => Ok(signals),
            }
        })?;
        Ok(Removed { signals, revision })
    }

    /// Sets signals aside: they stay in the bank, and whoever weighs matches passes them over. One that is set aside already
    /// keeps its reason; one that is no longer in the bank is passed over, as it may have been removed meanwhile. Gives the
    /// revision with them.
    ///
    /// # Errors
    /// When there is no such bank, or it cannot be read or written.
    pub fn quarantine(&self, name: &BankName, ids: &[u64], reason: &str, now: Timestamp) -> Result<u64, BankError> {
        let set_aside = self.alter_head(name, now, |draft| {
            self.must_be_there(name, draft)?;
            for id in ids {
                draft.quarantine(*id, || Quarantine { since: now, reason: reason.to_owned() });
            }
            Ok(())
        });
        Ok(set_aside?.1)
    }

    /// Lets signals that were set aside count again, one that is named twice as one; gives the revision with them.
    ///
    /// # Errors
    /// When there is no such bank, one of them is not set aside, or the bank cannot be read or written.
    pub fn release(&self, name: &BankName, ids: &[u64], now: Timestamp) -> Result<u64, BankError> {
        let released = self.alter_head(name, now, |draft| {
            self.must_be_there(name, draft)?;
            for id in ids.iter().collect::<BTreeSet<_>>() {
                if !draft.release(*id) {
                    let what = format!("signal {id} in quarantine");
                    return Err(BankError::NotInBank { bank: name.clone(), what });
                }
            }
            Ok(())
        });
        Ok(released?.1)
    }

    fn must_be_there(&self, name: &BankName, draft: &Draft) -> Result<(), BankError> {
        if draft.is_there() { Ok(()) } else { Err(self.no_bank(name)) }
    }

    fn no_bank(&self, name: &BankName) -> BankError {
        BankError::NoBank { name: name.clone(), folder: self.folder.clone() }
    }

    /// Has `edit` change a bank, holding the lock, and replaces its head if anything changed. Gives the revision with it. Reads the
    /// base whole, to compare its checksums.
    fn alter<T>(
        &self,
        name: &BankName,
        now: Timestamp,
        edit: impl FnOnce(&mut Draft) -> Result<T, BankError>,
    ) -> Result<(T, u64), BankError> {
        self.alter_with(Self::base, name, now, edit)
    }

    /// [`Self::alter`], for an `edit` that asks of the base at most which identifiers it has: however large that is, it takes no
    /// longer.
    fn alter_head<T>(
        &self,
        name: &BankName,
        now: Timestamp,
        edit: impl FnOnce(&mut Draft) -> Result<T, BankError>,
    ) -> Result<(T, u64), BankError> {
        self.alter_with(Self::base_unread, name, now, edit)
    }

    fn alter_with<T>(
        &self,
        base: impl FnOnce(&Self, &Head) -> Result<Option<Base>, BankError>,
        name: &BankName,
        now: Timestamp,
        edit: impl FnOnce(&mut Draft) -> Result<T, BankError>,
    ) -> Result<(T, u64), BankError> {
        let _lock = self.lock()?;
        let mut draft = match self.head(name)? {
            Some(head) => Draft::of(base(self, &head)?, self.index_path(&head), head),
            None => Draft::new(self.unborn(name, now)?),
        };
        let answer = edit(&mut draft)?;
        let revision = self.settle(draft)?;
        Ok((answer, revision))
    }
}

impl Changes {
    fn apply(self, settings: Settings) -> Settings {
        Settings {
            description: self.description.unwrap_or(settings.description),
            label: self.label.unwrap_or(settings.label),
            max_distance: self.max_distance.unwrap_or(settings.max_distance),
            min_quality: self.min_quality.unwrap_or(settings.min_quality),
            kind: self.kind.unwrap_or(settings.kind),
            quorum: self.quorum.unwrap_or(settings.quorum),
            at_most: self.at_most.unwrap_or(settings.at_most),
            enabled: self.enabled.unwrap_or(settings.enabled),
            until: self.until.unwrap_or(settings.until),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod twin;
