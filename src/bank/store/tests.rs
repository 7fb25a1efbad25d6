//! What a folder of banks promises whoever changes one.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::hash::{Pdq, PdqHash};

/// How many syncs of a folder succeed before one fails; all, unless it is said.
#[derive(Debug, Clone, Default)]
pub(super) struct Syncs(Option<Arc<AtomicUsize>>);

impl Syncs {
    fn left(count: usize) -> Self {
        Self(Some(Arc::new(count.into())))
    }

    pub(super) fn one(&self) -> io::Result<()> {
        let Some(left) = &self.0 else { return Ok(()) };
        let one = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        one.map(drop).map_err(|_left| io::Error::other("no more syncs"))
    }
}

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
    let signals: Vec<_> = bank.signals().map(|s| (s.id, s.provenance.file.clone())).collect();
    assert_eq!(signals, [(1, "a.mp4".to_owned()), (2, "a.mp4".to_owned()), (3, "b.mp4".to_owned())]);
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
    assert_eq!((bank.settings().max_distance, bank.len()), (20, 1));
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
        (b"{\"format\":\"sluicegate-bank\",\"version\":4}\n", "newer"),
    ] {
        fs::write(&path, bytes).unwrap();
        for refused in
            [store.load(&name("demo")).unwrap_err(), add(&store, "demo", content("b.mp4", vec![frame(3)])).unwrap_err()]
        {
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
    assert_eq!(store.load(&name("demo")).unwrap().len(), 1);
    add(&store, "demo", content("b.mp4", vec![frame(2)])).unwrap();
    assert_eq!(store.load(&name("demo")).unwrap().len(), 2);
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
    assert_eq!((bank.len(), bank.revision()), (32, 32));
    let ids: Vec<_> = bank.signals().map(|signal| signal.id).collect();
    assert_eq!(ids, (1..=32).collect::<Vec<_>>());
}

#[test]
fn a_signal_that_is_set_aside_says_why_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (demo, at) = (name("demo"), Timestamp::from_millis);
    let frames = [1, 2, 3].map(frame).into();
    add(&store, "demo", content("a.mp4", frames)).unwrap();
    let held = || -> Vec<_> {
        let bank = store.load(&demo).unwrap();
        assert!(bank.quarantine().all(|(id, quarantine)| bank.quarantined(id) == Some(quarantine)));
        bank.quarantine().map(|(id, Quarantine { since, reason })| (id, *since, reason.clone())).collect()
    };
    assert_eq!(store.quarantine(&demo, &[2, 3, 9], "fired on 40 streams", at(5)).unwrap(), 2);
    let both = vec![(2, at(5), "fired on 40 streams".to_owned()), (3, at(5), "fired on 40 streams".to_owned())];
    assert_eq!(held(), both);
    assert_eq!(store.quarantine(&demo, &[2], "again", at(6)).unwrap(), 2, "it keeps its reason");
    assert_eq!(held(), both);
    let refused = store.release(&demo, &[2, 1], at(7)).unwrap_err().to_string();
    assert!(refused.starts_with("nothing in `demo` is signal 1 in quarantine"), "{refused}");
    assert_eq!(held(), both, "all or none");
    assert_eq!(store.release(&demo, &[2, 2], at(7)).unwrap(), 3, "one that is named twice is released once");
    assert_eq!(held(), both[1..]);
    store.remove(&demo, &Which::Ids(vec![3]), at(8)).unwrap();
    assert_eq!(held(), []);
    assert_eq!(store.quarantine(&name("nobody"), &[1], "", at(9)).unwrap_err().kind(), "no_bank");
}

impl Store {
    /// With bases from so few signals on.
    pub(in crate::bank) fn with_worthwhile(self, worthwhile: usize) -> Self {
        Self { worthwhile, ..self }
    }
}

/// A store in which three signals are worth a base, with a bank that has one of four.
fn with_base(folder: &Path) -> Store {
    let store = Store::open(folder).unwrap().with_worthwhile(3);
    add(&store, "demo", content("a.mp4", [1, 2, 3, 4].map(frame).into())).unwrap();
    assert_eq!(store.compact(&name("demo")).unwrap(), Compaction::Done { in_base: 4 });
    store
}

