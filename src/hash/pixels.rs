//! Views of pixels in somebody else's memory, checked once so that reading them cannot fail.

use super::filter::Small;
use crate::picture::ColourRange;

/// A view of pixels does not hold what its size says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} values are too few for a picture of {width}x{height} with {stride} from row to row: it is cut short")]
pub struct HashError {
    have: usize,
    width: usize,
    height: usize,
    stride: usize,
}

impl HashError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        "picture_cut_short"
    }
}

/// Luma in rows from top to bottom, 8 bits a value: a grey picture, or the Y plane of a video.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    rows: Rows<'a, u8>,
    range: ColourRange,
}

impl<'a> Luma<'a> {
    /// Views `data` as `height` rows, `stride` bytes from one to the next, the first `width` of each being picture; full
    /// range: 0 is black, 255 is white.
    ///
    /// # Errors
    /// When `data` holds less, or rows overlap.
    pub fn new(data: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self, HashError> {
        Ok(Self { rows: Rows::new(data, width, height, stride)?, range: ColourRange::Full })
    }

    /// The same values, meant in another range: in [`ColourRange::Limited`], as nearly all video is, 16 is black and 235
    /// is white. They are expanded to full range and rounded to 8 bits as they are read.
    #[must_use]
    pub const fn in_range(self, range: ColourRange) -> Self {
        Self { range, ..self }
    }

    /// Values in a row.
    pub const fn width(&self) -> usize {
        self.rows.width
    }

    /// Rows.
    pub const fn height(&self) -> usize {
        self.rows.height
    }

    pub(super) const fn range(&self) -> ColourRange {
        self.range
    }

    pub(super) fn row(&self, y: usize) -> &'a [u8] {
        self.rows.row(y)
    }

    /// One value in full range.
    pub(super) fn value(&self, value: u8) -> f32 {
        match self.range {
            ColourRange::Full => f32::from(value),
            ColourRange::Limited => f32::from(full_from_limited(u16::from(value))),
        }
    }
}

/// Red, green and blue, 8 bits each and full range, pixel after pixel in rows from top to bottom.
#[derive(Debug, Clone, Copy)]
pub struct Rgb<'a> {
    rows: Rows<'a, [u8; 3]>,
}

impl<'a> Rgb<'a> {
    /// Views `data` as `height` rows of `width` pixels of three bytes each, without gaps.
    ///
    /// # Errors
    /// When `data` holds less.
    pub fn new(data: &'a [u8], width: usize, height: usize) -> Result<Self, HashError> {
        Ok(Self { rows: Rows::new(data.as_chunks().0, width, height, width)? })
    }

    /// Pixels in a row.
    pub const fn width(&self) -> usize {
        self.rows.width
    }

    /// Rows.
    pub const fn height(&self) -> usize {
        self.rows.height
    }

    pub(super) fn row(&self, y: usize) -> &'a [[u8; 3]] {
        self.rows.row(y)
    }
}

/// Pixels of either kind.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// Grey, or a video's luma plane.
    Luma(Luma<'a>),
    /// Full-range RGB.
    Rgb(Rgb<'a>),
}

impl<'a> From<Luma<'a>> for Pixels<'a> {
    fn from(luma: Luma<'a>) -> Self {
        Self::Luma(luma)
    }
}

impl<'a> From<Rgb<'a>> for Pixels<'a> {
    fn from(rgb: Rgb<'a>) -> Self {
        Self::Rgb(rgb)
    }
}

impl Pixels<'_> {
    pub(super) const fn width(&self) -> usize {
        match self {
            Self::Luma(luma) => luma.width(),
            Self::Rgb(rgb) => rgb.width(),
        }
    }

    pub(super) const fn height(&self) -> usize {
        match self {
            Self::Luma(luma) => luma.height(),
            Self::Rgb(rgb) => rgb.height(),
        }
    }

    /// Full-range luma, for a picture that needs no filter.
    pub(super) fn copy_to(&self, small: &mut Small) {
        for (y, to) in small.iter_mut().enumerate() {
            match self {
                Self::Luma(luma) => to.iter_mut().zip(luma.row(y)).for_each(|(to, from)| *to = luma.value(*from)),
                Self::Rgb(rgb) => to.iter_mut().zip(rgb.row(y)).for_each(|(to, from)| *to = luma_of(*from)),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Rows<'a, T> {
    data: &'a [T],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'a, T> Rows<'a, T> {
    fn new(data: &'a [T], width: usize, height: usize, stride: usize) -> Result<Self, HashError> {
        let refused = HashError { have: data.len(), width, height, stride };
        let needed = match height.checked_sub(1) {
            None => Some(0),
            Some(above) => above.checked_mul(stride).and_then(|above| above.checked_add(width)),
        };
        match needed {
            Some(needed) if needed <= data.len() && width <= stride => Ok(Self { data, width, height, stride }),
            _ => Err(refused),
        }
    }

    /// The row, or nothing below the picture.
    fn row(&self, y: usize) -> &'a [T] {
        if y >= self.height {
            return &[];
        }
        self.data.get(y * self.stride..).and_then(|rest| rest.get(..self.width)).unwrap_or_default()
    }
}

/// Luma as the oracle takes it: summed in `f64` from red to blue, rounded once.
#[inline]
pub(super) fn luma_of([red, green, blue]: [u8; 3]) -> f32 {
    (f64::from(red) * 0.299 + f64::from(green) * 0.587 + f64::from(blue) * 0.114) as f32
}

/// Full-range luma (0-255) for limited-range luma (16-235), to the nearest whole number: 8 bits in, 8 bits out, so that
/// any other implementation of PDQ can be asked about the same pixels.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
pub(super) fn full_from_limited(limited: u16) -> u16 {
    let above_black = limited.saturating_sub(16).min(219);
    // 255/219 is 1 + 36/219, and the upper half of this product is the rest, rounded: the test tries every value.
    above_black + ((u32::from(above_black + 3) * 10_774) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_too_little_is_refused() {
        let data = [0u8; 100];
        for (width, height, stride, fits) in [
            (10, 10, 10, true),
            (9, 10, 10, true),
            (4, 9, 12, true),
            (10, 11, 10, false),
            (11, 9, 11, true),
            (10, 9, 12, false),
            (10, 2, 9, false),
            (1, usize::MAX, 2, false),
            (0, 0, 0, true),
            (100, 1, 100, true),
            (101, 1, 101, false),
        ] {
            assert_eq!(Luma::new(&data, width, height, stride).is_ok(), fits, "{width}x{height}/{stride}");
        }
        assert!(Rgb::new(&data, 11, 3).is_ok());
        let refused = Rgb::new(&data, 17, 2).unwrap_err();
        assert!(refused.to_string().contains("17x2"), "{refused}");
    }

    #[test]
    fn padding_between_rows_is_not_picture() {
        let data = [1u8, 2, 9, 3, 4];
        let luma = Luma::new(&data, 2, 2, 3).unwrap();
        assert_eq!([luma.row(0), luma.row(1)], [[1, 2], [3, 4]]);
    }

    #[test]
    fn limited_range_reaches_from_black_to_white() {
        assert_eq!([0, 16, 17, 126, 235, 255].map(full_from_limited), [0, 0, 1, 128, 255, 255]);
        for limited in 0..256u16 {
            let exact = ((f64::from(limited) - 16.0) * 255.0 / 219.0).round().clamp(0.0, 255.0);
            assert_eq!(full_from_limited(limited), exact as u16, "{limited}");
        }
    }
}
