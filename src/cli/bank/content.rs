//! From files and folders to the hashes of their pictures, on all cores, with the same answer whatever their number.
//!
//! Pictures are read side by side, one a thread. A video has all threads to itself: some decode, others hash what is decoded,
//! and few of its pictures are in memory at a time. Answers come in the order of the files.

use std::collections::VecDeque;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow, bail};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::progress::Progress;
use super::reader::Reader;
use crate::bank::Provenance;
use crate::bank::dense::Frame;

/// What a file gave.
pub(super) type Read = anyhow::Result<(Provenance, Vec<Frame>)>;

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

/// Refuses what is not a file of bytes with an end, before it is opened: a pipe would wait for whoever writes into it.
///
/// # Errors
/// When it is not there, or is a folder, a pipe, a device or empty; the message says what to do.
pub(super) fn expect_file(path: &Path) -> anyhow::Result<fs::Metadata> {
    let shown = path.display();
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("there is no file {shown}: check the path"),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {shown}: check its permissions")),
    };
    if facts.is_dir() {
        bail!("{shown} is a folder: name the files in it");
    }
    if !facts.is_file() {
        bail!("{shown} is a pipe or a device: copy what it gives to a file first");
    }
    if facts.len() == 0 {
        bail!("{shown} is empty: copy it again");
    }
    Ok(facts)
}

/// Reads files on all cores and hands each to `each`, in their order; bars on standard error, if that is a terminal, show
/// how far it has come.
pub(in crate::cli) fn read_each<T>(
    files: &[PathBuf],
    each: impl FnMut(&Path, Provenance, Vec<Frame>) -> anyhow::Result<T>,
) -> Vec<anyhow::Result<T>> {
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    read_on(cores, files, each)
}

/// [`read_each`] on so many threads.
pub(super) fn read_on<T>(
    threads: NonZeroUsize,
    files: &[PathBuf],
    mut each: impl FnMut(&Path, Provenance, Vec<Frame>) -> anyhow::Result<T>,
) -> Vec<anyhow::Result<T>> {
    let progress = Progress::of(files.len());
    let reader = Reader::new(threads, &progress);
    let workers = threads.get().min(files.len());
    // So many files are read ahead of the one whose turn it is.
    let ahead = 2 * workers;
    thread::scope(|scope| {
        let (jobs, work) = bounded(ahead);
        for _ in 0..workers {
            let (work, reader) = (work.clone(), &reader);
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, move || read_files(&work, reader)) {
                tracing::warn!(%error, "a thread fewer reads files");
            }
        }
        drop(work);
        let mut results = Vec::new();
        let mut waiting: VecDeque<(&Path, Receiver<Read>)> = VecDeque::new();
        let mut files = files.iter();
        loop {
            for path in files.by_ref().take(ahead - waiting.len()) {
                let (answer, answered) = bounded(1);
                // Where nobody takes it, the answer is missing below.
                jobs.send((path.as_path(), answer)).ok();
                waiting.push_back((path, answered));
            }
            let Some((path, answered)) = waiting.pop_front() else { return results };
            let read = answered.recv().unwrap_or_else(|_gone| {
                Err(anyhow!("{} was not read: no thread could be started, so free some memory", path.display()))
            });
            results.push(read.and_then(|(provenance, frames)| each(path, provenance, frames)));
            progress.file_done();
        }
    })
}

fn read_files(work: &Receiver<(&Path, Sender<Read>)>, reader: &Reader<'_>) {
    for (path, answer) in work {
        if answer.send(reader.read(path)).is_err() {
            // Whoever asked has gone, and so will the queue.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use image::{GrayImage, Luma};

    use super::*;

    /// A folder of pictures and videos, some broken; the names say in which order they come.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for seed in 0..24_u32 {
            let value = |x: u32, y: u32| ((x / 20 * 37 + seed * 11) ^ (y / 20 * 59)).to_le_bytes()[0];
            let file = path(&format!("{seed:02}.png"));
            GrayImage::from_fn(160 + seed, 120, |x, y| Luma([value(x, y)])).save(file).unwrap();
        }
        for (name, format, codec) in [
            ("05-a.mp4", "yuv420p", "libx264 -bf 3"),
            ("05-b.mkv", "yuv420p10le", "libx264"),
            ("17-c.mp4", "yuv444p", "libx264 -x264-params slices=3"),
            ("17-d.avi", "yuv420p", "mpeg4"),
            ("17-e.webm", "yuv420p", "libvpx -deadline realtime"),
        ] {
            let made = Command::new("ffmpeg")
                .args([
                    "-v",
                    "error",
                    "-f",
                    "lavfi",
                    "-i",
                    "mandelbrot=size=250x202:rate=25",
                    "-t",
                    "2",
                    "-pix_fmt",
                    format,
                ])
                .args(["-c:v"].into_iter().chain(codec.split(' ')))
                .arg(path(name))
                .status();
            assert!(made.unwrap().success());
        }
        fs::write(path("10-empty.png"), "").unwrap();
        fs::write(path("11-text.mp4"), "just text\n".repeat(40)).unwrap();
        folder
    }

    type Told = Result<(PathBuf, String, Vec<Frame>), String>;

    fn told(threads: usize, files: &[PathBuf]) -> Vec<Told> {
        let each = |path: &Path, provenance: Provenance, frames| Ok((path.to_owned(), provenance.sha256, frames));
        let results = read_on(NonZeroUsize::new(threads).unwrap(), files, each);
        results.into_iter().map(|result| result.map_err(|error| format!("{error:#}"))).collect()
    }

    #[test]
    fn the_answer_is_the_same_on_any_number_of_threads_and_in_the_order_of_the_files() {
        let folder = folder();
        let files = files(&[folder.path().to_owned()]).unwrap();
        assert_eq!(files.len(), 31);
        let one = told(1, &files);
        for (result, file) in one.iter().zip(&files) {
            match result {
                Ok((path, _, frames)) => {
                    let video = path.extension().unwrap() != "png";
                    assert_eq!((path, frames.len()), (file, if video { 50 } else { 1 }));
                    assert!(frames.is_sorted_by_key(|frame| frame.at));
                }
                Err(error) => assert!(error.contains(file.to_str().unwrap()), "{error}"),
            }
        }
        assert_eq!(one.iter().filter(|result| result.is_err()).count(), 2);
        for threads in [2, 5, 40] {
            assert_eq!(told(threads, &files), one, "{threads} threads");
        }
    }

    #[test]
    fn a_file_that_vanished_since_it_was_listed_costs_no_other() {
        let folder = folder();
        let files = files(&[folder.path().to_owned()]).unwrap();
        let (png, mp4) = (&files[0], &files[6]);
        fs::remove_file(png).unwrap();
        fs::remove_file(mp4).unwrap();
        let results = told(3, &files);
        for gone in [0, 6] {
            let error = results[gone].as_ref().unwrap_err();
            assert!(error.starts_with("there is no file") && error.ends_with("check the path"), "{error}");
        }
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 4);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(told(2, &[]), []);
    }
}
