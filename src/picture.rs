//! A decoded picture: planes, colour range, timestamps. No GStreamer type leaks past here.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;

/// How sample values map to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourRange {
    /// 0-255.
    Full,
    /// 16-235 for luma, 16-240 for chroma: nearly all video.
    Limited,
}

/// One plane of 8-bit values: `height` rows, `stride` bytes apart, the first `width` bytes of each being picture.
#[derive(Debug, Clone)]
pub struct Plane {
    /// At least `stride * (height - 1) + width` bytes.
    pub data: Bytes,
    /// Values in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl Plane {
    /// The rows from top to bottom, each `width` bytes. A plane whose data are too short gives fewer rows.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let Self { data, width, height, stride } = self;
        (0..*height).map_while(move |y| data.get(y * stride..y * stride + width))
    }
}

/// A decoded picture, YUV 4:2:0 in three planes; the chroma planes are absent where only luma was asked for.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The access unit that it was decoded from.
    pub sequence: u64,
    /// Presentation timestamp on the stream's own clock.
    pub pts: Option<Duration>,
    /// When its access unit reached us.
    pub arrived: Timestamp,
    /// Luma, full resolution.
    pub luma: Plane,
    /// Cb and Cr, each half the width and height, rounded up.
    pub chroma: Option<[Plane; 2]>,
    /// The range of all planes.
    pub range: ColourRange,
}

/// Rows from which on unmarked video is taken to be BT.709; below, BT.601. Players assume the same.
pub const HD_ROWS: usize = 720;

/// The shares of red and of blue in the luma of a picture of so many rows (ITU-R BT.601 and BT.709, section 3 each).
pub const fn shares_in_luma(rows: usize) -> (f32, f32) {
    if rows >= HD_ROWS { (0.2126, 0.0722) } else { (0.299, 0.114) }
}

impl Picture {
    /// A still of full range, from `width * height` pixels of red, green and blue, row by row from the top; no timestamps.
    ///
    /// Each chroma sample is the mean of its four pixels; an odd side's last ones count twice. None where `pixels` is of
    /// another length or empty.
    pub fn of_rgb(pixels: &[u8], width: usize, height: usize) -> Option<Self> {
        if width == 0 || height == 0 || pixels.len() != width.checked_mul(height)?.checked_mul(3)? {
            return None;
        }
        let (kr, kb) = shares_in_luma(height);
        let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
        let mut luma = vec![0; width * height];
        let [mut blues, mut reds] = [vec![0.0_f32; columns * rows], vec![0.0_f32; columns * rows]];
        let lines = pixels.chunks_exact(3 * width).zip(luma.chunks_exact_mut(width));
        for (y, (line, lumas)) in lines.enumerate() {
            let half = y / 2 * columns..(y / 2 + 1) * columns;
            let (Some(blues), Some(reds)) = (blues.get_mut(half.clone()), reds.get_mut(half)) else { return None };
            // An odd side's last row or column stands for two.
            let down = if y + 1 == height && y % 2 == 0 { 2.0 } else { 1.0 };
            for (x, (pixel, luma)) in line.chunks_exact(3).zip(lumas).enumerate() {
                let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
                let light = kr * red + (1.0 - kr - kb) * green + kb * blue;
                *luma = light.round() as u8;
                let weight = down * if x + 1 == width && x % 2 == 0 { 2.0 } else { 1.0 } / 4.0;
                if let (Some(blues), Some(reds)) = (blues.get_mut(x / 2), reds.get_mut(x / 2)) {
                    *blues += weight * (blue - light) / (2.0 * (1.0 - kb));
                    *reds += weight * (red - light) / (2.0 * (1.0 - kr));
                }
            }
        }
        let chroma = [blues, reds].map(|sums| Plane {
            data: sums.iter().map(|&sum| (128.0 + sum).round().clamp(0.0, 255.0) as u8).collect::<Vec<_>>().into(),
            width: columns,
            height: rows,
            stride: columns,
        });
        let luma = Plane { data: luma.into(), width, height, stride: width };
        Some(Self::still(luma, chroma))
    }

