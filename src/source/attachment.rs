//! One attachment of a source: a running pipeline, from the server's bytes to access units.
//!
//! Everything here runs in the pipeline's streaming thread: it takes a reference, notes the time in an atomic word, and
//! returns. Whatever has to be decided is left to the supervisor.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::annexb::Framing;
use super::launch::{Launch, Parts, discard};
use super::outlet::{Attempt, Outlet, Passage};
use super::watch::Observed;
use super::{Reason, SourceError};
use crate::clock::{Clock, Timestamp};
use crate::media_server::Pull;
use crate::stream::{AccessUnit, Codec};

/// A running pipeline. To be stopped with [`Attachment::into_pipeline`]; letting go of it is not enough.
#[derive(Debug)]
pub(super) struct Attachment {
    pipeline: gst::Pipeline,
    progress: Arc<Progress>,
}

/// How an attachment came to its end by itself.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) reason: Reason,
    pub(super) error: Option<SourceError>,
}

/// What a pipeline's threads note, and the supervisor reads.
struct Progress {
    since: Timestamp,
    data: Span,
    units: Span,
    has_video: AtomicBool,
    ending: OnceLock<Ending>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.observed().fmt(f)
    }
}

/// The first and the last time of something, in microseconds; 0 is never.
#[derive(Debug, Default)]
struct Span {
    first: AtomicU64,
    last: AtomicU64,
}

impl Span {
    fn note(&self, now: Timestamp) {
        if self.last.swap(now.as_micros(), Ordering::Relaxed) == 0 {
            self.first.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    fn get(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        (first != 0).then(|| (Timestamp::from_micros(first), Timestamp::from_micros(last)))
    }
}

impl Progress {
    fn observed(&self) -> Observed {
        Observed {
            since: self.since,
            data: self.data.get(),
            has_video: self.has_video.load(Ordering::Relaxed),
            units: self.units.get(),
        }
    }

    /// Notes the end; the first one counts.
    fn end(&self, reason: Reason, error: Option<SourceError>) {
        if self.ending.set(Ending { reason, error }).is_ok() {
            (self.wake)();
        }
    }
}

/// Starts to pull. Access units go to `outlet` as those of `attempt`; `wake` is called, from any thread, when there is
/// something to look at.
pub(super) fn attach(
    pull: &Pull,
    launch: &Launch,
    clock: Clock,
    outlet: (Arc<Outlet>, Attempt),
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<Attachment, SourceError> {
    let Parts { pipeline, src, demux, entry, video } = launch.build()?;
    src.set_property("location", &pull.url);
    let progress = Arc::new(Progress {
        since: clock.now(),
        data: Span::default(),
        units: Span::default(),
        has_video: AtomicBool::new(false),
        ending: OnceLock::new(),
        wake: Box::new(wake),
    });
    watch_data(&demux, clock, &progress);
    link_late_pads(&demux, entry, pull, &progress);
    hand_on_units(&video, clock, outlet, &progress);
    watch_errors(&pipeline, pull, &progress);
    let attachment = Attachment { pipeline, progress };
    // A failure to start is told on the bus as well, with its reason.
    if attachment.pipeline.set_state(gst::State::Playing).is_err() {
        let (stream, reason) = (pull.stream.to_string(), "the pipeline does not start".to_owned());
        attachment.progress.end(Reason::Error, Some(SourceError::Failed { stream, reason }));
    }
    Ok(attachment)
}

impl Attachment {
    pub(super) fn observed(&self) -> Observed {
        self.progress.observed()
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.progress.ending.get()
    }

    /// The pipeline, to be stopped by somebody who can wait.
    pub(super) fn into_pipeline(self) -> gst::Pipeline {
        self.pipeline
    }
}

/// Notes bytes from the server, and its end of the stream, where they go into the demuxer: what comes before may end and
/// begin again, as a playlist does each time it is fetched.
///
/// The end is caught here rather than on the bus, where it is told only once every sink has seen it: a sink that the
/// demuxer found nothing for never does.
fn watch_data(demux: &gst::Element, clock: Clock, progress: &Arc<Progress>) {
    let Some(pad) = demux.static_pad("sink") else { return };
    let progress = Arc::clone(progress);
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(mask, move |_pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(_)) => progress.data.note(clock.now()),
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                progress.end(Reason::Ended, None);
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Links the demuxer's pads when they appear, by what they carry: their order differs from server to server.
fn link_late_pads(demux: &gst::Element, entry: gst::Pad, pull: &Pull, progress: &Arc<Progress>) {
    let (pull, progress) = (pull.clone(), Arc::clone(progress));
    demux.connect_pad_added(move |demux, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|structure| structure.name().as_str()).unwrap_or_default();
        if name == "video/x-h264" && pad.link(&entry).is_ok() {
            progress.has_video.store(true, Ordering::Relaxed);
            return;
        }
        if name.starts_with("video/") && name != "video/x-h264" {
            let error = SourceError::UnsupportedCodec { stream: pull.stream.to_string(), codec: name.to_owned() };
            progress.end(Reason::Error, Some(error));
        }
        if let Err(reason) = throw_away(demux, pad) {
            let stream = pull.stream.to_string();
            progress.end(Reason::Error, Some(SourceError::Failed { stream, reason }));
        }
    });
}

fn throw_away(demux: &gst::Element, pad: &gst::Pad) -> Result<(), String> {
    let sink = discard().map_err(|error| error.to_string())?;
    let bin =
        demux.parent().and_then(|parent| parent.downcast::<gst::Bin>().ok()).ok_or("the demuxer has no parent")?;
    bin.add(&sink).map_err(|error| error.to_string())?;
    sink.sync_state_with_parent().map_err(|error| error.to_string())?;
    let entry = sink.static_pad("sink").ok_or("a sink takes nothing")?;
    pad.link(&entry).map_err(|error| error.to_string())?;
    Ok(())
}

fn hand_on_units(
    video: &gst_app::AppSink,
    clock: Clock,
    (outlet, attempt): (Arc<Outlet>, Attempt),
    progress: &Arc<Progress>,
) {
    let progress = Arc::clone(progress);
    let mut framing = Framing::default();
    let new_sample = move |video: &gst_app::AppSink| {
        let sample = video.pull_sample().map_err(|_error| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
        let arrived = clock.now();
        let intra = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let pts = buffer.pts().map(Duration::from);
        let mapped = buffer.into_mapped_buffer_readable().map_err(|_buffer| gst::FlowError::Error)?;
        let (keyframe, data) = framing.admit(Bytes::from_owner(mapped), intra);
        progress.units.note(arrived);
        let unit = |sequence| AccessUnit { sequence, codec: Codec::H264, keyframe, pts, arrived, data };
        match outlet.unit(attempt, unit) {
            Passage::Open => Ok(gst::FlowSuccess::Ok),
            Passage::Shut => Err(gst::FlowError::Flushing),
        }
    };
    video.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).build());
}

fn watch_errors(pipeline: &gst::Pipeline, pull: &Pull, progress: &Arc<Progress>) {
    let Some(bus) = pipeline.bus() else { return };
    let (pull, progress) = (pull.clone(), Arc::clone(progress));
    bus.set_sync_handler(move |_bus, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let error = SourceError::from_element(&pull, &error.error(), error.debug().as_deref());
            progress.end(Reason::Error, Some(error));
        }
        gst::BusSyncReply::Drop
    });
}
