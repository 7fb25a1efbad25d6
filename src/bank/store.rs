//! A folder with one file a bank.
//!
//! Whoever changes a bank holds the folder's lock, writes a new file beside the old one, has it reach the disk and then
//! puts it in the old one's place; so a reader, who needs no lock, and a crash at any point, find the old bank or the new
//! one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dense::{self, Chosen, Frame};
use super::file::{self, Fault};
use super::quarantine::{Quarantine, Quarantined};
use super::{Bank, BankError, BankName, Import, Imported, Kind, Provenance, Settings, Signal};
use crate::clock::Timestamp;
use crate::decision::Verdict;
use crate::finding::Opinion;

/// The ending of a bank's file.
const ENDING: &str = "bank";

/// Held by whoever changes a bank of the folder.
const LOCK: &str = ".lock";

/// Banks may be confidential: the owner and their group only.
const MODE: u32 = 0o640;

/// A folder of banks.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
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

/// A bank while it is being changed.
pub(super) struct Draft {
    pub(super) settings: Settings,
    pub(super) signals: Vec<Signal>,
    quarantined: Quarantined,
    /// 0: the bank is not there yet.
    revision: u64,
    changed: bool,
    worth_making: bool,
}

impl Draft {
    fn has(&self, id: u64) -> bool {
        self.signals.binary_search_by_key(&id, |signal| signal.id).is_ok()
    }

    /// Puts signals to the others and gives them identifiers.
    pub(super) fn extend(&mut self, signals: impl IntoIterator<Item = Signal>) {
        let first = self.signals.last().map_or(1, |last| last.id + 1);
        let before = self.signals.len();
        self.signals.extend(signals.into_iter().zip(first..).map(|(signal, id)| Signal { id, ..signal }));
        self.changed |= self.signals.len() > before;
    }

    /// Takes signals out; gives how many there were.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&Signal) -> bool) -> usize {
        let before = self.signals.len();
        let quarantined = &mut self.quarantined;
        self.signals.retain(|signal| {
            let gone = is_gone(signal);
            if gone {
                quarantined.remove(&signal.id);
            }
            !gone
        });
        let gone = before - self.signals.len();
        self.changed |= gone > 0;
        gone
    }
}

impl Store {
    /// The banks in `folder`.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open(folder: &Path) -> Result<Self, BankError> {
        if folder.is_dir() {
            Ok(Self { folder: folder.to_owned() })
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
        self.find(name)?.ok_or_else(|| BankError::NoBank { name: name.clone(), folder: self.folder.clone() })
    }

    /// Makes a bank with nothing in it.
    ///
    /// # Errors
    /// When there is one of that name, or it cannot be written.
    pub fn create(&self, name: &BankName, changes: &Changes, now: Timestamp) -> Result<u64, BankError> {
        let made = self.alter(name, now, |draft| {
            if draft.revision > 0 {
                return Err(BankError::Exists { name: name.clone() });
            }
            draft.settings = changes.clone().apply(mem::take(&mut draft.settings));
            Ok(())
        });
        Ok(made?.1)
    }

    /// Changes the settings of a bank; gives its revision with them.
    ///
    /// # Errors
    /// When there is no such bank, or it cannot be read or written.
    pub fn set(&self, name: &BankName, changes: &Changes, now: Timestamp) -> Result<u64, BankError> {
        let set = self.alter(name, now, |draft| {
            self.must_be_there(name, draft)?;
            draft.settings = changes.clone().apply(mem::take(&mut draft.settings));
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
            draft.settings = changes.clone().apply(mem::take(&mut draft.settings));
            if draft.signals.iter().any(|signal| signal.provenance.sha256 == provenance.sha256) {
                return Ok(None);
            }
            let chosen = dense::choose(&frames, draft.settings.min_quality, every_bits);
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
            draft.settings = changes.clone().apply(mem::take(&mut draft.settings));
            let imported = list.apply(draft, now)?;
            draft.worth_making = imported.added > 0;
            Ok(imported)
        })
    }

