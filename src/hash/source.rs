//! Pixels on their way into the filter: the running sums of the first pass, along the rows.
//!
//! Sixteen rows go side by side, so that a running sum, each step of which waits for the one before, is sixteen running
//! sums. Sums of whole numbers are exact, so for grey they are kept in 16 bits, two transposes of which cost what one of
//! floats does.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

use std::cell::Cell;

use super::kernel::{LANES, Lanes, Line, Shorts, sixteen_times};
use super::pixels::{Luma, Rgb};
use crate::picture::ColourRange;

/// Largest box whose sum of bytes fits in 16 bits.
pub(super) const LARGEST_BOX_OF_SHORTS: usize = 257;

/// Running sums of sixteen rows, from left to right.
pub(super) trait Source {
    /// Goes to the left end of sixteen rows, of which `top` is the first; those below the picture are zero.
    fn start(&mut self, top: usize);

    /// The sums at the next sixteen steps, from `left`: sixteen rows of sixteen.
    fn sums<L: Lanes>(&mut self, lanes: L, left: usize) -> [L::Floats; LANES];
}

/// How many tiles go by before a trail begins anew.
const TILES: usize = 8;

/// What entered a box, tile after tile: each new value pushes out the one that entered a box's length before.
#[derive(Debug, Default)]
pub(super) struct Trail<T> {
    values: Vec<T>,
    size: usize,
    at: usize,
}

impl<T: Copy + Default> Trail<T> {
    /// A box of `size` zeros.
    pub(super) fn reset(&mut self, size: usize) {
        self.values.clear();
        self.values.resize(size + TILES * LANES, T::default());
        (self.size, self.at) = (size, 0);
    }

    /// For sixteen steps: what leaves the box at each, and where to put what enters. Where the box is short, what leaves
    /// late is what entered early: take and put in turn.
    #[inline(always)]
    pub(super) fn next(&mut self) -> (&[Cell<T>; LANES], &[Cell<T>; LANES]) {
        if self.at == TILES * LANES {
            self.values.copy_within(self.at.., 0);
            self.at = 0;
        }
        let cells = Cell::from_mut(&mut self.values[self.at..]).as_slice_of_cells();
        self.at += LANES;
        (&cells.as_chunks().0[0], &cells[self.size..].as_chunks().0[0])
    }
}

/// Buffers of the sources, kept from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Rings {
    shorts: Trail<Shorts>,
    floats: Trail<Line>,
}

impl Rings {
    /// Makes room for boxes of `size`.
    pub(super) fn fit(&mut self, size: usize) {
        self.shorts.reset(size);
        self.floats.reset(size);
    }
}

/// The sixteen values of a row from `left`, where they are; beyond the row's end, in `padded` after zeros are added.
#[inline(always)]
fn sixteen<'r, T: Copy + Default>(row: &'r [T], left: usize, padded: &'r mut [T; LANES]) -> &'r [T; LANES] {
    match row.get(left..left + LANES).and_then(<[T]>::first_chunk) {
        Some(whole) => whole,
        None => ends(row.get(left..).unwrap_or_default(), padded),
    }
}

#[cold]
#[inline(never)]
fn ends<'r, T: Copy + Default>(rest: &[T], padded: &'r mut [T; LANES]) -> &'r [T; LANES] {
    *padded = [T::default(); LANES];
    for (to, from) in padded.iter_mut().zip(rest) {
        *to = *from;
    }
    padded
}

/// Grey, in whole numbers, where the box is at most [`LARGEST_BOX_OF_SHORTS`].
pub(super) struct Grey<'a> {
    luma: Luma<'a>,
    rows: [&'a [u8]; LANES],
    size: usize,
    sum: Shorts,
    trail: &'a mut Trail<Shorts>,
}

impl<'a> Grey<'a> {
    pub(super) fn new(luma: Luma<'a>, size: usize, rings: &'a mut Rings) -> Self {
        Self { luma, rows: [&[]; LANES], size, sum: Shorts::default(), trail: &mut rings.shorts }
    }
}

