//! The banks in force: read again when a file in their folder changes, so that an addition works without a restart.
//!
//! [`InForce`] is what detectors share: they take the banks as they are for each picture and are never made to wait for a
//! file. [`Watch`] belongs to one thread, which looks at the folder from time to time. A file that is damaged while its bank is in
//! force does not take it out of force: the bank stays as it was, and the problem is told once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Bank, BankError, BankName, Store};

/// Banks, each as it was at one revision, in the order of their names.
pub type Banks = Arc<[Arc<Bank>]>;

/// The banks in force, shared by all detectors.
#[derive(Debug)]
pub struct InForce(RwLock<Banks>);

impl InForce {
    /// Puts `banks` in force.
    pub fn new(banks: Banks) -> Self {
        Self(RwLock::new(banks))
    }

    /// The banks in force now.
    pub fn current(&self) -> Banks {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other banks in force.
    pub fn replace(&self, banks: Banks) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = banks;
    }
}

/// What was last seen of a folder of banks.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    folder: PathBuf,
    seen: BTreeMap<BankName, Seen>,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    bank: Option<Arc<Bank>>,
    /// It is to be read again at the next look, though its head be the same.
    again: bool,
    /// Why it could not be read, as it was told.
    told: Option<String>,
}

/// What changes whenever a bank's head is replaced: its inode and its time of change, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, i64, i64);

/// What a look at the folder brought.
#[derive(Debug)]
pub struct Refreshed {
    /// All banks, as they are now.
    pub banks: Banks,
    /// Banks that are new or have changed.
    pub changed: Vec<Arc<Bank>>,
    /// Banks that are gone.
    pub removed: Vec<BankName>,
    /// Files that are not what was written, each told once.
    pub problems: Vec<BankError>,
    /// Indices that are not fit to be used, each told once: their banks are in force, with an index built in memory.
    pub unindexed: Vec<BankError>,
}

