//! A folder with one file a bank.
//!
//! Whoever changes a bank holds the folder's lock, writes a new file beside the old one, has it reach the disk and then
//! puts it in the old one's place; so a reader, who needs no lock, and a crash at any point, find the old bank or the new
//! one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dense::{self, Chosen, Frame};
use super::file::{self, Fault};
use super::{Bank, BankError, BankName, Provenance, Settings, Signal};
use crate::clock::Timestamp;
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
}

/// What became of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The bank's revision with it.
    pub revision: u64,
    /// What was kept, left out and refused; none if the bank already had the very same file.
    pub chosen: Option<Chosen>,
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
        let _lock = self.lock()?;
        let before = self.find(name)?;
        let settings = changes.clone().apply(before.as_ref().map(|bank| bank.settings().clone()).unwrap_or_default());
        let unchanged = before.as_ref().is_some_and(|bank| *bank.settings() == settings);
        let revision = before.as_ref().map_or(0, Bank::revision);
        let created = before.as_ref().map_or(now, Bank::created);
        let mut signals = before.map_or_else(Vec::new, |bank| bank.signals);

        let Content { provenance, opinion, frames, every_bits } = content;
        let chosen = if signals.iter().any(|signal| signal.provenance.sha256 == provenance.sha256) {
            None
        } else {
            Some(dense::choose(&frames, settings.min_quality, every_bits))
        };
        match &chosen {
            None if unchanged => return Ok(Added { revision, chosen }),
            Some(chosen) if chosen.kept.is_empty() => {
                let (bank, reasons) = (name.clone(), chosen.reasons());
                return Err(BankError::NothingUseful { bank, file: provenance.file, pictures: frames.len(), reasons });
            }
            None | Some(_) => {}
        }
        let first_id = signals.last().map_or(1, |last| last.id + 1);
        let provenance = Arc::new(provenance);
        signals.extend(chosen.iter().flat_map(|chosen| &chosen.kept).zip(first_id..).map(|(frame, id)| Signal {
            id,
            hash: frame.pdq.hash,
            quality: frame.pdq.quality,
            opinion,
            provenance: Arc::clone(&provenance),
            banked_at: frame.at,
            added: now,
        }));
        let revision = revision + 1;
        self.replace(&Bank::new(name.clone(), settings, revision, created, signals))?;
        Ok(Added { revision, chosen })
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
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Pdq, PdqHash};

    fn frame(seed: u64) -> Frame {
        let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Frame { pdq: Pdq { hash: PdqHash::from_words([spread, !spread, seed, !seed]), quality: 100 }, at: None }
    }

    fn content(file: &str, frames: Vec<Frame>) -> Content {
        let provenance = Provenance { file: file.to_owned(), sha256: format!("{file:0>64}") };
        Content { provenance, opinion: Opinion::Positive, frames, every_bits: 16 }
    }

    fn name(text: &str) -> BankName {
        text.parse().unwrap()
    }

    fn add(store: &Store, bank: &str, content: Content) -> Result<Added, BankError> {
        store.add(&name(bank), &Changes::default(), content, Timestamp::from_millis(1))
    }

    #[test]
    fn content_is_there_after_it_was_added() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.names().unwrap(), []);
        let first = add(&store, "demo", content("a.mp4", vec![frame(1), frame(1), frame(2)])).unwrap();
        assert_eq!((first.revision, first.chosen.as_ref().unwrap().alike), (1, 1));
        assert_eq!(add(&store, "demo", content("b.mp4", vec![frame(3)])).unwrap().revision, 2);
        let bank = Store::open(folder.path()).unwrap().load(&name("demo")).unwrap();
        let signals: Vec<_> = bank.signals().iter().map(|s| (s.id, s.provenance.file.as_str())).collect();
        assert_eq!(signals, [(1, "a.mp4"), (2, "a.mp4"), (3, "b.mp4")]);
        assert_eq!(bank.nearest(&frame(3).pdq.hash, 31).map(|(signal, distance)| (signal.id, distance)), Some((3, 0)));
        assert_eq!(store.names().unwrap(), [name("demo")]);
    }

    #[test]
    fn the_same_file_is_banked_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        add(&store, "demo", content("a.mp4", vec![frame(1)])).unwrap();
        let again = add(&store, "demo", content("a.mp4", vec![frame(1)])).unwrap();
        assert_eq!(again, Added { revision: 1, chosen: None });
        let changes = Changes { max_distance: Some(20), ..Changes::default() };
        let changed = store.add(&name("demo"), &changes, content("a.mp4", vec![frame(1)]), Timestamp::ZERO).unwrap();
        assert_eq!(changed, Added { revision: 2, chosen: None });
        let bank = store.load(&name("demo")).unwrap();
        assert_eq!((bank.settings().max_distance, bank.signals().len()), (20, 1));
    }

    #[test]
    fn a_file_that_shows_nothing_makes_no_bank() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut dull = frame(1);
        dull.pdq.quality = 10;
        let zero = Frame { pdq: Pdq { hash: PdqHash::ZERO, quality: 0 }, at: None };
        let refused = add(&store, "demo", content("dark.mp4", vec![dull, dull, zero])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "none of the 3 pictures of dark.mp4 is worth banking for `demo` (2 low quality, 1 too small): \
             add a clearer copy"
        );
        assert_eq!(store.names().unwrap(), []);
    }

    #[test]
    fn a_damaged_bank_is_refused_by_name_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        add(&store, "demo", content("a.mp4", vec![frame(1), frame(2)])).unwrap();
        let path = folder.path().join("demo.bank");
        let whole = fs::read(&path).unwrap();
        let mut altered = whole.clone();
        altered[200] ^= 1;
        for (bytes, kind) in [
            (&whole[..whole.len() / 2], "cut_short"),
            (&[], "cut_short"),
            (&altered[..], "altered"),
            (b"GIF89a\n", "foreign"),
            (b"{\"format\":\"sluicegate-bank\",\"version\":2}\n", "newer"),
        ] {
            fs::write(&path, bytes).unwrap();
            for refused in [
                store.load(&name("demo")).unwrap_err(),
                add(&store, "demo", content("b.mp4", vec![frame(3)])).unwrap_err(),
            ] {
                assert_eq!(refused.kind(), kind);
                let said = refused.to_string();
                assert!(said.contains("demo.bank") && said.contains("restore it from a backup"), "{said}");
                assert!(!refused.is_retryable());
            }
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_bank_under_another_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        add(&store, "demo", content("a.mp4", vec![frame(1)])).unwrap();
        fs::rename(folder.path().join("demo.bank"), folder.path().join("other.bank")).unwrap();
        assert_eq!(store.load(&name("other")).unwrap_err().kind(), "misnamed");
        fs::rename(folder.path().join("other.bank"), folder.path().join("Other.bank")).unwrap();
        assert_eq!(store.names().unwrap_err().kind(), "not_a_bank_name");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere");
        let refused = Store::open(&missing).unwrap_err();
        assert!(refused.to_string().contains(missing.to_str().unwrap()), "{refused}");
        let refused = Store::open(folder.path()).unwrap().load(&name("demo")).unwrap_err();
        assert!(refused.to_string().starts_with("there is no bank `demo` in"), "{refused}");
    }

    #[test]
    fn a_crash_between_writing_and_replacing_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        add(&store, "demo", content("a.mp4", vec![frame(1)])).unwrap();
        fs::write(folder.path().join("demo.new"), "half of a ba").unwrap();
        assert_eq!(store.names().unwrap(), [name("demo")]);
        assert_eq!(store.load(&name("demo")).unwrap().signals().len(), 1);
        add(&store, "demo", content("b.mp4", vec![frame(2)])).unwrap();
        assert_eq!(store.load(&name("demo")).unwrap().signals().len(), 2);
        assert!(!folder.path().join("demo.new").exists());
    }

    #[test]
    fn writers_at_the_same_time_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4u64 {
                let path = folder.path();
                scope.spawn(move || {
                    // A store each, as processes would have.
                    let store = Store::open(path).unwrap();
                    for round in 0..8 {
                        let seed = writer * 100 + round + 1;
                        add(&store, "demo", content(&format!("{seed}"), vec![frame(seed)])).unwrap();
                    }
                });
            }
        });
        let bank = Store::open(folder.path()).unwrap().load(&name("demo")).unwrap();
        assert_eq!((bank.signals().len(), bank.revision()), (32, 32));
        let ids: Vec<_> = bank.signals().iter().map(|signal| signal.id).collect();
        assert_eq!(ids, (1..=32).collect::<Vec<_>>());
    }
}
