//! An operator's own pictures and videos, as models are given them: what `eval`, `calibrate` and `train-probe` look at.
//!
//! Of a video every so many seconds a picture is taken, as a stream's would be. What cannot be read is named and left out;
//! pictures that show nothing are left out too, as they are never scored.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::bank::content;
use crate::cli::bank::progress::Progress;
use crate::decode::file::Video;
use crate::decode::still::{self, Still};
use crate::eval::{self, Groups, Judged};
use crate::hash::{Hasher, MATCH_DISTANCE, Pdq, USEFUL_QUALITY};
use crate::model::{self, Config, ModelError, Outputs, Preprocessor, Session};
use crate::picture::Picture;

/// With fewer distinct pictures of a side, figures mean next to nothing.
pub(super) const LEAST: usize = 20;

/// In how many parts pictures are split, each judged by what was made of the others.
pub(super) const FOLDS: usize = 5;

/// How many of the things that were left out are told of in one line.
const TOLD: usize = 5;

/// Where a picture was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Which of the files.
    pub(super) file: usize,
    /// When in the video; none for a still.
    pub(super) at: Option<Duration>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Each video and how long it is.
    pub(super) videos: Vec<(usize, Duration)>,
    /// Pictures that show nothing.
    pub(super) flat: usize,
    /// What was wrong with files that were left out.
    pub(super) unreadable: Vec<String>,
}

/// Gives every picture of `files` to `each`, and of every video one each `every`.
///
/// # Errors
/// What `each` gives.
pub(super) fn look_at(
    files: &[PathBuf],
    every: Duration,
    mut each: impl FnMut(Place, &Picture) -> anyhow::Result<()>,
) -> anyhow::Result<Looked> {
    let progress = Progress::of(files.len());
    let mut looked = Looked::default();
    for (file, path) in files.iter().enumerate() {
        let mut left_out = |error: &dyn std::fmt::Display| {
            let (path, error) = (path.display().to_string(), format!("{error:#}"));
            // What is wrong with a file mostly names it already.
            looked.unreadable.push(if error.contains(&path) { error } else { format!("{path}: {error}") });
        };
        let flat = &mut looked.flat;
        let mut look = |at, picture: &Picture| {
            if model::flat(picture) {
                *flat += 1;
                return Ok(());
            }
            match each(Place { file, at }, picture) {
                // What a model can make nothing of is the picture's fault: others may do.
                Err(error) if error.downcast_ref::<ModelError>().is_some_and(ModelError::is_retryable) => {
                    left_out(&error);
                    Ok(())
                }
                looked => looked,
            }
        };
        match open(path) {
            Ok(Media::Still(picture)) => look(None, &picture)?,
            Ok(Media::Video(video)) => {
                let (mut next, mut length) = (Duration::ZERO, Duration::ZERO);
                let mut broken = None;
                for picture in video {
                    let picture = match picture {
                        Ok(picture) => picture,
                        Err(error) => {
                            broken = Some(error);
                            break;
                        }
                    };
                    length = picture.pts.unwrap_or(length);
                    if length >= next {
                        look(Some(length), &picture)?;
                        next = length + every;
                    }
                }
                if let Some(error) = broken {
                    left_out(&error);
                }
                looked.videos.push((file, length));
            }
            Err(error) => left_out(&error),
        }
        progress.file_done();
    }
    Ok(looked)
}

enum Media {
    Still(Box<Picture>),
    Video(Box<Video>),
}

fn open(path: &Path) -> anyhow::Result<Media> {
    if let Some(still) = Still::open(path)? {
        let picture = still::picture(still.pixels()?).context("has no pixels: copy it again")?;
        return Ok(Media::Still(Box::new(picture)));
    }
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Ok(Media::Video(Box::new(Video::open_in_colour(path, threads)?)))
}

/// A model with what makes its input.
pub(super) struct Eye {
    pub(super) session: Session,
    preprocessor: Preprocessor,
}

