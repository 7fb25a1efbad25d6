//! The form of a base as bytes: where everything lies, the header, and a row a signal.
//!
//! ```text
//! 4096 bytes    header: magic, version, the bank's name, counts, a checksum of each section, one of the header
//! 66 a signal   rows, by rising identifier
//! 8 a text      where each text ends, the first one's beginning before them
//! the rest      texts: SHA-256 and file of every provenance, sorted, then every record, sorted
//! ```
//!
//! Little-endian. A file is either exactly what was written, or refused: no byte of it is outside a checksum. The checksums
//! (CRC-32) find accidents, not forgers; whatever the bytes are, none of them is used as an index without a check.

use std::ops::Range;
use std::time::Duration;

use crate::bank::BankName;
use crate::bank::file::Fault;
use crate::clock::Timestamp;
use crate::finding::Opinion;
use crate::hash::PdqHash;

const MAGIC: [u8; 8] = *b"SLGSIGNL";
const VERSION: u32 = 1;

/// Before everything else.
pub(super) const HEADER: usize = 4096;

/// Bytes of a row.
pub(super) const ROW: usize = 66;

/// Rows, ends of texts, texts.
pub(super) const SECTIONS: usize = 3;

const NAME: usize = 64;

/// Stands for none where a number has no better way to say so.
const NONE: u32 = u32::MAX;

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) provenances: u64,
    pub(super) records: u64,
    /// Bytes of all texts.
    pub(super) text: u64,
}

/// Where everything lies, which follows from how much there is.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) counts: Counts,
    pub(super) sections: [Range<usize>; SECTIONS],
}

impl Shape {
    /// None of what no file can hold, or rows that a place cannot number.
    fn new(counts: Counts) -> Option<Self> {
        let size = |count: u64, each: usize| usize::try_from(count).ok()?.checked_mul(each);
        u32::try_from(counts.rows).ok()?;
        let texts = counts.provenances.checked_mul(2)?.checked_add(counts.records)?.checked_add(1)?;
        u32::try_from(texts).ok()?;
        let rows = HEADER.checked_add(size(counts.rows, ROW)?)?;
        let ends = rows.checked_add(size(texts, 8)?)?;
        let text = ends.checked_add(size(counts.text, 1)?)?;
        Some(Self { counts, sections: [HEADER..rows, rows..ends, ends..text] })
    }
}

/// The header's bytes.
pub(super) fn header(name: &BankName, counts: Counts, checksums: [u32; SECTIONS]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    let mut padded = name.to_string().into_bytes();
    padded.resize(NAME, 0);
    bytes.extend(padded);
    let Counts { rows, provenances, records, text } = counts;
    bytes.extend([rows, provenances, records, text].iter().flat_map(|count| count.to_le_bytes()));
    bytes.extend(checksums.iter().flat_map(|sum| sum.to_le_bytes()));
    bytes.resize(HEADER - 4, 0);
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// Whose base these bytes are, and where everything in them lies, once every checksum was compared.
pub(super) fn read(file: &[u8]) -> Result<(BankName, Shape), Fault> {
    let (name, shape, checksums) = parts(file)?;
    let is_intact = |(section, sum): (&Range<usize>, u32)| {
        file.get(section.clone()).is_some_and(|section| crc32fast::hash(section) == sum)
    };
    if shape.sections.iter().zip(checksums).all(is_intact) { Ok((name, shape)) } else { Err(Fault::Altered) }
}

/// [`read`] that compares the header's checksum and the file's length only.
pub(super) fn read_header(file: &[u8]) -> Result<(BankName, Shape), Fault> {
    parts(file).map(|(name, shape, _)| (name, shape))
}

fn parts(file: &[u8]) -> Result<(BankName, Shape, [u32; SECTIONS]), Fault> {
    let magic = file.get(..MAGIC.len()).unwrap_or(file);
    if !MAGIC.starts_with(magic) {
        return Err(Fault::Foreign);
    }
    let header = file.first_chunk::<HEADER>().ok_or(Fault::CutShort)?;
    let (summed, sum) = header.split_last_chunk::<4>().ok_or(Fault::Altered)?;
    if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
        return Err(Fault::Altered);
    }
    let (version, name, counts, checksums) = fields(summed).ok_or(Fault::Altered)?;
    if version > VERSION {
        return Err(Fault::Newer(version.into()));
    }
    let name = name.ok_or(Fault::Altered)?;
    let shape = Shape::new(counts).ok_or(Fault::Altered)?;
    let [.., last] = &shape.sections;
    if file.len() < last.end {
        return Err(Fault::CutShort);
    }
    if file.len() > last.end {
        return Err(Fault::Altered);
    }
    Ok((name, shape, checksums))
}

