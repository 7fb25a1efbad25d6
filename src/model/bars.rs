//! Finds the bars around a picture: letterbox, pillarbox, both; black or of another even colour.
//!
//! Bars show nothing, and yet they change what models say of the rest: with black bars around benign photographs the
//! safety model's `nsfw` rises to .88. So a picture is looked at inside its bars.
//!
//! What is taken for a bar is a strip along an edge in which no two samples differ by more than [`EVEN`] levels, in light
//! or in colour: more than a codec makes of an even colour, less than a person could make anything out in. So a dark
//! scene, or a sky, loses at most a strip that shows nothing. One exception: a logo or a subtitle may lie in a bar where
//! the bar on the other side is clean and as deep, and where it covers little.
//!
//! At least half of each side stays; or a quarter, where the bars on both sides are alike, as for a picture from a
//! telephone held upright.

use std::iter;
use std::ops::Range;

use crate::picture::{Picture, Plane};

/// Levels by which the samples of a bar may differ.
const EVEN: u8 = 6;

/// Of so many samples of a bar, one may be of something else, such as a logo, when the bar on the other side is clean.
const STRAY: usize = 16;

/// A bar of at least this share of the side may speak for the one on the other side.
const DEEP: usize = 32;

/// Bars that differ by no more than this share of the side are alike.
const ALIKE: usize = 64;

/// Rows that columns are looked at in first, spread over the picture: they say where there may be a bar, and all rows then say
/// whether it is one.
const ROWS: usize = 128;

/// A part of a picture, in luma samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Columns to the left of it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Its columns.
    pub width: usize,
    /// Its rows.
    pub height: usize,
}

/// The part of a picture inside its bars; all of it where there are none. It begins at an even row and column, where a
/// chroma sample does.
pub fn inside_bars(picture: &Picture) -> Rect {
    let Plane { width, height, .. } = picture.luma;
    let whole = Rect { left: 0, top: 0, width, height };
    if picture.luma.rows().count() < height {
        return whole;
    }
    let (top, bottom) = bars(picture, Along::Rows, 0..height);
    let rows = top..height - bottom;
    let (left, right) = bars(picture, Along::Columns, rows.clone());
    Rect { left, top, width: width - left - right, height: rows.len() }
}

/// What bars consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Along {
    Rows,
    Columns,
}

impl Along {
    /// How many lines a plane has.
    const fn side(self, plane: &Plane) -> usize {
        match self {
            Self::Rows => plane.height,
            Self::Columns => plane.width,
        }
    }
}

/// A strip along an edge in which all is even.
#[derive(Debug, Clone, Copy)]
struct Strip {
    /// Its lines.
    depth: usize,
    /// What its samples are, in luma, Cb and Cr.
    levels: [Levels; 3],
}

/// The lowest and the highest of some samples.
#[derive(Debug, Clone, Copy)]
struct Levels {
    lowest: u8,
    highest: u8,
}

impl Levels {
    const NONE: Self = Self { lowest: u8::MAX, highest: 0 };

    fn of(samples: impl Iterator<Item = u8>) -> Self {
        samples.fold(Self::NONE, |Self { lowest, highest }, sample| Self {
            lowest: lowest.min(sample),
            highest: highest.max(sample),
        })
    }

    fn and(self, other: Self) -> Self {
        Self { lowest: self.lowest.min(other.lowest), highest: self.highest.max(other.highest) }
    }

    const fn even(self) -> bool {
        self.highest.saturating_sub(self.lowest) <= EVEN
    }
}

/// The lines of the bars at the beginning and at the end; columns are looked at in `rows` only.
fn bars(picture: &Picture, along: Along, rows: Range<usize>) -> (usize, usize) {
    let side = along.side(&picture.luma);
    let most = side * 3 / 8;
    let first = strip(picture, along, &rows, most, |_, line| line);
    let last = strip(picture, along, &rows, most, |side, line| side - 1 - line);

    let alike = |(before, behind): (usize, usize)| before.abs_diff(behind) <= side / ALIKE;
    // A bar that goes on as far as bars may speaks for none: nobody has seen its end.
    let speaks = |strip: Strip, for_lines: Range<usize>| {
        strip.depth * DEEP >= side && strip.depth < most && mostly(picture, along, &rows, &for_lines, strip.levels)
    };
    let depths = match (first.depth, last.depth) {
        depths if alike(depths) => depths,
        (before, behind) if before > behind && speaks(first, side - before..side) => (before, before),
        (before, behind) if behind > before && speaks(last, 0..behind) => (behind, behind),
        depths => depths,
    };
    let most = if alike(depths) { most } else { side / 4 };
    // Chroma samples lie between an even line and the next.
    (depths.0.min(most) & !1, depths.1.min(most) & !1)
}

