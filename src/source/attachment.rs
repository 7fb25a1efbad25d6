//! One attachment of a source: a running pipeline, from the server's bytes to access units.
//!
//! Everything here runs in the pipeline's streaming threads: it takes a reference, notes the time in an atomic word, and
//! returns. Whatever has to be decided is left to the supervisor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gst::prelude::*;
use gstreamer as gst;

use super::branch::{self, Feed, Track};
use super::launch::{Launch, Parts};
use super::outlet::{Attempt, Outlet};
use super::progress::{Ending, Progress};
use super::watch::Observed;
use super::{Reason, SourceError, typed};
use crate::clock::Clock;
use crate::media_server::{Protocol, Pull};

/// A running pipeline. To be stopped with [`Attachment::into_pipeline`]; letting go of it is not enough.
#[derive(Debug)]
pub(super) struct Attachment {
    pipeline: gst::Pipeline,
    progress: Arc<Progress>,
}

/// Starts to pull. Access units go to `outlet` as those of `attempt`; `wake` is called, from any thread, when there is
/// something to look at.
pub(super) fn attach(
    pull: &Pull,
    launch: &Launch,
    clock: Clock,
    (outlet, attempt): (Arc<Outlet>, Attempt),
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<Attachment, SourceError> {
    let Parts { pipeline, src, address, demux } = launch.build()?;
    src.set_property(address, place(pull));
    let progress = Arc::new(Progress::new(clock.now(), wake));
    let paced = pull.protocol == Protocol::File;
    let feed = Arc::new(Feed { clock, outlet, attempt, progress: Arc::clone(&progress), paced });
    if typed::is_type_finder(&demux) {
        let (pull, feed) = (pull.clone(), Arc::clone(&feed));
        typed::on_type(&demux, move |demuxer| match demuxer {
            Ok(demuxer) => {
                watch_demuxer(&demuxer, &pull, &feed);
                end_without_video(&demuxer, &feed);
            }
            Err(reason) => {
                let error = SourceError::Garbage { stream: pull.stream.to_string(), reason };
                feed.progress.end(Reason::Error, Some(error));
            }
        });
    } else {
        watch_demuxer(&demux, pull, &feed);
    }
    watch_errors(&pipeline, pull, &progress);
    let attachment = Attachment { pipeline, progress };
    if paced {
        // A sink that is added on the way from standstill to playing would not know since when, and not wait.
        start(&attachment, gst::State::Paused, pull);
    }
    start(&attachment, gst::State::Playing, pull);
    Ok(attachment)
}

fn start(attachment: &Attachment, state: gst::State, pull: &Pull) {
    // A failure to start is told on the bus as well, with its reason.
    if attachment.pipeline.set_state(state).is_err() {
        let (stream, reason) = (pull.stream.to_string(), "the pipeline does not start".to_owned());
        attachment.progress.end(Reason::Error, Some(SourceError::Failed { stream, reason }));
    }
}

impl Attachment {
    pub(super) fn observed(&self) -> Observed {
        self.progress.observed()
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.progress.ending()
    }

    /// The pipeline, to be stopped by somebody who can wait.
    pub(super) fn into_pipeline(self) -> gst::Pipeline {
        self.pipeline
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
    }
    // The pad whose video is taken, as a number that is never used as an address.
    let taken = Arc::new(AtomicUsize::new(0));
    link_late_pads(demux, pull, feed, &taken);
    let feed = Arc::clone(feed);
    demux.connect_pad_removed(move |_demux, pad| {
        // The programme has changed. What comes in its place is found by attaching afresh.
        if taken.load(Ordering::Relaxed) == pad.as_ptr() as usize {
            feed.progress.end(Reason::Ended, None);
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
                feed.progress.end(Reason::Ended, None);
            }
            _ => {}
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
                feed.progress.end(Reason::Error, Some(error));
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
            feed.progress.end(Reason::Error, Some(error));
        }
    });
}

/// Ends an attachment to a file once all its tracks are known and none is video: unlike a server, it will not bring one.
fn end_without_video(demux: &gst::Element, feed: &Arc<Feed>) {
    let feed = Arc::clone(feed);
    demux.connect_no_more_pads(move |_demux| {
        if !feed.progress.observed().has_video {
            feed.progress.end(Reason::NoVideo, None);
        }
    });
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
