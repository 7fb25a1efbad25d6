//! Reference pictures: a few that everybody can make, bit for bit, so that a manifest can record what its model says of
//! them.
//!
//! They show nothing: soft ellipses over one another. What they were chosen for, out of some hundreds, is that a model says
//! something else of them when red and blue are swapped, or black and full light are elsewhere. They are made with whole
//! numbers only, so that no machine rounds them differently.

use crate::picture::Picture;

/// Columns and rows of a reference picture: larger than what models take in, and neither square nor as wide as video.
pub const REFERENCE_SIZE: (usize, usize) = (400, 300);

/// The name of each picture, and what it is made from.
const PICTURES: [(&str, u64, Colours); 3] =
    [("embers", 82, Colours::Warm), ("dunes", 5, Colours::Warm), ("balloons", 7, Colours::Any)];

/// Steps of a coordinate from one column or row of [`REFERENCE_SIZE`] to the next: larger pictures are as smooth as it.
const STEPS: i64 = 16;

/// Steps of the squared distance from an ellipse's centre to its edge.
const EDGE: i64 = 1 << 16;

/// Steps from nothing to be seen to nothing to be seen through.
const OPAQUE: i64 = 256;

#[derive(Clone, Copy)]
enum Colours {
    /// Red above green above blue.
    Warm,
    Any,
}

/// The names of the reference pictures.
pub fn references() -> impl Iterator<Item = &'static str> {
    PICTURES.iter().map(|(name, ..)| *name)
}

/// The pixels of the reference picture called `name`, at `width` by `height`: red, green and blue, row by row from the top.
/// None where there is no such picture. What manifests record is of [`REFERENCE_SIZE`].
pub fn reference_pixels(name: &str, (width, height): (usize, usize)) -> Option<Vec<u8>> {
    let (_, seed, colours) = PICTURES.iter().find(|(known, ..)| *known == name)?;
    let mut chance = Chance(*seed);
    let (near, far) = (chance.colour(*colours), chance.colour(*colours));
    let count = 4 + chance.below(8);
    let ellipses: Vec<Ellipse> = (0..count).map(|_| Ellipse::any(&mut chance, *colours)).collect();
    let (columns, rows) = (REFERENCE_SIZE.0 as i64, REFERENCE_SIZE.1 as i64);
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height as i64 {
        let y = (y * rows * STEPS + rows * STEPS / 2) / height as i64;
        for x in 0..width as i64 {
            let x = (x * columns * STEPS + columns * STEPS / 2) / width as i64;
            // Along the diagonal: a row or column of one colour would pass for a bar.
            let ground = mixed(near, far, x + y, (columns + rows) * STEPS);
            let colour = ellipses.iter().fold(ground, |under, ellipse| ellipse.over(under, x, y));
            pixels.extend(colour.map(|light| light as u8));
        }
    }
    Some(pixels)
}

/// The reference picture called `name`, as a still; none where there is no such picture.
pub fn reference(name: &str) -> Option<Picture> {
    let (width, height) = REFERENCE_SIZE;
    Picture::of_rgb(&reference_pixels(name, (width, height))?, width, height)
}

type Colour = [i64; 3];

/// A soft-coloured ellipse; places and radii in columns and rows of [`REFERENCE_SIZE`].
struct Ellipse {
    place: (i64, i64),
    radii: (i64, i64),
    centre: Colour,
    edge: Colour,
}

impl Ellipse {
    fn any(chance: &mut Chance, colours: Colours) -> Self {
        let place = (chance.below(REFERENCE_SIZE.0 as u64), chance.below(REFERENCE_SIZE.1 as u64));
        let radii = (30 + chance.below(110), 30 + chance.below(110));
        Self { place, radii, centre: chance.colour(colours), edge: chance.colour(colours) }
    }

    /// What becomes of the colour under it there, in steps. It fades towards its edge: colours of video are halved, which
    /// blurs hard edges, and some models are more sensitive to that than to their input's range.
    fn over(&self, under: Colour, x: i64, y: i64) -> Colour {
        let away = |at: i64, centre: i64, radius: i64| {
            let steps = (at - centre * STEPS).abs() * 256 / (radius * STEPS);
            steps * steps
        };
        let distance = (away(x, self.place.0, self.radii.0) + away(y, self.place.1, self.radii.1)).min(EDGE);
        let covers = ((EDGE - distance) * 4 * OPAQUE / EDGE).min(OPAQUE);
        mixed(under, mixed(self.centre, self.edge, distance, EDGE), covers, OPAQUE)
    }
}

/// `part` of `whole` of the way from one colour to the other.
fn mixed(from: Colour, to: Colour, part: i64, whole: i64) -> Colour {
    let mut mixed = from;
    for (light, to) in mixed.iter_mut().zip(to) {
        *light = (*light * (whole - part) + to * part) / whole;
    }
    mixed
}

/// Numbers without a pattern, the same on every machine: a linear congruential generator with Knuth's constants for MMIX.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end) as i64
    }

    fn colour(&mut self, colours: Colours) -> Colour {
        match colours {
            Colours::Any => [self.below(256), self.below(256), self.below(256)],
            Colours::Warm => {
                let red = 60 + self.below(196);
                [red, red * (40 + self.below(45)) / 100, red * (20 + self.below(45)) / 100]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::model::{Rect, flat, inside_bars};

    #[test]
    fn every_reference_picture_is_there_and_stays_what_it_is() {
        // Another picture under the same name would make every manifest that records it wrong.
        let digests: Vec<String> = references()
            .map(|name| hex::encode(Sha256::digest(reference_pixels(name, REFERENCE_SIZE).unwrap())))
            .map(|digest| digest.get(..16).unwrap().to_owned())
            .collect();
        assert_eq!(digests, DIGESTS);
        for name in references() {
            let picture = reference(name).unwrap();
            assert_eq!((picture.luma.width, picture.luma.height), REFERENCE_SIZE);
            assert!(!flat(&picture), "{name}");
            let whole = Rect { left: 0, top: 0, width: REFERENCE_SIZE.0, height: REFERENCE_SIZE.1 };
            assert_eq!(inside_bars(&picture), whole, "{name}");
        }
        assert!(reference("sunset").is_none());
    }

    const DIGESTS: [&str; 3] = ["f562a89f16dd0d27", "6aa9cee5fffe828b", "98cfa8b9820d49da"];

    #[test]
    fn a_larger_one_shows_the_same() {
        let (width, height) = REFERENCE_SIZE;
        for name in references() {
            let (small, large) = (
                reference_pixels(name, (width, height)).unwrap(),
                reference_pixels(name, (3 * width, 3 * height)).unwrap(),
            );
            let mut off: Vec<u8> = Vec::new();
            for y in 0..height {
                for x in 0..width {
                    let (of_small, of_large) = (3 * (y * width + x), 3 * ((3 * y + 1) * 3 * width + 3 * x + 1));
                    off.extend((0..3).map(|at| small[of_small + at].abs_diff(large[of_large + at])));
                }
            }
            off.sort_unstable();
            assert!(off[off.len() * 99 / 100] <= 2, "{name}");
        }
    }
}
