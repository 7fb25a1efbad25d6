//! A still picture in a file: JPEG, PNG or WebP, the way up that viewers show it.
//!
//! The file comes from strangers: what it is, its first bytes say and not its name; what it announces is not believed before
//! memory is taken for it; and one that is not whole is refused rather than filled up with grey.

use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::{DecodeError, regular};
use crate::picture::Picture;

/// The most pixels of a picture: as many as cameras have. What comes after decoding, such as RGB, takes so much for each of
/// them, however few bytes a pixel has in the file.
const MOST_PIXELS: u64 = 200_000_000;

/// The largest picture, in bytes when decoded, and the largest file of one.
const LARGEST: u64 = 1 << 30;

const BROKEN: &str = "is not a whole picture: copy it again";

/// A file that begins as a picture, of which nothing is decoded yet.
pub struct Still {
    path: PathBuf,
    decoder: Box<dyn ImageDecoder>,
}

/// A picture's pixels, row by row from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Their values, 0 to 255.
    pub data: Light,
}

/// The values of pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Light {
    /// One byte a pixel.
    Grey(Vec<u8>),
    /// Red, green and blue, a byte each; what is transparent has the colour that is written under it.
    Rgb(Vec<u8>),
}

impl fmt::Debug for Still {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Still").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Still {
    /// Opens a file, if it begins as a picture; none otherwise, for it may be a video.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, is no regular file, or is a picture of a kind or size that is not read, or
    /// not a whole one.
    pub fn open(path: &Path) -> Result<Option<Self>, DecodeError> {
        let unreadable = |source| DecodeError::File { path: path.to_owned(), source };
        let refused = |problem: &str| DecodeError::NotPicture { path: path.to_owned(), problem: problem.to_owned() };
        let facts = regular(path, refused)?;
        let file = BufReader::new(File::open(path).map_err(unreadable)?);
        let reader = ImageReader::new(file).with_guessed_format().map_err(unreadable)?;
        match reader.format() {
            Some(ImageFormat::Gif) => {
                return Err(refused("is a GIF, which is not read: convert it to a video first (`ffmpeg -i` it)"));
            }
            Some(format) if format.reading_enabled() => {}
            _ => return Ok(None),
        }
        if facts.len() > LARGEST {
            let size = facts.len() >> 20;
            return Err(refused(&format!("has {size} MiB, too large for a picture: scale it down first")));
        }
        if reader.format() == Some(ImageFormat::Jpeg) && !is_whole_jpeg(&fs::read(path).map_err(unreadable)?) {
            return Err(refused(BROKEN));
        }
        let decoder = reader.into_decoder().map_err(|error| refused(&broken(&error)))?;
        let (width, height) = decoder.dimensions();
        let says = format!("says that it is {width}x{height}");
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(refused(&format!("{says}, more than {MOST_PIXELS} pixels: scale it down first")));
        }
        if decoder.total_bytes() > LARGEST {
            let size = decoder.total_bytes() >> 20;
            return Err(refused(&format!(
                "{says}, {size} MiB of pixels, too large for a picture: scale it down first"
            )));
        }
        Ok(Some(Self { path: path.to_owned(), decoder: Box::new(decoder) }))
    }

    /// How much memory its pixels will take.
    pub fn bytes(&self) -> u64 {
        self.decoder.total_bytes()
    }

    /// Decodes it and turns it the way up that viewers show it.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn pixels(self) -> Result<Pixels, DecodeError> {
        let Self { path, mut decoder } = self;
        let refused = |error| DecodeError::NotPicture { path: path.clone(), problem: broken(&error) };
        let orientation = decoder.orientation().map_err(refused)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
        image.apply_orientation(orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let data = match image {
            DynamicImage::ImageLuma8(grey) => Light::Grey(grey.into_raw()),
            other => Light::Rgb(other.into_rgb8().into_raw()),
        };
        Ok(Pixels { width, height, data })
    }
}

/// The still picture in the file at `path` as a decoder of video would give it: YUV 4:2:0 of full range, with the matrix that
/// video of its size is taken to have.
///
/// # Errors
/// When the file cannot be read, or is no whole JPEG, PNG or WebP.
pub fn still(path: &Path) -> Result<Picture, DecodeError> {
    let refused = |problem: &str| DecodeError::NotPicture { path: path.to_owned(), problem: problem.to_owned() };
    let still = Still::open(path)?.ok_or_else(|| refused("is no picture: give a JPEG, PNG or WebP"))?;
    picture(still.pixels()?).ok_or_else(|| refused("has no pixels: copy it again"))
}

/// Pixels as a decoder of video would give them.
pub fn picture(Pixels { width, height, data }: Pixels) -> Option<Picture> {
    match data {
        Light::Rgb(rgb) => Picture::of_rgb(&rgb, width, height),
        Light::Grey(grey) => Picture::of_grey(grey, width, height),
    }
}

fn broken(error: &image::ImageError) -> String {
    format!("{BROKEN} ({error})")
}

