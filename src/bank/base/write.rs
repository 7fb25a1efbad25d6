//! Writes a base: signals of the one before that were not removed, then those of the tail. Holds neither in memory but for
//! their texts' places.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crc32fast::Hasher;

use super::Base;
use super::form::{self, Counts, HEADER, Row, SECTIONS};
use crate::bank::{BankName, Signal};

/// As confidential as the bank: the owner and their group only.
const MODE: u32 = 0o640;

/// What a base is made of.
pub(in crate::bank) struct Contents<'a> {
    /// The one before.
    pub(in crate::bank) base: Option<&'a Base>,
    /// Identifiers of it that are left out.
    pub(in crate::bank) removed: &'a BTreeSet<u64>,
    /// Signals behind it, by rising identifier, all higher than the base's.
    pub(in crate::bank) tail: &'a [Signal],
}

/// Writes a base at `path` and has it reach the disk. Whoever reads there meanwhile finds a file that is cut short.
pub(in crate::bank) fn write(path: &Path, name: &BankName, contents: &Contents<'_>) -> io::Result<()> {
    let Contents { base, removed, tail } = contents;
    let kept = || base.iter().flat_map(|base| base.kept(removed));
    let old_provenances = base.map_or(0, Base::provenances) as usize;
    let old_records = base.map_or(0, Base::records) as usize;
    let (mut with_provenance, mut with_record) = (vec![false; old_provenances], vec![false; old_records]);
    let mut rows = tail.len() as u64;
    for row in kept() {
        rows += 1;
        mark(&mut with_provenance, Some(row.provenance));
        mark(&mut with_record, row.record);
    }
    let provenances = Texts::merge(
        base.iter().flat_map(|base| (0..base.provenances()).map(|number| base.provenance_key(number))),
        &with_provenance,
        tail.iter().map(|signal| Some((&*signal.provenance.sha256, &*signal.provenance.file))),
    );
    let records = Texts::merge(
        base.iter().flat_map(|base| (0..base.records()).map(|number| base.record(number))),
        &with_record,
        tail.iter().map(|signal| signal.record.as_deref()),
    );

    let mut out = Out::new(path)?;
    for row in kept() {
        let provenance = provenances.of_old(row.provenance).unwrap_or_default();
        let record = row.record.and_then(|record| records.of_old(record));
        out.put(0, &Row { provenance, record, ..row }.encode())?;
    }
    for (place, signal) in tail.iter().enumerate() {
        let Signal { id, hash, quality, opinion, banked_at, added, .. } = *signal;
        let provenance = provenances.of_tail(place).unwrap_or_default();
        let record = records.of_tail(place);
        out.put(0, &Row { id, hash, banked_at, added, provenance, record, quality, opinion }.encode())?;
    }
    let texts = || {
        let provenances = provenances.keys.iter().flat_map(|(sha256, file)| [*sha256, *file]);
        provenances.chain(records.keys.iter().copied())
    };
    let mut text = 0;
    out.put(1, &0u64.to_le_bytes())?;
    for each in texts() {
        text += each.len() as u64;
        out.put(1, &text.to_le_bytes())?;
    }
    for each in texts() {
        out.put(2, each.as_bytes())?;
    }
    let (provenances, records) = (provenances.keys.len() as u64, records.keys.len() as u64);
    out.close(name, Counts { rows, provenances, records, text })
}

fn mark(used: &mut [bool], number: Option<u32>) {
    if let Some(used) = number.and_then(|number| used.get_mut(number as usize)) {
        *used = true;
    }
}

/// The texts of the old base that are still used and those of the tail, sorted, each once; and the new number of each.
struct Texts<K> {
    keys: Vec<K>,
    old: Vec<Option<u32>>,
    tail: Vec<Option<u32>>,
}

impl<K: Ord + Copy> Texts<K> {
    /// `old` is sorted.
    fn merge(old: impl Iterator<Item = K>, used: &[bool], tail: impl ExactSizeIterator<Item = Option<K>>) -> Self {
        let mut texts = Self { keys: Vec::new(), old: vec![None; used.len()], tail: vec![None; tail.len()] };
        let mut added: Vec<(K, usize)> = (0..).zip(tail).filter_map(|(place, key)| Some((key?, place))).collect();
        added.sort_unstable();
        let mut added = added.into_iter().peekable();
        for (number, key) in old.enumerate().filter(|(number, _)| used.get(*number) == Some(&true)) {
            while let Some((before, place)) = added.next_if(|(next, _)| *next <= key) {
                texts.add(before, place);
            }
            let new = texts.number(key);
            if let Some(slot) = texts.old.get_mut(number) {
                *slot = Some(new);
            }
        }
        for (key, place) in added {
            texts.add(key, place);
        }
        texts
    }

    fn add(&mut self, key: K, place: usize) {
        let new = self.number(key);
        if let Some(slot) = self.tail.get_mut(place) {
            *slot = Some(new);
        }
    }

    /// Keys come in rising order.
    fn number(&mut self, key: K) -> u32 {
        if self.keys.last() != Some(&key) {
            self.keys.push(key);
        }
        self.keys.len() as u32 - 1
    }

    fn of_old(&self, number: u32) -> Option<u32> {
        self.old.get(number as usize).copied().flatten()
    }

    fn of_tail(&self, place: usize) -> Option<u32> {
        self.tail.get(place).copied().flatten()
    }
}

/// The file while it is written, section after section; the header comes last.
struct Out {
    file: BufWriter<File>,
    sums: [Hasher; SECTIONS],
}

impl Out {
    fn new(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(path)?;
        file.write_all(&[0; HEADER])?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), sums: std::array::from_fn(|_| Hasher::new()) })
    }

    fn put(&mut self, section: usize, bytes: &[u8]) -> io::Result<()> {
        if let Some(sum) = self.sums.get_mut(section) {
            sum.update(bytes);
        }
        self.file.write_all(bytes)
    }

    fn close(self, name: &BankName, counts: Counts) -> io::Result<()> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&form::header(name, counts, self.sums.map(Hasher::finalize)))?;
        file.sync_all()
    }
}
