//! Every frame of a local video file, for building and checking banks and for trying models.
//!
//! Any container and codec that GStreamer knows, decoded on as many threads as asked, with the same pictures whatever their
//! number. Frames are handed on as they were decoded, and only a few are in memory at a time. The file comes
//! from strangers: a "video" that is in truth a playlist is refused, so that reading a file never opens a connection; so are
//! pipes and devices, which may never end, and frames of absurd size, before memory is taken for them.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::coded::{largest, largest_in_configuration};
use super::container::is_cut_short;
use super::planes::{Planes, luma, planes};
use super::{Config, DecodeError, element, regular, size, start_gstreamer, tear_down};
use crate::clock::Timestamp;
use crate::picture::Picture;
use crate::stream::Codec;

/// The longest wait for the next frame of a file, or for the first.
const PATIENCE: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(50);

/// Decoded frames that wait for whoever reads the file: decoding is the slower side.
const IN_FLIGHT: u32 = 4;

/// More threads gain nothing: each holds a frame, and they wait for one another's rows.
const MOST_THREADS: usize = 16;

/// Formats whose first plane is luma in 8 bits. What has more bits or is RGB is converted to one of them.
const FORMATS: [&str; 6] = ["I420", "YV12", "NV12", "NV21", "Y42B", "Y444"];

/// The first video track of a file: an iterator over its frames, in the order of presentation, decoded as fast as
/// possible.
///
/// A picture has its luma only, unless the file was opened in colour. Its `sequence` counts frames from 0, `pts` is its time since the first frame, and
/// `arrived` that time after the epoch. After an error there is nothing more.
#[derive(Debug)]
pub struct Video {
    wanted: Wanted,
    path: PathBuf,
    pipeline: gst::Pipeline,
    exit: gst_app::AppSink,
    found: Arc<Found>,
    sequence: u64,
    first: Option<Duration>,
    ended: bool,
}

/// Which planes of a frame are wanted.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Luma,
    Colour,
}

/// What the file turned out to hold.
#[derive(Debug, Default)]
struct Found {
    video: AtomicBool,
    /// Video tracks beside the one that is read.
    further: AtomicUsize,
    /// Every track is known.
    settled: AtomicBool,
    playlist: AtomicBool,
    /// Width and height of frames that are too large.
    large: OnceLock<(u32, u32)>,
}

const NO_TRACK: &str = "has no video track: give a file with moving pictures";
const NO_VIDEO: &str = "is no video that GStreamer knows: check what it is with `file`";
const PLAYLIST: &str = "is a playlist, not a video: download what it names, and give that";
const STUCK: &str = "no picture came for a while: convert it first";
const CUT_SHORT: &str = "it is cut short: copy it again, or convert what there is of it";

impl Video {
    /// Opens the file at `path`, to be decoded by `threads` threads.
    ///
    /// # Errors
    /// When it cannot be read, is empty, is no regular file or says itself that its end is missing. What else may be wrong
    /// with it is told in the place of a picture: that it is no video, has no video track, or does not decode to its end.
    pub fn open(path: &Path, threads: NonZeroUsize) -> Result<Self, DecodeError> {
        Self::open_for(Wanted::Luma, path, threads)
    }

    /// Opens the file at `path`, to be decoded by `threads` threads: its pictures have chroma too, as YUV 4:2:0 whatever the
    /// file holds.
    ///
    /// # Errors
    /// As [`Video::open`].
    pub fn open_in_colour(path: &Path, threads: NonZeroUsize) -> Result<Self, DecodeError> {
        Self::open_for(Wanted::Colour, path, threads)
    }

    /// Opens the file at `path` as [`Video::open_in_colour`] does, even where it says that its end is missing: see
    /// [`expect_whole`].
    ///
    /// # Errors
    /// When it cannot be read, is empty or is no regular file.
    pub fn open_as_far_as_it_goes(path: &Path, threads: NonZeroUsize) -> Result<Self, DecodeError> {
        regular(path, |reason| not_video(path, reason))?;
        start_gstreamer()?;
        Self::start(Wanted::Colour, path, threads)
    }

