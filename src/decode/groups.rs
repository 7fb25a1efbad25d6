//! The closed groups of pictures of a local recording in H.264 or H.265, demuxed and not decoded: whoever reads them decides
//! which pictures are worth decoding, and may have several groups decoded at once, for none needs another.
//!
//! The same decoders then serve recordings that serve live streams. What cannot be cut up so, another codec or groups
//! without an end in sight, is said to be [`Ungrouped::Unsuited`]: [`Video`](super::file::Video) reads everything. As
//! there, no file opens a connection, a pipe is refused, and few groups are in memory at a time. A file whose end is
//! missing is read as far as it goes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::file::{is_playlist, names, not_video};
use super::{DecodeError, element, regular, start_gstreamer, tear_down};
use crate::clock::Timestamp;
use crate::stream::{AccessUnit, Codec};

/// The longest wait for the next access unit of a file, or for the first.
const PATIENCE: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(50);

/// Encoded frames that wait for whoever reads the file.
const IN_FLIGHT: u32 = 64;

/// A group of more than this is not waited for. Encoders' own defaults end a group after 250 frames.
const MOST_UNITS: usize = 1800;
const MOST_BYTES: usize = 32 << 20;

const PLAYLIST: &str = "is a playlist, not a video: download what it names, and give that";
const NO_VIDEO: &str = "is no video that GStreamer knows: check what it is with `file`";
const NO_TRACK: &str = "has no video track: give a file with moving pictures";

/// The codecs whose groups can be told apart, each with what GStreamer calls it and its parser.
const CODECS: [(Codec, &str, &str); 2] =
    [(Codec::H264, "video/x-h264", "h264parse"), (Codec::H265, "video/x-h265", "h265parse")];

/// Frames that can be decoded without any other: an IDR frame and all up to the next one, in the order of decoding.
#[derive(Debug)]
pub struct Group {
    /// Their times count from the first IDR frame of the file. Sequence numbers go on from group to group.
    pub units: Vec<AccessUnit>,
    /// When the next group begins; none where this is the last.
    pub end: Option<Duration>,
}

/// Why there are no more groups.
#[derive(Debug)]
pub enum Ungrouped {
    /// The video is in another codec, or its IDR frames are too far apart: read it as a [`Video`](super::file::Video), from
    /// where the last group ended.
    Unsuited,
    /// The file cannot be read on.
    Failed(DecodeError),
}

/// The groups of the first video track of a file: an iterator over them. After an error there is nothing more.
#[derive(Debug)]
pub struct Groups {
    path: PathBuf,
    pipeline: gst::Pipeline,
    exit: gst_app::AppSink,
    found: Arc<Found>,
    /// The IDR frame that the next group begins with.
    begun: Option<AccessUnit>,
    arrived: Timestamp,
    sequence: u64,
    first: Option<Duration>,
    ended: bool,
}

/// What the file turned out to hold.
#[derive(Debug, Default)]
struct Found {
    playlist: AtomicBool,
    /// Video tracks so far.
    tracks: AtomicUsize,
    /// What the first of them is, where its groups can be told apart.
    codec: OnceLock<Codec>,
    /// It is something else.
    other: AtomicBool,
    /// Every track is known.
    settled: AtomicBool,
}