/// The planes of a picture, luma first, and how many luma samples in a row one of theirs stands for.
pub(super) fn planes(picture: &Picture) -> impl Iterator<Item = (&Plane, usize)> {
    iter::once((&picture.luma, 1)).chain(picture.chroma.iter().flatten().map(|plane| (plane, 2)))
}

/// The samples of a plane that stand for those of luma; one at the beginning that stands for others as well is left out.
pub(super) fn shared(luma: &Range<usize>, share: usize) -> Range<usize> {
    luma.start.div_ceil(share)..luma.end.div_ceil(share)
}

/// The strip of at most so many lines that begins with the line that `at` gives for a side and 0.
fn strip(
    picture: &Picture,
    along: Along,
    rows: &Range<usize>,
    most: usize,
    at: impl Fn(usize, usize) -> usize,
) -> Strip {
    let mut strip = Strip { depth: most, levels: [Levels::NONE; 3] };
    for ((plane, share), levels) in planes(picture).zip(&mut strip.levels) {
        let side = along.side(plane);
        let rows = shared(rows, share);
        let lines = (0..side).take(strip.depth.div_ceil(share)).map(|line| at(side, line));
        let depth = match along {
            Along::Rows => even(lines.map(|y| Levels::of(row(plane, y).iter().copied())), levels),
            Along::Columns => {
                let some =
                    lines.clone().map(|x| Levels::of(spread(&rows).filter_map(|y| row(plane, y).get(x).copied())));
                let found = lines.take(even(some, levels));
                let left = found.clone().min().unwrap_or(0);
                let all = columns(plane, rows, left..left + found.len());
                even(found.filter_map(|x| all.get(x - left).copied()), levels)
            }
        };
        strip.depth = strip.depth.min(share * depth);
    }
    strip
}

/// How many lines are even together, from the first on; `levels` becomes theirs.
fn even(lines: impl Iterator<Item = Levels>, levels: &mut Levels) -> usize {
    *levels = Levels::NONE;
    let together = lines.map_while(|line| {
        let both = levels.and(line);
        both.even().then(|| *levels = both)
    });
    together.count()
}

/// The levels of each of some columns, in all of the rows.
fn columns(plane: &Plane, rows: Range<usize>, columns: Range<usize>) -> Vec<Levels> {
    // Row by row, and apart, which is what makes this quick.
    let (mut lowest, mut highest) = (vec![u8::MAX; columns.len()], vec![0; columns.len()]);
    for samples in rows.filter_map(|y| row(plane, y).get(columns.clone())) {
        for ((lowest, highest), &sample) in lowest.iter_mut().zip(&mut highest).zip(samples) {
            *lowest = sample.min(*lowest);
            *highest = sample.max(*highest);
        }
    }
    lowest.into_iter().zip(highest).map(|(lowest, highest)| Levels { lowest, highest }).collect()
}

/// Whether nearly all samples of some lines are as even as those of the levels, and together with them, in each plane.
fn mostly(picture: &Picture, along: Along, rows: &Range<usize>, lines: &Range<usize>, levels: [Levels; 3]) -> bool {
    planes(picture).zip(levels).all(|((plane, share), levels)| {
        let (lowest, highest) = (levels.highest.saturating_sub(EVEN), levels.lowest.saturating_add(EVEN));
        let (columns, rows) = match along {
            Along::Rows => (0..plane.width, shared(lines, share)),
            Along::Columns => (shared(lines, share), shared(rows, share)),
        };
        let (mut all, mut strays) = (0, 0);
        // In parts whose strays fit a byte, which is what makes this quick.
        for part in rows.filter_map(|y| row(plane, y).get(columns.clone())).flat_map(|row| row.chunks(255)) {
            all += part.len();
            strays += usize::from(part.iter().map(|sample| u8::from(!(lowest..=highest).contains(sample))).sum::<u8>());
        }
        strays * STRAY <= all
    })
}

/// Some of the rows, spread over all.
fn spread(rows: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    rows.clone().step_by(rows.len().div_ceil(ROWS).max(1))
}

