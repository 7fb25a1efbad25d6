//! Every frame of a local video file, for building and checking banks.
//!
//! Any container and codec that GStreamer knows. The file comes from strangers: a "video" that is in truth a playlist
//! is refused, so that reading a file never opens a connection.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::planes::planes;
use super::{DecodeError, element, start_gstreamer, tear_down};
use crate::clock::Timestamp;
use crate::picture::Picture;

/// The longest wait for the next frame of a file, or for the first.
const PATIENCE: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(50);

/// Decoded frames that wait for whoever reads the file: decoding is the slower side.
const IN_FLIGHT: u32 = 4;

/// Decodes the first video track of the file at `path` as fast as possible and gives every frame to `each`, in the
/// order of presentation, until it breaks off.
///
/// A picture's `sequence` counts frames from 0, `pts` its time since the first frame, and `arrived` is that time after
/// the epoch.
///
/// # Errors
/// When the file cannot be read, is empty, is no video, has no video track, or does not decode to its end.
pub fn frames(path: &Path, each: &mut dyn FnMut(Picture) -> ControlFlow<()>) -> Result<(), DecodeError> {
    let unreadable = |source| DecodeError::File { path: path.to_owned(), source };
    let facts = std::fs::File::open(path).and_then(|file| file.metadata()).map_err(unreadable)?;
    if facts.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    if facts.len() == 0 {
        return Err(not_video(path, "is empty: copy it again"));
    }
    start_gstreamer()?;
    let reading = Reading::start(path)?;
    let mut sequence = 0;
    let mut first = None;
    while let Some(sample) = reading.next()? {
        let planes = planes(&sample)?;
        let time = time(&sample);
        first = first.or(time);
        let pts = time.map(|time| time.saturating_sub(first.unwrap_or_default()));
        let picture = Picture {
            sequence,
            pts,
            arrived: Timestamp::ZERO + pts.unwrap_or_default(),
            luma: planes.luma,
            chroma: Some(planes.chroma),
            range: planes.range,
        };
        sequence += 1;
        if each(picture).is_break() {
            return Ok(());
        }
    }
    if sequence == 0 { Err(not_video(path, NO_TRACK)) } else { Ok(()) }
}

const NO_TRACK: &str = "has no video track: give a file with moving pictures";
const NO_VIDEO: &str = "is no video that GStreamer knows: check what it is with `file`";
const PLAYLIST: &str = "is a playlist, not a video: download what it names, and give that";

fn not_video(path: &Path, reason: &'static str) -> DecodeError {
    DecodeError::NotVideo { path: path.to_owned(), reason }
}

/// A frame's time in the file. Where it starts depends on the container: an MPEG transport stream starts anywhere.
fn time(sample: &gst::Sample) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    Some(segment.to_stream_time(sample.buffer()?.pts())?.into())
}

struct Reading<'a> {
    path: &'a Path,
    pipeline: gst::Pipeline,
    exit: gst_app::AppSink,
    found: Arc<Found>,
}

/// What the file turned out to hold.
#[derive(Debug, Default)]
struct Found {
    video: AtomicBool,
    /// Every track is known.
    settled: AtomicBool,
    playlist: AtomicBool,
}

impl Found {
    fn is_without_video(&self) -> bool {
        self.settled.load(Ordering::Acquire) && !self.video.load(Ordering::Acquire)
    }
}

impl<'a> Reading<'a> {
    fn start(path: &'a Path) -> Result<Self, DecodeError> {
        let failed = |error: gst::glib::BoolError| DecodeError::Start(error.to_string());
        let source = element("filesrc")?;
        source.set_property("location", path);
        let decoder = element("decodebin")?;
        let converter = element("videoconvert")?;
        let exit = gst_app::AppSink::builder()
            .caps(&gst::Caps::builder("video/x-raw").field("format", "I420").build())
            .sync(false)
            .max_buffers(IN_FLIGHT)
            .enable_last_sample(false)
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, &decoder, &converter, exit.upcast_ref()]).map_err(failed)?;
        source.link(&decoder).map_err(failed)?;
        converter.link(&exit).map_err(failed)?;

        let found = Arc::new(Found::default());
        let seen = Arc::clone(&found);
        // Only video is worth decoding, and a playlist would open connections.
        decoder.connect("autoplug-continue", false, move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let playlist = caps.as_ref().is_some_and(is_playlist);
            if playlist {
                seen.playlist.store(true, Ordering::Relaxed);
            }
            let audio = caps.as_ref().is_some_and(|caps| names(caps).any(|name| name.starts_with("audio/")));
            Some((!playlist && !audio).to_value())
        });
        let entry = converter.static_pad("sink");
        let seen = Arc::clone(&found);
        decoder.connect_pad_added(move |_decoder, pad| {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            if !names(&caps).any(|name| name == "video/x-raw") {
                return;
            }
            // The first video track wins: a second one finds the pad taken and stays unlinked.
            match entry.as_ref().map(|entry| pad.link(entry)) {
                Some(Ok(_)) => seen.video.store(true, Ordering::Release),
                other => tracing::debug!(?other, "a further video track is left out"),
            }
        });
        let seen = Arc::clone(&found);
        decoder.connect_no_more_pads(move |_decoder| seen.settled.store(true, Ordering::Release));
        let reading = Self { path, pipeline, exit, found };
        // A failure to start is told on the bus, with its reason.
        if reading.pipeline.set_state(gst::State::Playing).is_err() {
            tracing::debug!("a file does not start");
        }
        Ok(reading)
    }

    /// The next frame; none at the end of the file.
    fn next(&self) -> Result<Option<gst::Sample>, DecodeError> {
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
                _ if self.found.is_without_video() => return Err(not_video(self.path, NO_TRACK)),
                _ => {}
            }
        }
        Err(DecodeError::TimedOut(PATIENCE))
    }

    fn reason(&self, error: &gst::glib::Error) -> DecodeError {
        if self.found.playlist.load(Ordering::Relaxed) {
            return not_video(self.path, PLAYLIST);
        }
        match error.kind::<gst::StreamError>() {
            Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType) => not_video(self.path, NO_VIDEO),
            Some(gst::StreamError::Failed) if !self.found.video.load(Ordering::Relaxed) => {
                not_video(self.path, NO_TRACK)
            }
            _ => DecodeError::Damaged { path: self.path.to_owned(), reason: error.to_string() },
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        tear_down(self.pipeline.clone());
    }
}

fn names(caps: &gst::Caps) -> impl Iterator<Item = &str> {
    caps.iter().map(|structure| structure.name().as_str())
}

/// Playlists and session descriptions name addresses to fetch.
fn is_playlist(caps: &gst::Caps) -> bool {
    let playlists = ["application/x-hls", "application/dash+xml", "application/vnd.ms-sstr+xml", "application/sdp"];
    names(caps).any(|name| playlists.contains(&name) || name == "text/uri-list")
}
