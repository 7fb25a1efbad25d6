//! Which files are a stream's, by their names alone. Pure.
//!
//! A publisher chooses the stream's name, so the name is the enemy here: `cam1` must not take along what is `cam10`'s,
//! nor `cam1-2`'s, and `..` or `a/b` must not lead anywhere. So a file is a stream's only where its name is the stream's
//! name, whole, followed by nothing but what servers put behind it: a number, a date and a known ending.

use crate::act::servers::{Kind, encoded};
use crate::act::webhook::event::{Leftover, LeftoverKind};
use crate::stream::StreamId;

const PLAYLISTS: &[&str] = &["m3u8", "mpd"];
const SEGMENTS: &[&str] = &["ts", "m4s", "m4a", "m4v", "aac", "key"];
const RECORDINGS: &[&str] = &["flv", "mp4", "mkv", "mov"];
const THUMBNAILS: &[&str] = &["jpg", "jpeg", "png", "webp"];
/// What servers write under until a file is whole.
const UNFINISHED: &[&str] = &["bak", "tmp"];
/// Words of dates, as `strftime` writes them.
const DATE_WORDS: &[&str] = &[
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue", "Wed", "Thu",
    "Fri", "Sat", "Sun", "AM", "PM",
];
/// Fewer digits than these are a number that a platform may have in its names, not a date.
const DATE_DIGITS: usize = 6;

/// A file that is a stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// What it is.
    pub(super) kind: LeftoverKind,
    /// How much of the file's name is the stream's: of two streams that a file may be of, it is the one with more.
    pub(super) length: usize,
}

/// How a kind of server names files after streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Naming {
    /// Recordings are written under the name percent-encoded.
    recordings_encoded: bool,
}

impl Naming {
    /// `None`: the kind has none that is known here.
    pub(super) const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::NginxRtmp => Some(Self { recordings_encoded: true }),
            Kind::Srs => Some(Self { recordings_encoded: false }),
            _ => None,
        }
    }

    /// What `file` is of the stream called `name`, if it is its.
    pub(super) fn claim(self, name: &str, file: &str) -> Option<Claim> {
        let recorded = if self.recordings_encoded { encoded(name) } else { name.to_owned() };
        let claim = |stem: &str, what: fn(&str) -> Option<LeftoverKind>| {
            let rest = file.strip_prefix(stem).filter(|_| is_file_name(stem))?;
            Some(Claim { kind: what(rest)?, length: stem.len() })
        };
        claim(name, streamed).or_else(|| claim(&recorded, recording))
    }

    /// Where a platform is to look for what outlives a cut of `stream`, before anybody has looked: below the folders of
    /// its server, a `*` for any number or date.
    pub(super) fn expected(self, stream: &StreamId) -> Vec<Leftover> {
        let name = &*stream.name;
        let recorded = if self.recordings_encoded { encoded(name) } else { name.to_owned() };
        if !is_file_name(name) {
            return Vec::new();
        }
        [
            (LeftoverKind::Playlist, format!("{name}.m3u8")),
            (LeftoverKind::Segment, format!("{name}-*.ts")),
            (LeftoverKind::Recording, format!("{recorded}.flv")),
            (LeftoverKind::Recording, format!("{recorded}-*.flv")),
            (LeftoverKind::Thumbnail, format!("{name}.jpg")),
        ]
        .map(|(kind, place)| Leftover { kind, place, moved: false })
        .into()
    }
}

/// What `file` is in the folder that a server gives a stream of its own.
pub(super) fn nested(file: &str) -> Option<LeftoverKind> {
    let (stem, ending) = split(file)?;
    if stem == "index" && PLAYLISTS.contains(&ending) {
        return Some(LeftoverKind::Playlist);
    }
    (is_number(stem) || stem == "init").then_some(()).filter(|()| SEGMENTS.contains(&ending))?;
    Some(LeftoverKind::Segment)
}

/// Whether a file or a folder can be called so. Nothing else ever reaches the file system.
pub(super) fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0'])
}

/// What the file is, behind the stream's name: playlists, segments, thumbnails.
fn streamed(rest: &str) -> Option<LeftoverKind> {
    let (between, ending) = split(rest)?;
    let numbered = between.strip_prefix('-').is_some_and(is_number);
    if between.is_empty() && PLAYLISTS.contains(&ending) {
        return Some(LeftoverKind::Playlist);
    }
    if (numbered || matches!(between, "-init" | "-raw")) && SEGMENTS.contains(&ending) {
        return Some(LeftoverKind::Segment);
    }
    ((between.is_empty() || numbered) && THUMBNAILS.contains(&ending)).then_some(LeftoverKind::Thumbnail)
}

/// The same, of recordings.
fn recording(rest: &str) -> Option<LeftoverKind> {
    let (between, ending) = split(rest)?;
    ((between.is_empty() || is_date(between)) && RECORDINGS.contains(&ending)).then_some(LeftoverKind::Recording)
}

