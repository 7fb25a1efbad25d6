//! A shrunk picture turned and mirrored in each of the eight ways.

use super::filter::{SIDE, Small};

/// From where in the picture the value at a row and column comes.
pub(super) type Way = fn(usize, usize) -> (usize, usize);

const END: usize = SIDE - 1;

/// In the order that [`Hasher::dihedral`](super::Hasher::dihedral) tells.
pub(super) const WAYS: [Way; 8] = [
    |y, x| (y, x),
    |y, x| (x, END - y),
    |y, x| (END - y, END - x),
    |y, x| (END - x, y),
    |y, x| (END - y, x),
    |y, x| (y, END - x),
    |y, x| (x, y),
    |y, x| (END - x, END - y),
];

/// The picture, turned one way.
pub(super) fn turned(small: &Small, way: Way) -> Small {
    std::array::from_fn(|y| {
        std::array::from_fn(|x| {
            let (row, column) = way(y, x);
            small[row][column]
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Hasher, Luma, Pdq, Rgb};

    /// Blotches without any symmetry.
    fn pixels(width: usize, height: usize) -> Vec<u8> {
        let wave = |x: f64, y: f64| (x * 0.9 + 0.3 * y).sin() + (x * 0.31 - y * 0.7).cos() + (x * y * 0.004).sin();
        let scale = 40.0 / width.max(height) as f64;
        let value = |x: usize, y: usize| (127.5 + 42.0 * wave(x as f64 * scale, y as f64 * scale)) as u8;
        (0..height).flat_map(|y| (0..width).map(move |x| value(x, y))).collect()
    }

    /// The pixels turned the same way, and their width and height.
    fn really_turned(pixels: &[u8], width: usize, height: usize, variant: usize) -> (Vec<u8>, usize, usize) {
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

    /// How many bits each variant is from the hash of pixels that are really turned.
    fn apart(width: usize, height: usize) -> [u32; 8] {
        let (pixels, mut hasher) = (pixels(width, height), Hasher::new());
        let variants = hasher.dihedral(Luma::new(&pixels, width, height, width).unwrap());
        std::array::from_fn(|variant| {
            let (turned, w, h) = really_turned(&pixels, width, height, variant);
            hasher.luma(Luma::new(&turned, w, h, w).unwrap()).hash.distance(&variants[variant].hash)
        })
    }

    #[test]
    fn variants_are_the_hashes_of_turned_pixels_where_both_ends_are_alike() {
        for (width, height) in [(64, 64), (100, 75), (127, 65), (320, 270), (1080, 600), (257, 311)] {
            assert_eq!(apart(width, height), [0; 8], "{width}x{height}");
        }
    }

    #[test]
    fn elsewhere_they_are_near() {
        for (width, height) in [(128, 128), (512, 512), (1920, 1080), (640, 360), (1280, 720)] {
            let apart = apart(width, height);
            assert_eq!(apart[0], 0);
            assert!(apart.iter().all(|bits| *bits <= 30), "{width}x{height}: {apart:?}");
        }
    }

    #[test]
    fn all_eight_differ_and_have_one_quality() {
        let pixels = pixels(300, 200);
        let variants = Hasher::new().dihedral(Luma::new(&pixels, 300, 200, 300).unwrap());
        let distinct: HashMap<_, _> = variants.iter().map(|pdq| (pdq.hash, pdq.quality)).collect();
        assert_eq!(distinct.len(), 8);
        assert!(distinct.values().all(|quality| *quality == variants[0].quality));
    }

    #[test]
    fn what_has_no_hash_has_none_in_any_way() {
        assert_eq!(Hasher::new().dihedral(Rgb::new(&[9; 48], 4, 4).unwrap()), [Pdq::NONE; 8]);
    }
}
