//! What is written into a bank, and what when it cannot be.

use std::fs;
use std::path::Path;

use crossbeam_channel::bounded;

use super::*;
use crate::bank::Changes;

fn set_aside(bank: &str, signal: u64) -> SetAside {
    let streams = ["a", "b", "c"].map(|name| StreamId::new("main", "live", name)).into();
    SetAside { bank: bank.into(), signal, provenance: "clip".into(), streams, within: Duration::from_mins(10) }
}

/// A folder with a bank `demo` of two signals.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let name = "demo".parse().unwrap();
    store.create(&name, &Changes::default(), Timestamp::ZERO).unwrap();
    let pdq = |hash: &str| crate::hash::Pdq { hash: hash.parse().unwrap(), quality: 100 };
    let hashes = ["f".repeat(32) + &"0".repeat(32), "0f".repeat(32)];
    for (seed, line) in hashes.iter().enumerate() {
        let content = crate::bank::Content {
            provenance: crate::bank::Provenance { file: format!("{seed}.png"), sha256: format!("{seed:064x}") },
            opinion: crate::finding::Opinion::Positive,
            frames: vec![crate::bank::dense::Frame { pdq: pdq(line), at: None }],
            every_bits: 0,
        };
        store.add(&name, &Changes::default(), content, Timestamp::ZERO).unwrap();
    }
    folder
}

/// What the judge is told, and what metrics say, when these are asked for and then nobody asks any more.
fn asked(banks: &Path, asked: Vec<SetAside>) -> (Vec<Notice>, String) {
    let (notices, told) = bounded(8);
    let (to_keep, inbox) = bounded(8);
    for set_aside in asked {
        to_keep.send(set_aside).unwrap();
    }
    drop(to_keep);
    let metrics = Arc::new(Metrics::new().unwrap());
    Quarantining { banks: banks.into(), notices, metrics: Arc::clone(&metrics), clock: Clock::system() }.run(&inbox);
    (told.try_iter().collect(), metrics.render().unwrap())
}

#[test]
fn several_signals_of_one_bank_are_one_revision_and_the_judge_is_told_which() {
    let folder = folder();
    let (told, _) = asked(folder.path(), vec![set_aside("demo", 1), set_aside("demo", 2)]);
    let [Notice::SetAside { bank, signals, revision: 4 }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&**bank, signals.as_slice()), ("demo", &[1, 2][..]));
    let bank = Store::open(folder.path()).unwrap().load(&"demo".parse().unwrap()).unwrap();
    let why: Vec<_> = bank.quarantine().map(|(id, why)| (id, why.reason.clone())).collect();
    let reason = "fired alone in 3 unrelated streams within 10m".to_owned();
    assert_eq!(why, [(1, reason.clone()), (2, reason)]);
}

#[test]
fn a_bank_that_cannot_be_written_is_counted_and_costs_no_other() {
    let folder = folder();
    let asks = || vec![set_aside("absent", 1), set_aside("demo", 1)];
    let (told, metrics) = asked(folder.path(), asks());
    assert!(matches!(told.as_slice(), [Notice::SetAside { .. }]), "{told:?}");
    assert!(metrics.contains("sluicegate_errors_total{kind=\"no_bank\",stage=\"known\"} 1"), "{metrics}");
    fs::remove_file(folder.path().join(".lock")).unwrap();
    fs::create_dir(folder.path().join(".lock")).unwrap();
    let (told, metrics) = asked(folder.path(), asks());
    assert!(told.is_empty(), "{told:?}");
    assert!(metrics.contains("sluicegate_errors_total{kind=\"io\",stage=\"known\"} 2"), "{metrics}");
}