impl Watch {
    /// Begins to watch `folder`, with nothing seen yet.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn new(folder: &Path) -> Result<Self, BankError> {
        Ok(Self { store: Store::open(folder)?, folder: folder.to_owned(), seen: BTreeMap::new() })
    }

    /// The folder's banks.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Has a bank read anew at the next look, base and index too, as if it had changed.
    pub fn read_again(&mut self, name: &BankName) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.again = true;
        }
    }

    /// Looks at the folder, and reads the heads that have changed since the last look, and what they name that was not mapped
    /// yet; `None` when none has. What could not be read for a reason that may pass by itself, or by a base that is put where it is missing, is
    /// read again at every look.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn look(&mut self) -> Result<Option<Refreshed>, BankError> {
        let names = self.store.names()?;
        let (mut changed, mut problems, mut unindexed) = (Vec::new(), Vec::new(), Vec::new());
        let gone: Vec<BankName> = self.seen.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in &gone {
            self.seen.remove(name);
        }
        for name in names {
            let Ok(stamp) = self.stamp(&name) else { continue };
            let before = self.seen.get(&name);
            let same = before.filter(|seen| seen.stamp == stamp);
            if same.is_some_and(|seen| !seen.again) {
                continue;
            }
            let known = before.and_then(|seen| seen.bank.as_ref()?.base());
            let seen = match self.store.load_keeping(&name, known) {
                Ok(bank) => {
                    unindexed.extend(bank.problem());
                    let bank = Arc::new(bank);
                    changed.push(Arc::clone(&bank));
                    Seen { stamp, bank: Some(bank), again: false, told: None }
                }
                Err(problem) => {
                    let again = problem.is_retryable() || matches!(problem, BankError::NoBase { .. });
                    let told = Some(problem.to_string());
                    if same.is_none_or(|seen| seen.told != told) {
                        problems.push(problem);
                    }
                    Seen { stamp, bank: before.and_then(|seen| seen.bank.clone()), again, told }
                }
            };
            self.seen.insert(name, seen);
        }
        if gone.is_empty() && changed.is_empty() && problems.is_empty() {
            return Ok(None);
        }
        let banks = self.seen.values().filter_map(|seen| seen.bank.clone()).collect();
        Ok(Some(Refreshed { banks, changed, removed: gone, problems, unindexed }))
    }

    fn stamp(&self, name: &BankName) -> std::io::Result<Stamp> {
        let facts = fs::metadata(self.folder.join(format!("{name}.bank")))?;
        Ok(Stamp(facts.ino(), facts.ctime(), facts.ctime_nsec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::dense::Frame;
    use crate::bank::{Changes, Content, Provenance};
    use crate::clock::Timestamp;
    use crate::finding::Opinion;
    use crate::hash::{Pdq, PdqHash};

    /// Adds one signal to `name`, the same for the same seed.
    fn add(folder: &Path, name: &str, seed: u64) {
        let word = 0x5555_5555_5555_5555_u64.rotate_left(seed as u32 % 2) ^ (3 << (2 * seed));
        let pdq = Pdq { hash: PdqHash::from_words([word; 4]), quality: 100 };
        let content = Content {
            provenance: Provenance { file: format!("{seed}.png"), sha256: format!("{seed:064x}") },
            opinion: Opinion::Positive,
            frames: vec![Frame { pdq, at: None }],
            every_bits: 16,
        };
        let store = Store::open(folder).unwrap();
        store.add(&name.parse().unwrap(), &Changes::default(), content, Timestamp::from_millis(seed)).unwrap();
    }

    fn names(banks: &Banks) -> Vec<String> {
        banks.iter().map(|bank| format!("{}:{}", bank.name(), bank.len())).collect()
    }

    #[test]
    fn an_addition_is_seen_at_the_next_look_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", 1);
        let mut watch = Watch::new(folder.path()).unwrap();
        assert_eq!(names(&watch.look().unwrap().unwrap().banks), ["a:1"]);
        assert!(watch.look().unwrap().is_none());
        add(folder.path(), "a", 2);
        add(folder.path(), "b", 3);
        let seen = watch.look().unwrap().unwrap();
        assert_eq!((names(&seen.banks), seen.changed.len()), (vec!["a:2".to_owned(), "b:1".to_owned()], 2));
        assert!(watch.look().unwrap().is_none());
    }

    #[test]
    fn a_bank_that_is_removed_is_out_of_force() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", 1);
        let mut watch = Watch::new(folder.path()).unwrap();
        let live = InForce::new(watch.look().unwrap().unwrap().banks);
        fs::remove_file(folder.path().join("a.bank")).unwrap();
        let seen = watch.look().unwrap().unwrap();
        live.replace(Arc::clone(&seen.banks));
        assert_eq!((live.current().len(), seen.removed.len()), (0, 1));
    }

    #[test]
    fn a_damaged_file_leaves_the_bank_in_force_as_it_was_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", 1);
        let mut watch = Watch::new(folder.path()).unwrap();
        watch.look().unwrap();
        let file = folder.path().join("a.bank");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let seen = watch.look().unwrap().unwrap();
        assert_eq!((names(&seen.banks), seen.problems.len()), (vec!["a:1".to_owned()], 1));
        assert!(watch.look().unwrap().is_none());
    }

    #[test]
    fn a_base_that_comes_after_its_head_is_seen_though_the_head_stays() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", 1);
        let name: BankName = "a".parse().unwrap();
        Store::open(folder.path()).unwrap().with_worthwhile(1).compact(&name).unwrap();
        let (base, away) = (folder.path().join("a.1.signals"), folder.path().join("away"));
        fs::rename(&base, &away).unwrap();
        let mut watch = Watch::new(folder.path()).unwrap();
        let problems = watch.look().unwrap().unwrap().problems;
        assert_eq!(problems.iter().map(BankError::kind).collect::<Vec<_>>(), ["no_base"]);
        assert!(watch.look().unwrap().is_none(), "told once");
        fs::create_dir(&base).unwrap();
        let problems = watch.look().unwrap().unwrap().problems;
        assert_eq!(problems.iter().map(BankError::kind).collect::<Vec<_>>(), ["io"], "another problem is told");
        assert!(watch.look().unwrap().is_none());
        fs::remove_dir(&base).unwrap();
        fs::rename(&away, &base).unwrap();
        assert_eq!(names(&watch.look().unwrap().unwrap().banks), ["a:1"]);
        assert!(watch.look().unwrap().is_none());
    }

    #[test]
    fn a_bank_is_read_anew_when_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", 1);
        let name: BankName = "a".parse().unwrap();
        Store::open(folder.path()).unwrap().with_worthwhile(1).compact(&name).unwrap();
        let (index, away) = (folder.path().join("a.1.index"), folder.path().join("away"));
        fs::rename(&index, &away).unwrap();
        let mut watch = Watch::new(folder.path()).unwrap();
        assert_eq!(watch.look().unwrap().unwrap().unindexed.len(), 1);
        fs::rename(&away, &index).unwrap();
        assert!(watch.look().unwrap().is_none(), "the head is the same");
        watch.read_again(&name);
        let seen = watch.look().unwrap().unwrap();
        assert!(seen.banks[0].problem().is_none() && seen.unindexed.is_empty());
        assert!(watch.look().unwrap().is_none());
    }
}
