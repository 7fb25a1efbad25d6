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

/// Stands before the demuxer of FLV, and gives it the file from the front to the end: what it fetches itself, in an order of
/// its own, nobody could look through beforehand.
const IN_ORDER: (&str, &str) = ("flvdemux", "queue");

/// Every element that can be put behind a file.
pub(super) fn elements() -> impl Iterator<Item = &'static str> {
    CONTAINERS.iter().map(|&(_, demuxer)| demuxer).chain([IN_ORDER.1])
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
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let chain = demuxer_for(caps?.as_ref()).and_then(|demuxer| {
            let ordered = if demuxer == IN_ORDER.0 { Some(make(IN_ORDER.1)?) } else { None };
            let chain: Vec<gst::Element> = ordered.into_iter().chain([make(demuxer)?]).collect();
            add(&finder, &chain)?;
            Ok(chain)
        });
        ready(chain.as_ref().map_err(String::clone).and_then(|chain| chain.last().cloned().ok_or_else(String::new)));
        if let Err(reason) = chain.and_then(|chain| start(&finder, &chain)) {
            ready(Err(reason));
        }
        None
    });
}

fn demuxer_for(caps: &gst::CapsRef) -> Result<&'static str, String> {
    let name = caps.structure(0).map(|structure| structure.name().as_str()).unwrap_or_default();
    let known = CONTAINERS.iter().find(|(container, _)| *container == name);
    let (_, demuxer) =
        known.ok_or_else(|| format!("it is `{name}`, and neither MP4, Matroska, MPEG-TS nor FLV: convert it first"))?;
    Ok(demuxer)
}

fn make(element: &str) -> Result<gst::Element, String> {
    let missing = || format!("GStreamer has no element `{element}`: install the package {}", package_of(element));
    gst::ElementFactory::make(element).build().map_err(|_error| missing())
}

fn add(finder: &gst::Element, chain: &[gst::Element]) -> Result<(), String> {
    let parent = finder.parent().and_then(|parent| parent.downcast::<gst::Bin>().ok());
    parent.ok_or("the file has no pipeline")?.add_many(chain).map_err(|error| error.to_string())
}

fn start(finder: &gst::Element, chain: &[gst::Element]) -> Result<(), String> {
    let all = std::iter::once(finder).chain(chain);
    gst::Element::link_many(all).map_err(|error| error.to_string())?;
    // The last first: what it is given then, it can take.
    chain.iter().rev().try_for_each(|element| element.sync_state_with_parent().map_err(|error| error.to_string()))
}
