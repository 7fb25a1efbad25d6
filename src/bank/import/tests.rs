//! What becomes of a list that a bank takes in.

use super::*;
use crate::bank::formats::{self, Fault, Format};
use crate::bank::{BankName, Changes, Store};

struct Desk {
    _folder: tempfile::TempDir,
    store: Store,
    name: BankName,
}

/// A healthy hash, another for each `n`.
fn hash(n: u64) -> PdqHash {
    PdqHash::from_words([n, !n, u64::MAX, 0])
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self { _folder: folder, store, name: "demo".parse().unwrap() }
    }

    fn take(&self, list: Read, whole: Option<&'static str>) -> Result<Imported, BankError> {
        let provenance = Provenance { file: "list".to_owned(), sha256: "ab".repeat(32) };
        let import = Import { provenance, opinion: Opinion::Positive, list, whole };
        Ok(self.store.import(&self.name, &Changes::default(), import, Timestamp::from_millis(7))?.0)
    }

    fn read(&self, format: Format, text: &str) -> Imported {
        self.take(formats::read(format, text.as_bytes(), Timestamp::ZERO).unwrap(), None).unwrap()
    }

    /// Each signal's number and the record it came with.
    fn signals(&self) -> Vec<(PdqHash, Option<String>)> {
        let bank = self.store.load(&self.name).unwrap();
        bank.signals().map(|signal| (signal.hash, signal.record.as_deref().map(str::to_owned))).collect()
    }
}

fn list(items: Vec<Item>) -> Read {
    Read { items, ..Read::default() }
}

fn signal(place: u64, hash: PdqHash, record: Option<&str>) -> Item {
    Item::Signal(Listed {
        place: Place::Line(place),
        hash,
        quality: None,
        at: None,
        opinion: None,
        source: None,
        record: record.map(Into::into),
    })
}

fn anew(record: &str) -> Item {
    Item::Anew(record.into())
}

#[test]
fn what_is_new_and_fit_is_added_once() {
    let desk = Desk::new();
    let dull = Item::Signal(Listed {
        quality: Some(49),
        place: Place::Line(4),
        hash: hash(3),
        at: None,
        opinion: None,
        source: None,
        record: None,
    });
    let items = vec![
        signal(1, hash(1), None),
        signal(2, PdqHash::ZERO, None),
        signal(3, PdqHash::from_words([1, 0, 0, 0]), None),
        dull,
        signal(5, hash(1), None),
        signal(6, hash(2), None),
    ];
    let imported = desk.take(list(items.clone()), None).unwrap();
    let refused = vec![
        (Place::Line(2), Refusal::AllZero),
        (Place::Line(3), Refusal::Unbalanced),
        (Place::Line(4), Refusal::LowQuality),
    ];
    assert_eq!(imported, Imported { added: 2, already: 1, removed: 0, refused: refused.clone() });
    let again = desk.take(list(items), None).unwrap();
    assert_eq!(again, Imported { added: 0, already: 3, removed: 0, refused });
    assert_eq!(desk.store.load(&desk.name).unwrap().revision(), 1);
}

#[test]
fn a_list_of_which_nothing_is_fit_makes_no_bank() {
    let desk = Desk::new();
    desk.take(list(vec![signal(1, PdqHash::ZERO, None)]), None).unwrap();
    assert_eq!(desk.store.names().unwrap(), []);
}

#[test]
fn what_a_record_was_before_is_void() {
    let desk = Desk::new();
    let first = vec![
        anew("ncmec:1/a"),
        signal(1, hash(1), Some("ncmec:1/a")),
        anew("ncmec:1/b"),
        signal(2, hash(2), Some("ncmec:1/b")),
        anew("ncmec:2/c"),
        signal(3, hash(1), Some("ncmec:2/c")),
        signal(4, hash(4), None),
    ];
    assert_eq!(desk.take(list(first), None).unwrap().added, 4, "a hash is kept once for each that vouches for it");
    let then = vec![anew("ncmec:1/a"), anew("ncmec:1/b"), signal(2, hash(5), Some("ncmec:1/b"))];
    let imported = desk.take(list(then), None).unwrap();
    assert_eq!((imported.added, imported.removed), (1, 2));
    let record = |text: &str| Some(text.to_owned());
    assert_eq!(desk.signals(), [(hash(1), record("ncmec:2/c")), (hash(4), None), (hash(5), record("ncmec:1/b"))]);
}

#[test]
fn of_one_list_the_last_word_counts() {
    let desk = Desk::new();
    let items = vec![
        anew("tat:1"),
        signal(1, hash(1), Some("tat:1")),
        anew("tat:1"),
        anew("tat:2"),
        anew("tat:2"),
        signal(5, hash(2), Some("tat:2")),
    ];
    assert_eq!(desk.take(list(items), None).unwrap().added, 1);
    assert_eq!(desk.signals(), [(hash(2), Some("tat:2".to_owned()))]);
}

#[test]
fn a_whole_list_removes_what_it_does_not_name_of_its_provider() {
    let desk = Desk::new();
    let records = ["tat:1", "tat:2", "hma:A/1"];
    let items = (1..).zip(records).map(|(n, record)| signal(n, hash(n), Some(record))).collect();
    desk.take(list(items), None).unwrap();
    desk.take(list(vec![signal(1, hash(9), None)]), None).unwrap();
    let later = || vec![anew("tat:2"), signal(1, hash(2), Some("tat:2"))];
    let fault = Fault { place: Place::Record(2), reason: "cut".to_owned() };
    let torn = Read { items: later(), faults: vec![fault], other: 0 };
    let refused = desk.take(torn, Some("tat:")).unwrap_err();
    assert!(refused.to_string().starts_with("list was not understood in 1 places"), "{refused}");
    assert_eq!(desk.signals().len(), 4);
    let imported = desk.take(list(later()), Some("tat:")).unwrap();
    assert_eq!((imported.added, imported.already, imported.removed), (0, 1, 1));
    let left: Vec<_> = desk.signals().into_iter().map(|(hash, _)| hash).collect();
    assert_eq!(left, [hash(2), hash(3), hash(9)]);
}

#[test]
fn a_withdrawn_record_of_stopncii_disappears() {
    let desk = Desk::new();
    let record = |n, status: &str| {
        format!(r#"{{"signalType":"ImagePDQ","hashValue":"{}","hashStatus":"{status}","caseNumbers":{{}}}}"#, hash(n))
    };
    let page = |records: &[String]| format!(r#"{{"count":1,"hashRecords":[{}]}}"#, records.join(","));
    assert_eq!(desk.read(Format::StopNcii, &page(&[record(1, "Active"), record(2, "Received")])).added, 2);
    for status in ["Withdrawn", "Deleted"] {
        assert_eq!(desk.read(Format::StopNcii, &page(&[record(1, status)])).removed, 1, "{status}");
        assert_eq!(desk.signals().len(), 1);
        assert_eq!(desk.read(Format::StopNcii, &page(&[record(1, "Active")])).added, 1);
    }
}
