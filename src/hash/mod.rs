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
mod sketch;
mod slack;
mod source;
mod tents;
mod transform;

use crate::picture::{ColourRange, Picture};

pub use pdq_hash::{ParseHashError, PdqHash};
pub use pixels::{HashError, Luma, Pixels, Rgb};

use dihedral::{TURNS, Turn};
use filter::{Filter, SIDE, Small};
use kernel::{Kernel, LARGEST_DIVISOR, Lanes, Task};
use sketch::{LONGEST, Limited, Sketch};
use slack::Slack;
use source::{Floats, Grey, LARGEST_BOX_OF_SHORTS, Rings, Source};
use tents::Order;
use transform::Dct;

/// Two pictures at most this many bits apart are taken to show the same thing.
pub const MATCH_DISTANCE: u32 = 31;

/// Pictures of less quality than this show too little to be told apart.
pub const USEFUL_QUALITY: u8 = 50;

/// Pictures narrower or lower than this have no hash.
const SMALLEST: usize = 5;

/// Pictures of fewer pixels are done sooner without.
const WORTH_A_SKETCH: usize = 1 << 16;

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
///
/// [`Hasher::dihedral`] may also keep a copy of the picture.
#[derive(Debug, Default)]
pub struct Hasher {
    kernel: Kernel,
    ways: Ways,
    sketch: Sketch,
    filter: Filter,
    rings: Rings,
    dct: Dct,
    turned: Turned,
    retaken: u64,
}

/// Which ways from a picture to 64x64 a hasher takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ways {
    /// The short one where it is faster, and the long one where the short one cannot be certain.
    #[default]
    Both,
    /// The long one: every float is added and rounded in the reference's order.
    Long,
}

/// Pixels turned to be hashed.
#[derive(Debug, Default)]
struct Turned {
    luma: Vec<u8>,
    rgb: Vec<[u8; 3]>,
}

impl Hasher {
    /// A hasher for pictures of any size, which uses the fastest instructions that the machine has.
    pub fn new() -> Self {
        Self::default()
    }

    /// A hasher for each way to work that this machine has, and its name: they differ in speed only. For tests and measurements.
    ///
    /// The first is that of [`Hasher::new`]. Some take the *long way* always, which is to add and round every float in the
    /// reference's order; some use fewer of the machine's instructions.
    pub fn every_way() -> impl Iterator<Item = (String, Self)> {
        Kernel::found().flat_map(|kernel| {
            [Ways::Both, Ways::Long]
                .map(|ways| (format!("{kernel:?}, {ways:?}"), Self { kernel, ways, ..Self::default() }))
        })
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

    /// Hashes a picture turned and mirrored in each of the eight ways, for about the price of two: each is the hash of
    /// the turned pixels, to the last bit.
    ///
    /// In this order: as it is; turned by a quarter to the left (anticlockwise), by a half, by a quarter to the right; upside down
    /// (top and bottom swapped), mirrored (left and right swapped); mirrored along the diagonal from the top left (rows
    /// become columns), along the one from the top right.
    pub fn dihedral<'a>(&mut self, pixels: impl Into<Pixels<'a>>) -> [Pdq; 8] {
        let pixels = pixels.into();
        let (width, height) = (pixels.width(), pixels.height());
        if !has_hash(width, height) {
            return [Pdq::NONE; 8];
        }
        if self.ways == Ways::Long || width.max(height) > LONGEST || (width, height) == (SIDE, SIDE) {
            return TURNS.map(|turn| self.turned(pixels, turn));
        }
        self.fit(&pixels);
        let both = [Order::Ahead, Order::Back];
        let mirrored = both.map(|down| self.sketch(pixels, down, both));
        let slack = Slack::of(width, height);
        TURNS.map(|turn| self.finish(&turn.small(&mirrored), slack).unwrap_or_else(|| self.retake_turned(pixels, turn)))
    }

    /// How many pictures or variants so far were hashed again, the long way, because the short one could not be certain.
    pub const fn retaken(&self) -> u64 {
        self.retaken
    }

