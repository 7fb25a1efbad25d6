//! The files of a folder of banks: how they are named, read, replaced and tidied up.
//!
//! | file | what it is |
//! |---|---|
//! | `NAME.bank` | a bank's head, replaced whole at every change; a small bank has nothing else |
//! | `NAME.7.signals`, `NAME.7.index` | the base that the head names, and its index; never written again |
//! | `NAME.8.new` | empty: a base of this number is being put in place, and is left over if no head ever names it |
//! | `NAME.new`, `NAME.new.*` | what a writer is about to put in place; it holds the lock |
//! | `NAME.compacting.*` | what a compaction is about to put in place; it holds the turn |
//! | `.lock`, `.compacting` | the lock of whoever changes a bank of the folder, and whose turn it is to compact one |

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use crate::bank::base::{Base, Indexed};
use crate::bank::file::{self, Head, Numbers};
use crate::bank::{BankError, BankName, Settings};
use crate::clock::Timestamp;

/// The ending of a head's file.
pub(super) const ENDING: &str = "bank";

const SIGNALS: &str = "signals";
const INDEX: &str = "index";
const UNFINISHED: &str = "new";

/// Banks may be confidential: the owner and their group only.
const MODE: u32 = 0o640;

/// Who makes a new base: two may at once, each under a name of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Maker {
    /// Whoever holds the lock.
    Writer,
    /// Whoever has the turn.
    Compaction,
}

impl Maker {
    const fn word(self) -> &'static str {
        match self {
            Self::Writer => "new",
            Self::Compaction => "compacting",
        }
    }
}

impl Store {
    pub(super) fn path(&self, name: &BankName) -> PathBuf {
        self.folder.join(format!("{name}.{ENDING}"))
    }

    /// The base's file and its index', by number.
    pub(super) fn numbered(&self, name: &BankName, number: u64) -> [PathBuf; 2] {
        [SIGNALS, INDEX].map(|ending| self.folder.join(format!("{name}.{number}.{ending}")))
    }

    /// Where they are made.
    pub(super) fn making(&self, name: &BankName, maker: Maker) -> [PathBuf; 2] {
        [SIGNALS, INDEX].map(|ending| self.folder.join(format!("{name}.{}.{ending}", maker.word())))
    }

    pub(super) fn index_path(&self, head: &Head) -> PathBuf {
        let [_, index] = self.numbered(&head.name, head.numbers.last);
        index
    }