impl Eye {
    pub(super) fn new(session: Session) -> Self {
        let preprocessor = Preprocessor::new(&session.manifest().input);
        Self { session, preprocessor }
    }

    /// The model or probe that `named` is the name of, or the path of a manifest, as it is without any calibration but
    /// those in `config`.
    ///
    /// # Errors
    /// What of it is missing or not right.
    pub(super) fn open(named: &str, config: &Config) -> Result<Self, ModelError> {
        super::open_one(named, config).map(Self::new)
    }

    /// What the model says of a picture.
    ///
    /// # Errors
    /// When it cannot be asked, or what it says is no answer.
    pub(super) fn look(&mut self, picture: &Picture) -> Result<Outputs, ModelError> {
        let tensor = self.preprocessor.tensor(picture)?;
        self.session.run(&[tensor])?.pop().unwrap_or_else(|| Ok(Outputs::default()))
    }
}

/// One of an operator's labelled pictures.
#[derive(Debug)]
pub(super) struct Specimen<V> {
    /// It is what the label says.
    pub(super) positive: bool,
    /// What a model made of it.
    pub(super) value: V,
    /// Specimens that look alike or come from one video have the same.
    pub(super) group: usize,
    file: usize,
    pdq: Pdq,
}

/// Labelled pictures, none of which looks like another, and what was left out.
#[derive(Debug)]
pub(super) struct Specimens<V> {
    pub(super) all: Vec<Specimen<V>>,
    /// For people: what was left out, and why. Empty where nothing was.
    pub(super) left_out: Vec<String>,
}

impl<V> Specimens<V> {
    /// How many there are, positive or not.
    pub(super) fn count(&self, positive: bool) -> usize {
        self.all.iter().filter(|one| one.positive == positive).count()
    }

    /// The fold that each is judged in.
    pub(super) fn folds(&self, seed: u64) -> Vec<usize> {
        let things: Vec<(usize, bool)> = self.all.iter().map(|one| (one.group, one.positive)).collect();
        eval::folds(&things, FOLDS, seed)
    }

    /// From how many videos and stills of their own those are that `counts` says yes to, by their number.
    pub(super) fn sources(&self, counts: impl Fn(usize) -> bool) -> usize {
        let of = self.all.iter().enumerate().filter(|(at, _)| counts(*at)).map(|(_, one)| one.group);
        of.collect::<BTreeSet<usize>>().len()
    }
}

/// Gives the pictures of both sides to `look`. What looks like another of its side counts once; what looks like one of the
/// other side not at all.
///
/// # Errors
/// When there are too few to go by: fewer than [`LEAST`] of a side, or all from fewer than [`FOLDS`] videos or pictures;
/// when a path has no files, and what `look` gives.
pub(super) fn specimens<V>(
    positive: &[PathBuf],
    negative: &[PathBuf],
    every: Duration,
    mut look: impl FnMut(&Picture) -> anyhow::Result<V>,
) -> anyhow::Result<Specimens<V>> {
    let mut hasher = Hasher::new();
    let mut seen: Vec<Specimen<V>> = Vec::new();
    let (mut flat, mut left_out, mut before) = (0, Vec::new(), 0);
    for (paths, positive) in [(positive, true), (negative, false)] {
        let files = content::files(paths)?;
        let looked = look_at(&files, every, |place, picture| {
            let (pdq, value) = (hasher.picture(picture)?, look(picture)?);
            // Of a video the group is the file's, of a still its own until it looks like another.
            seen.push(Specimen { positive, value, group: seen.len(), file: before + place.file, pdq });
            Ok(())
        })?;
        before += files.len();
        flat += looked.flat;
        left_out.extend(looked.unreadable);
    }
    if flat > 0 {
        left_out.push(format!("pictures that show nothing: {flat}"));
    }
    let specimens = distinct(seen, left_out);
    enough(&specimens)?;
    Ok(specimens)
}

