//! From a file to the hashes of its pictures.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use sha2::{Digest, Sha256};

use crate::bank::Provenance;
use crate::bank::dense::Frame;
use crate::decode;
use crate::hash::{HashError, Hasher, Luma, Pdq, Rgb};

/// Reads a picture or a video; calls `each` for every picture in it.
///
/// # Errors
/// When the file is missing, empty, or neither; the message names it and what to do.
pub(super) fn read(path: &Path, each: &mut dyn FnMut()) -> anyhow::Result<(Provenance, Vec<Frame>)> {
    let shown = path.display();
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("there is no file {shown}: check the path"),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {shown}: check its permissions")),
    };
    if facts.is_dir() {
        bail!("{shown} is a folder: name the files in it");
    }
    if facts.len() == 0 {
        bail!("{shown} is empty: copy it again");
    }
    let unreadable = || format!("cannot read {shown}: check its permissions");
    let sha256 = digest(path).with_context(unreadable)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();

    // By its first bytes: names lie.
    let reader = ImageReader::new(BufReader::new(File::open(path).with_context(unreadable)?));
    let reader = reader.with_guessed_format().with_context(unreadable)?;
    let frames = if reader.format().is_some_and(|format| format.reading_enabled()) {
        let broken = || format!("{shown} is not a whole picture: copy it again");
        if reader.format() == Some(ImageFormat::Jpeg) && !scan_ends(&fs::read(path).with_context(unreadable)?) {
            bail!(broken());
        }
        let pdq = picture(reader).with_context(broken)?;
        each();
        vec![Frame { pdq, at: None }]
    } else {
        video(path, each)?
    };
    Ok((Provenance { file, sha256 }, frames))
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex::encode(sha256.finalize())),
            count => sha256.update(part.get(..count).unwrap_or_default()),
        }
    }
}

/// Whether the last scan of a JPEG is closed: the decoder fills up what is missing with grey and says nothing. Inside a
/// scan no marker but a restart can occur, so an end after the last start of a scan is the scan's own.
fn scan_ends(jpeg: &[u8]) -> bool {
    let last = |marker: u8| jpeg.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

/// Hashes a still the way up that viewers show it.
fn picture(reader: ImageReader<BufReader<File>>) -> anyhow::Result<Pdq> {
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut hasher = Hasher::new();
    Ok(match image {
        DynamicImage::ImageLuma8(grey) => hasher.luma(Luma::new(grey.as_raw(), width, height, width)?),
        other => hasher.rgb(Rgb::new(other.to_rgb8().as_raw(), width, height)?),
    })
}

fn video(path: &Path, each: &mut dyn FnMut()) -> anyhow::Result<Vec<Frame>> {
    let mut hasher = Hasher::new();
    let mut hashed: Result<Vec<Frame>, HashError> = Ok(Vec::new());
    decode::file::frames(path, &mut |picture| {
        match (hasher.picture(&picture), &mut hashed) {
            (Ok(pdq), Ok(frames)) => frames.push(Frame { pdq, at: picture.pts }),
            (Err(cut), _) => hashed = Err(cut),
            (Ok(_), Err(_)) => {}
        }
        each();
        if hashed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .with_context(|| format!("cannot read {} as a picture (JPEG, PNG, WebP) or a video", path.display()))?;
    hashed.with_context(|| format!("{} decodes to pictures cut short: convert it first", path.display()))
}