    /// A still of full range without colour, from `width * height` pixels, row by row from the top; no timestamps. None where
    /// `pixels` is of another length or empty.
    pub fn of_grey(pixels: Vec<u8>, width: usize, height: usize) -> Option<Self> {
        if width == 0 || height == 0 || pixels.len() != width.checked_mul(height)? {
            return None;
        }
        let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
        let grey = Plane { data: vec![128; columns * rows].into(), width: columns, height: rows, stride: columns };
        Some(Self::still(Plane { data: pixels.into(), width, height, stride: width }, [grey.clone(), grey]))
    }

    const fn still(luma: Plane, chroma: [Plane; 2]) -> Self {
        Self { sequence: 0, pts: None, arrived: Timestamp::ZERO, luma, chroma: Some(chroma), range: ColourRange::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixel at `x`, `y` of a picture: back by the formulas of ITU-R BT.601 and BT.709, written out.
    fn colour(picture: &Picture, x: usize, y: usize) -> [f32; 3] {
        let [blue, red] = picture.chroma.as_ref().unwrap();
        let at = |plane: &Plane, x: usize, y: usize| f32::from(plane.data[y * plane.stride + x]);
        let luma = at(&picture.luma, x, y);
        let (u, v) = (at(blue, x / 2, y / 2) - 128.0, at(red, x / 2, y / 2) - 128.0);
        if picture.luma.height >= 720 {
            [luma + 1.5748 * v, luma - 0.187_324 * u - 0.468_124 * v, luma + 1.8556 * u]
        } else {
            [luma + 1.402 * v, luma - 0.344_136 * u - 0.714_136 * v, luma + 1.772 * u]
        }
    }

    #[test]
    fn colours_come_back_as_they_were() {
        let colours =
            [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 30], [13, 77, 201]];
        for (width, height) in [(2, 2), (5, 3), (1, 1), (3, 720)] {
            for expected in colours {
                let pixels = expected.repeat(width * height);
                let picture = Picture::of_rgb(&pixels, width, height).unwrap();
                for (x, y) in [(0, 0), (width - 1, height - 1)] {
                    for (got, expected) in colour(&picture, x, y).into_iter().zip(expected) {
                        assert!((got - f32::from(expected)).abs() < 2.0, "{got} instead of {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_chroma_sample_is_the_mean_of_its_pixels() {
        // Red above, blue below: violet chroma, and an odd row and column of one colour by itself.
        let (red, blue) = ([255, 0, 0], [0, 0, 255]);
        let pixels = [[red, red, blue], [blue, blue, blue], [red, red, red]].concat().concat();
        let picture = Picture::of_rgb(&pixels, 3, 3).unwrap();
        let [cb, cr] = picture.chroma.unwrap();
        // Cb of red is 84.97, of blue 255 (255.5 clamped); Cr of red 255, of blue 107.26.
        assert_eq!(cb.data.as_ref(), [170, 255, 85, 85]);
        assert_eq!(cr.data.as_ref(), [181, 107, 255, 255]);
        assert_eq!((cb.width, cb.height, cr.stride), (2, 2, 2));
    }

    #[test]
    fn grey_is_what_rgb_makes_of_it() {
        for (width, height) in [(1, 1), (5, 3), (8, 720)] {
            let grey: Vec<u8> = (0..width * height).map(|at| (at * 7) as u8).collect();
            let rgb: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
            let parts = |picture: Picture| {
                let [blue, red] = picture.chroma.unwrap();
                [picture.luma, blue, red].map(|plane| (plane.data, plane.width, plane.height, plane.stride))
            };
            let expected = Picture::of_rgb(&rgb, width, height).unwrap();
            assert_eq!(parts(Picture::of_grey(grey, width, height).unwrap()), parts(expected));
        }
    }

    #[test]
    fn what_is_no_picture_is_none() {
        for (length, width, height) in [(12, 2, 3), (0, 0, 0), (0, 5, 0), (3, usize::MAX, 2)] {
            assert!(Picture::of_rgb(&vec![0; length], width, height).is_none());
            assert!(Picture::of_grey(vec![0; length / 3], width, height).is_none());
        }
    }
}
