//! One file, picture or video, to the hashes of its pictures. The file comes from strangers: whatever is wrong with it is
//! named with what to do, and nothing that it announces is believed before memory is taken for it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, anyhow, bail};
use crossbeam_channel::{Receiver, bounded};
use sha2::{Digest, Sha256};

use super::content::{Read, expect_file};
use super::progress::Progress;
use crate::bank::Provenance;
use crate::bank::dense::Frame;
use crate::decode::file::Video;
use crate::decode::still::{Light, Still};
use crate::hash::{HashError, Hasher, Luma, Pdq, Rgb};
use crate::picture::Picture;

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

        let frames = match Still::open(path)? {
            Some(still) => vec![Frame { pdq: self.picture(still)?, at: None }],
            None => self.video(path)?,
        };
        if !fs::metadata(path).is_ok_and(|after| is_same(&before, &after)) {
            bail!("{shown} was changed or moved while it was read: leave it alone, and give it again");
        }
        Ok((Provenance { file, sha256 }, frames))
    }

    /// Hashes a still the way up that viewers show it.
    fn picture(&self, still: Still) -> anyhow::Result<Pdq> {
        let _alone = (still.bytes() > LARGE).then(|| self.alone.lock().unwrap_or_else(PoisonError::into_inner));
        let pixels = still.pixels()?;
        let (width, height) = (pixels.width, pixels.height);
        let mut hasher = Hasher::new();
        Ok(match pixels.data {
            Light::Grey(grey) => hasher.luma(Luma::new(&grey, width, height, width)?),
            Light::Rgb(rgb) => hasher.rgb(Rgb::new(&rgb, width, height)?),
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

#[cfg(test)]
mod tests {
    use super::*;

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
