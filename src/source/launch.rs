//! The launch descriptions in `pipelines/`, and what is built from them.
//!
//! A description says which elements there are; an address never becomes a part of it, but is set as a property.

use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{Config, SourceError};
use crate::media_server::Protocol;

const BUILT_IN: [(Protocol, &str); 3] = [
    (Protocol::Rtmp, include_str!("../../pipelines/rtmp.launch")),
    (Protocol::HttpFlv, include_str!("../../pipelines/http-flv.launch")),
    (Protocol::Hls, include_str!("../../pipelines/hls.launch")),
];

/// The elements that sources need, with the Debian package that holds each.
const PACKAGES: [(&str, &str); 10] = [
    ("rtmp2src", "gstreamer1.0-plugins-bad"),
    ("souphttpsrc", "gstreamer1.0-plugins-good"),
    ("hlsdemux", "gstreamer1.0-plugins-bad"),
    ("tsdemux", "gstreamer1.0-plugins-bad"),
    ("flvdemux", "gstreamer1.0-plugins-good"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("capsfilter", "libgstreamer1.0-0"),
    ("fakesink", "libgstreamer1.0-0"),
    ("filesrc", "libgstreamer1.0-0"),
];

/// The elements that the configured launch descriptions need and this machine lacks: each with the package to install.
///
/// # Errors
/// When GStreamer cannot start, or a launch description cannot be read or is wrong.
pub fn check(config: &Config) -> Result<Vec<(String, String)>, SourceError> {
    start_gstreamer()?;
    let mut missing = Vec::new();
    for launch in read(config.pipelines.as_deref())? {
        let mut context = gst::ParseContext::new();
        let _built = gst::parse::launch_full(&launch.text, Some(&mut context), gst::ParseFlags::empty());
        missing.extend(missing_from(&context));
    }
    if gst::ElementFactory::find(DISCARD).is_none() {
        missing.push(DISCARD.to_owned());
    }
    missing.sort();
    missing.dedup();
    let with_package = |element: String| {
        let package = package_of(&element).to_owned();
        (element, package)
    };
    Ok(missing.into_iter().map(with_package).collect())
}

/// What takes everything that is not looked at.
const DISCARD: &str = "fakesink";

/// A sink that throws away what it gets, without ever holding the stream up.
///
/// Sound left unlinked ends the stream at once; a sink that waits for its first buffer, or for a clock, keeps the video
/// from ever starting where the sound comes first.
pub(super) fn discard() -> Result<gst::Element, SourceError> {
    let sink = gst::ElementFactory::make(DISCARD).property("async", false).property("sync", false).build();
    sink.map_err(|_error| SourceError::MissingElement { element: DISCARD.to_owned(), package: package_of(DISCARD) })
}

pub(super) fn start_gstreamer() -> Result<(), SourceError> {
    gst::init()
        .map_err(|error| SourceError::Description { origin: "of GStreamer".to_owned(), reason: error.to_string() })
}

/// One description that was built once without complaint.
#[derive(Debug)]
pub(super) struct Launch {
    protocol: Protocol,
    origin: String,
    text: String,
}

/// A pipeline built from a description, with the elements that it must have.
pub(super) struct Parts {
    pub(super) pipeline: gst::Pipeline,
    pub(super) src: gst::Element,
    pub(super) demux: gst::Element,
    /// Where the demuxer's video goes in.
    pub(super) entry: gst::Pad,
    /// Where access units come out.
    pub(super) video: gst_app::AppSink,
}

/// Reads and tries all descriptions: those in the folder `pipelines`, and the built-in ones for the rest.
pub(super) fn load(pipelines: Option<&Path>) -> Result<Vec<Launch>, SourceError> {
    start_gstreamer()?;
    let launches = read(pipelines)?;
    for launch in &launches {
        launch.build()?;
    }
    Ok(launches)
}

fn read(pipelines: Option<&Path>) -> Result<Vec<Launch>, SourceError> {
    if let Some(folder) = pipelines
        && !folder.is_dir()
    {
        let reason = "it is no folder: correct `source.pipelines`".to_owned();
        return Err(SourceError::Description { origin: format!("folder `{}`", folder.display()), reason });
    }
    BUILT_IN.iter().map(|&(protocol, text)| Launch::read(protocol, text, pipelines)).collect()
}

impl Launch {
    fn read(protocol: Protocol, built_in: &str, pipelines: Option<&Path>) -> Result<Self, SourceError> {
        let path =
            pipelines.map(|folder| folder.join(format!("{}.launch", protocol.word()))).filter(|path| path.exists());
        let Some(path) = path else {
            let origin = format!("`{}` (built in)", protocol.word());
            return Ok(Self { protocol, origin, text: without_comments(built_in) });
        };
        let origin = format!("`{}`", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { protocol, origin, text: without_comments(&text) }),
            Err(error) => Err(SourceError::Description { origin, reason: error.to_string() }),
        }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Builds the pipeline, which does not run yet.
    pub(super) fn build(&self) -> Result<Parts, SourceError> {
        let wrong = |reason: String| SourceError::Description { origin: self.origin.clone(), reason };
        let mut context = gst::ParseContext::new();
        let built = gst::parse::launch_full(&self.text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
        if let Some(element) = missing_from(&context).next() {
            let package = package_of(&element);
            return Err(SourceError::MissingElement { element, package });
        }
        let pipeline = built
            .map_err(|error| wrong(error.to_string()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_element| wrong("it is a single element".to_owned()))?;
        let named =
            |name: &str| pipeline.by_name(name).ok_or_else(|| wrong(format!("it has no element with `name={name}`")));
        let (src, demux) = (named("src")?, named("demux")?);
        if src.find_property("location").is_none() {
            return Err(wrong("its element `src` has no property `location`".to_owned()));
        }
        let entry = named("parse")?.static_pad("sink").ok_or_else(|| wrong("its `parse` takes nothing".to_owned()))?;
        let video = named("video")?
            .downcast::<gst_app::AppSink>()
            .map_err(|_element| wrong("its element `video` is no appsink".to_owned()))?;
        Ok(Parts { pipeline, src, demux, entry, video })
    }
}

/// The elements that this machine lacks. A parser that stumbles over an element's property names that element as well.
fn missing_from(context: &gst::ParseContext) -> impl Iterator<Item = String> {
    context.missing_elements().into_iter().filter(|element| gst::ElementFactory::find(element).is_none())
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

fn package_of(element: &str) -> &'static str {
    PACKAGES.iter().find(|(name, _)| *name == element).map_or("of GStreamer that holds it", |(_, package)| package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(text: &str) -> Result<(), SourceError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rtmp.launch"), text).unwrap();
        load(Some(folder.path())).map(|_launches| ())
    }

    const GOOD: &str = "filesrc name=src ! flvdemux name=demux  h264parse name=parse ! appsink name=video";

    #[test]
    fn the_built_in_descriptions_build() {
        let launches = load(None).unwrap();
        assert_eq!(
            launches.iter().map(Launch::protocol).collect::<Vec<_>>(),
            [Protocol::Rtmp, Protocol::HttpFlv, Protocol::Hls]
        );
        assert_eq!(check(&Config::default()).unwrap(), Vec::new());
    }

    #[test]
    fn a_folder_overrides_what_it_holds() {
        assert_eq!(built(&format!("# a comment with \"quotes and ! marks\n  # another\n{GOOD}")), Ok(()));
        let empty = tempfile::tempdir().unwrap();
        assert!(load(Some(empty.path())).unwrap()[0].origin.contains("built in"));
    }

    #[test]
    fn a_wrong_description_is_refused_before_anything_starts() {
        for (text, kind, says) in [
            ("", "description", "`"),
            ("filesrc name=src", "description", "single element"),
            (&GOOD.replace("flvdemux", "flvdemuxx"), "missing_element", "element `flvdemuxx`"),
            (&GOOD.replace("name=src", ""), "description", "`name=src`"),
            (&GOOD.replace("name=video", ""), "description", "`name=video`"),
            (&GOOD.replace("appsink", "fakesink"), "description", "no appsink"),
            (&GOOD.replace("filesrc", "fakesrc"), "description", "no property `location`"),
            (&GOOD.replace("name=src", "name=src speed=9"), "description", "speed"),
            ("filesrc name=src ! ! !", "description", "syntax"),
        ] {
            let error = built(text).unwrap_err();
            assert_eq!(error.kind(), kind, "{text}: {error}");
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert!(!error.is_retryable());
        }
        assert_eq!(load(Some(Path::new("/nowhere/at/all"))).unwrap_err().kind(), "description");
    }

    #[test]
    fn a_missing_element_names_its_package() {
        let error = SourceError::MissingElement { element: "rtmp2src".to_owned(), package: package_of("rtmp2src") };
        assert_eq!(
            error.to_string(),
            "GStreamer has no element `rtmp2src`: install the package gstreamer1.0-plugins-bad"
        );
    }
}
