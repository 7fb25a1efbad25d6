//! Tells pictures that show nothing, which models have no right to an opinion on.

use super::bars::{Rect, inside_bars};
use crate::picture::{ColourRange, Picture};

/// Rows that are looked at, spread over the picture: enough to see that there is nothing to see.
const ROWS: usize = 256;

/// Standard deviation of luma (0-255) below which a picture shows nothing.
///
/// Measured with the safety model: photographs dimmed until their deviation is 2 still score as they do in full light;
/// dimmed further, `nsfw` climbs from .03 to the .47 that an all-black picture gets.
const DEVIATION: f64 = 2.0;

/// Whether a picture is of one even colour inside its bars, black above all: a stream's pauses, fades and missing cameras.
///
/// Such a picture is to be counted and not scored. An inset or a large logo on black is not flat: nothing that a person
/// could make out is left unscored.
pub fn flat(picture: &Picture) -> bool {
    let Rect { left, top, width, height } = inside_bars(picture);
    let rows = picture.luma.rows().skip(top).take(height).step_by(height.div_ceil(ROWS).max(1));
    let (mut count, mut sum, mut squares) = (0_u64, 0_u64, 0_u64);
    // In parts whose sums fit 32 bits, which is what makes this quick.
    for part in rows.filter_map(|row| row.get(left..left + width)).flat_map(|row| row.chunks(4096)) {
        count += part.len() as u64;
        sum += u64::from(part.iter().map(|&value| u32::from(value)).sum::<u32>());
        squares += u64::from(part.iter().map(|&value| u32::from(value) * u32::from(value)).sum::<u32>());
    }
    if count == 0 {
        return true;
    }
    let mean = sum as f64 / count as f64;
    let variance = squares as f64 / count as f64 - mean * mean;
    let stretch = match picture.range {
        ColourRange::Full => 1.0,
        ColourRange::Limited => 255.0 / 219.0,
    };
    variance * stretch * stretch < DEVIATION * DEVIATION
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::picture::Plane;

    fn of(width: usize, height: usize, luma: impl Fn(usize, usize) -> u8) -> Picture {
        let data: Vec<u8> =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| luma(x, y)).collect();
        Picture {
            sequence: 0,
            pts: None,
            arrived: Timestamp::ZERO,
            luma: Plane { data: data.into(), width, height, stride: width },
            chroma: None,
            range: ColourRange::Limited,
        }
    }

    #[test]
    fn even_pictures_are_flat_and_pictures_of_something_are_not() {
        type Luma = fn(usize, usize) -> u8;
        let cases: [(&str, bool, Luma); 7] = [
            ("black", true, |_, _| 16),
            ("white", true, |_, _| 235),
            ("black with the noise of a codec", true, |x, y| 16 + ((x * 7 + y * 13) % 3) as u8),
            ("a very dark room", false, |x, y| 16 + ((x / 40 + y / 30) % 9) as u8),
            ("a picture in the corner of black", false, |x, y| if x < 128 && y < 72 { (x + y) as u8 } else { 16 }),
            ("a gradient", false, |x, _| 16 + (x / 6) as u8),
            ("noise", false, |x, y| ((x * 7919 + y * 104_729) % 251) as u8),
        ];
        for (what, expected, luma) in cases {
            assert_eq!(flat(&of(640, 360, luma)), expected, "{what}");
        }
    }

    #[test]
    fn nothing_between_bars_is_flat() {
        let between = |content: fn(usize, usize) -> u8| {
            of(640, 360, move |x, y| if (40..320).contains(&y) { content(x, y) } else { 235 })
        };
        assert!(flat(&between(|_, _| 16)), "black between white bars");
        assert!(!flat(&between(|x, y| 16 + ((x / 40 + y / 30) % 9) as u8)), "a very dark room between white bars");
    }

    #[test]
    fn a_picture_of_nothing_at_all_is_flat() {
        assert!(flat(&of(0, 0, |_, _| 0)));
    }
}
