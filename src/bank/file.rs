//! The form of a bank's small file, its *head*: lines of JSON that a person can read, closed by a digest.
//!
//! ```text
//! {"format":"sluicegate-bank","version":3,"name":"demo",...,"revision":3,"created":"2026-11-21T22:39:00Z","next_id":2}
//! {"id":1,"hash":"<64 hexadecimal digits>","quality":100,"opinion":"positive","provenance":{...},...}
//! ...
//! {"signals":1,"sha256":"<digest of every byte before this line>"}
//! ```
//!
//! The lines are the signals of a small bank; of a large one those added since its base was made, which the first line then names
//! with the signals that were removed from it.
//!
//! Version 1, which knew neither kind, enabled, until nor record, and version 2, which had neither quarantine nor base, are
//! still read; what is written is version 3, which earlier releases refuse by name.
//!
//! A file is either exactly what was written, or refused. The digest finds accidents, not forgers: whoever may write the
//! folder may write a bank.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::base::Identity;
use super::quarantine::Quarantined;
use super::signal::{rfc3339, rfc3339_option};
use super::{BankName, Kind, Settings, Signal};
use crate::clock::Timestamp;
use crate::decision::Verdict;

const FORMAT: &str = "sluicegate-bank";
const VERSION: u64 = 3;

/// All that a bank is but its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub(super) name: BankName,
    pub(super) settings: Settings,
    /// Counts the changes from 1; 0 of a bank that is not there yet.
    pub(super) revision: u64,
    pub(super) created: Timestamp,
    /// The next signal's identifier: higher than any that was ever given.
    pub(super) next_id: u64,
    pub(super) numbers: Numbers,
    /// The base, whose number is the last one used.
    pub(super) base: Option<Base>,
    /// Identifiers of the base's signals that were removed since.
    pub(super) removed: BTreeSet<u64>,
    pub(super) quarantined: Quarantined,
    /// Signals added since the base was made, by rising identifier.
    pub(super) tail: Vec<Signal>,
}

/// Which numbers the bases of a bank have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Numbers {
    /// Files numbered up to here were there before the bank was made: they are somebody else's to remove.
    pub(super) before: u64,
    /// The last one used.
    pub(super) last: u64,
}

impl Numbers {
    fn are_unused(&self) -> bool {
        *self == Self::default()
    }
}

/// The base that a head builds on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    /// How many signals it has, those removed since among them.
    pub(super) signals: u64,
    #[serde(with = "digits")]
    pub(super) identity: Identity,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u64,
    name: BankName,
    description: String,
    label: String,
    max_distance: u32,
    min_quality: u8,
    #[serde(default)]
    kind: Kind,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    quorum: u32,
    #[serde(default = "uncapped", skip_serializing_if = "is_uncapped")]
    at_most: Verdict,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(with = "rfc3339_option", default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    revision: u64,
    #[serde(with = "rfc3339")]
    created: Timestamp,
    /// None before version 3.
    next_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Numbers::are_unused")]
    numbers: Numbers,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Base>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    removed: BTreeSet<u64>,
    #[serde(default, skip_serializing_if = "Quarantined::is_empty")]
    quarantined: Quarantined,
}

/// A bank of version 1 had no other way.
const fn yes() -> bool {
    true
}

/// A bank that does not say asks for one picture.
const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_one(quorum: &u32) -> bool {
    *quorum == 1
}

/// A bank that does not say caps nothing.
const fn uncapped() -> Verdict {
    Verdict::Ban
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_uncapped(at_most: &Verdict) -> bool {
    matches!(at_most, Verdict::Ban)
}

/// What every version of the format starts with.
#[derive(Deserialize)]
struct Start {
    format: String,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    signals: u64,
    sha256: String,
}

/// Why bytes are not a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The end is missing.
    CutShort,
    /// They are not what was written.
    Altered,
    /// They are something else.
    Foreign,
    /// They are of this version, which is later than this release knows.
    Newer(u64),
}

impl Head {
    /// Of a bank with nothing in it.
    pub(super) const fn new(name: BankName, settings: Settings, revision: u64, created: Timestamp) -> Self {
        Self {
            name,
            settings,
            revision,
            created,
            next_id: 1,
            numbers: Numbers { before: 0, last: 0 },
            base: None,
            removed: BTreeSet::new(),
            quarantined: Quarantined::new(),
            tail: Vec::new(),
        }
    }

    /// How many changes were made since the base, which every search has to take into account.
    pub(super) fn changes(&self) -> usize {
        self.tail.len() + self.removed.len()
    }