    /// Removes signals.
    ///
    /// # Errors
    /// When there is no such bank, nothing in it is what is named, or it cannot be read or written.
    pub fn remove(&self, name: &BankName, which: &Which, now: Timestamp) -> Result<Removed, BankError> {
        let (signals, revision) = self.alter(name, now, |draft| {
            self.must_be_there(name, draft)?;
            let missing = |what| Err(BankError::NotInBank { bank: name.clone(), what });
            let signals = match which {
                Which::Ids(ids) => {
                    if let Some(id) = ids.iter().find(|id| !draft.has(**id)) {
                        return missing(format!("signal {id}"));
                    }
                    draft.remove(|signal| ids.contains(&signal.id))
                }
                Which::File(file) => {
                    draft.remove(|signal| signal.provenance.file == *file || signal.provenance.sha256 == *file)
                }
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
        let set_aside = self.alter(name, now, |draft| {
            self.must_be_there(name, draft)?;
            for id in ids {
                if draft.has(*id) && !draft.quarantined.contains_key(id) {
                    draft.quarantined.insert(*id, Quarantine { since: now, reason: reason.to_owned() });
                    draft.changed = true;
                }
            }
            Ok(())
        });
        Ok(set_aside?.1)
    }

    /// Lets signals that were set aside count again; gives the revision with them.
    ///
    /// # Errors
    /// When there is no such bank, one of them is not set aside, or the bank cannot be read or written.
    pub fn release(&self, name: &BankName, ids: &[u64], now: Timestamp) -> Result<u64, BankError> {
        let released = self.alter(name, now, |draft| {
            self.must_be_there(name, draft)?;
            for id in ids {
                if draft.quarantined.remove(id).is_none() {
                    let what = format!("signal {id} in quarantine");
                    return Err(BankError::NotInBank { bank: name.clone(), what });
                }
                draft.changed = true;
            }
            Ok(())
        });
        Ok(released?.1)
    }

    fn must_be_there(&self, name: &BankName, draft: &Draft) -> Result<(), BankError> {
        if draft.revision == 0 {
            return Err(BankError::NoBank { name: name.clone(), folder: self.folder.clone() });
        }
        Ok(())
    }

    /// Has `edit` change a bank, holding the lock, and replaces its file if anything changed. Gives the revision with it.
    fn alter<T>(
        &self,
        name: &BankName,
        now: Timestamp,
        edit: impl FnOnce(&mut Draft) -> Result<T, BankError>,
    ) -> Result<(T, u64), BankError> {
        let _lock = self.lock()?;
        let before = self.find(name)?;
        let settings = before.as_ref().map(|bank| bank.settings().clone()).unwrap_or_default();
        let revision = before.as_ref().map_or(0, Bank::revision);
        let created = before.as_ref().map_or(now, Bank::created);
        let (signals, quarantined) = before.map_or_else(Default::default, |bank| (bank.signals, bank.quarantined));
        let mut draft = Draft { settings, signals, quarantined, revision, changed: false, worth_making: true };
        let settings = draft.settings.clone();
        let answer = edit(&mut draft)?;
        let as_it_was = if revision == 0 { !draft.worth_making } else { !draft.changed && draft.settings == settings };
        if as_it_was {
            return Ok((answer, revision));
        }
        let revision = revision + 1;
        let Draft { settings, signals, quarantined, .. } = draft;
        let bank = Bank::new(name.clone(), settings, revision, created, signals).with_quarantined(quarantined);
        self.replace(&bank)?;
        Ok((answer, revision))
    }

    fn path(&self, name: &BankName) -> PathBuf {
        self.folder.join(format!("{name}.{ENDING}"))
    }

    fn find(&self, name: &BankName) -> Result<Option<Bank>, BankError> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BankError::Io { doing: "read", path, source }),
        };
        let bank = match file::decode(&bytes) {
            Ok(bank) => bank,
            Err(Fault::CutShort) => return Err(BankError::CutShort { path }),
            Err(Fault::Altered) => return Err(BankError::Altered { path }),
            Err(Fault::Foreign) => return Err(BankError::Foreign { path }),
            Err(Fault::Newer(version)) => return Err(BankError::Newer { path, version }),
        };
        if bank.name() == name { Ok(Some(bank)) } else { Err(BankError::Misnamed { path, holds: bank.name }) }
    }

    /// Waits for the lock, which is free again when the file is dropped, or its process is gone.
    fn lock(&self) -> Result<File, BankError> {
        let path = self.folder.join(LOCK);
        let locked =
            OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(&path).and_then(|file| {
                file.lock()?;
                Ok(file)
            });
        locked.map_err(|source| BankError::Io { doing: "lock", path, source })
    }

    /// Puts the bank in the place of what was there before. The lock is held.
    fn replace(&self, bank: &Bank) -> Result<(), BankError> {
        let path = self.path(bank.name());
        let written = file::encode(bank).map_err(io::Error::from).and_then(|bytes| self.write(&path, &bytes));
        written.map_err(|source| BankError::Io { doing: "write", path, source })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = path.with_extension("new");
        let put = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        put().inspect_err(|_| {
            // On a full disk half a file is in the way; where even this fails, the next writer overwrites it.
            fs::remove_file(&beside).ok();
        })?;
        File::open(&self.folder)?.sync_all()
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