/// Whether a JPEG comes to its end: the decoder fills up what is missing with grey and says nothing. ITU-T T.81, B.1.1: from
/// marker to marker, of which nearly all tell the length of what they begin. In a scan, which does not, 0xff is followed by 0 or
/// by the number of a restart where it begins no marker. What lies behind the end, such as the video of a moving photo, does not matter.
fn is_whole_jpeg(jpeg: &[u8]) -> bool {
    const FILL: u8 = 0xff;
    let mut rest = jpeg;
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == FILL && !matches!(pair[1], 0 | FILL | 0xd0..=0xd7))
    {
        let marker = rest.get(at + 1).copied();
        rest = rest.get(at + 2..).unwrap_or_default();
        match marker {
            Some(0xd9) => return true,
            // These two have no length.
            Some(0x01 | 0xd8) => {}
            _ => {
                let Some((length, _)) = rest.split_first_chunk::<2>() else { return false };
                let Some(after) = rest.get(usize::from(u16::from_be_bytes(*length))..) else { return false };
                rest = after;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage, RgbaImage};

    use super::*;

    #[test]
    fn a_jpeg_is_whole_when_its_last_scan_is() {
        let mut jpeg = Vec::new();
        let picture = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * y) as u8]));
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95);
        picture.write_with_encoder(encoder).unwrap();
        assert!(is_whole_jpeg(&jpeg));
        for end in [0, 1, 2, 20, jpeg.len() / 2, jpeg.len() - 2, jpeg.len() - 1] {
            assert!(!is_whole_jpeg(&jpeg[..end]), "{end} of {}", jpeg.len());
        }
        // A moving photo: a video behind the picture, in which anything may lie.
        let moving = [&jpeg, &[0xff, 0xda, 0xff, 0xd9, 0xff, 0xda][..]].concat();
        assert!(is_whole_jpeg(&moving));
        // A small picture of itself inside, whose end is not its own.
        let thumbnail =
            [&[0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xda, 0xff, 0xd9][..], &jpeg[2..jpeg.len() / 2]].concat();
        assert!(!is_whole_jpeg(&thumbnail));
    }

    #[test]
    fn a_still_has_the_colours_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let orange = RgbImage::from_pixel(20, 10, Rgb([230, 120, 20]));
        orange.save(path("a.png")).unwrap();
        orange.save(path("a.jpg")).unwrap();
        // Names lie.
        orange.save(path("webp.webp")).unwrap();
        fs::rename(path("webp.webp"), path("a.mp4")).unwrap();
        RgbaImage::from_pixel(20, 10, image::Rgba([230, 120, 20, 0])).save(path("through.png")).unwrap();
        let expected = Picture::of_rgb(&[230, 120, 20].repeat(200), 20, 10).unwrap();
        for name in ["a.png", "a.jpg", "a.mp4", "through.png"] {
            let picture = still(&path(name)).unwrap();
            assert_eq!((picture.luma.width, picture.luma.height), (20, 10));
            let planes = |picture: &Picture| {
                let [blue, red] = picture.chroma.clone().unwrap();
                [picture.luma.data[0], blue.data[0], red.data[0]]
            };
            for (got, expected) in planes(&picture).into_iter().zip(planes(&expected)) {
                assert!(got.abs_diff(expected) <= 2, "{name}: {got} instead of {expected}");
            }
        }
        GrayImage::from_pixel(3, 3, Luma([77])).save(path("grey.png")).unwrap();
        let grey = still(&path("grey.png")).unwrap();
        assert!(grey.luma.data.iter().all(|&value| value == 77));
        assert!(grey.chroma.unwrap().iter().all(|plane| plane.data.iter().all(|&value| value == 128)));
    }

    #[test]
    fn what_is_no_still_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("empty.png"), "").unwrap();
        fs::write(path("words.png"), "not a picture\n".repeat(9)).unwrap();
        fs::write(path("moving.gif"), b"GIF89a\x01\0\x01\0\0\0\0;").unwrap();
        RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])).save(path("whole.png")).unwrap();
        let whole = fs::read(path("whole.png")).unwrap();
        fs::write(path("half.png"), &whole[..whole.len() / 2]).unwrap();
        // A grey PNG that says that it is 32768x32768, which is a gibibyte, and three in RGB.
        GrayImage::new(2, 2).save(path("large.png")).unwrap();
        let mut large = fs::read(path("large.png")).unwrap();
        large[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        let check = crc32fast::hash(&large[12..29]).to_be_bytes();
        large[29..33].copy_from_slice(&check);
        fs::write(path("large.png"), large).unwrap();
        for (name, kind, said) in [
            ("empty.png", "not_picture", "is empty: copy it again"),
            ("words.png", "not_picture", "is no picture: give a JPEG, PNG or WebP"),
            ("moving.gif", "not_picture", "is a GIF"),
            ("half.png", "not_picture", BROKEN),
            (
                "large.png",
                "not_picture",
                "says that it is 32768x32768, more than 200000000 pixels: scale it down first",
            ),
            ("absent.png", "file", "cannot be read"),
            (".", "file", "cannot be read"),
            ("/dev/zero", "not_picture", "is a pipe or a device"),
        ] {
            let error = still(&path(name)).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{name}: {error}");
            assert!(error.to_string().contains(said) && error.to_string().contains(name), "{error}");
        }
        assert!(Still::open(&path("words.png")).unwrap().is_none(), "it may be a video");
        assert_eq!(Still::open(&path("whole.png")).unwrap().unwrap().bytes(), 64 * 64 * 3);
    }
}