    /// From how many changes on a new base is worth making: one in two hundred signals, but not less than `worthwhile` and
    /// not more than can be written and read again in the blink of an eye.
    pub(super) fn bearable(&self, worthwhile: usize) -> usize {
        let base = self.base.as_ref().map_or(0, |base| base.signals) as usize;
        (base / 200).clamp(worthwhile, 5 * worthwhile)
    }
}

/// The whole file.
pub(super) fn encode(head: &Head) -> Result<Vec<u8>, serde_json::Error> {
    let Settings { description, label, max_distance, min_quality, kind, quorum, at_most, enabled, until } =
        head.settings.clone();
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        name: head.name.clone(),
        description,
        label,
        max_distance,
        min_quality,
        kind,
        quorum,
        at_most,
        enabled,
        until,
        revision: head.revision,
        created: head.created,
        next_id: Some(head.next_id),
        numbers: head.numbers,
        base: head.base.clone(),
        removed: head.removed.clone(),
        quarantined: head.quarantined.clone(),
    };
    let mut bytes = Vec::new();
    line(&mut bytes, &header)?;
    for signal in &head.tail {
        line(&mut bytes, signal)?;
    }
    let footer = Footer { signals: head.tail.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) };
    line(&mut bytes, &footer)?;
    Ok(bytes)
}

fn line<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *bytes, value)?;
    bytes.push(b'\n');
    Ok(())
}

/// Reads the bytes of a bank's file.
///
/// # Errors
/// When they are not exactly what was written.
pub fn decode(bytes: &[u8]) -> Result<Head, Fault> {
    let first_end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let first = &bytes[..first_end];
    let start: Start = match serde_json::from_slice(first) {
        Ok(start) => start,
        // A file that stops inside its first line may still be told from one that never was a bank.
        Err(_) if begins_like_a_bank(first) => return Err(Fault::CutShort),
        Err(_) => return Err(Fault::Foreign),
    };
    if start.format != FORMAT {
        return Err(Fault::Foreign);
    }
    if start.version > VERSION {
        return Err(Fault::Newer(start.version));
    }
    let Some(ended) = bytes.strip_suffix(b"\n") else { return Err(Fault::CutShort) };
    let body_end = ended.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let (body, last) = ended.split_at(body_end);
    let Ok(footer) = serde_json::from_slice::<Footer>(last) else { return Err(Fault::CutShort) };
    if footer.sha256 != hex::encode(Sha256::digest(body)) {
        return Err(Fault::Altered);
    }
    let header: Header = serde_json::from_slice(first).or(Err(Fault::Altered))?;
    let mut signals: Vec<Signal> = Vec::new();
    for line in body.split(|&byte| byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        let mut signal: Signal = serde_json::from_slice(line).or(Err(Fault::Altered))?;
        // The pictures of a video follow one another: their provenance is kept once.
        if let Some(before) = signals.last().filter(|before| before.provenance == signal.provenance) {
            signal.provenance = Arc::clone(&before.provenance);
        }
        signals.push(signal);
    }
    if footer.signals != signals.len() as u64 {
        return Err(Fault::Altered);
    }
    signals.sort_by_key(|signal| signal.id);
    let next_id = signals.last().map_or(1, |last| last.id.saturating_add(1));
    let settings = Settings {
        description: header.description,
        label: header.label,
        max_distance: header.max_distance,
        min_quality: header.min_quality,
        kind: header.kind,
        quorum: header.quorum,
        at_most: header.at_most,
        enabled: header.enabled,
        until: header.until,
    };
    Ok(Head {
        name: header.name,
        settings,
        revision: header.revision,
        created: header.created,
        next_id: header.next_id.map_or(next_id, |said| said.max(next_id)),
        numbers: header.numbers,
        base: header.base,
        removed: header.removed,
        quarantined: header.quarantined,
        tail: signals,
    })
}

