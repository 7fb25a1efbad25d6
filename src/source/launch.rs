//! The launch descriptions in `pipelines/`, and what is built from them.
//!
//! A description says which elements there are; an address never becomes a part of it, but is set as a property.

use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{Config, SourceError, branch, typed};
use crate::media_server::Protocol;

/// The descriptions, by the names of their files without the ending.
const BUILT_IN: [(Protocol, &str, &str); 7] = [
    (Protocol::Rtmp, "rtmp", include_str!("../../pipelines/rtmp.launch")),
    (Protocol::HttpFlv, "http-flv", include_str!("../../pipelines/http-flv.launch")),
    (Protocol::Hls, "hls", include_str!("../../pipelines/hls.launch")),
    (Protocol::Hls, "hls-fmp4", include_str!("../../pipelines/hls-fmp4.launch")),
    (Protocol::Rtsp, "rtsp", include_str!("../../pipelines/rtsp.launch")),
    (Protocol::Srt, "srt", include_str!("../../pipelines/srt.launch")),
    (Protocol::File, "file", include_str!("../../pipelines/file.launch")),
];

/// The elements that sources need, with the Debian package that holds each.
const PACKAGES: [(&str, &str); 22] = [
    ("rtmp2src", "gstreamer1.0-plugins-bad"),
    ("souphttpsrc", "gstreamer1.0-plugins-good"),
    ("rtspsrc", "gstreamer1.0-plugins-good"),
    ("srtsrc", "gstreamer1.0-plugins-bad"),
    ("tsdemux", "gstreamer1.0-plugins-bad"),
    ("flvdemux", "gstreamer1.0-plugins-good"),
    ("qtdemux", "gstreamer1.0-plugins-good"),
    ("matroskademux", "gstreamer1.0-plugins-good"),
    ("rtph264depay", "gstreamer1.0-plugins-good"),
    ("rtph265depay", "gstreamer1.0-plugins-good"),
    ("rtpvp9depay", "gstreamer1.0-plugins-good"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("h265parse", "gstreamer1.0-plugins-bad"),
    ("vp9parse", "gstreamer1.0-plugins-bad"),
    ("av1parse", "gstreamer1.0-plugins-bad"),
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("capsfilter", "libgstreamer1.0-0"),
    ("fakesink", "libgstreamer1.0-0"),
    ("filesrc", "libgstreamer1.0-0"),
    ("queue", "libgstreamer1.0-0"),
    ("typefind", "libgstreamer1.0-0"),
];

/// Elements that no description may name, and why.
const REFUSED: [(&str, &str); 12] = [
    ("hlsdemux", "it is segments late and notices no end: playlists are followed without it"),
    ("hlsdemux2", ABORTS),
    ("dashdemux2", ABORTS),
    ("mssdemux2", ABORTS),
    ("rtmpsrc", "it may hang for minutes when it is stopped: use `rtmp2src`"),
    ("parsebin", CHOOSES),
    ("decodebin", CHOOSES),
    ("decodebin3", CHOOSES),
    ("urisourcebin", CHOOSES),
    ("uridecodebin", CHOOSES),
    ("uridecodebin3", CHOOSES),
    ("playbin", CHOOSES),
];
const ABORTS: &str = "it may abort the process when it is stopped early (GStreamer 1.22)";
const CHOOSES: &str = "it chooses elements by itself, also those that hang or abort the process: name a demuxer";

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
    let behind_pads = branch::elements().chain(typed::elements());
    missing.extend(behind_pads.filter(|element| gst::ElementFactory::find(element).is_none()).map(str::to_owned));
    missing.sort();
    missing.dedup();
    let with_package = |element: String| {
        let package = package_of(&element).to_owned();
        (element, package)
    };
    Ok(missing.into_iter().map(with_package).collect())
}

pub(super) fn start_gstreamer() -> Result<(), SourceError> {
    gst::init()
        .map_err(|error| SourceError::Description { origin: "of GStreamer".to_owned(), reason: error.to_string() })
}

/// One description that was built once without complaint.
#[derive(Debug)]
pub(super) struct Launch {
    protocol: Protocol,
    name: &'static str,
    origin: String,
    text: String,
}

/// A pipeline built from a description, with the elements that it must have.
pub(super) struct Parts {
    pub(super) pipeline: gst::Pipeline,
    pub(super) src: gst::Element,
    /// The property of `src` that takes the stream's address; none where we fetch the stream ourselves.
    pub(super) address: Option<&'static str>,
    /// What gives a pad a track.
    pub(super) demux: gst::Element,
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
    BUILT_IN.iter().map(|&(protocol, name, text)| Launch::read(protocol, name, text, pipelines)).collect()
}

