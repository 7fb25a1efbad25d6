//! From files and folders to the hashes of their pictures, with a bar for whoever waits.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::bank::Provenance;
use crate::bank::dense::Frame;
use crate::decode;
use crate::hash::{HashError, Hasher, Luma, Pdq, Rgb};

/// The files that `paths` name, and those in the folders that they name, sorted; hidden ones are left out.
///
/// # Errors
/// When a folder cannot be read or has nothing in it.
pub(in crate::cli) fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        put_files(path, &mut files)?;
        if files.len() == before {
            bail!("there is no file in {}: name another folder", path.display());
        }
    }
    Ok(files)
}

fn put_files(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let unreadable = || format!("cannot read the folder {}: check its permissions", path.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(path).with_context(unreadable)?.collect();
    let mut inside: Vec<PathBuf> = entries.with_context(unreadable)?.into_iter().map(|entry| entry.path()).collect();
    inside.sort();
    for path in inside {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // A link to a folder may lead back here.
        if !(hidden || path.is_symlink() && path.is_dir()) {
            put_files(&path, files)?;
        }
    }
    Ok(())
}

/// Reads files one after the other and hands each to `each`; a bar on standard error, if that is a terminal, shows how
/// far it has come.
pub(in crate::cli) fn read_each<T>(
    files: &[PathBuf],
    mut each: impl FnMut(&Path, Provenance, Vec<Frame>) -> anyhow::Result<T>,
) -> Vec<anyhow::Result<T>> {
    let bar = ProgressBar::new(files.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} files, {elapsed}, {msg}") {
        bar.set_style(style);
    }
    let results = files.iter().map(|file| {
        let mut pictures = 0u64;
        let result = read(file, &mut || {
            pictures += 1;
            bar.set_message(format!("{}: {pictures} pictures", file.display()));
        });
        let result = result.and_then(|(provenance, frames)| each(file, provenance, frames));
        bar.inc(1);
        result
    });
    let results = results.collect();
    bar.finish_and_clear();
    results
}

/// Reads a picture or a video; calls `each` for every picture in it.
///
/// # Errors
/// When the file is missing, empty, or neither; the message names it and what to do.
pub(in crate::cli) fn read(path: &Path, each: &mut dyn FnMut()) -> anyhow::Result<(Provenance, Vec<Frame>)> {
    let shown = path.display();
    if path.to_string_lossy().contains("://") {
        bail!("{shown} is an address, not a file: download it first");
    }
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
