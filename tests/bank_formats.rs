//! Banks as files between programs: every format gives back what was written in it, however the bank came about; two
//! processes that write at once lose nothing; and a full disk costs nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sluicegate::bank::formats::{self, Format, Item, Listed};
use sluicegate::bank::{Bank, Changes, Import, Provenance, Settings, Signal, Store};
use sluicegate::clock::Timestamp;
use sluicegate::finding::Opinion;
use sluicegate::hash::PdqHash;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn opinions() -> impl Strategy<Value = Opinion> {
    prop::sample::select(vec![Opinion::Positive, Opinion::Negative, Opinion::InvestigationSeed, Opinion::Disputed])
}

/// Names as people give them: with commas, quotes, line breaks and letters from anywhere, but no space at the ends.
fn names() -> impl Strategy<Value = String> {
    "[a-zß\",;'#\n\u{4e00}-\u{4e10}]{1,12}".prop_map(|name| format!("x{name}x"))
}

prop_compose! {
    fn signals()(
        words: [u64; 2],
        quality in option::of(0u8..=100),
        opinion in opinions(),
        file in names(),
        ms in option::of(0u64..100_000_000),
        record in option::of(names()),
    ) -> Signal {
        let [a, b] = words;
        Signal {
            id: 0,
            hash: PdqHash::from_words([a, !a, b, !b]),
            quality,
            opinion,
            provenance: Arc::new(Provenance { file, sha256: "ab".repeat(32) }),
            banked_at: ms.map(Duration::from_millis),
            record: record.map(Into::into),
            added: NOW,
        }
    }
}

fn bank(signals: Vec<Signal>) -> Bank {
    let signals = signals.into_iter().zip(1..).map(|(signal, id)| Signal { id, ..signal }).collect();
    Bank::new("demo".parse().unwrap(), Settings::default(), 1, NOW, signals)
}

fn read_back(format: Format, bank: &Bank) -> Vec<Listed> {
    let mut text = Vec::new();
    formats::write(format, bank, &mut text).unwrap();
    let read = formats::read(format, &text, NOW).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(read.faults.is_empty() && read.other == 0, "{format}: {:?}\n{text}", read.faults);
    let signals = read.items.into_iter().filter_map(|item| match item {
        Item::Signal(listed) => Some(listed),
        Item::Anew(_) => None,
    });
    signals.collect()
}

proptest! {
    #[test]
    fn every_format_gives_the_hashes_back_in_order(signals in vec(signals(), 0..20)) {
        let bank = bank(signals);
        let hashes: Vec<_> = bank.signals().map(|signal| signal.hash).collect();
        for format in Format::ALL.into_iter().filter(|format| format.is_written()) {
            let read: Vec<_> = read_back(format, &bank).iter().map(|listed| listed.hash).collect();
            prop_assert!(read == hashes, "{}", format);
        }
    }

    #[test]
    fn vpdq_gives_quality_and_time_back(signals in vec(signals(), 0..20)) {
        let bank = bank(signals);
        let expected: Vec<_> = bank
            .signals()
            .map(|signal| (signal.quality.or(Some(100)), signal.banked_at.or(Some(Duration::ZERO))))
            .collect();
        for format in [Format::Vpdq, Format::VpdqJson] {
            let read: Vec<_> = read_back(format, &bank).iter().map(|listed| (listed.quality, listed.at)).collect();
            prop_assert_eq!(&read, &expected);
        }
    }

    #[test]
    fn a_table_gives_everything_back(signals in vec(signals(), 0..20)) {
        let bank = bank(signals);
        let read = read_back(Format::Csv, &bank);
        prop_assert_eq!(read.len(), bank.len());
        for (listed, signal) in read.iter().zip(bank.signals()) {
            prop_assert_eq!(listed.quality, signal.quality);
            prop_assert_eq!(listed.at, signal.banked_at);
            prop_assert_eq!(listed.opinion, Some(signal.opinion));
            prop_assert_eq!(listed.source.as_ref(), Some(signal.provenance.as_ref()));
            prop_assert_eq!(&listed.record, &signal.record);
        }
    }
}

fn healthy(n: u64) -> PdqHash {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    PdqHash::from_words([spread, !spread, n, !n])
}

fn list(path: &Path, hashes: std::ops::Range<u64>) {
    let lines: Vec<String> = hashes.map(|n| healthy(n).to_string()).collect();
    fs::write(path, lines.join("\n")).unwrap();
}

const SLUICEGATE: &str = env!("CARGO_BIN_EXE_sluicegate");

#[test]
fn two_processes_that_write_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let file = folder.path().join(format!("{writer}.txt"));
            list(&file, writer * 1000..writer * 1000 + 500);
            let mut command = Command::new(SLUICEGATE);
            command.args(["bank", "import", "demo", "--format", "hashes"]).arg(&file).arg("--banks").arg(folder.path());
            command.spawn().unwrap()
        })
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let bank = Store::open(folder.path()).unwrap().load(&"demo".parse().unwrap()).unwrap();
    assert_eq!((bank.len(), bank.revision()), (2000, 4));
}

/// Imports `file` as a process that may not make a file of more than a few kilobytes, as if the disk were full.
fn import_on_a_full_disk(banks: &Path, file: &Path) -> Output {
    // The signal that goes with it is ignored, as a full disk sends none.
    let script = r#"trap '' XFSZ; ulimit -f 16; exec "$0" bank import demo --format hashes "$1" --banks "$2""#;
    Command::new("sh").args(["-c", script, SLUICEGATE]).arg(file).arg(banks).output().unwrap()
}

#[test]
fn a_full_disk_is_said_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let banks = folder.path().join("banks");
    fs::create_dir(&banks).unwrap();
    let (few, many) = (folder.path().join("few.txt"), folder.path().join("many.txt"));
    list(&few, 1..5);
    list(&many, 100..1000);
    assert!(import_on_a_full_disk(&banks, &few).status.success());
    let before = fs::read(banks.join("demo.bank")).unwrap();
    let refused = import_on_a_full_disk(&banks, &many);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("demo.bank: check the folder's permissions and free space"), "{said}");
    assert_eq!(fs::read(banks.join("demo.bank")).unwrap(), before);
    assert!(!banks.join("demo.new").exists(), "half a bank is left behind");
}

#[test]
fn a_list_that_cannot_be_read_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let name = "demo".parse().unwrap();
    let torn = format!("{}\n{}\n", healthy(1), "not a hash");
    let read = formats::read(Format::Hashes, torn.as_bytes(), NOW).unwrap();
    let provenance = Provenance { file: "list.txt".to_owned(), sha256: "ab".repeat(32) };
    let import = Import { provenance, opinion: Opinion::Positive, list: read, whole: Some("tat:") };
    assert_eq!(store.import(&name, &Changes::default(), import, NOW).unwrap_err().kind(), "not_whole");
    assert_eq!(store.names().unwrap(), []);
}
