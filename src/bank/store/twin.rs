//! The store against a slow obvious twin: a list of signals that every change goes through, which has no files.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::bank::formats::{Item, Listed, Place, Read};
use crate::bank::{Refusal, Watch};
use crate::hash::{Pdq, PdqHash};

/// From so few signals on a bank has a base here.
const WORTHWHILE: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    /// Pictures of a file.
    Add {
        file: u8,
        pictures: Vec<u8>,
    },
    /// A list: hashes with their records, and records that are withdrawn.
    Import {
        signals: Vec<(u8, Option<u8>)>,
        anew: Vec<u8>,
        whole: bool,
    },
    Remove {
        nth: usize,
    },
    RemoveFile {
        file: u8,
    },
    Quarantine {
        nth: usize,
    },
    Release {
        nth: usize,
    },
    Set {
        max_distance: u32,
    },
    Compact,
    /// The base's index is damaged, or lost.
    Spoil {
        lost: bool,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let import = (vec((0u8..60, option::of(0u8..6)), 0..25), vec(0u8..6, 0..3), any::<bool>());
    prop_oneof![
        3 => (0u8..6, vec(0u8..60, 1..12)).prop_map(|(file, pictures)| Step::Add { file, pictures }),
        4 => import.prop_map(|(signals, anew, whole)| Step::Import { signals, anew, whole }),
        2 => (0usize..60).prop_map(|nth| Step::Remove { nth }),
        1 => (0u8..6).prop_map(|file| Step::RemoveFile { file }),
        1 => (0usize..60).prop_map(|nth| Step::Quarantine { nth }),
        1 => (0usize..60).prop_map(|nth| Step::Release { nth }),
        1 => (0u32..60).prop_map(|max_distance| Step::Set { max_distance }),
        3 => Just(Step::Compact),
        1 => any::<bool>().prop_map(|lost| Step::Spoil { lost }),
    ]
}

fn hash(n: u8) -> PdqHash {
    let spread = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    PdqHash::from_words([spread, !spread, u64::MAX, 0])
}

fn record(n: u8) -> Arc<str> {
    format!("{}:{n}", if n.is_multiple_of(2) { "tat" } else { "hma" }).into()
}

fn provenance(file: &str) -> Provenance {
    Provenance { file: file.to_owned(), sha256: format!("{file:0>64}") }
}

/// See the module.
#[derive(Default)]
struct Twin {
    signals: Vec<Signal>,
    given: u64,
    quarantined: BTreeSet<u64>,
    max_distance: u32,
}

impl Twin {
    fn put(&mut self, n: u8, opinion: Opinion, source: &str, record: Option<Arc<str>>, now: Timestamp) {
        self.given += 1;
        let quality = record.is_none().then_some(100).filter(|_| source != "list");
        let (id, provenance) = (self.given, Arc::new(provenance(source)));
        self.signals.push(Signal {
            id,
            hash: hash(n),
            quality,
            opinion,
            provenance,
            banked_at: None,
            record,
            added: now,
        });
    }

    fn keep(&mut self, is_kept: impl Fn(&Signal) -> bool) {
        self.signals.retain(is_kept);
        let ids: HashSet<u64> = self.signals.iter().map(|signal| signal.id).collect();
        self.quarantined.retain(|id| ids.contains(id));
    }

    fn nth(&self, nth: usize) -> Option<u64> {
        Some(self.signals.get(nth % self.signals.len().max(1))?.id)
    }

