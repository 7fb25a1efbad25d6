//! What a base gives back, and what is refused as one.

use std::fs;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::finding::Opinion;

prop_compose! {
    /// Few files and records, so that many signals share them.
    fn signals()(
        words: [u64; 4],
        quality in option::of(0u8..=100),
        opinion in prop::sample::select(vec![
            Opinion::Positive, Opinion::Negative, Opinion::InvestigationSeed, Opinion::Disputed,
        ]),
        (file, sha256) in ("[a-cß]{0,2}", "[ab]{0,2}"),
        nanos in option::of(0u64..1 << 60),
        record in option::of("(tat|hma):[ab]{0,2}"),
        micros in 0u64..1 << 50,
    ) -> Signal {
        Signal {
            id: 0,
            hash: PdqHash::from_words(words),
            quality,
            opinion,
            provenance: Arc::new(Provenance { file, sha256 }),
            banked_at: nanos.map(Duration::from_nanos),
            record: record.map(Into::into),
            added: Timestamp::from_micros(micros),
        }
    }
}

/// With identifiers that leave gaps.
fn numbered(signals: Vec<Signal>, first: u64) -> Vec<Signal> {
    (0..).zip(signals).map(|(n, signal)| Signal { id: first + 3 * n, ..signal }).collect()
}

fn name() -> BankName {
    "demo".parse().unwrap()
}

fn made(path: &Path, base: Option<&Base>, removed: &BTreeSet<u64>, tail: &[Signal]) -> Base {
    write(path, &name(), &Contents { base, removed, tail }).unwrap();
    Base::open(path, &name()).unwrap()
}

proptest! {
    #[test]
    fn what_was_written_is_found_in_it(
        first in vec(signals(), 0..20),
        second in vec(signals(), 0..20),
        gone in btree_set(0u64..70, 0..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (numbered(first, 1), numbered(second, 100));
        let old = made(&folder.path().join("old"), None, &BTreeSet::new(), &first);
        prop_assert!(old.signals(&BTreeSet::new()).eq(first.iter().cloned()));
        let base = made(&folder.path().join("new"), Some(&old), &gone, &second);
        let all: Vec<Signal> =
            first.into_iter().filter(|signal| !gone.contains(&signal.id)).chain(second).collect();

        prop_assert_eq!(base.len(), all.len());
        prop_assert!(base.signals(&BTreeSet::new()).eq(all.iter().cloned()));
        prop_assert!(base.hashes().eq(all.iter().map(|signal| signal.hash)));
        prop_assert_eq!(base.last_id(), all.last().map(|last| last.id));
        for id in 0..170 {
            let expected = all.iter().position(|signal| signal.id == id).map(|place| place as u32);
            prop_assert_eq!(base.place_of(id), expected);
        }
        let rows: Vec<Row> = base.rows().collect();
        for text in ["", "a", "b", "ab", "ba", "bb", "c", "ß"] {
            let of: BTreeSet<u32> = base.provenances_of(text).collect();
            let named = base.provenances_named(text);
            for (row, signal) in rows.iter().zip(&all) {
                let Provenance { file, sha256 } = &*signal.provenance;
                prop_assert_eq!(of.contains(&row.provenance), sha256 == text);
                prop_assert_eq!(named.contains(&row.provenance), sha256 == text || file == text);
            }
        }
        for text in ["tat:", "tat:a", "hma:", "hma:bb", "x", ""] {
            let (number, starting) = (base.number_of(text), base.records_of(text));
            for (row, signal) in rows.iter().zip(&all) {
                let record = signal.record.as_deref();
                prop_assert_eq!(row.record.is_some() && row.record == number, record == Some(text));
                let starts = row.record.is_some_and(|record| starting.contains(&record));
                prop_assert_eq!(starts, record.is_some_and(|record| record.starts_with(text)));
            }
        }
        // What nobody names any more is gone from the file.
        let records: BTreeSet<_> = all.iter().filter_map(|signal| signal.record.clone()).collect();
        prop_assert_eq!(base.records() as usize, records.len());
    }

    #[test]
    fn one_changed_byte_is_always_found(at: prop::sample::Index, change in 1u8.., first in vec(signals(), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.1.signals");
        made(&path, None, &BTreeSet::new(), &numbered(first, 1));
        let mut bytes = fs::read(&path).unwrap();
        *at.get_mut(&mut bytes) ^= change;
        prop_assert!(Base::read(bytes.into(), form::read).is_err());
    }

    #[test]
    fn rubbish_is_refused_without_fuss(bytes: Vec<u8>) {
        prop_assert!(Base::read(bytes.into(), form::read).is_err());
    }
}

#[test]
fn what_is_no_base_of_this_bank_is_refused_by_name_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.1.signals");
    let signal = |id| Signal { id, ..Signal::example() };
    made(&path, None, &BTreeSet::new(), &[signal(1), signal(2)]);
    let good = fs::read(&path).unwrap();
    let mut altered = good.clone();
    altered[HEADER + 5] ^= 1;
    let newer = form::of_version(&good, 9);
    let longer = [&good[..], b"x"].concat();
    for (bytes, kind) in [
        (&good[..good.len() - 1], "cut_short"),
        (&good[..HEADER], "cut_short"),
        (&good[..100], "cut_short"),
        (&good[..3], "cut_short"),
        (&[], "cut_short"),
        (&altered, "altered"),
        (&longer, "altered"),
        (&newer, "newer"),
        (b"\x7fELF and so on", "foreign"),
    ] {
        fs::write(&path, bytes).unwrap();
        let refused = Base::open(&path, &name()).unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), (kind, false));
        let said = refused.to_string();
        assert!(said.contains("demo.1.signals") && said.contains("restore it from a backup"), "{said}");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(Base::open(&path, &"other".parse().unwrap()).unwrap_err().kind(), "misnamed");
    fs::remove_file(&path).unwrap();
    assert_eq!(Base::open(&path, &name()).unwrap_err().kind(), "no_base");
}

#[test]
fn signals_of_one_file_share_its_provenance() {
    let folder = tempfile::tempdir().unwrap();
    let tail = [1, 2].map(|id| Signal { id, ..Signal::example() });
    let base = made(&folder.path().join("demo.1.signals"), None, &BTreeSet::new(), &tail);
    let signals: Vec<_> = base.signals(&BTreeSet::new()).collect();
    assert!(Arc::ptr_eq(&signals[0].provenance, &signals[1].provenance));
}
