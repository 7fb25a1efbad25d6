//! The form of an index as bytes: where everything lies, and the header that a file of it has.
//!
//! ```text
//! 4096 bytes  header: magic, version, parity, count, what it was built from, a checksum of each section, one of the header
//! 32 a hash   the hashes, their bits arranged in bands
//! per band    bounds (4 bytes a value), next band (2 bytes an entry), places (4 bytes an entry)
//! ```
//!
//! Little-endian; every section starts at a multiple of 64 bytes. A file is either exactly what was written, or refused: no byte
//! of it is outside a checksum. The checksums (CRC-32) find accidents, not forgers: whoever may write the folder may write
//! an index, and what they write cannot do worse than match the wrong things.

use std::ops::Range;

use bytes::Bytes;

use super::bands::{BANDS, KEYS};
use super::simd::PADDING;
use super::{Index, Parity};

const MAGIC: [u8; 8] = *b"SLGINDEX";
const VERSION: u32 = 1;

/// A page, so that what follows is aligned when the file is mapped.
pub(super) const HEADER: usize = 4096;

const ALIGNED: usize = 64;
const SECTIONS: usize = 1 + BANDS;

/// What an index was built from, such as a digest of a bank's file: to tell whether it still belongs to it.
pub type Built = [u8; 32];

/// Why bytes are not an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The end is missing.
    CutShort,
    /// Something is not as it was written.
    Altered,
    /// It never was an index.
    Foreign,
    /// It is of this later version.
    Newer(u32),
}

/// Where everything lies, which follows from the number of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    count: u32,
}

impl Shape {
    pub(super) fn new(count: usize) -> Option<Self> {
        Some(Self { count: u32::try_from(count).ok()? })
    }

    pub(super) const fn count(self) -> usize {
        self.count as usize
    }

    pub(super) const fn hashes(self) -> Range<usize> {
        0..self.count() * 32
    }

    /// Bounds, next bands and places.
    pub(super) const fn band(self, band: usize) -> [Range<usize>; 3] {
        let [bounds, next, places] = self.lengths();
        let start = self.hashes().end.next_multiple_of(ALIGNED) + band * self.stride();
        let second = start + bounds.next_multiple_of(ALIGNED);
        let third = second + next.next_multiple_of(ALIGNED);
        [start..start + bounds, second..second + next, third..third + places]
    }

    const fn lengths(self) -> [usize; 3] {
        [(KEYS + 1) * 4, (self.count() + PADDING) * 2, self.count() * 4]
    }

    const fn stride(self) -> usize {
        let [bounds, next, places] = self.lengths();
        bounds.next_multiple_of(ALIGNED) + next.next_multiple_of(ALIGNED) + places.next_multiple_of(ALIGNED)
    }

    pub(super) const fn size(self) -> usize {
        self.hashes().end.next_multiple_of(ALIGNED) + BANDS * self.stride()
    }

    /// Without gaps: hashes, then each band.
    fn checked(self) -> impl Iterator<Item = Range<usize>> {
        let bands = self.hashes().end.next_multiple_of(ALIGNED);
        std::iter::once(0..bands).chain((0..BANDS).map(move |n| {
            let start = bands + n * self.stride();
            start..start + self.stride()
        }))
    }
}

/// Memory that can be read as whole words.
pub(super) struct Aligned(Vec<u64>);

impl Aligned {
    pub(super) fn zeroed(size: usize) -> Self {
        Self(vec![0; size.div_ceil(8)])
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl AsMut<[u8]> for Aligned {
    fn as_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Every field of the header but its checksum, in this order.
struct Fields {
    version: u32,
    parity: u32,
    count: u64,
    built: Built,
    checksums: [u32; SECTIONS],
}

impl Fields {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.parity.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.built);
        bytes.extend(self.checksums.iter().flat_map(|sum| sum.to_le_bytes()));
        bytes.resize(HEADER - 4, 0);
        let sum = crc32fast::hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    fn decode(header: &[u8; HEADER]) -> Option<Self> {
        let (_, rest) = header.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (parity, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (built, rest) = rest.split_first_chunk()?;
        let mut checksums = [0; SECTIONS];
        for (sum, four) in checksums.iter_mut().zip(rest.as_chunks().0) {
            *sum = u32::from_le_bytes(*four);
        }
        let (version, parity) = (u32::from_le_bytes(*version), u32::from_le_bytes(*parity));
        Some(Self { version, parity, count: u64::from_le_bytes(*count), built: *built, checksums })
    }
}

const PARITIES: [Parity; 3] = [Parity::Even, Parity::Odd, Parity::Mixed];

impl Index {
    /// What a file of this index is: a header, then the index as it is in memory.
    pub fn file(&self, built: Built) -> [Bytes; 2] {
        let mut checksums = [0; SECTIONS];
        for (sum, section) in checksums.iter_mut().zip(self.shape.checked()) {
            *sum = crc32fast::hash(self.body.get(section).unwrap_or_default());
        }
        let parity = PARITIES.iter().position(|parity| *parity == self.parity).unwrap_or_default() as u32;
        let fields = Fields { version: VERSION, parity, count: self.len() as u64, built, checksums };
        [fields.encode().into(), self.body.clone()]
    }

    /// Reads what [`Self::file`] gave, in place, and all of it: every checksum is compared.
    ///
    /// # Errors
    /// When the bytes are not exactly what was written.
    pub fn read(file: &Bytes) -> Result<(Self, Built), Fault> {
        let magic = &file[..file.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(Fault::Foreign);
        }
        let header = file.first_chunk::<HEADER>().ok_or(Fault::CutShort)?;
        let fields = Fields::decode(header).ok_or(Fault::Altered)?;
        let (summed, sum) = header.split_last_chunk::<4>().ok_or(Fault::Altered)?;
        if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return Err(Fault::Altered);
        }
        if fields.version > VERSION {
            return Err(Fault::Newer(fields.version));
        }
        let shape = usize::try_from(fields.count).ok().and_then(Shape::new).ok_or(Fault::Altered)?;
        let parity = PARITIES.get(fields.parity as usize).copied().ok_or(Fault::Altered)?;
        let body = file.slice(HEADER..);
        match body.len() {
            less if less < shape.size() => return Err(Fault::CutShort),
            more if more > shape.size() => return Err(Fault::Altered),
            _ => {}
        }
        let intact = shape.checked().zip(fields.checksums).all(|(section, sum)| crc32fast::hash(&body[section]) == sum);
        // What is not aligned or not little-endian could not be read in place.
        if !intact || bytemuck::try_cast_slice::<_, u64>(&body).is_err() || cfg!(target_endian = "big") {
            return Err(Fault::Altered);
        }
        Ok((Self { body, shape, parity }, fields.built))
    }
}

/// The same file, of another version.
#[cfg(test)]
pub(super) fn of_version(file: &[u8], version: u32) -> Bytes {
    let mut header: [u8; HEADER] = *file.first_chunk().unwrap();
    header = Fields { version, ..Fields::decode(&header).unwrap() }.encode().try_into().unwrap();
    [&header, &file[HEADER..]].concat().into()
}
