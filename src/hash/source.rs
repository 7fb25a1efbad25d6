//! Pixels on their way into the filter: the running sums of the first pass, along the rows.
//!
//! Sixteen rows go side by side, so that a running sum, each step of which waits for the one before, is sixteen running
//! sums. Sums of whole numbers are exact, so for grey they are kept in 16 bits, two transposes of which cost what one of
//! floats does.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

use super::kernel::{LANES, Lanes, Line, Shorts};
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

/// The last values that entered a box: each new one pushes out the oldest.
#[derive(Debug, Default)]
pub(super) struct Ring<T> {
    values: Vec<T>,
    at: usize,
}

impl<T: Copy + Default> Ring<T> {
    /// Holds `size` zeros.
    pub(super) fn reset(&mut self, size: usize) {
        self.values.clear();
        self.values.resize(size, T::default());
        self.at = 0;
    }

    /// Where the oldest value is, to be read and then overwritten.
    #[inline(always)]
    pub(super) fn oldest(&mut self) -> &mut T {
        let at = self.at;
        self.at = if at + 1 == self.values.len() { 0 } else { at + 1 };
        &mut self.values[at]
    }
}

/// Buffers of the sources, kept from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Rings {
    shorts: Ring<Shorts>,
    floats: Ring<Line>,
}

/// The sixteen values of a row from `left`; beyond its end, zeros.
#[inline(always)]
fn sixteen<T: Copy + Default>(row: &[T], left: usize) -> [T; LANES] {
    let rest = row.get(left..).unwrap_or_default();
    match rest.first_chunk() {
        Some(whole) => *whole,
        None => ends(rest),
    }
}

#[cold]
#[inline(never)]
fn ends<T: Copy + Default>(rest: &[T]) -> [T; LANES] {
    let mut padded = [T::default(); LANES];
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
    ring: &'a mut Ring<Shorts>,
}

impl<'a> Grey<'a> {
    pub(super) fn new(luma: Luma<'a>, size: usize, rings: &'a mut Rings) -> Self {
        Self { luma, rows: [&[]; LANES], size, sum: Shorts::default(), ring: &mut rings.shorts }
    }
}

impl Source for Grey<'_> {
    fn start(&mut self, top: usize) {
        for (y, row) in (top..).zip(&mut self.rows) {
            *row = self.luma.row(y);
        }
        self.sum = Shorts::default();
        self.ring.reset(self.size);
    }

    #[inline(always)]
    fn sums<L: Lanes>(&mut self, lanes: L, left: usize) -> [L::Floats; LANES] {
        let mut sum = lanes.load_words(&self.sum);
        let mut tile = [sum; LANES];
        for (to, row) in tile.iter_mut().zip(&self.rows) {
            *to = lanes.widen(&sixteen(row, left));
        }
        if self.luma.range() == ColourRange::Limited {
            for values in &mut tile {
                *values = lanes.expand(*values);
            }
        }
        tile = lanes.transpose_words(tile);
        for column in &mut tile {
            let oldest = self.ring.oldest();
            sum = lanes.sub_words(lanes.add_words(sum, *column), lanes.load_words(oldest));
            lanes.store_words(*column, oldest);
            *column = sum;
        }
        lanes.store_words(sum, &mut self.sum);
        tile = lanes.transpose_words(tile);
        let mut sums = [lanes.zero(); LANES];
        for (to, words) in sums.iter_mut().zip(tile) {
            *to = lanes.floats(words);
        }
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
    ring: &'a mut Ring<Line>,
}

impl<'a, P: Row<'a>> Floats<'a, P> {
    pub(super) fn new(picture: P, size: usize, rings: &'a mut Rings) -> Self {
        Self { picture, rows: [&[]; LANES], size, sum: Line::default(), ring: &mut rings.floats }
    }
}

impl<'a, P: Row<'a>> Source for Floats<'a, P> {
    fn start(&mut self, top: usize) {
        for (y, row) in (top..).zip(&mut self.rows) {
            *row = self.picture.row(y);
        }
        self.sum = Line::default();
        self.ring.reset(self.size);
    }

    #[inline(always)]
    fn sums<L: Lanes>(&mut self, lanes: L, left: usize) -> [L::Floats; LANES] {
        let mut sum = lanes.load(&self.sum);
        let mut tile = [sum; LANES];
        for (to, row) in tile.iter_mut().zip(&self.rows) {
            *to = self.picture.floats(lanes, &sixteen(row, left));
        }
        tile = lanes.transpose(tile);
        for column in &mut tile {
            let oldest = self.ring.oldest();
            sum = lanes.sub(lanes.add(sum, *column), lanes.load(oldest));
            lanes.store(*column, oldest);
            *column = sum;
        }
        lanes.store(sum, &mut self.sum);
        lanes.transpose(tile)
    }
}