impl Source for Grey<'_> {
    fn start(&mut self, top: usize) {
        for (y, row) in (top..).zip(&mut self.rows) {
            *row = self.luma.row(y);
        }
        self.sum = Shorts::default();
        self.trail.reset(self.size);
    }

    #[inline(always)]
    fn sums<L: Lanes>(&mut self, lanes: L, left: usize) -> [L::Floats; LANES] {
        let mut sum = lanes.load_words(&self.sum);
        let mut tile = [sum; LANES];
        let mut padded = [0; LANES];
        sixteen_times!(r => tile[r] = lanes.widen(sixteen(self.rows[r], left, &mut padded)));
        if self.luma.range() == ColourRange::Limited {
            sixteen_times!(r => tile[r] = lanes.expand(tile[r]));
        }
        tile = lanes.transpose_words(tile);
        let (leaving, entering) = self.trail.next();
        sixteen_times!(c => {
            sum = lanes.sub_words(lanes.add_words(sum, tile[c]), lanes.load_words(&leaving[c].get()));
            entering[c].set(lanes.shorts(tile[c]));
            tile[c] = sum;
        });
        lanes.store_words(sum, &mut self.sum);
        tile = lanes.transpose_words(tile);
        let mut sums = [lanes.zero(); LANES];
        sixteen_times!(r => sums[r] = lanes.floats(tile[r]));
        sums
    }
}

/// Pixels whose luma is a float.
pub(super) trait Row<'a>: Copy {
    type Pixel: Copy + Default;

    fn row(&self, y: usize) -> &'a [Self::Pixel];
    fn floats<L: Lanes>(&self, lanes: L, pixels: &[Self::Pixel; LANES]) -> L::Floats;
}

impl<'a> Row<'a> for Rgb<'a> {
    type Pixel = [u8; 3];

    fn row(&self, y: usize) -> &'a [[u8; 3]] {
        (*self).row(y)
    }

    #[inline(always)]
    fn floats<L: Lanes>(&self, lanes: L, pixels: &[[u8; 3]; LANES]) -> L::Floats {
        lanes.luma(pixels)
    }
}

impl<'a> Row<'a> for Luma<'a> {
    type Pixel = u8;

    fn row(&self, y: usize) -> &'a [u8] {
        (*self).row(y)
    }

    #[inline(always)]
    fn floats<L: Lanes>(&self, lanes: L, pixels: &[u8; LANES]) -> L::Floats {
        let words = lanes.widen(pixels);
        lanes.floats(if self.range() == ColourRange::Limited { lanes.expand(words) } else { words })
    }
}

/// Any pixels, in floats, each sum rounded.
pub(super) struct Floats<'a, P: Row<'a>> {
    picture: P,
    rows: [&'a [P::Pixel]; LANES],
    size: usize,
    sum: Line,
    trail: &'a mut Trail<Line>,
}

impl<'a, P: Row<'a>> Floats<'a, P> {
    pub(super) fn new(picture: P, size: usize, rings: &'a mut Rings) -> Self {
        Self { picture, rows: [&[]; LANES], size, sum: Line::default(), trail: &mut rings.floats }
    }
}

impl<'a, P: Row<'a>> Source for Floats<'a, P> {
    fn start(&mut self, top: usize) {
        for (y, row) in (top..).zip(&mut self.rows) {
            *row = self.picture.row(y);
        }
        self.sum = Line::default();
        self.trail.reset(self.size);
    }

    #[inline(always)]
    fn sums<L: Lanes>(&mut self, lanes: L, left: usize) -> [L::Floats; LANES] {
        let mut sum = lanes.load(&self.sum);
        let mut tile = [sum; LANES];
        let mut padded = [P::Pixel::default(); LANES];
        sixteen_times!(r => tile[r] = self.picture.floats(lanes, sixteen(self.rows[r], left, &mut padded)));
        tile = lanes.transpose(tile);
        let (leaving, entering) = self.trail.next();
        sixteen_times!(c => {
            sum = lanes.sub(lanes.add(sum, tile[c]), lanes.load(&leaving[c].get()));
            entering[c].set(lanes.line(tile[c]));
            tile[c] = sum;
        });
        lanes.store(sum, &mut self.sum);
        lanes.transpose(tile)
    }
}
