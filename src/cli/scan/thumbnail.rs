//! A picture made so small that nobody is shown what is on it: 16x9 colours, which a page draws large and blurred. The sharp
//! picture is nowhere in the page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageEncoder as _, codecs::png::PngEncoder};
use serde::{Deserialize, Serialize};

use crate::picture::{ColourRange, Picture, Plane, shares_in_luma};

pub(super) const WIDTH: usize = 16;
pub(super) const HEIGHT: usize = 9;

/// So many values of a side of a cell are averaged.
const SAMPLES: usize = 12;

/// The colours of a picture, row by row from the top: red, green, blue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub(super) struct Thumbnail([u8; WIDTH * HEIGHT * 3]);

impl From<Thumbnail> for Vec<u8> {
    fn from(Thumbnail(colours): Thumbnail) -> Self {
        colours.to_vec()
    }
}

impl TryFrom<Vec<u8>> for Thumbnail {
    type Error = &'static str;

    fn try_from(colours: Vec<u8>) -> Result<Self, Self::Error> {
        colours.try_into().map(Self).map_err(|_colours| "a thumbnail of another size")
    }
}

impl Thumbnail {
    /// Of `picture`; grey where it has no colour.
    pub(super) fn of(picture: &Picture) -> Self {
        let mut colours = [0; WIDTH * HEIGHT * 3];
        for (cell, colour) in colours.chunks_exact_mut(3).enumerate() {
            let (x, y) = (cell % WIDTH, cell / WIDTH);
            let luma = mean(&picture.luma, x, y).unwrap_or_default();
            let chroma = picture.chroma.as_ref();
            let [blue, red] =
                [0, 1].map(|n| chroma.and_then(|planes| mean(planes.get(n)?, x, y)).unwrap_or(128.0) - 128.0);
            colour.copy_from_slice(&rgb(luma, blue, red, picture.range, picture.luma.height));
        }
        Self(colours)
    }

    /// As an address that holds the picture itself.
    pub(super) fn address(&self) -> Option<String> {
        let mut png = Vec::new();
        let colour = image::ExtendedColorType::Rgb8;
        PngEncoder::new(&mut png).write_image(&self.0, WIDTH as u32, HEIGHT as u32, colour).ok()?;
        Some(format!("data:image/png;base64,{}", STANDARD.encode(png)))
    }
}

/// The mean of some values, spread over the cell at column `x` and row `y`.
fn mean(plane: &Plane, x: usize, y: usize) -> Option<f32> {
    let place = |cell: usize, cells: usize, n: usize, size: usize| (cell * SAMPLES + n) * size / (cells * SAMPLES);
    let (mut sum, mut count) = (0_u32, 0_u32);
    for down in 0..SAMPLES {
        let row = place(y, HEIGHT, down, plane.height) * plane.stride;
        for across in 0..SAMPLES {
            sum += u32::from(*plane.data.get(row + place(x, WIDTH, across, plane.width))?);
            count += 1;
        }
    }
    Some(sum as f32 / count as f32)
}

/// ITU-R BT.601 and BT.709, section 3 of each.
fn rgb(luma: f32, blue: f32, red: f32, range: ColourRange, rows: usize) -> [u8; 3] {
    let (light, gain) = match range {
        ColourRange::Full => (luma, 1.0),
        ColourRange::Limited => ((luma - 16.0) * 255.0 / 219.0, 255.0 / 224.0),
    };
    let (kr, kb) = shares_in_luma(rows);
    let (blue, red) = (2.0 * (1.0 - kb) * blue * gain, 2.0 * (1.0 - kr) * red * gain);
    let green = -(kr * red + kb * blue) / (1.0 - kr - kb);
    [light + red, light + green, light + blue].map(|value| value.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_out_as_they_went_in_and_nothing_finer_does() {
        // The left half red, the right blue, with a fine chequer on it.
        let (width, height) = (320, 180);
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|at| {
                let (x, y) = (at % width, at / width);
                let on = if (x + y) % 2 == 0 { 255 } else { 155 };
                if x < width / 2 { [on, 0, 0] } else { [0, 0, on] }
            })
            .collect();
        let thumbnail = Thumbnail::of(&Picture::of_rgb(&pixels, width, height).unwrap());
        let at = |x: usize, y: usize| &thumbnail.0[3 * (y * WIDTH + x)..][..3];
        let near = |got: &[u8], expected: [u8; 3]| got.iter().zip(expected).all(|(got, to)| got.abs_diff(to) <= 6);
        assert!(near(at(2, 4), [205, 0, 0]) && near(at(13, 4), [0, 0, 205]), "{:?} {:?}", at(2, 4), at(13, 4));
        let address = thumbnail.address().unwrap();
        let png = STANDARD.decode(address.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let read = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!((read.width(), read.height(), read.as_raw().as_slice()), (16, 9, &thumbnail.0[..]));
    }

    #[test]
    fn a_picture_smaller_than_that_is_drawn_too() {
        let tiny = Picture::of_grey(vec![200], 1, 1).unwrap();
        assert!(Thumbnail::of(&tiny).0.iter().all(|value| *value == 200));
    }
}
