//! What is put behind the pads of a demuxer when they appear: for video the parser of its codec and a sink that hands on
//! access units, for everything else a sink that throws it away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::Notify;

use super::framing::Framing;
use super::launch::package_of;
use super::outlet::{Attempt, Outlet, Passage};
use super::progress::Progress;
use super::{Reason, SourceError};
use crate::clock::Clock;
use crate::stream::{AccessUnit, Codec};

/// Where the access units of an attachment go, and how.
pub(super) struct Feed {
    pub(super) clock: Clock,
    pub(super) outlet: Arc<Outlet>,
    pub(super) attempt: Attempt,
    pub(super) progress: Arc<Progress>,
    /// Units come at the pace of their timestamps, rather than as fast as they are read.
    pub(super) paced: bool,
    pub(super) leave: Leave,
}

impl Feed {
    /// Notes the end of the stream, unless only this pipeline is left.
    pub(super) fn end(&self, reason: Reason, error: Option<SourceError>) {
        if !self.leave.begun.load(Ordering::Acquire) {
            self.progress.end(reason, error);
        }
    }
}

/// How a pipeline is left while its stream goes on in another.
#[derive(Debug, Default)]
pub(super) struct Leave {
    begun: AtomicBool,
    through: Notify,
}

impl Leave {
    /// From now on, no end of the pipeline is one of the stream.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Waits until the last access unit is out.
    pub(super) async fn through(&self) {
        self.through.notified().await;
    }
}

/// How video in one codec becomes access units.
#[derive(Debug)]
pub(super) struct Route {
    codec: Codec,
    /// The demuxer's name for it.
    media: &'static str,
    /// RTP's name for it, and what unpacks that; GStreamer 1.22 has nothing for AV1.
    rtp: Option<(&'static str, &'static str)>,
    parser: &'static str,
    /// What the parser is to give.
    form: &'static str,
}

const ROUTES: [Route; 4] = [
    Route {
        codec: Codec::H264,
        media: "video/x-h264",
        rtp: Some(("H264", "rtph264depay")),
        parser: "h264parse",
        form: "video/x-h264,stream-format=byte-stream,alignment=au",
    },
    Route {
        codec: Codec::H265,
        media: "video/x-h265",
        rtp: Some(("H265", "rtph265depay")),
        parser: "h265parse",
        form: "video/x-h265,stream-format=byte-stream,alignment=au",
    },
    Route {
        codec: Codec::Vp9,
        media: "video/x-vp9",
        rtp: Some(("VP9", "rtpvp9depay")),
        parser: "vp9parse",
        form: "video/x-vp9,alignment=super-frame",
    },
    Route {
        codec: Codec::Av1,
        media: "video/x-av1",
        rtp: None,
        parser: "av1parse",
        form: "video/x-av1,stream-format=obu-stream,alignment=tu",
    },
];

/// What everything that is not looked at goes to.
pub(super) const DISCARD: &str = "fakesink";

/// Every element that can be put behind a pad.
pub(super) fn elements() -> impl Iterator<Item = &'static str> {
    let routes = ROUTES.iter().flat_map(|route| [Some(route.parser), route.rtp.map(|(_, depay)| depay)]);
    routes.flatten().chain([DISCARD, "appsink", "capsfilter"])
}

/// What a demuxer's pad carries.
pub(super) enum Track {
    Video(Route),
    /// Video that cannot be inspected: the codec's name, as far as it is known.
    Unsupported(String),
    Other,
}

impl Track {
    pub(super) fn of(pad: &gst::Pad) -> Self {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        caps.structure(0).map_or(Self::Other, Self::of_structure)
    }

    fn of_structure(caps: &gst::StructureRef) -> Self {
        let text = |field| caps.get::<String>(field).unwrap_or_default();
        if caps.name() == "application/x-rtp" {
            if text("media") != "video" {
                return Self::Other;
            }
            let name = text("encoding-name");
            let route = ROUTES.into_iter().find(|route| route.rtp.is_some_and(|(rtp, _)| rtp == name));
            return route.map_or(Self::Unsupported(format!("{name} over RTP")), Self::Video);
        }
        let name = caps.name().as_str();
        match ROUTES.into_iter().find(|route| route.media == name) {
            Some(route) => Self::Video(Route { rtp: None, ..route }),
            None if name.starts_with("video/") => Self::Unsupported(name.to_owned()),
            None => Self::Other,
        }
    }
}