    fn pixels(&mut self, pixels: Pixels<'_>) -> Pdq {
        let (width, height) = (pixels.width(), pixels.height());
        if !has_hash(width, height) {
            return Pdq::NONE;
        }
        if self.ways == Ways::Both && width * height >= WORTH_A_SKETCH && width.max(height) <= LONGEST {
            self.fit(&pixels);
            let [small] = self.sketch(pixels, Order::Ahead, [Order::Ahead]);
            if let Some(pdq) = self.finish(&small, Slack::of(width, height)) {
                return pdq;
            }
            self.retaken += 1;
        }
        self.long_way(pixels)
    }

    /// Makes room for both ways at once, so that a later picture of the same size needs none.
    fn fit(&mut self, pixels: &Pixels<'_>) {
        if self.sketch.fit(pixels) {
            self.filter.fit(pixels.width(), pixels.height());
            self.rings.fit(self.filter.across.size);
        }
    }

    fn sketch<const N: usize>(&mut self, pixels: Pixels<'_>, down: Order, across: [Order; N]) -> [Small; N] {
        self.kernel.run(Draw { sketch: &mut self.sketch, pixels, down, across })
    }

    fn long_way(&mut self, pixels: Pixels<'_>) -> Pdq {
        let small = self.shrink(pixels);
        // Without slack, nothing is uncertain.
        self.finish(&small, Slack::NONE).unwrap_or(Pdq::NONE)
    }

    fn shrink(&mut self, pixels: Pixels<'_>) -> Small {
        let (width, height) = (pixels.width(), pixels.height());
        let mut small = [[0.0; SIDE]; SIDE];
        if (width, height) == (SIDE, SIDE) {
            pixels.copy_to(&mut small);
            return small;
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
        small
    }

    fn retake_turned(&mut self, pixels: Pixels<'_>, turn: Turn) -> Pdq {
        self.retaken += 1;
        self.turned(pixels, turn)
    }

    /// Hashes turned pixels, the long way.
    fn turned(&mut self, pixels: Pixels<'_>, turn: Turn) -> Pdq {
        let size = (pixels.width(), pixels.height());
        let mut turned = std::mem::take(&mut self.turned);
        let pdq = match pixels {
            Pixels::Luma(luma) => {
                let (width, height) = turn.pixels(size, |y| luma.row(y), &mut turned.luma);
                Luma::new(&turned.luma, width, height, width).map(|turned| Pixels::Luma(turned.in_range(luma.range())))
            }
            Pixels::Rgb(rgb) => {
                let (width, height) = turn.pixels(size, |y| rgb.row(y), &mut turned.rgb);
                Rgb::new(turned.rgb.as_flattened(), width, height).map(Pixels::Rgb)
            }
        }
        // Turned pixels are as many as before, so the view fits.
        .map_or(Pdq::NONE, |turned| self.long_way(turned));
        self.turned = turned;
        pdq
    }

    fn finish(&self, small: &Small, slack: Slack) -> Option<Pdq> {
        self.kernel.run(Finish { dct: &self.dct, small, slack })
    }
}

const fn has_hash(width: usize, height: usize) -> bool {
    width >= SMALLEST && height >= SMALLEST
}

struct Draw<'a, const N: usize> {
    sketch: &'a mut Sketch,
    pixels: Pixels<'a>,
    down: Order,
    across: [Order; N],
}

impl<const N: usize> Task for Draw<'_, N> {
    type Out = [Small; N];

    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> [Small; N] {
        let Self { sketch, pixels, down, across } = self;
        match pixels {
            Pixels::Rgb(rgb) => sketch.draw(&rgb, down, across),
            Pixels::Luma(luma) => match luma.range() {
                ColourRange::Full => sketch.draw(&luma, down, across),
                ColourRange::Limited => sketch.draw(&Limited(luma), down, across),
            },
        }
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
    slack: Slack,
}

impl Task for Finish<'_> {
    type Out = Option<Pdq>;

    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Option<Pdq> {
        let quality = transform::quality(self.small, self.slack)?;
        Some(Pdq { hash: self.dct.hash(self.small, self.slack)?, quality })
    }
}
