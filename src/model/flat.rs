//! Tells pictures that show nothing, which models have no right to an opinion on.

use std::ops::Range;

use super::bars::{Rect, inside_bars, planes, shared};
use crate::picture::{ColourRange, Picture, Plane};

/// Rows that are looked at first, spread over the picture: enough to see that there is something to see. That there is
/// nothing, all rows say.
const ROWS: usize = 256;

/// Standard deviation of luma and of each colour difference (0-255) below which a picture shows nothing.
///
/// Measured with the safety model: photographs dimmed until their luma's deviation is 2 still score as they do in full
/// light; dimmed further, `nsfw` climbs from .03 to the .47 that an all-black picture gets.
const DEVIATION: f64 = 2.0;

/// Whether a picture is of one even colour inside its bars, black above all: a stream's pauses, fades and missing cameras.
///
/// Such a picture is to be counted and not scored. An inset or a large logo on black is not flat: nothing that a person
/// could make out is left unscored.
pub fn flat(picture: &Picture) -> bool {
    let Rect { left, top, width, height } = inside_bars(picture);
    let (rows, columns) = (top..top + height, left..left + width);
    [height.div_ceil(ROWS).max(1), 1].into_iter().all(|step| {
        planes(picture).all(|(plane, share)| {
            let limit = DEVIATION / stretch(picture.range, share);
            variance(plane, shared(&rows, share).step_by(step), &shared(&columns, share)) < limit * limit
        })
    })
}

/// What turns values of a plane into levels of 0 to 255: luma has 219 steps of limited range and chroma 224 (ITU-R BT.601,
/// section 2.5.3).
const fn stretch(range: ColourRange, share: usize) -> f64 {
    match range {
        ColourRange::Full => 1.0,
        ColourRange::Limited if share == 1 => 255.0 / 219.0,
        ColourRange::Limited => 255.0 / 224.0,
    }
}

/// The variance of a plane's values in some rows and columns; 0 where there are none.
fn variance(plane: &Plane, rows: impl Iterator<Item = usize>, columns: &Range<usize>) -> f64 {
    let (mut count, mut sum, mut squares) = (0_u64, 0_u64, 0_u64);
    let rows = rows.filter_map(|y| plane.data.get(y * plane.stride..)?.get(..plane.width)?.get(columns.clone()));
    // In parts whose sums fit 32 bits, which is what makes this quick.
    for part in rows.flat_map(|row| row.chunks(4096)) {
        count += part.len() as u64;
        sum += u64::from(part.iter().map(|&value| u32::from(value)).sum::<u32>());
        squares += u64::from(part.iter().map(|&value| u32::from(value) * u32::from(value)).sum::<u32>());
    }
    if count == 0 {
        return 0.0;
    }
    let mean = sum as f64 / count as f64;
    squares as f64 / count as f64 - mean * mean
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
    fn what_hides_between_the_rows_that_are_looked_at_first_is_not_flat() {
        let lines = |x: usize, y: usize| if y.is_multiple_of(2) { 16 } else { ((x * 7 + y * 13) % 200) as u8 };
        assert!(!flat(&of(640, 360, lines)));
    }

    #[test]
    fn a_picture_in_colour_alone_is_not_flat() {
        type Chroma = fn(usize, usize) -> u8;
        let grey: Chroma = |_, _| 128;
        let cases: [(&str, bool, Chroma); 4] = [
            ("of one colour", true, |_, _| 90),
            ("with the noise of a codec", true, |x, y| 127 + ((x / 4 + y / 4) % 3) as u8),
            ("a scene", false, |x, y| 100 + ((x / 20 + y / 15) % 40) as u8),
            ("a scene between the rows that are looked at first", false, |x, y| {
                if y.is_multiple_of(2) { 128 } else { (100 + x / 20) as u8 }
            }),
        ];
        for (what, expected, chroma) in cases {
            for planes in [[chroma, grey], [grey, chroma]] {
                let planes = planes.map(|chroma| of(320, 180, chroma).luma);
                let picture = Picture { chroma: Some(planes), ..of(640, 360, |_, _| 120) };
                assert_eq!(flat(&picture), expected, "{what}");
            }
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