    fn open_for(wanted: Wanted, path: &Path, threads: NonZeroUsize) -> Result<Self, DecodeError> {
        expect_whole(path)?;
        start_gstreamer()?;
        Self::start(wanted, path, threads)
    }

    /// How long the file says it is; none before the first picture, or where it does not say.
    pub fn duration(&self) -> Option<Duration> {
        Some(self.pipeline.query_duration::<gst::ClockTime>()?.into())
    }

    /// How many video tracks the file has beside the one that is read, as far as is known by now.
    pub fn further_tracks(&self) -> usize {
        self.found.further.load(Ordering::Acquire)
    }

    fn start(wanted: Wanted, path: &Path, threads: NonZeroUsize) -> Result<Self, DecodeError> {
        let failed = |error: gst::glib::BoolError| DecodeError::Start(error.to_string());
        let source = element("filesrc")?;
        source.set_property("location", path);
        let decoder = element("decodebin")?;
        let converter = element("videoconvert")?;
        let caps = gst::Caps::builder("video/x-raw");
        let caps = match wanted {
            Wanted::Luma => caps.field("format", gst::List::new(FORMATS)),
            Wanted::Colour => caps.field("format", "I420"),
        };
        let exit = gst_app::AppSink::builder()
            .caps(&caps.build())
            .sync(false)
            .max_buffers(IN_FLIGHT)
            .enable_last_sample(false)
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, &decoder, &converter, exit.upcast_ref()]).map_err(failed)?;
        source.link(&decoder).map_err(failed)?;
        converter.link(&exit).map_err(failed)?;
        use_threads(&pipeline, threads.get().min(MOST_THREADS));

        let found = Arc::new(Found::default());
        refuse_cropped(&pipeline, &found);
        let seen = Arc::clone(&found);
        // Only video is worth decoding, and a playlist would open connections.
        decoder.connect("autoplug-continue", false, move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let playlist = caps.as_ref().is_some_and(is_playlist);
            if playlist {
                seen.playlist.store(true, Ordering::Relaxed);
            }
            let audio = caps.as_ref().is_some_and(|caps| names(caps).any(|name| name.starts_with("audio/")));
            let large = caps.as_ref().is_some_and(|caps| seen.is_too_large(caps));
            Some((!playlist && !audio && !large).to_value())
        });
        let entry = converter.static_pad("sink");
        if let Some(pad) = &entry {
            refuse_large(pad, Arc::clone(&found));
        }
        let seen = Arc::clone(&found);
        decoder.connect_pad_added(move |_decoder, pad| {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            if !names(&caps).any(|name| name == "video/x-raw") {
                return;
            }
            // The first video track wins: a second one finds the pad taken and stays unlinked.
            match entry.as_ref().map(|entry| pad.link(entry)) {
                Some(Ok(_)) => seen.video.store(true, Ordering::Release),
                other => {
                    seen.further.fetch_add(1, Ordering::AcqRel);
                    tracing::debug!(?other, "a further video track is left out");
                }
            }
        });
        let seen = Arc::clone(&found);
        decoder.connect_no_more_pads(move |_decoder| seen.settled.store(true, Ordering::Release));
        let path = path.to_owned();
        let video = Self { wanted, path, pipeline, exit, found, sequence: 0, first: None, ended: false };
        // A failure to start is told on the bus, with its reason.
        if video.pipeline.set_state(gst::State::Playing).is_err() {
            tracing::debug!("a file does not start");
        }
        Ok(video)
    }

    /// The next frame; none at the end of the file.
    fn sample(&self) -> Result<Option<gst::Sample>, DecodeError> {
        // An error shows on the bus only, so a wait for a frame is cut into slices.
        for _ in 0..PATIENCE.as_millis() / SLICE.as_millis() {
            let slice = gst::ClockTime::from_mseconds(SLICE.as_millis() as u64);
            if let Some(sample) = self.exit.try_pull_sample(slice) {
                return Ok(Some(sample));
            }
            let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
            let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&kinds));
            match message.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => return Err(self.reason(&error.error())),
                Some(gst::MessageView::Eos(_)) => return Ok(None),
                _ if self.exit.is_eos() => return Ok(None),
                // A short file of sound alone may come to its end without a word: nothing is linked that could say so.
                _ if self.found.is_without_video() => return Err(self.without_video()),
                // Nor does every demuxer say that its frames were refused.
                _ if self.found.large.get().is_some() => return Err(self.without_video()),
                _ => {}
            }
        }
        Err(DecodeError::Damaged { path: self.path.clone(), reason: STUCK.to_owned() })
    }

    fn picture(&mut self) -> Result<Option<Picture>, DecodeError> {
        let Some(sample) = self.sample()? else {
            return if self.sequence == 0 { Err(self.without_video()) } else { Ok(None) };
        };
        let (luma, chroma, range) = match self.wanted {
            Wanted::Luma => luma(&sample).map(|(luma, range)| (luma, None, range))?,
            Wanted::Colour => planes(&sample).map(|Planes { luma, chroma, range }| (luma, Some(chroma), range))?,
        };
        let time = time(&sample);
        self.first = self.first.or(time);
        let pts = time.map(|time| time.saturating_sub(self.first.unwrap_or_default()));
        let (sequence, arrived) = (self.sequence, Timestamp::ZERO + pts.unwrap_or_default());
        self.sequence += 1;
        Ok(Some(Picture { sequence, pts, arrived, luma, chroma, range }))
    }

    fn without_video(&self) -> DecodeError {
        self.found.too_large(&self.path).unwrap_or_else(|| not_video(&self.path, NO_TRACK))
    }

    fn reason(&self, error: &gst::glib::Error) -> DecodeError {
        if let Some(too_large) = self.found.too_large(&self.path) {
            return too_large;
        }
        if self.found.playlist.load(Ordering::Relaxed) {
            return not_video(&self.path, PLAYLIST);
        }
        match error.kind::<gst::StreamError>() {
            Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType) => not_video(&self.path, NO_VIDEO),
            Some(gst::StreamError::Failed) if !self.found.video.load(Ordering::Relaxed) => {
                not_video(&self.path, NO_TRACK)
            }
            _ => DecodeError::Damaged { path: self.path.clone(), reason: error.to_string() },
        }
    }
}