impl Groups {
    /// Opens the file at `path`; all of it is said to have arrived at `arrived`.
    ///
    /// # Errors
    /// When it cannot be read, is empty or no regular file, or GStreamer lacks an element.
    pub fn open(path: &Path, arrived: Timestamp) -> Result<Self, DecodeError> {
        regular(path, |reason| not_video(path, reason))?;
        start_gstreamer()?;
        let failed = |error: gst::glib::BoolError| DecodeError::Start(error.to_string());
        let source = element("filesrc")?;
        source.set_property("location", path);
        let splitter = element("parsebin")?;
        let framed = CODECS.map(|(_, kind, _)| format!("{kind},stream-format=byte-stream,alignment=au"));
        let exit = gst_app::AppSink::builder()
            .caps(&framed.join(";").parse().map_err(failed)?)
            .sync(false)
            .max_buffers(IN_FLIGHT)
            .enable_last_sample(false)
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, &splitter, exit.upcast_ref()]).map_err(failed)?;
        source.link(&splitter).map_err(failed)?;

        let found = Arc::new(Found::default());
        let seen = Arc::clone(&found);
        splitter.connect("autoplug-continue", false, move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let playlist = caps.as_ref().is_some_and(is_playlist);
            if playlist {
                seen.playlist.store(true, Ordering::Relaxed);
            }
            Some((!playlist).to_value())
        });
        let (seen, ends) = (Arc::clone(&found), (pipeline.downgrade(), exit.downgrade()));
        splitter.connect_pad_added(move |_splitter, pad| {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            if !names(&caps).any(|name| name.starts_with("video/")) {
                return;
            }
            // The first video track wins.
            if seen.tracks.fetch_add(1, Ordering::AcqRel) > 0 {
                return;
            }
            let codec = CODECS.iter().find(|(_, kind, _)| names(&caps).any(|name| name == *kind));
            let ends = ends.0.upgrade().zip(ends.1.upgrade());
            let linked = codec.zip(ends).map(|((codec, _, parser), (pipeline, exit))| {
                seen.codec.get_or_init(|| *codec);
                lead(pad, parser, &pipeline, exit.upcast_ref())
            });
            if !matches!(linked, Some(Ok(()))) {
                tracing::debug!(?linked, "a recording is not read in groups");
                seen.other.store(true, Ordering::Release);
            }
        });
        let seen = Arc::clone(&found);
        splitter.connect_no_more_pads(move |_splitter| seen.settled.store(true, Ordering::Release));
        let path = path.to_owned();
        let groups = Self { path, pipeline, exit, found, begun: None, arrived, sequence: 0, first: None, ended: false };
        // A failure to start is told on the bus, with its reason.
        if groups.pipeline.set_state(gst::State::Playing).is_err() {
            tracing::debug!("a file does not start");
        }
        Ok(groups)
    }

    /// How long the file says it is; none before the first group, or where it does not say.
    pub fn duration(&self) -> Option<Duration> {
        Some(self.pipeline.query_duration::<gst::ClockTime>()?.into())
    }

    /// How many video tracks the file has beside the one that is read, as far as is known by now.
    pub fn further_tracks(&self) -> usize {
        self.found.tracks.load(Ordering::Acquire).saturating_sub(1)
    }

    /// The next sample; none at the end of the file.
    fn sample(&self) -> Result<Option<gst::Sample>, Ungrouped> {
        // An error shows on the bus only, so a wait is cut into slices.
        for _ in 0..PATIENCE.as_millis() / SLICE.as_millis() {
            let slice = gst::ClockTime::from_mseconds(SLICE.as_millis() as u64);
            if let Some(sample) = self.exit.try_pull_sample(slice) {
                return Ok(Some(sample));
            }
            if self.found.other.load(Ordering::Acquire) {
                return Err(Ungrouped::Unsuited);
            }
            let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
            let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&kinds));
            match message.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => return Err(self.reason(&error.error())),
                Some(gst::MessageView::Eos(_)) => return Ok(None),
                _ if self.exit.is_eos() => return Ok(None),
                _ if self.is_without_video() => return Err(self.failed(NO_TRACK)),
                _ => {}
            }
        }
        let reason = "nothing more could be read for a while".to_owned();
        Err(Ungrouped::Failed(DecodeError::Damaged { path: self.path.clone(), reason }))
    }

    fn is_without_video(&self) -> bool {
        self.found.settled.load(Ordering::Acquire) && self.found.tracks.load(Ordering::Acquire) == 0
    }

    fn failed(&self, reason: &'static str) -> Ungrouped {
        Ungrouped::Failed(not_video(&self.path, reason))
    }

    fn reason(&self, error: &gst::glib::Error) -> Ungrouped {
        if self.found.playlist.load(Ordering::Relaxed) {
            return self.failed(PLAYLIST);
        }
        match error.kind::<gst::StreamError>() {
            Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType) => self.failed(NO_VIDEO),
            Some(gst::StreamError::Failed) if self.found.tracks.load(Ordering::Acquire) == 0 => self.failed(NO_TRACK),
            // Where there is no parser for it, there may still be a decoder.
            Some(gst::StreamError::CodecNotFound) => Ungrouped::Unsuited,
            _ => Ungrouped::Failed(DecodeError::Damaged { path: self.path.clone(), reason: error.to_string() }),
        }
    }

    /// The next access unit; none at the end of the file.
    fn unit(&mut self) -> Result<Option<AccessUnit>, Ungrouped> {
        let Some(sample) = self.sample()? else { return Ok(None) };
        let Some(buffer) = sample.buffer_owned() else { return Ok(None) };
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        // AVI tells the order of decoding only.
        let time = segment.and_then(|segment| segment.to_stream_time(buffer.pts().or(buffer.dts())));
        let intra = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let mapped = buffer.into_mapped_buffer_readable();
        let mapped = mapped.map_err(|_buffer| {
            let reason = "an access unit cannot be read".to_owned();
            Ungrouped::Failed(DecodeError::Damaged { path: self.path.clone(), reason })
        })?;
        let data = Bytes::from_owner(mapped);
        let codec = self.found.codec.get().copied().unwrap_or(Codec::H264);
        let keyframe = intra && is_idr(codec, &data);
        let time = time.map(Duration::from);
        if keyframe {
            self.first = self.first.or(time);
        }
        let pts = time.map(|time| time.saturating_sub(self.first.unwrap_or_default()));
        let sequence = self.sequence;
        self.sequence += 1;
        Ok(Some(AccessUnit { sequence, codec, keyframe, pts, arrived: self.arrived, data }))
    }

    fn group(&mut self) -> Result<Option<Group>, Ungrouped> {
        let mut units: Vec<AccessUnit> = self.begun.take().into_iter().collect();
        let mut bytes = units.iter().map(|unit| unit.data.len()).sum::<usize>();
        let mut before = 0;
        loop {
            let Some(unit) = self.unit()? else {
                return match (units.is_empty(), self.sequence) {
                    (true, 0) => Err(self.failed(NO_TRACK)),
                    // Frames, and none of them is where decoding can begin: whoever reads all of it may make out more.
                    (true, _) if self.first.is_none() => Err(Ungrouped::Unsuited),
                    (true, _) => Ok(None),
                    (false, _) => Ok(Some(Group { units, end: None })),
                };
            };
            if unit.keyframe && !units.is_empty() {
                let end = unit.pts;
                self.begun = Some(unit);
                return Ok(Some(Group { units, end }));
            }
            bytes += unit.data.len();
            if unit.keyframe || !units.is_empty() {
                units.push(unit);
            } else {
                before += 1;
            }
            if units.len().max(before) > MOST_UNITS || bytes > MOST_BYTES {
                return Err(Ungrouped::Unsuited);
            }
        }
    }
}

