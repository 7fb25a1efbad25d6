//! A picture turned and mirrored in each of the eight ways.

use super::filter::Small;
use super::tents::Order;

/// One of the eight ways: first the ends of sides change places, then sides do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    down: Order,
    across: Order,
    sides: Sides,
}

/// What becomes of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    Stay,
    Change,
}

/// In the order that [`Hasher::dihedral`](super::Hasher::dihedral) tells.
pub(super) const TURNS: [Turn; 8] = {
    use Order::{Ahead, Back};
    use Sides::{Change, Stay};
    [
        Turn { down: Ahead, across: Ahead, sides: Stay },
        Turn { down: Ahead, across: Back, sides: Change },
        Turn { down: Back, across: Back, sides: Stay },
        Turn { down: Back, across: Ahead, sides: Change },
        Turn { down: Back, across: Ahead, sides: Stay },
        Turn { down: Ahead, across: Back, sides: Stay },
        Turn { down: Ahead, across: Ahead, sides: Change },
        Turn { down: Back, across: Back, sides: Change },
    ]
};

/// The 64x64 of a picture as it lies in memory, and with the ends of its sides changed: by what was done down, then
/// across.
pub(super) type Mirrored = [[Small; 2]; 2];

impl Turn {
    /// The 64x64 of the turned picture.
    pub(super) fn small(self, mirrored: &Mirrored) -> Small {
        let small = &mirrored[usize::from(self.down == Order::Back)][usize::from(self.across == Order::Back)];
        match self.sides {
            Sides::Stay => *small,
            Sides::Change => std::array::from_fn(|y| std::array::from_fn(|x| small[x][y])),
        }
    }

    /// Writes the turned pixels, row by row; returns their width and height.
    pub(super) fn pixels<'a, T: Copy + 'a>(
        self,
        (width, height): (usize, usize),
        row: impl Fn(usize) -> &'a [T],
        to: &mut Vec<T>,
    ) -> (usize, usize) {
        let (w, h) = match self.sides {
            Sides::Stay => (width, height),
            Sides::Change => (height, width),
        };
        let place = |at: usize, len: usize, order: Order| if order == Order::Back { len - 1 - at } else { at };
        to.clear();
        to.reserve_exact(w * h);
        for y in 0..h {
            match self.sides {
                Sides::Stay => {
                    let row = row(place(y, height, self.down));
                    to.extend((0..w).map(|x| row[place(x, width, self.across)]));
                }
                Sides::Change => {
                    let column = place(y, width, self.across);
                    to.extend((0..w).map(|x| row(place(x, height, self.down))[column]));
                }
            }
        }
        (w, h)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Hasher, Luma, Pdq, Pixels, Rgb};
    use crate::picture::ColourRange;

    /// Blotches without any symmetry.
    fn pixels(width: usize, height: usize) -> Vec<u8> {
        let wave = |x: f64, y: f64| (x * 0.9 + 0.3 * y).sin() + (x * 0.31 - y * 0.7).cos() + (x * y * 0.004).sin();
        let scale = 40.0 / width.max(height) as f64;
        let value = |x: usize, y: usize| (127.5 + 42.0 * wave(x as f64 * scale, y as f64 * scale)) as u8;
        (0..height).flat_map(|y| (0..width).map(move |x| value(x, y))).collect()
    }

    /// The pixels turned the same way, and their width and height.
    fn really_turned<T: Copy>(pixels: &[T], width: usize, height: usize, variant: usize) -> (Vec<T>, usize, usize) {
        let quarter = matches!(variant, 1 | 3 | 6 | 7);
        let (w, h) = if quarter { (height, width) } else { (width, height) };
        let from = |y: usize, x: usize| match variant {
            0 => (y, x),
            1 => (x, width - 1 - y),
            2 => (height - 1 - y, width - 1 - x),
            3 => (height - 1 - x, y),
            4 => (height - 1 - y, x),
            5 => (y, width - 1 - x),
            6 => (x, y),
            _ => (height - 1 - x, width - 1 - y),
        };
        let turned = (0..h).flat_map(|y| (0..w).map(move |x| from(y, x))).map(|(y, x)| pixels[y * width + x]);
        (turned.collect(), w, h)
    }

    /// Each variant is what hashing turned pixels the long way gives.
    fn check<T: Copy>(pixels: &[T], width: usize, height: usize, view: impl Fn(&[T], usize, usize) -> Pixels<'_>) {
        let mut long = Hasher::every_way().last().unwrap().1;
        let expected: [Pdq; 8] = std::array::from_fn(|variant| {
            let (turned, w, h) = really_turned(pixels, width, height, variant);
            long.pixels(view(&turned, w, h))
        });
        for (name, mut hasher) in Hasher::every_way() {
            assert_eq!(hasher.dihedral(view(pixels, width, height)), expected, "{name}, {width}x{height}");
        }
    }

    #[test]
    fn variants_are_the_hashes_of_turned_pixels() {
        let odd_even_and_whole = [
            (5, 5),
            (64, 64),
            (63, 65),
            (100, 75),
            (127, 65),
            (128, 128),
            (129, 256),
            (257, 311),
            (320, 270),
            (384, 200),
            (512, 512),
            (640, 360),
            (641, 359),
            (1080, 600),
            (1280, 720),
            (8193, 5),
        ];
        for (width, height) in odd_even_and_whole {
            let luma = pixels(width, height);
            for range in [ColourRange::Full, ColourRange::Limited] {
                check(&luma, width, height, |pixels, w, h| Luma::new(pixels, w, h, w).unwrap().in_range(range).into());
            }
            let rgb: Vec<[u8; 3]> = luma.iter().map(|y| [*y, y.wrapping_mul(3), 255 - y]).collect();
            check(&rgb, width, height, |pixels, w, h| Rgb::new(pixels.as_flattened(), w, h).unwrap().into());
        }
    }

    #[test]
    fn what_is_uncertain_is_turned_and_hashed_the_long_way() {
        let plain = vec![[77u8, 1, 200]; 333 * 270];
        check(&plain, 333, 270, |pixels, w, h| Rgb::new(pixels.as_flattened(), w, h).unwrap().into());
        let mut hasher = Hasher::new();
        hasher.dihedral(Rgb::new(plain.as_flattened(), 333, 270).unwrap());
        assert_eq!(hasher.retaken(), 8);
    }

    #[test]
    fn all_eight_differ_and_have_one_quality() {
        let pixels = pixels(300, 200);
        let variants = Hasher::new().dihedral(Luma::new(&pixels, 300, 200, 300).unwrap());
        let distinct: HashMap<_, _> = variants.iter().map(|pdq| (pdq.hash, pdq.quality)).collect();
        assert_eq!(distinct.len(), 8);
        assert!(distinct.values().all(|quality| quality.abs_diff(variants[0].quality) <= 1));
    }

    #[test]
    fn what_has_no_hash_has_none_in_any_way() {
        assert_eq!(Hasher::new().dihedral(Rgb::new(&[9; 48], 4, 4).unwrap()), [Pdq::NONE; 8]);
    }
}