/// What stands before the ending, and the ending; one that says that the file is not whole yet counts for nothing.
fn split(rest: &str) -> Option<(&str, &str)> {
    let whole = UNFINISHED.iter().find_map(|ending| rest.strip_suffix(ending)?.strip_suffix('.')).unwrap_or(rest);
    whole.rsplit_once('.')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `text` is a mark followed by a time: `-1700000000`, `.1700000000`, `-15-Mar-19-02:20:00`, `_2019-03-15T02-20-00`.
fn is_date(text: &str) -> bool {
    let marks = ['-', '_', '.', ':', '+', ' '];
    let is_piece = |piece: &str| {
        DATE_WORDS.contains(&piece) || piece.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'))
    };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.starts_with(marks) && digits >= DATE_DIGITS && text.split(marks).all(is_piece)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NGINX: Naming = Naming { recordings_encoded: true };
    const SRS: Naming = Naming { recordings_encoded: false };

    fn kind(naming: Naming, name: &str, file: &str) -> Option<LeftoverKind> {
        naming.claim(name, file).map(|claim| claim.kind)
    }

    #[test]
    fn a_stream_has_its_own_files_and_nobody_elses() {
        use LeftoverKind::{Playlist, Recording, Segment, Thumbnail};
        for (file, expected) in [
            ("cam1.m3u8", Some(Playlist)),
            ("cam1.m3u8.bak", Some(Playlist)),
            ("cam1-0.ts", Some(Segment)),
            ("cam1-1700000000123.ts", Some(Segment)),
            ("cam1-12.ts.tmp", Some(Segment)),
            ("cam1-init.m4v", Some(Segment)),
            ("cam1.flv", Some(Recording)),
            ("cam1-1700000000.flv", Some(Recording)),
            ("cam1.1700000000.flv", Some(Recording)),
            ("cam1-15-Mar-19-02:20:00.flv", Some(Recording)),
            ("cam1_2019-03-15T02-20-00Z.mp4", Some(Recording)),
            ("cam1.jpg", Some(Thumbnail)),
            ("cam1-7.png", Some(Thumbnail)),
            // Another stream's, or nobody's.
            ("cam10.m3u8", None),
            ("cam10-0.ts", None),
            ("cam1-2.m3u8", None),
            ("cam1-2-0.ts", None),
            ("cam1-2.flv", None),
            ("cam1-backup.flv", None),
            ("cam1-backup2.flv", None),
            ("cam1_low.m3u8", None),
            ("Cam1.m3u8", None),
            ("cam.m3u8", None),
            ("xcam1.m3u8", None),
            ("cam1", None),
            ("cam1.", None),
            ("cam1.html", None),
            ("cam1-.ts", None),
            ("cam1.m3u8/../cam2.m3u8", None),
        ] {
            assert_eq!(kind(NGINX, "cam1", file), expected, "{file}");
        }
    }

    #[test]
    fn a_name_that_is_no_files_has_no_files() {
        for name in ["", ".", "..", "a/b", "../cam2", "a\0b", &"x".repeat(256)] {
            for ending in [".m3u8", "-1.ts", ".flv", "-1700000000.flv", ".jpg"] {
                assert_eq!(kind(SRS, name, &format!("{name}{ending}")), None, "{name:?}");
            }
            assert_eq!(SRS.expected(&StreamId::new("main", "live", name)), []);
        }
    }

    #[test]
    fn recordings_of_nginx_are_under_the_encoded_name_and_only_those() {
        assert_eq!(kind(NGINX, "a b", "a%20b.flv"), Some(LeftoverKind::Recording));
        assert_eq!(kind(NGINX, "a b", "a b.flv"), None);
        assert_eq!(kind(NGINX, "a b", "a b.m3u8"), Some(LeftoverKind::Playlist));
        assert_eq!(kind(NGINX, "a b", "a%20b.m3u8"), None, "that is a stream of this very name");
        assert_eq!(kind(SRS, "a b", "a b.1700000000.flv"), Some(LeftoverKind::Recording));
        assert_eq!(kind(NGINX, "a/b", "a%2Fb.flv"), Some(LeftoverKind::Recording));
    }

    #[test]
    fn in_a_folder_of_its_own_everything_is_numbered() {
        assert_eq!(nested("index.m3u8"), Some(LeftoverKind::Playlist));
        assert_eq!(nested("17.ts"), Some(LeftoverKind::Segment));
        for file in ["cam2.m3u8", "cam2-17.ts", "index.html", "17.sh", "..", "17"] {
            assert_eq!(nested(file), None, "{file}");
        }
    }

    proptest! {
        /// Whatever two streams are called, what is streamed of one is never the other's, and a recording is more its
        /// writer's.
        #[test]
        fn no_stream_takes_what_is_surely_anothers(
            one in "[a-z0-9%. -]{1,6}",
            other in "[a-z0-9%. -]{1,6}",
            number in 0_u64..3_000_000_000,
        ) {
            prop_assume!(one != other && is_file_name(&other));
            for naming in [NGINX, SRS] {
                for file in [format!("{other}.m3u8"), format!("{other}-{number}.ts"), format!("{other}.m3u8.bak")] {
                    prop_assert!(naming.claim(&other, &file).is_some());
                    let taken = naming.claim(&one, &file);
                    prop_assert_eq!(taken, None, "{} of {}", file, one);
                }
                let recorded = if naming.recordings_encoded { encoded(&other) } else { other.clone() };
                let file = format!("{recorded}.flv");
                let (mine, theirs) = (naming.claim(&one, &file), naming.claim(&other, &file));
                prop_assert!(mine.is_none_or(|mine| theirs.is_some_and(|theirs| mine.length < theirs.length)), "{}", file);
            }
        }
    }
}