/// Refuses likelihoods that know no more than somebody who says one half of everything; `why` says what that means.
///
/// # Errors
/// When they do not.
pub(super) fn expect_more_than_chance(unseen: &[Judged], why: &str) -> anyhow::Result<()> {
    let log_loss = eval::log_loss(unseen);
    if log_loss >= std::f64::consts::LN_2 {
        bail!("likelihoods found from these pictures are no better than chance (log loss {log_loss:.3}): {why}");
    }
    Ok(())
}

/// What was left out, as part of a sentence: the last few, for counts come last, and how many more there are.
pub(super) fn in_a_line(left_out: &[String]) -> String {
    let more = left_out.len().saturating_sub(TOLD);
    let told = left_out.get(more..).unwrap_or_default().join("; ");
    if more > 0 { format!("{more} files; {told}") } else { told }
}

/// Keeps the first of those that look alike, and puts together what comes from one video or looks alike by way of what is
/// left out.
fn distinct<V>(seen: Vec<Specimen<V>>, mut left_out: Vec<String>) -> Specimens<V> {
    let mut groups = Groups::new(seen.len());
    let (mut copies, mut disputed) = (vec![false; seen.len()], vec![false; seen.len()]);
    for (b, second) in seen.iter().enumerate() {
        for (a, first) in seen.iter().enumerate().take(b) {
            let distance = first.pdq.hash.distance(&second.pdq.hash);
            // Where there is little to see, hashes are near by chance: such a picture is not thrown away for it. But it may
            // as well be a copy, so it is judged by nothing that has seen the other.
            let useful = first.pdq.quality.min(second.pdq.quality) >= USEFUL_QUALITY;
            let alike = distance <= if useful { MATCH_DISTANCE } else { 0 };
            if distance <= MATCH_DISTANCE || first.file == second.file {
                groups.join(a, b);
            }
            if alike && first.positive != second.positive {
                disputed[a] = true;
                disputed[b] = true;
            }
            copies[b] |= alike && !copies[a];
        }
    }
    for (count, what) in [
        (count(&disputed), "pictures that look like one of the other side, and none can be both"),
        (
            copies.iter().zip(&disputed).filter(|(copy, disputed)| **copy && !**disputed).count(),
            "pictures that look like another",
        ),
    ] {
        if count > 0 {
            left_out.push(format!("{what}: {count}"));
        }
    }
    let kept = seen.into_iter().enumerate().filter(|(at, _)| !copies[*at] && !disputed[*at]);
    let all = kept.map(|(at, specimen)| Specimen { group: groups.of(at), ..specimen }).collect();
    Specimens { all, left_out }
}

fn count(marks: &[bool]) -> usize {
    marks.iter().filter(|mark| **mark).count()
}

