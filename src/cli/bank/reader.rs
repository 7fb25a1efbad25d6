//! One file, picture or video, to the hashes of its pictures. The file comes from strangers: whatever is wrong with it is
//! named with what to do, and nothing that it announces is believed before memory is taken for it.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, anyhow, bail};
use crossbeam_channel::{Receiver, bounded};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use sha2::{Digest, Sha256};

use super::content::{Read, expect_file};
use super::progress::Progress;
use crate::bank::Provenance;
use crate::bank::dense::Frame;
use crate::decode::file::Video;
use crate::hash::{HashError, Hasher, Luma, Pdq, Rgb};
use crate::picture::Picture;

/// The largest picture, in bytes when decoded, and the largest file of one: 350 million pixels of RGB. Cameras have 200.
const LARGEST: u64 = 1 << 30;

/// Pictures larger than this when decoded are read one at a time.
const LARGE: u64 = 1 << 26;

/// Reads files; shared by the threads that do.
pub(super) struct Reader<'a> {
    threads: NonZeroUsize,
    progress: &'a Progress,
    /// Held by whoever reads what needs all the cores or much memory.
    alone: Mutex<()>,
}

impl<'a> Reader<'a> {
    /// A reader that uses so many threads for a video.
    pub(super) fn new(threads: NonZeroUsize, progress: &'a Progress) -> Self {
        Self { threads, progress, alone: Mutex::new(()) }
    }

    /// Reads a picture or a video.
    ///
    /// # Errors
    /// When the file is missing, empty, neither, or not whole; the message names it and what to do.
    pub(super) fn read(&self, path: &Path) -> Read {
        let shown = path.display();
        if path.to_string_lossy().contains("://") {
            bail!("{shown} is an address, not a file: download it first");
        }
        let before = expect_file(path)?;
        let unreadable = || format!("cannot read {shown}: check its permissions");
        let sha256 = digest(path).with_context(unreadable)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();

        // By its first bytes: names lie.
        let reader = ImageReader::new(BufReader::new(File::open(path).with_context(unreadable)?));
        let reader = reader.with_guessed_format().with_context(unreadable)?;
        if reader.format() == Some(ImageFormat::Gif) {
            bail!("{shown} is a GIF, which is not read: convert it to a video first (`ffmpeg -i` it)");
        }
        let frames = if reader.format().is_some_and(|format| format.reading_enabled()) {
            vec![Frame { pdq: self.picture(path, reader, before.len())?, at: None }]
        } else {
            self.video(path)?
        };
        if !fs::metadata(path).is_ok_and(|after| is_same(&before, &after)) {
            bail!("{shown} was changed or moved while it was read: leave it alone, and give it again");
        }
        Ok((Provenance { file, sha256 }, frames))
    }

    /// Hashes a still the way up that viewers show it.
    fn picture(&self, path: &Path, reader: ImageReader<BufReader<File>>, length: u64) -> anyhow::Result<Pdq> {
        let broken = || format!("{} is not a whole picture: copy it again", path.display());
        if length > LARGEST {
            bail!("{} has {} MiB, too large for a picture: scale it down first", path.display(), length >> 20);
        }
        if reader.format() == Some(ImageFormat::Jpeg) && !is_whole_jpeg(&fs::read(path).with_context(broken)?) {
            bail!(broken());
        }
        let mut decoder = reader.into_decoder().with_context(broken)?;
        let (width, height) = decoder.dimensions();
        let bytes = decoder.total_bytes();
        if bytes > LARGEST {
            bail!("{} says that it is {width}x{height}, too large for a picture: scale it down first", path.display());
        }
        let _alone = (bytes > LARGE).then(|| self.alone.lock().unwrap_or_else(PoisonError::into_inner));
        let orientation = decoder.orientation().with_context(broken)?;
        let mut image = DynamicImage::from_decoder(decoder).with_context(broken)?;
        image.apply_orientation(orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut hasher = Hasher::new();
        Ok(match image {
            DynamicImage::ImageLuma8(grey) => hasher.luma(Luma::new(grey.as_raw(), width, height, width)?),
            other => hasher.rgb(Rgb::new(other.to_rgb8().as_raw(), width, height)?),
        })
    }

    fn video(&self, path: &Path) -> anyhow::Result<Vec<Frame>> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let undecodable = || format!("cannot read {} as a picture (JPEG, PNG, WebP) or a video", path.display());
        let mut video = Video::open(path, self.threads).with_context(undecodable)?;
        let mut progress = self.progress.video(path);
        let mut duration = None;
        let mut hashed = thread::scope(|scope| {
            let (pictures, work) = bounded::<Picture>(self.threads.get());
            let mut hashers = Vec::new();
            for _ in 0..self.threads.get() {
                let work = work.clone();
                let hasher = thread::Builder::new().spawn_scoped(scope, move || hash(&work));
                hashers.push(hasher.context("no thread could be started: free some memory")?);
            }
            drop(work);
            while let Some(picture) = video.next() {
                let picture = picture.with_context(undecodable)?;
                duration = duration.or_else(|| video.duration());
                progress.picture(picture.pts, duration);
                if pictures.send(picture).is_err() {
                    // Every hasher has met a picture that it cannot hash: they say so below.
                    break;
                }
            }
            drop(pictures);
            hashers.into_iter().map(|hasher| joined(path, hasher)).collect::<anyhow::Result<Vec<_>>>()
        })?
        .concat();
        hashed.sort_unstable_by_key(|(sequence, _)| *sequence);
        Ok(hashed.into_iter().map(|(_, frame)| frame).collect())
    }
}

type Hashed = Vec<(u64, Frame)>;

/// Hashes pictures as they come: which of them is chance, so each keeps its place in the video.
fn hash(work: &Receiver<Picture>) -> Result<Hashed, HashError> {
    let mut hasher = Hasher::new();
    let frame = |picture: Picture| {
        let pdq = hasher.picture(&picture)?;
        Ok((picture.sequence, Frame { pdq, at: picture.pts }))
    };
    work.iter().map(frame).collect()
}

fn joined(path: &Path, hasher: ScopedJoinHandle<'_, Result<Hashed, HashError>>) -> anyhow::Result<Hashed> {
    let hashed = hasher.join().map_err(|_panic| anyhow!("a thread that hashes {} failed", path.display()))?;
    hashed.with_context(|| format!("{} decodes to pictures cut short: convert it first", path.display()))
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

/// Whether a file is what it was: digest and pictures would otherwise be of different files.
fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let facts = |of: &Metadata| (of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec());
    facts(before) == facts(after)
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
    fn a_file_that_was_touched_replaced_or_moved_is_not_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
        for path in [&path, &other] {
            fs::write(path, "the same bytes").unwrap();
        }
        let facts = |path: &Path| fs::metadata(path).unwrap();
        let before = facts(&path);
        assert!(is_same(&before, &facts(&path)));
        assert!(!is_same(&before, &facts(&other)), "another file of the same content");
        File::options().append(true).open(&path).unwrap().set_len(3).unwrap();
        assert!(!is_same(&before, &facts(&path)), "cut short");
        fs::rename(&other, &path).unwrap();
        assert!(!is_same(&before, &facts(&path)), "replaced");
    }
}