fn begins_like_a_bank(first: &[u8]) -> bool {
    let start = format!(r#"{{"format":"{FORMAT}","#);
    start.as_bytes().starts_with(first) || first.starts_with(start.as_bytes())
}

/// An identity as hexadecimal digits.
mod digits {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Identity;

    pub(super) fn serialize<S: Serializer>(identity: &Identity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(identity))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Identity, D::Error> {
        let mut identity = Identity::default();
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut identity).map_err(D::Error::custom)?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bank::Quarantine;
    use crate::hash::PdqHash;

    fn head(signals: u64) -> Head {
        let signal = |id| Signal { id, hash: PdqHash::from_words([id, 1, 2, 3]), ..Signal::example() };
        let until = Some(Timestamp::from_millis(1_900_000_000_000));
        let description = "a \"quoted\"\nname".to_owned();
        let settings = Settings {
            description,
            kind: Kind::Benign,
            quorum: 3,
            at_most: Verdict::Hold,
            enabled: false,
            until,
            ..Settings::default()
        };
        let quarantine = Quarantine { since: Timestamp::from_millis(9), reason: "a test card".to_owned() };
        Head {
            next_id: signals + 10,
            tail: (1..=signals).map(signal).collect(),
            quarantined: (1..signals).map(|id| (id, quarantine.clone())).collect(),
            ..Head::new("demo".parse().unwrap(), settings, 7, Timestamp::from_millis(5))
        }
    }

    #[test]
    fn a_head_reads_back() {
        for count in [0, 1, 50] {
            assert_eq!(decode(&encode(&head(count)).unwrap()).unwrap(), head(count));
        }
        let on_a_base = Head {
            numbers: Numbers { before: 1, last: 4 },
            base: Some(Base { signals: 1 << 40, identity: [7; 32] }),
            removed: [3, 5].into(),
            ..head(2)
        };
        assert_eq!(decode(&encode(&on_a_base).unwrap()).unwrap(), on_a_base);
    }

    #[test]
    fn version_1_is_still_read() {
        let body = concat!(
            r#"{"format":"sluicegate-bank","version":1,"name":"old","description":"","label":"x","max_distance":31,"#,
            r#""min_quality":50,"revision":4,"created":"2026-11-21T22:39:00Z"}"#,
            "\n",
            r#"{"id":3,"hash":"ffffffffffffffffffffffffffffffff00000000000000000000000000000000","quality":90,"#,
            r#""opinion":"positive","provenance":{"file":"a.mp4","sha256":"ab"},"banked_at":1.5,"#,
            r#""added":"2026-11-21T22:39:00Z"}"#,
            "\n",
        );
        let digest = hex::encode(Sha256::digest(body));
        let text = format!("{body}{{\"signals\":1,\"sha256\":\"{digest}\"}}\n");
        let head = decode(text.as_bytes()).unwrap();
        assert_eq!((head.settings.kind, head.settings.enabled, head.settings.until), (Kind::Harmful, true, None));
        assert_eq!((head.settings.quorum, head.settings.at_most), (1, Verdict::Ban));
        assert_eq!((head.tail[0].quality, head.tail[0].record.as_deref(), head.next_id), (Some(90), None, 4));
        let rewritten = encode(&head).unwrap();
        assert!(rewritten.starts_with(br#"{"format":"sluicegate-bank","version":3,"#));
        assert_eq!(decode(&rewritten).unwrap(), head);
    }

    #[test]
    fn a_bank_that_asks_for_one_picture_and_caps_nothing_does_not_say_so() {
        let head = |settings| Head::new("demo".parse().unwrap(), settings, 1, Timestamp::ZERO);
        let text = String::from_utf8(encode(&head(Settings::default())).unwrap()).unwrap();
        assert!(!text.contains("quorum") && !text.contains("at_most"), "{text}");
        let settings = Settings { quorum: 3, at_most: Verdict::Hold, ..Settings::default() };
        let text = String::from_utf8(encode(&head(settings)).unwrap()).unwrap();
        assert!(text.contains(r#""quorum":3,"at_most":"hold""#), "{text}");
    }

    #[test]
    fn signals_of_one_file_share_its_provenance() {
        let read = decode(&encode(&head(2)).unwrap()).unwrap();
        assert!(Arc::ptr_eq(&read.tail[0].provenance, &read.tail[1].provenance));
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused_as_such() {
        let bytes = encode(&head(3)).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]).err(), Some(Fault::CutShort), "at {end} of {}", bytes.len());
        }
    }

    #[test]
    fn other_files_and_later_versions_are_refused() {
        let text = String::from_utf8(encode(&head(1)).unwrap()).unwrap();
        let (header, rest) = text.split_once('\n').unwrap();
        let (_, footer) = rest.split_once('\n').unwrap();
        for (file, fault) in [
            ("\x7fELF".to_owned(), Fault::Foreign),
            ("{}\n".to_owned(), Fault::Foreign),
            ("\n".to_owned(), Fault::CutShort),
            ("hello\nworld\n".to_owned(), Fault::Foreign),
            (text.replacen(FORMAT, "somebody-elses", 1), Fault::Foreign),
            (text.replacen(r#""version":3"#, r#""version":4,"new":true"#, 1), Fault::Newer(4)),
            (text.replacen("positive", "negative", 1), Fault::Altered),
            (format!("{header}\n{footer}"), Fault::Altered),
        ] {
            assert_eq!(decode(file.as_bytes()).err(), Some(fault), "{file}");
        }
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_always_found(at: prop::sample::Index, change in 1u8..) {
            let mut bytes = encode(&head(3)).unwrap();
            *at.get_mut(&mut bytes) ^= change;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn rubbish_is_refused_without_fuss(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