/// Refuses a file that says itself that its end is missing.
///
/// # Errors
/// When it does, or cannot be read, is empty or is no regular file.
pub fn expect_whole(path: &Path) -> Result<(), DecodeError> {
    let unreadable = |source| DecodeError::File { path: path.to_owned(), source };
    let facts = regular(path, |reason| not_video(path, reason))?;
    let mut file = File::open(path).map_err(unreadable)?;
    if is_cut_short(&mut file, facts.len()).map_err(unreadable)? {
        return Err(DecodeError::Damaged { path: path.to_owned(), reason: CUT_SHORT.to_owned() });
    }
    Ok(())
}

impl Iterator for Video {
    type Item = Result<Picture, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.picture().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Drop for Video {
    fn drop(&mut self) {
        tear_down(self.pipeline.clone());
    }
}

impl Found {
    fn is_without_video(&self) -> bool {
        self.settled.load(Ordering::Acquire) && !self.video.load(Ordering::Acquire)
    }

    /// Whether frames of `caps` are too large, which is remembered.
    fn is_too_large(&self, caps: &gst::CapsRef) -> bool {
        self.refuses(size(caps))
    }

    /// Whether frames of this width and height are too large, which is remembered.
    fn refuses(&self, size: Option<(u32, u32)>) -> bool {
        let Some((width, height)) = size else { return false };
        let large = u64::from(width) * u64::from(height) > Config::default().max_pixels;
        if large {
            self.large.get_or_init(|| (width, height));
        }
        large
    }

    fn too_large(&self, path: &Path) -> Option<DecodeError> {
        let &(width, height) = self.large.get()?;
        Some(DecodeError::LargeFile { path: path.to_owned(), width, height })
    }
}

pub(super) fn not_video(path: &Path, reason: &'static str) -> DecodeError {
    DecodeError::NotVideo { path: path.to_owned(), reason }
}

/// A frame's time in the file. Where it starts depends on the container: an MPEG transport stream starts anywhere.
fn time(sample: &gst::Sample) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    Some(segment.to_stream_time(sample.buffer()?.pts())?.into())
}