impl Iterator for Groups {
    type Item = Result<Group, Ungrouped>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.group().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        tear_down(self.pipeline.clone());
    }
}

/// Leads the track at `pad` through a parser of its own to `exit`.
fn lead(
    pad: &gst::Pad,
    parser: &str,
    pipeline: &gst::Pipeline,
    exit: &gst::Element,
) -> Result<(), gst::glib::BoolError> {
    let parser = gst::ElementFactory::make(parser).build()?;
    // Parameter sets in front of every IDR frame, so that a group needs nothing of an earlier one.
    parser.set_property("config-interval", -1_i32);
    pipeline.add(&parser)?;
    parser.link(exit)?;
    parser.sync_state_with_parent()?;
    let entry = parser.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("a parser has no sink"))?;
    pad.link(&entry).map_err(|_error| gst::glib::bool_error!("a parser does not take the track"))?;
    Ok(())
}

/// Whether an access unit's first slice is of an IDR frame (ITU-T H.264, table 7-1; H.265, table 7-1): the parsers also say of
/// frames that decoding merely recovers after, or that are shown with others of the group before, that they are no delta units.
fn is_idr(codec: Codec, unit: &[u8]) -> bool {
    let mut rest = unit;
    while let Some(at) = rest.windows(3).position(|window| window == [0, 0, 1]) {
        rest = rest.get(at + 3..).unwrap_or_default();
        let Some(&header) = rest.first() else { return false };
        let (kind, slices, idr) = match codec {
            Codec::H265 => (header >> 1 & 0x3f, 0..=31, 19..=20),
            _ => (header & 0x1f, 1..=5, 5..=5),
        };
        if slices.contains(&kind) {
            return idr.contains(&kind);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idr_frame_begins_a_group() {
        let unit = |kinds: &[u8]| kinds.iter().flat_map(|kind| [0, 0, 1, *kind, 9, 9]).collect::<Vec<u8>>();
        for (codec, kinds, expected) in [
            (Codec::H264, &[0x67, 0x68, 0x65][..], true),
            (Codec::H264, &[0x09, 0x06, 0x25], true),
            (Codec::H264, &[0x67, 0x68, 0x06, 0x41, 0x65], false),
            (Codec::H264, &[0x67, 0x68], false),
            (Codec::H264, &[], false),
            (Codec::H265, &[0x46, 0x40, 0x42, 0x44, 0x26], true),
            (Codec::H265, &[0x40, 0x42, 0x44, 0x28], true),
            (Codec::H265, &[0x40, 0x42, 0x44, 0x2a], false),
            (Codec::H265, &[0x02, 0x26], false),
        ] {
            assert_eq!(is_idr(codec, &unit(kinds)), expected, "{codec:?} {kinds:?}");
        }
    }
}