/// Puts parser and sink of `route` behind `pad` of `demux`.
pub(super) fn parse(demux: &gst::Element, pad: &gst::Pad, route: &Route, feed: &Arc<Feed>) -> Result<(), String> {
    let depay = route.rtp.map(|(_, depay)| element(depay)).transpose()?;
    let parser = element(route.parser)?;
    if parser.find_property("config-interval").is_some() {
        // Parameter sets in front of every keyframe that the parser knows, so that each can be decoded alone.
        parser.set_property("config-interval", -1_i32);
    }
    let form: gst::Caps = route.form.parse().map_err(|_error| "unknown caps".to_owned())?;
    let filter = element("capsfilter")?;
    filter.set_property("caps", form);
    let exit =
        gst_app::AppSink::builder().sync(feed.paced).async_(false).max_buffers(2).enable_last_sample(false).build();
    // What the container keeps for all keyframes; the parser's own caps come later.
    let codec_data = pad.current_caps().and_then(|caps| {
        let data = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
        Some(data.map_readable().ok()?.to_vec())
    });
    hand_on_units(&exit, route.codec, Framing::new(route.codec, codec_data.as_deref()), feed);
    let line: Vec<gst::Element> = depay.into_iter().chain([parser, filter, exit.upcast()]).collect();
    put_behind(demux, pad, &line)
}

/// Puts a sink behind `pad` that throws away what it gets, without ever holding the stream up.
///
/// Sound left unlinked ends the stream at once; a sink that waits for its first buffer, or for a clock, keeps the video
/// from ever starting where the sound comes first.
pub(super) fn throw_away(demux: &gst::Element, pad: &gst::Pad) -> Result<(), String> {
    let sink = element(DISCARD)?;
    sink.set_property("async", false);
    sink.set_property("sync", false);
    put_behind(demux, pad, &[sink])
}

fn element(name: &'static str) -> Result<gst::Element, String> {
    let package = || format!("GStreamer has no element `{name}`: install the package {}", package_of(name));
    gst::ElementFactory::make(name).build().map_err(|_error| package())
}

fn put_behind(demux: &gst::Element, pad: &gst::Pad, line: &[gst::Element]) -> Result<(), String> {
    let failed = |error: gst::glib::BoolError| error.to_string();
    let parent = demux.parent().and_then(|parent| parent.downcast::<gst::Bin>().ok());
    parent.ok_or("the demuxer has no parent")?.add_many(line).map_err(failed)?;
    gst::Element::link_many(line).map_err(failed)?;
    for element in line.iter().rev() {
        element.sync_state_with_parent().map_err(failed)?;
    }
    let entry = line.first().and_then(|first| first.static_pad("sink")).ok_or("an element takes nothing")?;
    pad.link(&entry).map_err(|error| error.to_string())?;
    Ok(())
}

fn hand_on_units(exit: &gst_app::AppSink, codec: Codec, mut framing: Framing, feed: &Arc<Feed>) {
    let (feed, last) = (Arc::clone(feed), Arc::clone(feed));
    let new_sample = move |exit: &gst_app::AppSink| {
        let sample = exit.pull_sample().map_err(|_error| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
        let arrived = feed.clock.now();
        let intra = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let pts = buffer.pts().map(Duration::from);
        let mapped = buffer.into_mapped_buffer_readable().map_err(|_buffer| gst::FlowError::Error)?;
        let (keyframe, data) = framing.admit(Bytes::from_owner(mapped), intra);
        feed.progress.units.note(arrived);
        let unit = |sequence| AccessUnit { sequence, codec, keyframe, pts, arrived, data };
        match feed.outlet.unit(feed.attempt, unit) {
            Passage::Open => Ok(gst::FlowSuccess::Ok),
            Passage::Shut => Err(gst::FlowError::Flushing),
        }
    };
    let eos = move |_exit: &gst_app::AppSink| last.leave.through.notify_one();
    exit.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).eos(eos).build());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_told_by_what_it_carries() {
        gst::init().unwrap();
        for (caps, expected) in [
            ("video/x-h264,stream-format=avc", "H264"),
            ("video/x-h265", "H265"),
            ("video/x-vp9", "Vp9"),
            ("video/x-av1", "Av1"),
            ("video/x-flash-video", "video/x-flash-video"),
            ("audio/mpeg", "-"),
            ("image/jpeg", "-"),
            ("application/x-rtp,media=video,encoding-name=H265", "H265"),
            ("application/x-rtp,media=video,encoding-name=AV1", "AV1 over RTP"),
            ("application/x-rtp,media=video,encoding-name=JPEG", "JPEG over RTP"),
            ("application/x-rtp,media=audio,encoding-name=H264", "-"),
            ("application/x-rtp", "-"),
        ] {
            let caps: gst::Caps = caps.parse().unwrap();
            let told = match Track::of_structure(caps.structure(0).unwrap()) {
                Track::Video(route) => format!("{:?}", route.codec),
                Track::Unsupported(name) => name,
                Track::Other => "-".to_owned(),
            };
            assert_eq!(told, expected, "{caps}");
        }
    }
}