/// Sets the number of threads of every element of `pipeline` that has such a setting, when it comes.
fn use_threads(pipeline: &gst::Pipeline, threads: usize) {
    let threads = threads as i64;
    pipeline.connect_deep_element_added(move |_pipeline, _bin, element| {
        // libav's decoders, libvpx's and dav1d's call it each by another name, and libvpx takes 16 at most, as we do.
        for name in ["max-threads", "threads", "n-threads"] {
            let Some(property) = element.find_property(name) else { continue };
            let number = property.value_type();
            if number == i32::static_type() {
                element.set_property(name, threads as i32);
            } else if number == u32::static_type() {
                element.set_property(name, threads as u32);
            }
        }
    });
}

/// Refuses a file before a decoder of it takes memory for frames that are cropped to less than they are coded in: what comes out
/// of the decoder looks small then.
fn refuse_cropped(pipeline: &gst::Pipeline, found: &Arc<Found>) {
    let found = Arc::clone(found);
    pipeline.connect_deep_element_added(move |_pipeline, _bin, element| {
        let decodes = element.factory().is_some_and(|factory| factory.has_type(gst::ElementFactoryType::DECODER));
        let Some(pad) = element.static_pad("sink").filter(|_| decodes) else { return };
        let found = Arc::clone(&found);
        let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
        pad.add_probe(mask, move |pad, info| match &info.data {
            // Handled, not dropped: the bindings have taken the buffer by the time that GStreamer would drop it, and it complains
            // each time.
            Some(gst::PadProbeData::Buffer(_)) if found.large.get().is_some() => gst::PadProbeReturn::Handled,
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let framed = pad.current_caps().as_ref().and_then(framing);
                // Where frames stand behind their lengths, the caps bring all parameter sets.
                let Some((codec, None)) = framed else { return gst::PadProbeReturn::Ok };
                let coded = buffer.map_readable().ok().and_then(|unit| largest(codec, &unit));
                if found.refuses(coded) { gst::PadProbeReturn::Handled } else { gst::PadProbeReturn::Ok }
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view()
                    && let Some((codec, Some(configuration))) = framing(&caps.caps_owned())
                {
                    found.refuses(largest_in_configuration(codec, &configuration));
                }
                gst::PadProbeReturn::Ok
            }
            _ => gst::PadProbeReturn::Ok,
        });
    });
}

/// The codec, where it is one that crops, and what the container keeps beside the frames.
fn framing(caps: &gst::Caps) -> Option<(Codec, Option<Vec<u8>>)> {
    let structure = caps.structure(0)?;
    let codec = match structure.name().as_str() {
        "video/x-h264" => Codec::H264,
        "video/x-h265" => Codec::H265,
        _ => return None,
    };
    let kept = structure.get::<gst::Buffer>("codec_data").ok();
    Some((codec, kept.and_then(|kept| Some(kept.map_readable().ok()?.to_vec()))))
}

/// Ends a file whose frames turn out too large only in the decoder, before it takes memory for them.
fn refuse_large(entry: &gst::Pad, found: Arc<Found>) {
    entry.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && let gst::EventView::Caps(caps) = event.view()
            && found.is_too_large(caps.caps())
        {
            // What is refused here, the decoder reports as an error of its own.
            info.flow_res = Err(gst::FlowError::NotSupported);
            tracing::debug!(pad = %pad.name(), "frames too large");
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

pub(super) fn names(caps: &gst::CapsRef) -> impl Iterator<Item = &str> {
    caps.iter().map(|structure| structure.name().as_str())
}

/// Playlists and session descriptions name addresses to fetch.
pub(super) fn is_playlist(caps: &gst::Caps) -> bool {
    let playlists = ["application/x-hls", "application/dash+xml", "application/vnd.ms-sstr+xml", "application/sdp"];
    names(caps).any(|name| playlists.contains(&name) || name == "text/uri-list")
}