fn row(plane: &Plane, y: usize) -> &[u8] {
    plane.data.get(y * plane.stride..).and_then(|row| row.get(..plane.width)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::picture::ColourRange;

    const WIDTH: usize = 640;
    const HEIGHT: usize = 360;

    type Yuv = [u8; 3];
    const BLACK: Yuv = [16, 128, 128];

    /// A picture of what `yuv` gives for each place in luma.
    fn of(yuv: impl Fn(usize, usize) -> Yuv) -> Picture {
        let plane = |which: usize, share: usize| {
            let (width, height) = (WIDTH / share, HEIGHT / share);
            let data: Vec<u8> = (0..height)
                .flat_map(|y| (0..width).map(move |x| (x, y)))
                .map(|(x, y)| yuv(share * x, share * y)[which])
                .collect();
            Plane { data: data.into(), width, height, stride: width }
        };
        Picture {
            sequence: 0,
            pts: None,
            arrived: Timestamp::ZERO,
            luma: plane(0, 1),
            chroma: Some([plane(1, 2), plane(2, 2)]),
            range: ColourRange::Limited,
        }
    }

    /// Something to see.
    fn scene(x: usize, y: usize) -> Yuv {
        [40 + ((x * 7 + y * 13) % 150) as u8, 100 + (x % 50) as u8, 110 + (y % 40) as u8]
    }

    fn rect(left: usize, top: usize, width: usize, height: usize) -> Rect {
        Rect { left, top, width, height }
    }

    /// A scene inside, and `bar` around it.
    fn barred(inside: Rect, bar: impl Fn(usize, usize) -> Yuv) -> Picture {
        let Rect { left, top, width, height } = inside;
        let rows = top..top + height;
        let columns = left..left + width;
        of(|x, y| if columns.contains(&x) && rows.contains(&y) { scene(x, y) } else { bar(x, y) })
    }

    #[test]
    fn bars_are_found() {
        let codec = |x: usize, y: usize| [16 + ((x * 5 + y * 3) % 4) as u8, 127 + (x / 8 % 3) as u8, 128];
        for (what, inside) in [
            ("none", rect(0, 0, WIDTH, HEIGHT)),
            ("letterbox", rect(0, 46, WIDTH, 268)),
            ("only above", rect(0, 60, WIDTH, 300)),
            ("pillarbox", rect(80, 0, 480, HEIGHT)),
            ("a telephone held upright", rect(220, 0, 200, HEIGHT)),
            ("both", rect(120, 66, 400, 228)),
        ] {
            assert_eq!(inside_bars(&barred(inside, |_, _| BLACK)), inside, "{what}, black");
            assert_eq!(inside_bars(&barred(inside, |_, _| [235, 128, 128])), inside, "{what}, white");
            assert_eq!(inside_bars(&barred(inside, |_, _| [81, 90, 240])), inside, "{what}, red");
            assert_eq!(inside_bars(&barred(inside, codec)), inside, "{what}, as a codec leaves it");
        }
    }

    #[test]
    fn bars_of_an_odd_depth_are_left_where_chroma_is_shared() {
        let found = inside_bars(&barred(rect(0, 45, WIDTH, 269), |_, _| BLACK));
        assert_eq!(found, rect(0, 44, WIDTH, 270));
    }

    #[test]
    fn a_logo_in_a_bar_does_not_save_it() {
        let inside = rect(0, 46, WIDTH, 268);
        let logo =
            |x: usize, y: usize| if (560..620).contains(&x) && (10..30).contains(&y) { [200, 90, 160] } else { BLACK };
        assert_eq!(inside_bars(&barred(inside, logo)), inside, "above");
        let subtitle = |x: usize, y: usize| {
            if (200..440).contains(&x) && (330..342).contains(&y) && x.is_multiple_of(3) {
                [235, 128, 128]
            } else {
                BLACK
            }
        };
        assert_eq!(inside_bars(&barred(inside, subtitle)), inside, "below");
        let inside = rect(120, 0, 400, HEIGHT);
        let logo =
            |x: usize, y: usize| if (20..80).contains(&x) && (20..50).contains(&y) { [200, 90, 160] } else { BLACK };
        assert_eq!(inside_bars(&barred(inside, logo)), inside, "to the left");
    }

    #[test]
    fn what_there_is_to_see_is_not_cut_away() {
        type Scene = fn(usize, usize) -> Yuv;
        let cases: [(&str, Scene); 6] = [
            ("a dark room", |x, y| [16 + ((x / 40 + y / 30) % 9) as u8, 128, 128]),
            ("a lamp in the dark, at the edges", |x, y| {
                if (x / 60 == 0 || x / 60 == 10) && (y / 40 == 0 || y / 40 == 8) { [60, 120, 130] } else { BLACK }
            }),
            ("something in both bars", |x, y| if (200..300).contains(&x) { scene(x, y) } else { BLACK }),
            ("colours of one light", |x, y| [120, 60 + (x / 8 % 100) as u8, 60 + (y / 4 % 90) as u8]),
            ("a sunset", |_, y| [16 + (2 * y / 3) as u8, 100, 160]),
            ("noise", |x, y| [(x * 7919 + y * 104_729) as u8, 128, 128]),
        ];
        for (what, scene) in cases {
            let Rect { top, height, .. } = inside_bars(&of(scene));
            assert!(top <= 12 && height >= HEIGHT - 24, "{what}: rows {top} to {}", top + height);
        }
    }

    #[test]
    fn what_hides_between_the_rows_that_are_looked_at_first_is_not_cut_away() {
        let first = |y: usize| y.is_multiple_of(HEIGHT.div_ceil(ROWS));
        let grey = |x: usize, y: usize| [scene(x, y)[0], 128, 128];
        let inside = |black: &dyn Fn(usize, usize) -> bool| {
            inside_bars(&of(|x, y| if black(x, y) { BLACK } else { grey(x, y) }))
        };
        assert_eq!(inside(&|_, y| first(y)), rect(0, 0, WIDTH, HEIGHT), "at both sides");
        let beside = rect(160, 0, WIDTH - 160, HEIGHT);
        assert_eq!(inside(&|x, y| x < 160 || first(y)), beside, "beside a bar");
        assert_eq!(inside(&|x, y| x < 160 || x < WIDTH - 4 && first(y)), beside, "where a bar might speak for it");
        assert_eq!(inside(&|x, y| x < 40 || x < 100 && first(y)), rect(40, 0, WIDTH - 40, HEIGHT), "behind a bar");

        let first = |y: usize| (y / 2).is_multiple_of((HEIGHT / 2).div_ceil(ROWS));
        let colours = of(|x, y| match scene(x, y) {
            _ if first(y) && (y > 1 || x.abs_diff(WIDTH / 2) > 20) => BLACK,
            [_, blue, red] => [16, blue, red],
        });
        assert_eq!(inside_bars(&colours), rect(0, 0, WIDTH, HEIGHT), "in colour");
    }

    #[test]
    fn a_bar_does_not_speak_for_colours_of_its_own_light() {
        let colours = |x: usize, y: usize| [16, scene(x, y)[1], scene(x, y)[2]];
        let across = of(|x, y| if y < 80 { BLACK } else { colours(x, y) });
        assert_eq!(inside_bars(&across), rect(0, 80, WIDTH, HEIGHT - 80), "below");
        let beside = of(|x, y| if x < 160 { BLACK } else { colours(x, y) });
        assert_eq!(inside_bars(&beside), rect(160, 0, WIDTH - 160, HEIGHT), "to the right");
    }

    #[test]
    fn a_small_thing_in_the_dark_keeps_half_of_its_surroundings() {
        let found = inside_bars(&barred(rect(40, 300, 60, 40), |_, _| BLACK));
        assert_eq!(found, rect(40, 90, 440, 250), "a bar of a quarter of a side at most");
        let found = inside_bars(&barred(rect(310, 170, 20, 20), |_, _| BLACK));
        assert_eq!(found, rect(240, 134, 160, 92), "in the middle, a quarter of each side stays");
        assert_eq!(inside_bars(&of(|_, _| BLACK)), rect(240, 134, 160, 92), "and of nothing");
    }

    #[test]
    fn a_picture_that_is_empty_or_cut_short_has_no_bars() {
        let mut short = of(|_, _| BLACK);
        short.luma.data = short.luma.data.slice(..1000);
        assert_eq!(inside_bars(&short), rect(0, 0, WIDTH, HEIGHT));
        let none = Plane { data: Vec::new().into(), width: 0, height: 0, stride: 0 };
        let empty = Picture { luma: none.clone(), chroma: Some([none.clone(), none]), ..short };
        assert_eq!(inside_bars(&empty), rect(0, 0, 0, 0));
    }
}
