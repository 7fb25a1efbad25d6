//! PDQ: a 256-bit hash of how a picture looks, near for pictures that look alike, and a measure of how much there was
//! to look at.
//!
//! The algorithm is Meta's (`pdq` in `facebook/ThreatExchange`, with a paper by Davis and Rosen, 2019), in its
//! *full-size* form: the picture is never scaled before it is hashed. On identical pixels hash and quality are identical
//! to those of the `pdqhash` package on PyPI, to the last bit: every float is added and rounded in the reference's order.
//!
//! From grey or the Y plane of a video ([`Luma`], with its stride and range), from [`Rgb`], or from a decoded
//! [`Picture`]. A [`Hasher`] keeps its buffers: it allocates nothing for a picture as large as the one before. It works
//! with AVX-512 or AVX2 where the machine has them, and gives the same bits where it does not.
//!
//! Pure: no clock, no file, no thread, no logging.
//!
//! ```
//! use sluicegate::hash::{Hasher, Luma, MATCH_DISTANCE, USEFUL_QUALITY};
//! use sluicegate::picture::ColourRange;
//!
//! // A Y plane of 300x200 as decoders give it: rows 320 bytes apart, black at 16.
//! let plane: Vec<u8> = (0..200u32).flat_map(|y| (0..320u32).map(move |x| (16 + (x * x + 3 * y * y) / 91 % 220) as u8)).collect();
//! let luma = Luma::new(&plane, 300, 200, 320)?.in_range(ColourRange::Limited);
//!
//! let mut hasher = Hasher::new();
//! let pdq = hasher.luma(luma);
//! assert!(pdq.quality >= USEFUL_QUALITY);
//!
//! let known = pdq.hash.to_string().parse()?;
//! assert!(pdq.hash.distance(&known) <= MATCH_DISTANCE);
//!
//! // The same picture upside down is far away, unless it is looked for.
//! let upside_down = hasher.dihedral(luma)[2];
//! assert!(upside_down.hash.distance(&known) > MATCH_DISTANCE);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod axis;
mod dihedral;
mod filter;
mod kernel;
mod pdq_hash;
mod pixels;
mod source;
mod transform;

use crate::picture::Picture;

pub use pdq_hash::{ParseHashError, PdqHash};
pub use pixels::{HashError, Luma, Pixels, Rgb};

use filter::{Filter, SIDE, Small};
use kernel::{Kernel, LARGEST_DIVISOR, Lanes, Task};
use source::{Floats, Grey, LARGEST_BOX_OF_SHORTS, Rings, Source};
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

impl Pdq {
    /// Of a picture too small to have a hash.
    const NONE: Self = Self { hash: PdqHash::ZERO, quality: 0 };
}

/// Hashes one picture after another and keeps its buffers in between, about 0.1 MB for pictures of 1080p.
#[derive(Debug, Default)]
pub struct Hasher {
    kernel: Kernel,
    filter: Filter,
    rings: Rings,
    dct: Dct,
}

impl Hasher {
    /// A hasher for pictures of any size, which uses the fastest instructions that the machine has.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes grey or a video's luma plane.
    pub fn luma(&mut self, luma: Luma<'_>) -> Pdq {
        self.pixels(Pixels::Luma(luma))
    }

    /// Hashes full-range RGB, by its luma 0.299 R + 0.587 G + 0.114 B without gamma.
    pub fn rgb(&mut self, rgb: Rgb<'_>) -> Pdq {
        self.pixels(Pixels::Rgb(rgb))
    }

    /// Hashes a decoded picture by its luma plane, limited range expanded to full and rounded to 8 bits.
    ///
    /// # Errors
    /// When the plane's data are shorter than its size says.
    pub fn picture(&mut self, picture: &Picture) -> Result<Pdq, HashError> {
        let plane = &picture.luma;
        Ok(self.luma(Luma::new(&plane.data, plane.width, plane.height, plane.stride)?.in_range(picture.range)))
    }

    /// Hashes a picture turned and mirrored in each of the eight ways, for little more than the price of one.
    ///
    /// In this order: as it is; turned by a quarter to the left (anticlockwise), by a half, by a quarter to the right; upside down
    /// (top and bottom swapped), mirrored (left and right swapped); mirrored along the diagonal from the top left (rows
    /// become columns), along the one from the top right.
    ///
    /// The 64x64 picture is what is turned. Compared with hashing turned pixels, that is the same picture wherever
    /// the filter treats both ends of a side alike: where a 128th of the side, rounded up, is odd and the side is no
    /// multiple of 128 (1080, say). Rounding may then still differ, as the sums run the other way. Elsewhere turned
    /// pixels are sampled up to three pixels beside: a few bits.
    pub fn dihedral<'a>(&mut self, pixels: impl Into<Pixels<'a>>) -> [Pdq; 8] {
        let Some(small) = self.shrink(pixels.into()) else { return [Pdq::NONE; 8] };
        dihedral::WAYS.map(|way| self.finish(&dihedral::turned(&small, way)))
    }

    fn pixels(&mut self, pixels: Pixels<'_>) -> Pdq {
        self.shrink(pixels).map_or(Pdq::NONE, |small| self.finish(&small))
    }

    fn shrink(&mut self, pixels: Pixels<'_>) -> Option<Small> {
        let (width, height) = (pixels.width(), pixels.height());
        if width < SMALLEST || height < SMALLEST {
            return None;
        }
        let mut small = [[0.0; SIDE]; SIDE];
        if (width, height) == (SIDE, SIDE) {
            pixels.copy_to(&mut small);
            return Some(small);
        }
        self.filter.fit(width, height);
        let size = self.filter.across.size;
        let fits = width.max(height) <= LARGEST_DIVISOR * 2 * SIDE;
        let kernel = if fits { self.kernel } else { Kernel::SCALAR };
        let (filter, small_ref) = (&mut self.filter, &mut small);
        match pixels {
            Pixels::Rgb(rgb) => {
                kernel.run(Shrink { filter, source: Floats::new(rgb, size, &mut self.rings), small: small_ref });
            }
            Pixels::Luma(luma) if size <= LARGEST_BOX_OF_SHORTS => {
                kernel.run(Shrink { filter, source: Grey::new(luma, size, &mut self.rings), small: small_ref });
            }
            Pixels::Luma(luma) => {
                kernel.run(Shrink { filter, source: Floats::new(luma, size, &mut self.rings), small: small_ref });
            }
        }
        Some(small)
    }

    fn finish(&self, small: &Small) -> Pdq {
        self.kernel.run(Finish { dct: &self.dct, small })
    }
}

struct Shrink<'a, S> {
    filter: &'a mut Filter,
    source: S,
    small: &'a mut Small,
}

impl<S: Source> Task for Shrink<'_, S> {
    type Out = ();

    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        self.filter.shrink(lanes, self.source, self.small);
    }
}

struct Finish<'a> {
    dct: &'a Dct,
    small: &'a Small,
}

impl Task for Finish<'_> {
    type Out = Pdq;

    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Pdq {
        Pdq { hash: self.dct.hash(self.small), quality: transform::quality(self.small) }
    }
}