    /// What the list says in the end, signal by signal.
    fn import(&mut self, signals: &[(u8, Option<u8>)], anew: &[u8], whole: bool, now: Timestamp) {
        let anew: HashSet<Arc<str>> = anew.iter().map(|n| record(*n)).collect();
        let listed: Vec<(u8, Option<Arc<str>>)> = signals.iter().map(|(n, r)| (*n, r.map(record))).collect();
        self.keep(|signal| {
            let Some(record) = &signal.record else { return true };
            let is_named = listed.iter().any(|(n, r)| hash(*n) == signal.hash && r.as_ref() == Some(record));
            is_named || !(anew.contains(record) || whole && record.starts_with("tat:"))
        });
        for (n, record) in listed {
            let mut known = self.signals.iter().filter(|signal| signal.hash == hash(n));
            if !known.clone().any(|signal| signal.record == record) && (record.is_some() || known.next().is_none()) {
                self.put(n, Opinion::Disputed, "list", record, now);
            }
        }
    }
}

struct Desk {
    folder: tempfile::TempDir,
    store: Store,
    name: BankName,
    twin: Twin,
    watch: Watch,
    seen: Option<Arc<Bank>>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { worthwhile: WORTHWHILE, ..Store::open(folder.path()).unwrap() };
        let name: BankName = "demo".parse().unwrap();
        store.create(&name, &Changes::default(), Timestamp::ZERO).unwrap();
        let twin = Twin { max_distance: 31, ..Twin::default() };
        let watch = Watch::new(folder.path()).unwrap();
        Self { folder, store, name, twin, watch, seen: None }
    }

    fn step(&mut self, step: &Step, now: Timestamp) {
        let (store, name, twin) = (&self.store, &self.name, &mut self.twin);
        match step {
            Step::Add { file, pictures } => {
                let source = format!("file{file}");
                let frames = pictures.iter().map(|n| Pdq { hash: hash(*n), quality: 100 });
                let frames = frames.map(|pdq| Frame { pdq, at: None }).collect();
                let content =
                    Content { provenance: provenance(&source), opinion: Opinion::Positive, frames, every_bits: 0 };
                let added = store.add(name, &Changes::default(), content, now).unwrap();
                let already = twin.signals.iter().any(|signal| signal.provenance.file == source);
                assert_eq!(added.chosen.is_none(), already);
                if !already {
                    let mut last = None;
                    for n in pictures.iter().filter(|n| last.replace(**n) != Some(**n)) {
                        twin.put(*n, Opinion::Positive, &source, None, now);
                    }
                }
            }
            Step::Import { signals, anew, whole } => {
                let listed = |(n, r): &(u8, Option<u8>)| Listed {
                    place: Place::Line(1),
                    hash: hash(*n),
                    quality: None,
                    at: None,
                    opinion: None,
                    source: None,
                    record: r.map(record),
                };
                let items = anew.iter().map(|n| Item::Anew(record(*n)));
                let items = items.chain(signals.iter().map(|signal| Item::Signal(listed(signal)))).collect();
                let list = Read { items, ..Read::default() };
                let whole = whole.then_some("tat:");
                let import = Import { provenance: provenance("list"), opinion: Opinion::Disputed, list, whole };
                let before = twin.signals.len();
                let (imported, _) = store.import(name, &Changes::default(), import, now).unwrap();
                twin.import(signals, anew, whole.is_some(), now);
                assert_eq!(before + imported.added - imported.removed, twin.signals.len());
            }
            Step::Remove { nth } => {
                let Some(id) = twin.nth(*nth) else { return };
                assert_eq!(store.remove(name, &Which::Ids(vec![id]), now).unwrap().signals, 1);
                twin.keep(|signal| signal.id != id);
                assert_eq!(store.remove(name, &Which::Ids(vec![id]), now).unwrap_err().kind(), "not_in_bank");
            }
            Step::RemoveFile { file } => {
                let source = format!("file{file}");
                let before = twin.signals.len();
                twin.keep(|signal| signal.provenance.file != source);
                match store.remove(name, &Which::File(source), now) {
                    Ok(removed) => assert_eq!(removed.signals, before - twin.signals.len()),
                    Err(error) => assert_eq!((error.kind(), before), ("not_in_bank", twin.signals.len())),
                }
            }
            Step::Quarantine { nth } => {
                let Some(id) = twin.nth(*nth) else { return };
                store.quarantine(name, &[id, 1_000_000], "why", now).unwrap();
                twin.quarantined.insert(id);
            }
            Step::Release { nth } => {
                let Some(id) = twin.nth(*nth) else { return };
                assert_eq!(store.release(name, &[id], now).is_ok(), twin.quarantined.remove(&id));
            }
            Step::Set { max_distance } => {
                let changes = Changes { max_distance: Some(*max_distance), ..Changes::default() };
                store.set(name, &changes, now).unwrap();
                twin.max_distance = *max_distance;
            }
            Step::Compact => {
                let revision = store.load(name).unwrap().revision();
                store.compact(name).unwrap();
                let bank = store.load(name).unwrap();
                assert_eq!((bank.since_base(), bank.revision()), (bank.since_base_when_compacted(), revision));
                assert!(bank.problem().is_none());
            }
            Step::Spoil { lost } => {
                let head = store.head(name).unwrap().unwrap();
                let path = store.index_path(&head);
                // Not in place: whoever has the old one mapped is to keep it.
                let was_there = fs::remove_file(&path).is_ok();
                if was_there && !lost {
                    fs::write(path, "SLGINDEX").unwrap();
                }
            }
        }
    }

    /// Everything that can be asked, of a bank loaded anew and of the one that is watched.
    fn check(&mut self) {
        if let Some(seen) = self.watch.look().unwrap() {
            assert!(seen.problems.is_empty(), "{:?}", seen.problems);
            self.seen = seen.changed.into_iter().next();
        }
        let loaded = self.store.load(&self.name).unwrap();
        for bank in [&loaded, &**self.seen.as_ref().unwrap()] {
            let twin = &self.twin;
            assert!(bank.signals().eq(twin.signals.iter().cloned()));
            assert_eq!((bank.len(), bank.settings().max_distance), (twin.signals.len(), twin.max_distance));
            assert!(bank.quarantine().map(|(id, _)| id).eq(twin.quarantined.iter().copied()));
            assert!(bank.is_index_sound());
            for n in 0..60 {
                let mut near: Vec<_> = (twin.signals.iter().filter(|signal| signal.hash == hash(n))).cloned().collect();
                let found = bank.within(&hash(n), 0);
                assert!(found.iter().all(|(_, distance)| *distance == 0));
                assert!(found.into_iter().map(|(signal, _)| signal).eq(near.iter().cloned()));
                assert_eq!(bank.nearest(&hash(n), 0).map(|(signal, _)| signal), near.drain(..).next());
            }
            for id in 0..=twin.given + 1 {
                assert_eq!(bank.signal(id), twin.signals.iter().find(|signal| signal.id == id).cloned());
            }
            let mut sources = BTreeMap::<Provenance, usize>::new();
            for signal in &twin.signals {
                *sources.entry(signal.provenance.as_ref().clone()).or_default() += 1;
            }
            let told = bank.sources().into_iter().map(|(provenance, source)| (provenance, source.signals));
            assert!(told.eq(sources));
        }
        // A head, at most one base and its index, and the locks.
        let files = fs::read_dir(self.folder.path()).unwrap().count();
        assert!(files <= 5, "something is left behind");
    }
}

impl Bank {
    /// What is left out of a base by a compaction: all of a small bank, nothing of another.
    fn since_base_when_compacted(&self) -> (usize, usize) {
        if self.len() < WORTHWHILE { (self.len(), 0) } else { (0, 0) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_done_to_it_a_bank_is_what_its_twin_is(steps in vec(steps(), 1..20)) {
        for n in 0..60 {
            prop_assert_eq!(Refusal::of(&hash(n), None, 50), None);
        }
        let mut desk = Desk::new();
        desk.check();
        for (step, n) in steps.iter().zip(1..) {
            desk.step(step, Timestamp::from_millis(n));
            desk.check();
        }
    }
}