#[test]
fn a_damaged_base_is_refused_by_name_by_readers_and_writers() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    let path = folder.path().join("demo.1.signals");
    let whole = fs::read(&path).unwrap();
    let mut altered = whole.clone();
    altered[5000 % whole.len()] ^= 1;
    let mut foreign = whole.clone();
    foreign[0] = b'x';
    for (bytes, kind) in [
        (Some(&whole[..4200]), "cut_short"),
        (Some(&altered), "altered"),
        (Some(&foreign), "foreign"),
        (None, "no_base"),
    ] {
        fs::remove_file(&path).ok();
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        for refused in [
            store.load(&name("demo")).unwrap_err(),
            store.compact(&name("demo")).unwrap_err(),
            add(&store, "demo", content("b.mp4", vec![frame(9)])).unwrap_err(),
        ] {
            assert_eq!(refused.kind(), kind);
            let said = refused.to_string();
            assert!(said.contains("demo.1.signals") && said.contains("restore it from a backup"), "{said}");
        }
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(store.load(&name("demo")).unwrap().len(), 4);
}

#[test]
fn the_base_of_another_time_is_not_taken_for_the_one_it_builds_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    let old = fs::read(folder.path().join("demo.1.signals")).unwrap();
    store.remove(&name("demo"), &Which::Ids(vec![2]), Timestamp::ZERO).unwrap();
    store.compact(&name("demo")).unwrap();
    let path = folder.path().join("demo.2.signals");
    fs::remove_file(&path).unwrap();
    fs::write(&path, old).unwrap();
    let refused = store.load(&name("demo")).unwrap_err();
    assert_eq!(refused.kind(), "other_base");
    assert!(refused.to_string().contains("demo.2.signals"), "{refused}");
}

#[test]
fn an_index_that_is_not_fit_costs_no_signal_and_is_written_again() {
    for (bytes, kind) in [(None, "missing"), (Some("SLGINDEX"), "cut_short"), (Some("GIF89a.."), "foreign")] {
        let folder = tempfile::tempdir().unwrap();
        let store = with_base(folder.path());
        let path = folder.path().join("demo.1.index");
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let bank = store.load(&name("demo")).unwrap();
        assert_eq!(bank.nearest(&frame(2).pdq.hash, 0).map(|(signal, _)| signal.id), Some(2));
        let problem = bank.problem().unwrap();
        assert_eq!(problem.kind(), "index");
        let said = problem.to_string();
        assert!(
            said.contains("demo.1.index") && said.contains("`sluicegate bank compact` builds it again"),
            "{kind}: {said}"
        );
        assert!(bank.is_compaction_due());
        assert_eq!(store.compact(&name("demo")).unwrap(), Compaction::Indexed);
        assert!(store.load(&name("demo")).unwrap().problem().is_none());
    }
}

#[test]
fn a_bank_moved_away_with_its_head_alone_is_not_overwritten_by_its_successor() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    let base = fs::read(folder.path().join("demo.1.signals")).unwrap();
    let away = folder.path().join("demo.away");
    fs::rename(folder.path().join("demo.bank"), &away).unwrap();
    add(&store, "demo", content("b.mp4", [5, 6, 7].map(frame).into())).unwrap();
    store.compact(&name("demo")).unwrap();
    add(&store, "demo", content("c.mp4", vec![frame(8)])).unwrap();
    assert_eq!(fs::read(folder.path().join("demo.1.signals")).unwrap(), base);
    assert!(folder.path().join("demo.2.signals").exists());
    fs::rename(away, folder.path().join("demo.bank")).unwrap();
    assert_eq!(store.load(&name("demo")).unwrap().len(), 4);
}

#[test]
fn a_change_of_a_bank_with_a_base_is_seen_without_reading_the_base_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    let mut watch = crate::bank::Watch::new(folder.path()).unwrap();
    let first = Arc::clone(&watch.look().unwrap().unwrap().banks[0]);
    add(&store, "demo", content("b.mp4", vec![frame(9)])).unwrap();
    store.remove(&name("demo"), &Which::Ids(vec![1]), Timestamp::ZERO).unwrap();
    let second = Arc::clone(&watch.look().unwrap().unwrap().banks[0]);
    assert_eq!((second.len(), second.revision()), (4, 3));
    assert!(Arc::ptr_eq(first.base().unwrap(), second.base().unwrap()), "the same map");
    assert_eq!(second.nearest(&frame(9).pdq.hash, 0).map(|(signal, _)| signal.id), Some(5));
    assert_eq!(second.nearest(&frame(1).pdq.hash, 0), None);
    store.compact(&name("demo")).unwrap();
    let third = Arc::clone(&watch.look().unwrap().unwrap().banks[0]);
    assert!(!Arc::ptr_eq(first.base().unwrap(), third.base().unwrap()));
    assert_eq!((third.len(), third.revision(), third.in_base()), (4, 3, 4));
    assert_eq!(first.signals().count(), 4, "whoever has the old one keeps it");
}