impl Launch {
    fn read(
        protocol: Protocol,
        name: &'static str,
        built_in: &str,
        pipelines: Option<&Path>,
    ) -> Result<Self, SourceError> {
        let path = pipelines.map(|folder| folder.join(format!("{name}.launch"))).filter(|path| path.exists());
        let Some(path) = path else {
            let origin = format!("`{name}` (built in)");
            return Ok(Self { protocol, name, origin, text: without_comments(built_in) });
        };
        let origin = format!("`{}`", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { protocol, name, origin, text: without_comments(&text) }),
            Err(error) => Err(SourceError::Description { origin, reason: error.to_string() }),
        }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The name of its file without the ending.
    pub(super) const fn name(&self) -> &'static str {
        self.name
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
        // Not every protocol takes more than one element.
        let pipeline = match built.map_err(|error| wrong(error.to_string()))?.downcast::<gst::Pipeline>() {
            Ok(pipeline) => pipeline,
            Err(element) => {
                let pipeline = gst::Pipeline::new();
                pipeline.add(&element).map_err(|error| wrong(error.to_string()))?;
                pipeline
            }
        };
        let named =
            |name: &str| pipeline.by_name(name).ok_or_else(|| wrong(format!("it has no element with `name={name}`")));
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            let factory = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == factory) {
                return Err(wrong(format!("it names `{factory}`, which is not allowed: {why}")));
            }
        }
        let src = named("src")?;
        let demux = pipeline.by_name("demux").unwrap_or_else(|| src.clone());
        let address = ["location", "uri"].into_iter().find(|property| src.find_property(property).is_some());
        let fed = src.is::<gst_app::AppSrc>();
        if self.protocol == Protocol::Hls {
            if !fed {
                return Err(wrong("its element `src` is no appsrc, which segments are handed to".to_owned()));
            }
        } else if address.is_none() && !(fed && self.protocol == Protocol::HttpFlv) {
            return Err(wrong("its element `src` has no property `location` or `uri`".to_owned()));
        }
        if !typed::is_type_finder(&demux) && !gives_pads_later(&demux) {
            let name = demux.name();
            return Err(wrong(format!(
                "its element `{name}` takes nothing apart: it has no pads that appear for tracks"
            )));
        }
        // As descriptions once had to.
        let sink = pipeline
            .iterate_sinks()
            .into_iter()
            .flatten()
            .find(|element| element.num_src_pads() == 0 && *element != demux);
        if let Some(sink) = sink.filter(|sink| !gives_pads_later(sink)) {
            let name = sink.name();
            return Err(wrong(format!("its element `{name}` is a sink: leave out what stands behind `demux`")));
        }
        Ok(Parts { pipeline, src, address, demux })
    }
}

fn gives_pads_later(element: &gst::Element) -> bool {
    let templates = element.factory().into_iter().flat_map(|factory| factory.static_pad_templates());
    templates
        .into_iter()
        .any(|pad| pad.direction() == gst::PadDirection::Src && pad.presence() == gst::PadPresence::Sometimes)
}

/// The elements that this machine lacks. A parser that stumbles over an element's property names that element as well.
fn missing_from(context: &gst::ParseContext) -> impl Iterator<Item = String> {
    context.missing_elements().into_iter().filter(|element| gst::ElementFactory::find(element).is_none())
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn package_of(element: &str) -> &'static str {
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

    const GOOD: &str = "filesrc name=src ! flvdemux name=demux";

    #[test]
    fn the_built_in_descriptions_build() {
        let launches = load(None).unwrap();
        let mut protocols: Vec<Protocol> = launches.iter().map(Launch::protocol).collect();
        protocols.dedup();
        assert_eq!(protocols, Protocol::ALL);
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
            ("filesrc name=src", "description", "`src` takes nothing apart"),
            (&GOOD.replace("flvdemux", "flvdemuxx"), "missing_element", "element `flvdemuxx`"),
            (&GOOD.replace("name=src", ""), "description", "`name=src`"),
            (&GOOD.replace("name=demux", ""), "description", "`src` takes nothing apart"),
            (&GOOD.replace("flvdemux", "h264parse"), "description", "`demux` takes nothing apart"),
            (&GOOD.replace("filesrc", "fakesrc"), "description", "no property `location` or `uri`"),
            (&GOOD.replace("flvdemux", "decodebin"), "description", "`decodebin`, which is not allowed: it chooses"),
            (&GOOD.replace("flvdemux", "parsebin ! flvdemux"), "description", "`parsebin`, which is not allowed"),
            (&GOOD.replace("flvdemux", "hlsdemux2 ! tsdemux"), "description", "it may abort the process"),
            (&GOOD.replace("filesrc", "rtmpsrc"), "description", "it may hang"),
            ("uridecodebin name=src", "description", "it chooses elements by itself"),
            ("uridecodebin name=src fakesink", "description", "`uridecodebin`, which is not allowed"),
            (&format!("{GOOD}  h264parse ! appsink name=video"), "description", "its element `video` is a sink"),
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
    fn every_element_has_a_package() {
        for element in branch::elements().chain(typed::elements()) {
            assert!(PACKAGES.iter().any(|(name, _)| *name == element), "{element}");
        }
    }

    #[test]
    fn segments_are_handed_to_a_description_rather_than_fetched_by_it() {
        let folder = tempfile::tempdir().unwrap();
        for (text, says) in [
            ("appsrc name=src ! tsdemux name=demux", None),
            ("souphttpsrc name=src ! hlsdemux ! tsdemux name=demux", Some("`hlsdemux`, which is not allowed")),
            ("souphttpsrc name=src ! tsdemux name=demux", Some("no appsrc")),
        ] {
            std::fs::write(folder.path().join("hls-fmp4.launch"), text).unwrap();
            let refused = load(Some(folder.path())).err().map(|error| error.to_string());
            assert_eq!(refused.is_some(), says.is_some(), "{text}: {refused:?}");
            assert!(refused.unwrap_or_default().contains(says.unwrap_or_default()), "{text}");
        }
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
