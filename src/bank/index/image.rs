//! The form of an index as bytes: where everything lies, and the header that a file of it has.
//!
//! ```text
//! 4096 bytes  header: magic, version, parity, counts, what it was built from, a checksum of each section, one of the header
//! 32 a hash   the hashes, their bits arranged in bands
//! clusters    centres (32 bytes each), shells (4 bytes a distance), members (32 bytes each, in blocks), their places (4 bytes each)
//! per band    bounds (4 bytes a value), next band (2 bytes an entry), places (4 bytes an entry), of all that are in no cluster
//! ```
//!
//! Little-endian; every section starts at a multiple of 64 bytes. A file is either exactly what was written, or refused: no byte
//! of it is outside a checksum. The checksums (CRC-32) find accidents, not forgers: whoever may write the folder may write
//! an index, and what they write cannot do worse than match the wrong things.

use std::ops::Range;

use bytes::Bytes;

use super::bands::{BANDS, KEYS};
use super::cluster::SHELLS;
use super::simd::{BLOCK, PADDING};
use super::{Index, Parity};

const MAGIC: [u8; 8] = *b"SLGINDEX";
const VERSION: u32 = 2;

/// A page, so that what follows is aligned when the file is mapped.
pub(super) const HEADER: usize = 4096;

const ALIGNED: usize = 64;
/// The hashes, the clusters, the bands.
const SECTIONS: usize = 2 + BANDS;

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
    /// It is of this earlier version.
    Older(u32),
    /// It is of this later version.
    Newer(u32),
}

/// Where everything lies, which follows from how many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// All entries.
    count: u32,
    /// Entries that are in a cluster.
    members: u32,
    /// Room for them: every cluster begins with a block of its own.
    slots: u32,
    clusters: u32,
}

impl Shape {
    /// Of an index without clusters.
    pub(super) fn new(count: usize) -> Option<Self> {
        Some(Self { count: u32::try_from(count).ok()?, members: 0, slots: 0, clusters: 0 })
    }

    /// The same entries, some of them in clusters. None of numbers that do not go together.
    pub(super) fn with_clusters(self, clusters: usize, members: usize, slots: usize) -> Option<Self> {
        let whole = slots.is_multiple_of(BLOCK) && members <= slots && members <= self.count();
        let [clusters, members, slots] = [clusters, members, slots].map(u32::try_from);
        whole.then_some(Self { clusters: clusters.ok()?, members: members.ok()?, slots: slots.ok()?, ..self })
    }

    pub(super) const fn count(self) -> usize {
        self.count as usize
    }

    /// Entries that are in the bands.
    pub(super) const fn banded(self) -> usize {
        (self.count - self.members) as usize
    }

    pub(super) const fn clusters(self) -> usize {
        self.clusters as usize
    }

    pub(super) const fn hashes(self) -> Range<usize> {
        0..self.count() * 32
    }

    /// Centres, shells, members and their places.
    pub(super) const fn cluster(self) -> [Range<usize>; 4] {
        let slots = self.slots as usize;
        let centres = self.clusters().next_multiple_of(BLOCK) * 32;
        let first = self.hashes().end.next_multiple_of(ALIGNED);
        let second = first + centres.next_multiple_of(ALIGNED);
        let shells = self.clusters() * SHELLS * 4;
        let third = second + shells.next_multiple_of(ALIGNED);
        let fourth = third + slots * 32;
        [first..first + centres, second..second + shells, third..fourth, fourth..fourth + slots * 4]
    }

    pub(super) const fn size_of_clusters(self) -> usize {
        self.bands() - self.hashes().end
    }

    const fn bands(self) -> usize {
        self.cluster()[3].end.next_multiple_of(ALIGNED)
    }

    /// Bounds, next bands and places.
    pub(super) const fn band(self, band: usize) -> [Range<usize>; 3] {
        let [bounds, next, places] = self.lengths();
        let start = self.bands() + band * self.stride();
        let second = start + bounds.next_multiple_of(ALIGNED);
        let third = second + next.next_multiple_of(ALIGNED);
        [start..start + bounds, second..second + next, third..third + places]
    }