    pub(super) fn head(&self, name: &BankName) -> Result<Option<Head>, BankError> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BankError::Io { doing: "read", path, source }),
        };
        let head = file::decode(&bytes).map_err(|fault| BankError::of_file(fault, &path))?;
        if head.name == *name { Ok(Some(head)) } else { Err(BankError::Misnamed { path, holds: head.name }) }
    }

    /// The head of a bank that is not there yet.
    pub(super) fn unborn(&self, name: &BankName, now: Timestamp) -> Result<Head, BankError> {
        // Bases of a bank of that name whose head somebody has moved away are not to be overwritten.
        let before = self.numbers(name)?.into_iter().max().unwrap_or_default();
        let numbers = Numbers { before, last: before };
        Ok(Head { numbers, ..Head::new(name.clone(), Settings::default(), 0, now) })
    }

    /// The numbers of a head that has a new base. One number behind all that are there: where somebody has moved a head away and
    /// put an older one in its place, the base of the newer one is neither overwritten nor, from then on, ours to remove.
    pub(super) fn next_numbers(&self, head: &Head) -> Result<Numbers, BankError> {
        let Numbers { before, last } = head.numbers;
        let (there, unfinished) = (self.numbers(&head.name)?, Self::unfinished(&self.parts(&head.name)?));
        let of_others = there.iter().copied().filter(|number| *number > last && !unfinished.contains(number)).max();
        let highest = there.iter().copied().max().map_or(last, |highest| highest.max(last));
        Ok(Numbers { before: of_others.unwrap_or(before), last: highest.saturating_add(1) })
    }

    /// Says that the files of this number are left over unless a head names them.
    pub(super) fn mark_unfinished(&self, name: &BankName, number: u64) -> Result<(), BankError> {
        let path = self.folder.join(format!("{name}.{number}.{UNFINISHED}"));
        let made = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(&path);
        made.map(drop).map_err(|source| BankError::Io { doing: "write", path, source })
    }

    /// The base that a head builds on, every checksum compared.
    pub(super) fn base(&self, head: &Head) -> Result<Option<Base>, BankError> {
        self.base_opened(head, Base::open)
    }

    /// [`Self::base`], by its header alone: for changes that put nothing of it anywhere else.
    pub(super) fn base_unread(&self, head: &Head) -> Result<Option<Base>, BankError> {
        self.base_opened(head, Base::open_unread)
    }

    fn base_opened(
        &self,
        head: &Head,
        open: impl FnOnce(&Path, &BankName) -> Result<Base, BankError>,
    ) -> Result<Option<Base>, BankError> {
        let Some(named) = &head.base else { return Ok(None) };
        let [path, _] = self.numbered(&head.name, head.numbers.last);
        let base = open(&path, &head.name)?;
        if *base.identity() != named.identity {
            return Err(BankError::OtherBase { path });
        }
        // Identifiers rise from the base to the tail; a head that says otherwise was not written by us.
        if base.last_id() >= head.tail.first().map(|first| first.id) && !head.tail.is_empty() {
            return Err(BankError::Altered { path: self.path(&head.name) });
        }
        Ok(Some(base))
    }

    /// [`Self::base`] with its index; the one that is `known` where it is the same.
    pub(super) fn indexed(&self, head: &Head, known: Option<&Arc<Indexed>>) -> Result<Option<Arc<Indexed>>, BankError> {
        let is_the_same = |known: &&Arc<Indexed>| {
            let identity = head.base.as_ref().map(|base| base.identity);
            known.problem.is_none() && identity == Some(*known.base.identity())
        };
        if let Some(known) = known.filter(is_the_same) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(base) = self.base(head)? else { return Ok(None) };
        let [path, index] = self.numbered(&head.name, head.numbers.last);
        if !index.exists() && !path.exists() {
            // Gone since it was opened: another base is in its place, and building an index of this one would be in vain.
            return Err(BankError::NoBase { path });
        }
        Indexed::new(base, &index).map(|indexed| Some(Arc::new(indexed))).ok_or(BankError::Altered { path })
    }

    /// Waits for the lock, which is free again when the file is dropped, or its process is gone.
    pub(super) fn lock(&self) -> Result<File, BankError> {
        self.locked(".lock", File::lock)
    }

    /// Waits for the turn to compact a bank: one at a time, as it takes memory.
    pub(super) fn turn(&self) -> Result<File, BankError> {
        self.locked(".compacting", File::lock)
    }

    fn locked(&self, file: &str, lock: impl FnOnce(&File) -> io::Result<()>) -> Result<File, BankError> {
        let path = self.folder.join(file);
        let locked =
            OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(&path).and_then(|file| {
                lock(&file)?;
                Ok(file)
            });
        locked.map_err(|source| BankError::Io { doing: "lock", path, source })
    }

    /// Puts the head in the place of what was there before; where that fails, either may be there. The lock is held.
    pub(super) fn replace(&self, head: &Head) -> Result<(), BankError> {
        let path = self.path(&head.name);
        let written = file::encode(head).map_err(io::Error::from).and_then(|bytes| self.write(&path, &bytes));
        written.map_err(|source| BankError::Io { doing: "write", path, source })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = path.with_extension(Maker::Writer.word());
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
        self.sync()
    }

    /// Has names reach the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.syncs.one()?;
        File::open(&self.folder)?.sync_all()
    }

    /// The numbers of all files that are or were a base of `name` or its index.
    fn numbers(&self, name: &BankName) -> Result<Vec<u64>, BankError> {
        Ok(self.parts(name)?.iter().filter_map(|(part, _)| part.split('.').next()?.parse().ok()).collect())
    }

    /// The numbers of bases that were being put in place.
    fn unfinished(parts: &[(String, PathBuf)]) -> BTreeSet<u64> {
        let marked =
            parts.iter().filter_map(|(part, _)| part.strip_suffix(UNFINISHED)?.strip_suffix('.')?.parse().ok());
        marked.collect()
    }

    /// All files of a bank but its head, without its name in front.
    pub(super) fn parts(&self, name: &BankName) -> Result<Vec<(String, PathBuf)>, BankError> {
        let unreadable = |source| BankError::Io { doing: "read the folder", path: self.folder.clone(), source };
        let mut parts = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let part = file.strip_prefix(&name.to_string()).and_then(|rest| rest.strip_prefix('.'));
            if let Some(part) = part.filter(|part| *part != ENDING) {
                parts.push((part.to_owned(), entry.path()));
            }
        }
        Ok(parts)
    }

    /// Removes what writers and compactions that were killed have left, and bases that no head names any more. The lock is held.
    /// Whoever has such a base mapped keeps it. What cannot be removed is left to the next writer.
    pub(super) fn tidy(&self, head: &Head) {
        let Ok(parts) = self.parts(&head.name) else { return };
        let unfinished = Self::unfinished(&parts);
        let Numbers { before, last } = head.numbers;
        // Nobody is compacting where the turn is free.
        let turn = self.locked(".compacting", |file| file.try_lock().map_err(io::Error::from)).ok();
        let is_left_over = |part: &str| {
            let (stem, ending) = part.split_once('.').unwrap_or((part, ""));
            match stem.parse::<u64>() {
                // Behind the last one, what is not marked belongs to a newer head that somebody has moved away.
                Ok(number) if number > last => unfinished.contains(&number),
                Ok(_) if ending == UNFINISHED => true,
                Ok(number) => {
                    let is_ours = number > before && [SIGNALS, INDEX, "index.new"].contains(&ending);
                    is_ours && (number != last || head.base.is_none() || ending == "index.new")
                }
                Err(_) => stem == Maker::Writer.word() || stem == Maker::Compaction.word() && turn.is_some(),
            }
        };
        let mut left_over: Vec<PathBuf> =
            parts.into_iter().filter(|(part, _)| is_left_over(part)).map(|(_, path)| path).collect();
        // A base before its index: whoever finds the index gone can tell that the base is, too. What marks them last.
        left_over.sort_by_key(|path| match path.extension().and_then(OsStr::to_str) {
            Some(SIGNALS) => 0,
            Some(UNFINISHED) => 2,
            _ => 1,
        });
        for path in left_over {
            fs::remove_file(path).ok();
        }
    }
}