fn enough<V>(specimens: &Specimens<V>) -> anyhow::Result<()> {
    for (side, positive) in [("--positive", true), ("--negative", false)] {
        let count = specimens.count(positive);
        let sources = specimens.sources(|at| specimens.all.get(at).is_some_and(|one| one.positive == positive));
        let left_out = if specimens.left_out.is_empty() {
            String::new()
        } else {
            format!(" (left out: {})", in_a_line(&specimens.left_out))
        };
        if count < LEAST {
            bail!(
                "{side} has {count} distinct pictures{left_out}: give at least {LEAST} of each side, and better some \
                 hundreds, for what is learned from fewer means next to nothing"
            );
        }
        if sources < FOLDS {
            bail!(
                "the pictures of {side} come from {sources} videos or pictures that look nothing alike{left_out}: give at \
                 least {FOLDS} of each side, so that some can be judged by what was learned from others"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::PdqHash;

    /// A specimen whose hash has its `bits` lowest bits set.
    fn specimen(positive: bool, file: usize, word: u64, quality: u8) -> Specimen<()> {
        let pdq = Pdq { hash: PdqHash::from_words([word, 0, 0, 0]), quality };
        Specimen { positive, value: (), group: 0, file, pdq }
    }

    /// A specimen that is alike to no other number's: half of all bits differ.
    fn unlike(positive: bool, file: usize, number: u64, quality: u8) -> Specimen<()> {
        let mixed = |word: u64| (4 * number + word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        let words = [0, 1, 2, 3].map(|word| mixed(word) ^ (mixed(word).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 29));
        Specimen { pdq: Pdq { hash: PdqHash::from_words(words), quality }, ..specimen(positive, file, 0, quality) }
    }

    #[test]
    fn look_alikes_count_once_and_stay_with_what_they_look_like() {
        const FAR: u64 = u64::MAX;
        let seen = vec![
            specimen(true, 0, 0, 100),
            specimen(true, 1, 0xff, 100), // 8 bits from the first
            specimen(true, 2, FAR, 100),
            specimen(true, 3, FAR >> 24, 100), // 24 bits from the third, 40 from the first
            specimen(false, 4, 0, 20),
            specimen(false, 5, 0xfe, 20), // little to see: only the same is a copy
            specimen(true, 6, 0xf0f0_0000_0000, 20), // near the one before by chance, or a copy of it
        ];
        let found = distinct(seen, vec!["x".to_owned()]);
        let kept: Vec<(usize, bool)> = found.all.iter().map(|one| (one.file, one.positive)).collect();
        // The fifth has the first's hash, on the other side: neither can be believed.
        assert_eq!(kept, [(2, true), (5, false), (6, true)]);
        let groups: Vec<usize> = found.all.iter().map(|one| one.group).collect();
        assert!(groups[1] == groups[2] && groups[0] != groups[1], "what may be a copy is not parted: {groups:?}");
        assert_eq!(found.left_out.len(), 3, "{:?}", found.left_out);
        assert!(found.left_out[1].ends_with("none can be both: 2"), "{:?}", found.left_out);
        assert!(found.left_out[2].ends_with("look like another: 2"), "{:?}", found.left_out);
    }

    #[test]
    fn pictures_of_one_video_are_never_parted() {
        let seen: Vec<Specimen<()>> = (0..8).map(|n| unlike(true, n / 4, n as u64, 20)).collect();
        let found = distinct(seen, Vec::new());
        let groups: Vec<usize> = found.all.iter().map(|one| one.group).collect();
        assert_eq!(groups, [0, 0, 0, 0, 4, 4, 4, 4]);
        let folds = found.folds(1);
        assert!(folds[..4].iter().all(|fold| *fold == folds[0]) && folds[0] != folds[4], "{folds:?}");
    }

    #[test]
    fn too_few_are_refused_with_what_was_left_out() {
        let of = |positives: u64, files: usize| {
            let all = (0..positives)
                .map(|n| unlike(true, n as usize % files, n, 20))
                .chain((0..40).map(|n| unlike(false, 100 + n as usize, 1000 + n, 20)));
            distinct(all.collect(), vec!["a.png: is empty".to_owned()])
        };
        let message = enough(&of(19, 19)).unwrap_err().to_string();
        assert!(message.contains("--positive has 19 distinct pictures (left out: a.png: is empty)"), "{message}");
        let message = enough(&of(40, 4)).unwrap_err().to_string();
        assert!(message.contains("come from 4 videos or pictures"), "{message}");
        assert!(enough(&of(20, 5)).is_ok());
    }

    #[test]
    fn thousands_that_were_left_out_are_told_of_in_a_few_words() {
        let left_out: Vec<String> = (0..3000)
            .map(|n| format!("{n}.txt: is none"))
            .chain(["pictures that show nothing: 2".to_owned()])
            .collect();
        let told = in_a_line(&left_out);
        assert!(told.starts_with("2996 files; 2996.txt") && told.ends_with("show nothing: 2"), "{told}");
    }

    #[test]
    fn a_curve_that_knows_nothing_is_refused() {
        let says =
            |of_positive: f64| [(of_positive, true), (0.4, false)].map(|(score, positive)| Judged { score, positive });
        assert!(expect_more_than_chance(&says(0.6), "x").is_ok());
        let message = expect_more_than_chance(&says(0.4), "`x` is no use").unwrap_err().to_string();
        assert!(message.contains("no better than chance") && message.ends_with("`x` is no use"), "{message}");
    }
}
