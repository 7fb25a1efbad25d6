//! A file's container, found by looking into it.
//!
//! The demuxers are named here one by one, and nothing else is ever put behind a file: an element that chooses by itself
//! would follow a playlist, and with it open connections and meet demuxers that abort the process.

use gst::prelude::*;
use gstreamer as gst;

use super::launch::package_of;

/// What `typefind` says of a container, and what takes it apart.
const CONTAINERS: [(&str, &str); 6] = [
    ("video/quicktime", "qtdemux"),
    ("audio/x-m4a", "qtdemux"),
    ("video/x-matroska", "matroskademux"),
    ("video/webm", "matroskademux"),
    ("video/mpegts", "tsdemux"),
    ("video/x-flv", "flvdemux"),
];

/// Every element that can be put behind a file.
pub(super) fn elements() -> impl Iterator<Item = &'static str> {
    CONTAINERS.iter().map(|&(_, demuxer)| demuxer)
}

/// Whether `element` only says what it finds, and leaves taking it apart to us.
pub(super) fn is_type_finder(element: &gst::Element) -> bool {
    element.factory().is_some_and(|factory| factory.name() == "typefind")
}

/// Puts the right demuxer behind `finder` once the container is known. `ready` gets it before data does, or the reason
/// why there is none.
pub(super) fn on_type(finder: &gst::Element, ready: impl Fn(Result<gst::Element, String>) + Send + Sync + 'static) {
    finder.connect("have-type", false, move |values| {
        let finder = values.first().and_then(|value| value.get::<gst::Element>().ok())?;
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok())?;
        let demuxer = demuxer_for(&caps).and_then(|demuxer| {
            add(&finder, &demuxer)?;
            Ok(demuxer)
        });
        ready(demuxer.clone());
        let started = demuxer.and_then(|demuxer| start(&finder, &demuxer));
        if let Err(reason) = started {
            ready(Err(reason));
        }
        None
    });
}

fn demuxer_for(caps: &gst::CapsRef) -> Result<gst::Element, String> {
    let name = caps.structure(0).map(|structure| structure.name().as_str()).unwrap_or_default();
    let known = CONTAINERS.iter().find(|(container, _)| *container == name);
    let (_, demuxer) =
        known.ok_or_else(|| format!("it is `{name}`, and neither MP4, Matroska, MPEG-TS nor FLV: convert it first"))?;
    let package = || format!("GStreamer has no element `{demuxer}`: install the package {}", package_of(demuxer));
    gst::ElementFactory::make(demuxer).build().map_err(|_error| package())
}

fn add(finder: &gst::Element, demuxer: &gst::Element) -> Result<(), String> {
    let parent = finder.parent().and_then(|parent| parent.downcast::<gst::Bin>().ok());
    parent.ok_or("the file has no pipeline")?.add(demuxer).map_err(|error| error.to_string())
}

fn start(finder: &gst::Element, demuxer: &gst::Element) -> Result<(), String> {
    finder.link(demuxer).map_err(|error| error.to_string())?;
    demuxer.sync_state_with_parent().map_err(|error| error.to_string())
}
