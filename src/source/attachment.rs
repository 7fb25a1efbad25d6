//! One attachment of a source: a running pipeline, from the server's bytes to access units.
//!
//! Everything here runs in the pipeline's streaming threads: it takes a reference, notes the time in an atomic word, and
//! returns. Whatever has to be decided is left to the supervisor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::task::AbortHandle;

use super::branch::{self, Feed, Leave, Track};
use super::launch::{Launch, Parts};
use super::outlet::{Attempt, Outlet};
use super::progress::{Ending, Progress};
use super::watch::Observed;
use super::workshop::Workshop;
use super::{Reason, SourceError, flv, hls, http_flv, typed};
use crate::clock::Clock;
use crate::media_server::{Protocol, Pull};

/// What runs for a source. To be stopped by way of [`Attachment::into_pipeline`]; letting go of it is not enough.
#[derive(Debug)]
pub(super) struct Attachment {
    media: Media,
    progress: Arc<Progress>,
}

#[derive(Debug)]
enum Media {
    /// One pipeline from the server to the access units, and what fetches for it where it does not do that itself.
    Pipeline(gst::Pipeline, Option<AbortHandle>),
    /// A loop that fetches segments, and feeds them to pipelines.
    Playlist(hls::Player),
}

/// Starts to pull. Access units go to `outlet` as those of `attempt`; `wake` is called, from any thread, when there is
/// something to look at.
pub(super) fn attach(
    pull: &Pull,
    (launch, workshop): (&Launch, &Workshop),
    clock: Clock,
    (outlet, attempt): (Arc<Outlet>, Attempt),
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<Attachment, SourceError> {
    let parts = launch.build()?;
    if let Some(address) = parts.address {
        parts.src.set_property(address, place(pull));
    }
    let progress = Arc::new(Progress::new(clock.now(), wake));
    let paced = pull.protocol == Protocol::File;
    let leave = Leave::default();
    let feed = Arc::new(Feed { clock, outlet, attempt, progress: Arc::clone(&progress), paced, leave });
    let fed = parts.src.clone().downcast::<gst_app::AppSrc>().ok();
    let pipeline = connect(parts, pull, &feed);
    let failed = |reason| SourceError::Failed { stream: pull.stream.to_string(), reason };
    let fetch = |src| http_flv::fetch(workshop.tools().map_err(failed)?, pull, src, Arc::clone(&feed));
    let fetching = fed.map(fetch).transpose()?;
    let attachment = Attachment { media: Media::Pipeline(pipeline.clone(), fetching), progress };
    // Of a file first to standstill: a sink that is added on the way to playing would not know since when, and not wait.
    let first = if paced { gst::State::Paused } else { gst::State::Playing };
    // A failure to start is told on the bus as well, with its reason.
    if pipeline.set_state(first).is_err() || pipeline.set_state(gst::State::Playing).is_err() {
        attachment.progress.end(Reason::Error, Some(failed("the pipeline does not start".to_owned())));
    }
    Ok(attachment)
}

/// Starts to follow a playlist; otherwise like [`attach`]. `memory` is what former attachments of the same source left.
pub(super) fn follow(
    pull: &Pull,
    (engine, memory): (&hls::Engine, &hls::Memory),
    clock: Clock,
    (outlet, attempt): (Arc<Outlet>, Attempt),
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<Attachment, SourceError> {
    let progress = Arc::new(Progress::new(clock.now(), wake));
    let wiring = Wiring { pull: pull.clone(), clock, outlet, progress: Arc::clone(&progress) };
    let player = engine.play(wiring, attempt, memory)?;
    Ok(Attachment { media: Media::Playlist(player), progress })
}

/// What all pipelines of one attachment are connected to.
#[derive(Clone)]
pub(super) struct Wiring {
    pull: Pull,
    clock: Clock,
    outlet: Arc<Outlet>,
    progress: Arc<Progress>,
}

impl Wiring {
    pub(super) const fn pull(&self) -> &Pull {
        &self.pull
    }

    /// What an attachment gives and how it ends.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// A number for what has nothing to do with what came out under `attempt`; none where that is superseded.
    pub(super) fn renew(&self, attempt: Attempt) -> Option<Attempt> {
        self.outlet.renew(attempt)
    }

    /// Notes that so many segments were not looked at.
    pub(super) fn miss(&self, segments: u64) {
        self.outlet.miss(segments);
    }

    /// Connects a pipeline, which does not run yet. Its access units are those of `attempt`.
    pub(super) fn connect(&self, parts: Parts, attempt: Attempt) -> (gst::Pipeline, Arc<Feed>) {
        self.progress.look_for_video();
        let (outlet, progress, leave) = (Arc::clone(&self.outlet), Arc::clone(&self.progress), Leave::default());
        let feed = Arc::new(Feed { clock: self.clock, outlet, attempt, progress, paced: false, leave });
        (connect(parts, &self.pull, &feed), feed)
    }
}

/// Has what comes out of a pipeline go to `feed`.
fn connect(Parts { pipeline, demux, .. }: Parts, pull: &Pull, feed: &Arc<Feed>) -> gst::Pipeline {
    if typed::is_type_finder(&demux) {
        let (pull, feed) = (pull.clone(), Arc::clone(feed));
        typed::on_type(&demux, move |demuxer| match demuxer {
            Ok(demuxer) => {
                watch_demuxer(&demuxer, &pull, &feed);
                end_without_video(&demuxer, &feed);
            }
            Err(reason) => {
                let error = SourceError::Garbage { stream: pull.stream.to_string(), reason };
                feed.end(Reason::Error, Some(error));
            }
        });
    } else {
        watch_demuxer(&demux, pull, feed);
    }
    watch_errors(&pipeline, pull, feed);
    pipeline
}

impl Attachment {
    pub(super) fn observed(&self) -> Observed {
        self.progress.observed()
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.progress.ending()
    }

    /// The pipeline that is left, to be stopped by somebody who can wait.
    pub(super) fn into_pipeline(self) -> Option<gst::Pipeline> {
        match self.media {
            Media::Pipeline(pipeline, fetching) => {
                fetching.inspect(AbortHandle::abort);
                Some(pipeline)
            }
            Media::Playlist(player) => player.into_pipeline(),
        }
    }
}

/// What the source element is given: the address, and of a file its path.
fn place(pull: &Pull) -> String {
    let path = || pull.path()?.into_os_string().into_string().ok();
    path().unwrap_or_else(|| pull.url.clone())
}

/// Follows what `demux` gets and gives.
fn watch_demuxer(demux: &gst::Element, pull: &Pull, feed: &Arc<Feed>) {
    if let Some(entry) = demux.static_pad("sink") {
        watch(&entry, Watch::Both, feed);
        if demux.factory().is_some_and(|factory| factory.name() == "flvdemux") {
            guard_flv(&entry, pull, feed);
        }
    }
    // The pad whose video is taken, as a number that is never used as an address.
    let taken = Arc::new(AtomicUsize::new(0));
    link_late_pads(demux, pull, feed, &taken);
    let feed = Arc::clone(feed);
    demux.connect_pad_removed(move |_demux, pad| {
        // The programme has changed. What comes in its place is found by attaching afresh.
        if taken.load(Ordering::Relaxed) == pad.as_ptr() as usize {
            feed.end(Reason::Ended, None);
        }
    });
}

/// What a pad tells the watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Data,
    End,
    Both,
}

/// Notes bytes from the server, and its end of the stream, where they go into the demuxer or, where that fetches them
/// itself, come out of it: what comes before may end and begin again, as a playlist does each time it is fetched.
///
/// The end is caught here rather than on the bus, where it is told only once every sink has seen it: a sink that the
/// demuxer found nothing for never does.
fn watch(pad: &gst::Pad, what: Watch, feed: &Arc<Feed>) {
    let feed = Arc::clone(feed);
    let mask = match what {
        Watch::Data => gst::PadProbeType::BUFFER,
        Watch::End => gst::PadProbeType::EVENT_DOWNSTREAM,
        Watch::Both => gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM,
    };
    pad.add_probe(mask, move |_pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(_)) => feed.progress.data.note(feed.clock.now()),
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                feed.end(Reason::Ended, None);
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Keeps from the demuxer of FLV what it must not read, and says which codec it is that it is about to call a failure.
fn guard_flv(entry: &gst::Pad, pull: &Pull, feed: &Arc<Feed>) {
    let (stream, feed) = (pull.stream.to_string(), Arc::clone(feed));
    let walker = Mutex::new(flv::Walker::new());
    entry.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        // What the demuxer fetches itself comes in no order. Only a description of one's own has it do so, with a file.
        if pad.mode() == gst::PadMode::Pull {
            return gst::PadProbeReturn::Remove;
        }
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        // Only this thread ever takes the lock. What is not to go on counts as handled: the bindings have taken a buffer by
        // the time that GStreamer would drop it, and it complains each time.
        let walked = match (walker.try_lock(), buffer.map_readable()) {
            (Ok(mut walker), Ok(bytes)) => walker.walk(&bytes),
            _ => return gst::PadProbeReturn::Handled,
        };
        let Ok(walked) = walked else {
            let reason = "what the server sends is no FLV".to_owned();
            feed.end(Reason::Error, Some(SourceError::Garbage { stream: stream.clone(), reason }));
            return gst::PadProbeReturn::Handled;
        };
        if let Some(codec) = walked.codec {
            let error = SourceError::UnsupportedCodec { stream: stream.clone(), codec };
            feed.end(Reason::Error, Some(error));
        }
        if walked.edits.is_empty() {
            return gst::PadProbeReturn::Ok;
        }
        let Ok(mut bytes) = buffer.make_mut().map_writable() else { return gst::PadProbeReturn::Handled };
        for (at, byte) in walked.edits {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Links the demuxer's pads when they appear, by what they carry: their order differs from server to server.
fn link_late_pads(demux: &gst::Element, pull: &Pull, feed: &Arc<Feed>, taken: &Arc<AtomicUsize>) {
    let (pull, feed, taken) = (pull.clone(), Arc::clone(feed), Arc::clone(taken));
    demux.connect_pad_added(move |demux, pad| {
        if pad.direction() != gst::PadDirection::Src {
            return;
        }
        let stream = || pull.stream.to_string();
        let fetches = demux.static_pad("sink").is_none_or(|entry| entry.mode() == gst::PadMode::Pull);
        let linked = match Track::of(pad) {
            Track::Video(route) if feed.progress.found_video() => {
                taken.store(pad.as_ptr() as usize, Ordering::Relaxed);
                watch(pad, if fetches { Watch::Both } else { Watch::End }, &feed);
                branch::parse(demux, pad, &route, &feed)
            }
            Track::Unsupported(codec) if !feed.progress.observed().has_video => {
                let error = SourceError::UnsupportedCodec { stream: stream(), codec };
                feed.end(Reason::Error, Some(error));
                branch::throw_away(demux, pad)
            }
            Track::Video(_) | Track::Unsupported(_) | Track::Other => {
                if fetches {
                    watch(pad, Watch::Data, &feed);
                }
                branch::throw_away(demux, pad)
            }
        };
        if let Err(reason) = linked {
            let error = SourceError::Failed { stream: stream(), reason };
            feed.end(Reason::Error, Some(error));
        }
    });
}

/// Ends an attachment to a file once all its tracks are known and none is video: unlike a server, it will not bring one.
fn end_without_video(demux: &gst::Element, feed: &Arc<Feed>) {
    let feed = Arc::clone(feed);
    demux.connect_no_more_pads(move |_demux| {
        if !feed.progress.observed().has_video {
            feed.end(Reason::NoVideo, None);
        }
    });
}

fn watch_errors(pipeline: &gst::Pipeline, pull: &Pull, feed: &Arc<Feed>) {
    let Some(bus) = pipeline.bus() else { return };
    let (pull, feed) = (pull.clone(), Arc::clone(feed));
    bus.set_sync_handler(move |_bus, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let error = SourceError::from_element(&pull, &error.error());
            feed.end(Reason::Error, Some(error));
        }
        gst::BusSyncReply::Drop
    });
}