#[test]
fn an_identifier_is_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    store.remove(&name("demo"), &Which::File("a.mp4".to_owned()), Timestamp::ZERO).unwrap();
    store.compact(&name("demo")).unwrap();
    add(&store, "demo", content("b.mp4", vec![frame(1)])).unwrap();
    let bank = store.load(&name("demo")).unwrap();
    assert_eq!((bank.signals().map(|signal| signal.id).collect::<Vec<_>>(), bank.in_base()), (vec![5], 0));
}

#[test]
fn a_folder_that_does_not_sync_costs_neither_the_old_base_nor_the_new() {
    // Once its base is in its place, and once its head is: by then that names the new base.
    for (syncs, in_base, files) in [(0, 4, 6), (1, 5, 8)] {
        let folder = tempfile::tempdir().unwrap();
        let store = with_base(folder.path());
        add(&store, "demo", content("b.mp4", vec![frame(9)])).unwrap();
        let failing = Store { syncs: Syncs::left(syncs), ..store.clone() };
        assert_eq!(failing.compact(&name("demo")).unwrap_err().kind(), "io");
        let bank = store.load(&name("demo")).unwrap();
        assert_eq!((bank.len(), bank.in_base()), (5, in_base));
        assert!(bank.problem().is_none());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            files,
            "what no head names is gone if that is certain"
        );
        add(&store, "demo", content("c.mp4", vec![frame(10)])).unwrap();
        assert_eq!(store.load(&name("demo")).unwrap().len(), 6);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "the next writer clears away");
    }
}

#[test]
fn a_newer_base_whose_head_was_moved_away_outlives_an_older_head() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    let store = with_base(folder.path());
    let older = ["demo.bank", "demo.1.signals", "demo.1.index"].map(|file| (file, fs::read(at(file)).unwrap()));
    add(&store, "demo", content("b.mp4", vec![frame(5)])).unwrap();
    store.compact(&name("demo")).unwrap();
    fs::rename(at("demo.bank"), at("away")).unwrap();
    for (file, bytes) in older {
        fs::write(at(file), bytes).unwrap();
    }
    add(&store, "demo", content("c.mp4", vec![frame(6)])).unwrap();
    store.compact(&name("demo")).unwrap();
    store.remove(&name("demo"), &Which::Ids(vec![1]), Timestamp::ZERO).unwrap();
    store.compact(&name("demo")).unwrap();
    let mut bases: Vec<String> = store.parts(&name("demo")).unwrap().into_iter().map(|(part, _)| part).collect();
    bases.sort();
    assert_eq!(bases, ["2.index", "2.signals", "4.index", "4.signals"], "its own older ones are gone");
    assert_eq!(store.load(&name("demo")).unwrap().len(), 4);
    fs::rename(at("away"), at("demo.bank")).unwrap();
    assert_eq!(store.load(&name("demo")).unwrap().len(), 5);
}

#[test]
fn a_base_that_no_head_came_to_name_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    for file in ["demo.2.signals", "demo.2.index", "demo.2.new"] {
        fs::write(folder.path().join(file), "left by somebody who was killed").unwrap();
    }
    add(&store, "demo", content("b.mp4", vec![frame(5)])).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "a head, a base and its index, two locks");
}

#[test]
fn a_bank_that_one_large_change_empties_has_no_base() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    add(&store, "demo", content("b.mp4", [5, 6, 7, 8, 9, 10].map(frame).into())).unwrap();
    store.compact(&name("demo")).unwrap();
    let all_but_one = Which::Ids((2..=10).collect());
    assert_eq!(store.remove(&name("demo"), &all_but_one, Timestamp::ZERO).unwrap().signals, 9);
    let bank = store.load(&name("demo")).unwrap();
    assert_eq!((bank.in_base(), bank.since_base()), (0, (1, 0)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "a head and two locks");
}

#[test]
fn a_change_of_the_head_alone_reads_no_more_of_a_base_than_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_base(folder.path());
    let (demo, now) = (name("demo"), Timestamp::ZERO);
    let path = folder.path().join("demo.1.signals");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let changes = Changes { max_distance: Some(20), ..Changes::default() };
    store.set(&demo, &changes, now).unwrap();
    store.quarantine(&demo, &[2], "why", now).unwrap();
    store.release(&demo, &[2], now).unwrap();
    store.remove(&demo, &Which::Ids(vec![1]), now).unwrap();
    assert_eq!(store.head(&demo).unwrap().unwrap().revision, 5);
    // What would put something of it elsewhere, or show it, does read it.
    for refused in [
        store.load(&demo).unwrap_err(),
        add(&store, "demo", content("b.mp4", vec![frame(5)])).unwrap_err(),
        store.remove(&demo, &Which::File("a.mp4".to_owned()), now).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), "altered");
    }
}
