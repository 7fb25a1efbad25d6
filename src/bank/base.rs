//! The base of a large bank: most of its signals, as they were at the last compaction, in a file that is mapped and never
//! written again.
//!
//! What it promises: a file that is cut short, altered, of a later version or not ours is refused by name; signals are made of
//! it one by one when they are asked for, so that ten million take no memory but the map, which processes share.

mod form;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::file::Fault;
use super::index::{Built, Index};
use super::mapped::{self, IndexError};
use super::{BankError, BankName, Provenance, Signal, mmap};
use crate::hash::PdqHash;
use form::{HEADER, ROW, Shape};

pub(super) use form::Row;
pub(super) use write::{Contents, write};

/// Tells a base from every other: a digest of its header, which holds the checksums of everything else.
pub(super) type Identity = Built;

/// How much of a file is read before it is taken for a base.
type Reading = fn(&[u8]) -> Result<(BankName, Shape), Fault>;

/// A base, mapped.
#[derive(Clone)]
pub(super) struct Base {
    bytes: Bytes,
    shape: Shape,
    identity: Identity,
}

impl Base {
    /// Maps the base at `path`, which is to be `name`'s, and compares every checksum.
    pub(super) fn open(path: &Path, name: &BankName) -> Result<Self, BankError> {
        Self::map(path, name, form::read)
    }

    /// [`Self::open`] that compares the header's checksum alone and leaves the rest where it is, however much that is.
    pub(super) fn open_unread(path: &Path, name: &BankName) -> Result<Self, BankError> {
        Self::map(path, name, form::read_header)
    }