type Fields = (u32, Option<BankName>, Counts, [u32; SECTIONS]);

fn fields(header: &[u8]) -> Option<Fields> {
    let (_, rest) = header.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_first_chunk::<NAME>()?;
    let name = std::str::from_utf8(name).ok().and_then(|name| name.trim_end_matches('\0').parse().ok());
    let (counts, rest) = rest.split_first_chunk::<32>()?;
    let [rows, provenances, records, text] = words(counts);
    let mut checksums = [0; SECTIONS];
    for (sum, four) in checksums.iter_mut().zip(rest.as_chunks().0) {
        *sum = u32::from_le_bytes(*four);
    }
    Some((u32::from_le_bytes(*version), name, Counts { rows, provenances, records, text }, checksums))
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, eight) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*eight);
    }
    words
}

/// A signal, its texts by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bank) struct Row {
    pub(in crate::bank) id: u64,
    pub(in crate::bank) hash: PdqHash,
    pub(in crate::bank) banked_at: Option<Duration>,
    pub(in crate::bank) added: Timestamp,
    pub(in crate::bank) provenance: u32,
    pub(in crate::bank) record: Option<u32>,
    pub(in crate::bank) quality: Option<u8>,
    pub(in crate::bank) opinion: Opinion,
}

const OPINIONS: [Opinion; 4] = [Opinion::Positive, Opinion::Negative, Opinion::InvestigationSeed, Opinion::Disputed];

impl Row {
    pub(super) fn encode(&self) -> [u8; ROW] {
        let Self { id, hash, banked_at, added, provenance, record, quality, opinion } = self;
        // 584 years into a video nobody will miss the rest.
        let banked_at = banked_at.map_or(u64::MAX, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX - 1));
        let opinion = OPINIONS.iter().position(|known| known == opinion).unwrap_or_default() as u8;
        let mut row = [0; ROW];
        let words = [*id].into_iter().chain(*hash.words()).chain([banked_at, added.as_micros()]);
        let bytes = words.flat_map(u64::to_le_bytes);
        let bytes = bytes.chain(provenance.to_le_bytes()).chain(record.unwrap_or(NONE).to_le_bytes());
        for (slot, byte) in row.iter_mut().zip(bytes.chain([quality.unwrap_or(u8::MAX), opinion])) {
            *slot = byte;
        }
        row
    }

    pub(super) fn decode(row: &[u8; ROW]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| row[at + n]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| row[at + n]));
        Self {
            id: word(0),
            hash: PdqHash::from_words([word(8), word(16), word(24), word(32)]),
            banked_at: Some(word(40)).filter(|at| *at != u64::MAX).map(Duration::from_nanos),
            added: Timestamp::from_micros(word(48)),
            provenance: half(56),
            record: Some(half(60)).filter(|record| *record != NONE),
            quality: Some(row[64]).filter(|quality| *quality != u8::MAX),
            // What nobody here can have written may not cut on its own.
            opinion: OPINIONS.get(usize::from(row[65])).copied().unwrap_or(Opinion::Disputed),
        }
    }
}

/// The same file, of another version.
#[cfg(test)]
pub(super) fn of_version(file: &[u8], version: u32) -> Vec<u8> {
    let mut header = file[..HEADER - 4].to_vec();
    header[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = crc32fast::hash(&header);
    header.extend(sum.to_le_bytes());
    [&header, &file[HEADER..]].concat()
}