    const fn lengths(self) -> [usize; 3] {
        [(KEYS + 1) * 4, (self.banded() + PADDING) * 2, self.banded() * 4]
    }

    const fn stride(self) -> usize {
        let [bounds, next, places] = self.lengths();
        bounds.next_multiple_of(ALIGNED) + next.next_multiple_of(ALIGNED) + places.next_multiple_of(ALIGNED)
    }

    pub(super) const fn size(self) -> usize {
        self.bands() + BANDS * self.stride()
    }

    /// Without gaps: hashes, clusters, then each band.
    fn checked(self) -> impl Iterator<Item = Range<usize>> {
        let (hashes, bands) = (self.hashes().end.next_multiple_of(ALIGNED), self.bands());
        [0..hashes, hashes..bands].into_iter().chain((0..BANDS).map(move |n| {
            let start = bands + n * self.stride();
            start..start + self.stride()
        }))
    }
}

/// Memory that can be read as whole words.
pub(super) enum Aligned {
    Words(Vec<u64>),
    /// In large pages where the system has them: half the time of a query in a large index, and of its building, is spent on finding
    /// out where small pages are.
    Pages(memmap2::MmapMut),
}

/// From so many bytes on large pages are worth it.
const LARGE: usize = 16 << 20;

impl Aligned {
    pub(super) fn zeroed(size: usize) -> Self {
        let pages = (size >= LARGE).then(|| memmap2::MmapMut::map_anon(size).ok()).flatten();
        let Some(pages) = pages else { return Self::Words(vec![0; size.div_ceil(8)]) };
        #[cfg(target_os = "linux")]
        {
            // Without large pages it is as right, and slower.
            let _refused = pages.advise(memmap2::Advice::HugePage);
        }
        Self::Pages(pages)
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Words(words) => bytemuck::cast_slice(words),
            Self::Pages(pages) => pages,
        }
    }
}

impl AsMut<[u8]> for Aligned {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Words(words) => bytemuck::cast_slice_mut(words),
            Self::Pages(pages) => pages,
        }
    }
}

/// Every field of the header but its checksum, in this order.
struct Fields {
    version: u32,
    parity: u32,
    clusters: u32,
    count: u32,
    members: u32,
    slots: u32,
    built: Built,
    checksums: [u32; SECTIONS],
}

impl Fields {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        let numbers = [self.version, self.parity, self.clusters, self.count, self.members, self.slots];
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.built);
        bytes.extend(self.checksums.iter().flat_map(|sum| sum.to_le_bytes()));
        bytes.resize(HEADER - 4, 0);
        let sum = crc32fast::hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    fn decode(header: &[u8; HEADER]) -> Option<Self> {
        let (_, rest) = header.split_first_chunk::<8>()?;
        let (numbers, rest) = rest.split_first_chunk::<24>()?;
        let (built, rest) = rest.split_first_chunk()?;
        let [version, parity, clusters, count, members, slots] = *numbers.as_chunks().0.first_chunk::<6>()?;
        let number = u32::from_le_bytes;
        let mut checksums = [0; SECTIONS];
        for (sum, four) in checksums.iter_mut().zip(rest.as_chunks().0) {
            *sum = u32::from_le_bytes(*four);
        }
        Some(Self {
            version: number(version),
            parity: number(parity),
            clusters: number(clusters),
            count: number(count),
            members: number(members),
            slots: number(slots),
            built: *built,
            checksums,
        })
    }
}

impl Fields {
    fn shape(&self) -> Option<Shape> {
        let [clusters, members, slots] = [self.clusters, self.members, self.slots].map(|number| number as usize);
        Shape::new(self.count as usize)?.with_clusters(clusters, members, slots)
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
        let Shape { count, members, slots, clusters } = self.shape;
        let fields = Fields { version: VERSION, parity, clusters, count, members, slots, built, checksums };
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
        match fields.version {
            earlier if earlier < VERSION => return Err(Fault::Older(earlier)),
            later if later > VERSION => return Err(Fault::Newer(later)),
            _ => {}
        }
        let shape = fields.shape().ok_or(Fault::Altered)?;
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