    fn map(path: &Path, name: &BankName, read: Reading) -> Result<Self, BankError> {
        let path_of = || path.to_owned();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(BankError::NoBase { path: path_of() }),
            Err(source) => return Err(BankError::Io { doing: "read", path: path_of(), source }),
        };
        // Nothing can be mapped of an empty file.
        let mapped = if length == 0 { Ok(Bytes::new()) } else { mmap::map(&file) };
        let bytes = mapped.map_err(|source| BankError::Io { doing: "read", path: path_of(), source })?;
        let (base, holds) = Self::read(bytes, read).map_err(|fault| BankError::of_file(fault, path))?;
        if holds == *name { Ok(base) } else { Err(BankError::Misnamed { path: path_of(), holds }) }
    }

    /// Reads a base in place, and whose it is.
    fn read(bytes: Bytes, read: Reading) -> Result<(Self, BankName), Fault> {
        let (name, shape) = read(&bytes)?;
        let identity = Sha256::digest(bytes.get(..HEADER).unwrap_or_default()).into();
        Ok((Self { bytes, shape, identity }, name))
    }

    /// What tells it from every other.
    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many signals it has.
    pub(super) const fn len(&self) -> usize {
        self.shape.counts.rows as usize
    }

    fn section(&self, section: usize) -> &[u8] {
        self.shape.sections.get(section).and_then(|range| self.bytes.get(range.clone())).unwrap_or_default()
    }

    /// All rows, by place: which is by rising identifier.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = Row> + Clone {
        self.section(0).as_chunks::<ROW>().0.iter().map(Row::decode)
    }

    /// All hashes, by place.
    pub(super) fn hashes(&self) -> impl ExactSizeIterator<Item = PdqHash> + Clone {
        self.rows().map(|row| row.hash)
    }

    /// The rows of all but the signals that were removed.
    pub(super) fn kept(&self, removed: &BTreeSet<u64>) -> impl Iterator<Item = Row> {
        // Both rise, so they are walked side by side.
        let mut removed = removed.iter().peekable();
        self.rows().filter(move |row| {
            while removed.next_if(|id| **id < row.id).is_some() {}
            removed.peek() != Some(&&row.id)
        })
    }

    /// The row at a place.
    pub(super) fn row(&self, place: u32) -> Option<Row> {
        self.section(0).as_chunks::<ROW>().0.get(place as usize).map(Row::decode)
    }

    /// The highest identifier.
    pub(super) fn last_id(&self) -> Option<u64> {
        self.section(0).as_chunks::<ROW>().0.last().map(|row| Row::decode(row).id)
    }

    /// Where the signal with this identifier is.
    pub(super) fn place_of(&self, id: u64) -> Option<u32> {
        let place = first(self.len() as u32, |place| self.row(place).is_some_and(|row| row.id < id));
        self.row(place).filter(|row| row.id == id).map(|_| place)
    }

    /// The signal of a row.
    pub(super) fn signal(&self, row: &Row) -> Signal {
        self.signal_like(row, None)
    }

    /// [`Self::signal`], which shares with `before` what both have.
    fn signal_like(&self, row: &Row, before: Option<(&Row, &Signal)>) -> Signal {
        let Row { id, hash, banked_at, added, quality, opinion, .. } = *row;
        let like = before.filter(|(like, _)| like.provenance == row.provenance);
        let provenance = like
            .map_or_else(|| Arc::new(self.provenance(row.provenance)), |(_, signal)| Arc::clone(&signal.provenance));
        let record = row.record.map(|record| self.record(record).into());
        Signal { id, hash, quality, opinion, provenance, banked_at, record, added }
    }

    /// All signals but those removed.
    pub(super) fn signals(&self, removed: &BTreeSet<u64>) -> impl Iterator<Item = Signal> {
        let mut before: Option<(Row, Signal)> = None;
        self.kept(removed).map(move |row| {
            let signal = self.signal_like(&row, before.as_ref().map(|(row, signal)| (row, signal)));
            before = Some((row, signal.clone()));
            signal
        })
    }

    const fn provenances(&self) -> u32 {
        self.shape.counts.provenances as u32
    }

    const fn records(&self) -> u32 {
        self.shape.counts.records as u32
    }

    /// Empty where there is no such text, which is ruled out when the file is opened.
    fn text(&self, number: u64) -> &str {
        let (ends, _) = self.section(1).as_chunks::<8>();
        let end = |number: u64| ends.get(usize::try_from(number).ok()?).map(|end| u64::from_le_bytes(*end) as usize);
        let bytes = end(number).zip(end(number + 1)).and_then(|(start, end)| self.section(2).get(start..end));
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The SHA-256 and the file of a provenance: by this they are sorted.
    fn provenance_key(&self, number: u32) -> (&str, &str) {
        let first = 2 * u64::from(number);
        (self.text(first), self.text(first + 1))
    }

    /// A provenance.
    pub(super) fn provenance(&self, number: u32) -> Provenance {
        let (sha256, file) = self.provenance_key(number);
        Provenance { file: file.to_owned(), sha256: sha256.to_owned() }
    }

    /// The provenances with this SHA-256.
    pub(super) fn provenances_of(&self, sha256: &str) -> Range<u32> {
        let key = |number| self.provenance_key(number).0;
        first(self.provenances(), |number| key(number) < sha256)..first(self.provenances(), |number| {
            key(number) <= sha256
        })
    }

    /// The provenances with this SHA-256 or file.
    pub(super) fn provenances_named(&self, file: &str) -> BTreeSet<u32> {
        let named = (0..self.provenances()).filter(|number| self.provenance_key(*number).1 == file);
        named.chain(self.provenances_of(file)).collect()
    }

    /// A record.
    pub(super) fn record(&self, number: u32) -> &str {
        self.text(2 * u64::from(self.provenances()) + u64::from(number))
    }

    /// The number of a record.
    pub(super) fn number_of(&self, record: &str) -> Option<u32> {
        let number = first(self.records(), |number| self.record(number) < record);
        (number < self.records() && self.record(number) == record).then_some(number)
    }

    /// The records that begin with `provider`.
    pub(super) fn records_of(&self, provider: &str) -> Range<u32> {
        let start = first(self.records(), |number| self.record(number) < provider);
        let end = first(self.records(), |number| {
            let record = self.record(number);
            record < provider || record.starts_with(provider)
        });
        start..end
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base({} signals)", self.len())
    }
}

/// The first of `count` that is not before what is looked for.
fn first(count: u32, is_before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A base with an index of it.
#[derive(Debug)]
pub(super) struct Indexed {
    pub(super) base: Base,
    pub(super) index: Index,
    /// Why the index had to be built in memory.
    pub(super) problem: Option<Arc<IndexError>>,
}

impl Indexed {
    /// With the index at `path`, or one built in memory where that is not fit; none of more signals than places can number,
    /// which is ruled out when the base is opened.
    pub(super) fn new(base: Base, path: &Path) -> Option<Self> {
        let problem = match mapped::open(path) {
            Ok((index, built)) if built == base.identity && index.len() == base.len() => {
                return Some(Self { base, index, problem: None });
            }
            Ok(_) => IndexError::Other { path: path.to_owned() },
            Err(problem) => problem,
        };
        let index = Index::build(base.hashes())?;
        Some(Self { base, index, problem: Some(Arc::new(problem)) })
    }
}

#[cfg(test)]
mod tests;
