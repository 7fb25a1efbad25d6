//! PDQ: a 256-bit hash of how a picture looks, near for pictures that look alike, and a measure of how much there was
//! to look at.
//!
//! The algorithm is Meta's (`pdq` in `facebook/ThreatExchange`, with a paper by Davis and Rosen, 2019), in its
//! *full-size* form: the picture is never scaled before it is hashed. On identical pixels hash and quality are identical
//! to those of the `pdqhash` package on PyPI, to the last bit: every float is added and rounded in the reference's order.
//!
//! Pure: no clock, no file, no thread, no logging.
//!
//! ```
//! use sluicegate::hash::{Hasher, Luma};
//!
//! let pixels: Vec<u8> = (0..=255u8).cycle().take(300 * 200).collect();
//! let mut hasher = Hasher::new();
//! let pdq = hasher.luma(Luma::new(&pixels, 300, 200, 300)?);
//! assert_eq!(pdq.hash.distance(&pdq.hash.to_string().parse()?), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod filter;
mod pdq_hash;
mod pixels;
mod transform;

use crate::picture::{ColourRange, Picture};

pub use pdq_hash::{ParseHashError, PdqHash};
pub use pixels::{HashError, Luma, Rgb};

use filter::{Filter, SIDE};
use pixels::FULL_FROM_LIMITED;
use transform::Dct;

/// Two pictures at most this many bits apart are taken to show the same thing.
pub const MATCH_DISTANCE: u32 = 31;

/// Pictures of less quality than this show too little to be told apart.
pub const USEFUL_QUALITY: u8 = 50;

/// Pictures narrower or lower than this have no hash.
const SMALLEST: usize = 5;

/// The hash of a picture, and how much the picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pdq {
    /// What the picture looks like. All zero where a side is under five pixels.
    pub hash: PdqHash,
    /// 0 (nothing to see) to 100.
    pub quality: u8,
}

/// Hashes one picture after another and keeps its buffers in between, about 0.2 MB for pictures of 1080p.
#[derive(Debug, Default)]
pub struct Hasher {
    filter: Filter,
    dct: Dct,
}

impl Hasher {
    /// A hasher for pictures of any size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes luma, 8-bit or `f32`, in full range: 0 is black, 255 is white.
    pub fn luma<T: Copy + Into<f32>>(&mut self, luma: Luma<'_, T>) -> Pdq {
        self.hash(luma.width(), luma.height(), |y, row| {
            for (to, &from) in row.iter_mut().zip(luma.row(y)) {
                *to = from.into();
            }
        })
    }

    /// Hashes full-range RGB, by its luma 0.299 R + 0.587 G + 0.114 B without gamma.
    pub fn rgb(&mut self, rgb: Rgb<'_>) -> Pdq {
        self.hash(rgb.width(), rgb.height(), |y, row| {
            for (to, &from) in row.iter_mut().zip(rgb.row(y)) {
                *to = pixels::luma_of(from);
            }
        })
    }

    /// Hashes a decoded picture by its luma plane, limited range expanded to full and rounded to 8 bits.
    ///
    /// # Errors
    /// When the plane's data are shorter than its size says.
    pub fn picture(&mut self, picture: &Picture) -> Result<Pdq, HashError> {
        let plane = &picture.luma;
        let luma = Luma::new(&plane.data, plane.width, plane.height, plane.stride)?;
        match picture.range {
            ColourRange::Full => Ok(self.luma(luma)),
            ColourRange::Limited => Ok(self.hash(luma.width(), luma.height(), |y, row| {
                for (to, &from) in row.iter_mut().zip(luma.row(y)) {
                    *to = FULL_FROM_LIMITED[usize::from(from)];
                }
            })),
        }
    }

    fn hash(&mut self, width: usize, height: usize, read_row: impl FnMut(usize, &mut [f32])) -> Pdq {
        if width < SMALLEST || height < SMALLEST {
            return Pdq { hash: PdqHash::ZERO, quality: 0 };
        }
        let mut small = [[0.0; SIDE]; SIDE];
        self.filter.shrink(width, height, read_row, &mut small);
        Pdq { hash: self.dct.hash(&small), quality: transform::quality(&small) }
    }
}
