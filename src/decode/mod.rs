//! Access units to pictures: the one place where strangers' video is decoded.
//!
//! A [`Decoder`] serves every stream in turn, one run at a time. It promises that a run costs bounded time and bounded
//! memory, that nothing of one run shows in the next, that every picture is attributed to the access unit that it came
//! from, and that no damaged unit ever stops a worker: after an error the decoder starts afresh. A [`Continuous`] decoder
//! serves one stream, and keeps what it needs to go on from one piece of it to the next. [`file::Video`] reads a
//! local video for banks and models, [`groups::Groups`] one to be inspected, [`still()`] a local picture. No GStreamer type
//! leaves this room.

mod codec;
mod coded;
mod container;
mod continuous;
mod decoder;
pub mod file;
pub mod groups;
mod planes;
mod spare;
pub mod still;

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use serde::{Deserialize, Serialize};

use crate::stream::UninspectableReason;

pub use continuous::Continuous;
pub use decoder::Decoder;
pub use still::still;

/// The `[decode]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Decoders that run at the same time; one a core where absent.
    pub workers: Option<usize>,
    /// The longest wait for a run of one unit, and for the next picture of any run, before the decoder is given up and
    /// replaced. A run of more units has a little more for each.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
    /// Refuse pictures of more than this many pixels: a small packet can announce an enormous picture.
    pub max_pixels: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { workers: None, timeout: Duration::from_secs(2), max_pixels: 8192 * 4320 }
    }
}

/// Decoding failed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// This installation of GStreamer lacks an element.
    #[error("GStreamer has no element `{element}`: install the package {package}")]
    MissingElement {
        /// The element's name.
        element: String,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// GStreamer itself could not start or build the decoder.
    #[error("the decoder could not be started: {0}; `sluicegate doctor` lists what is missing")]
    Start(String),
    /// The stream announces pictures larger than the configuration allows.
    #[error("a picture of {width}x{height} has more than {max_pixels} pixels: raise `decode.max_pixels` to inspect it")]
    TooLarge {
        /// Width announced, in pixels.
        width: u32,
        /// Height announced, in pixels.
        height: u32,
        /// The limit in force.
        max_pixels: u64,
    },
    /// A run was not done in time: for so long the decoder was waited for.
    #[error("not done within {0:?}: the decoder was replaced")]
    TimedOut(Duration),
    /// None of the access units asked for gave a picture.
    #[error("none of the {0} access units to be inspected gave a picture: the video is damaged or not what it says")]
    Undecodable(usize),
    /// The decoder stopped.
    #[error("the decoder failed and was replaced: {0}")]
    Failed(String),
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds nothing that can be decoded.
    #[error("`{path}` {reason}")]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// A file is no picture, or none that can be read.
    #[error("`{path}` {problem}")]
    NotPicture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A file announces frames larger than any codec's highest level allows.
    #[error(
        "`{path}` has frames of {width}x{height}, more than {} pixels: scale it down first",
        Config::default().max_pixels
    )]
    LargeFile {
        /// The file.
        path: PathBuf,
        /// Width announced, in pixels.
        width: u32,
        /// Height announced, in pixels.
        height: u32,
    },
    /// A file is a video, and broken or in a codec that nothing here decodes.
    #[error("`{path}` cannot be decoded: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In GStreamer's words.
        reason: String,
    },
}

impl DecodeError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MissingElement { .. } => "missing_element",
            Self::Start(_) => "start",
            Self::TooLarge { .. } | Self::LargeFile { .. } => "too_large",
            Self::TimedOut(_) => "timed_out",
            Self::Undecodable(_) => "undecodable",
            Self::Failed(_) => "failed",
            Self::File { .. } => "file",
            Self::NotVideo { .. } => "not_video",
            Self::NotPicture { .. } => "not_picture",
            Self::Damaged { .. } => "damaged",
        }
    }

    /// Why the stream cannot be inspected, where the error says that it will stay so.
    pub const fn hindrance(&self) -> Option<UninspectableReason> {
        match self {
            Self::MissingElement { .. } => Some(UninspectableReason::UnsupportedCodec),
            Self::TooLarge { .. } => Some(UninspectableReason::TooLarge),
            _ => None,
        }
    }

    /// Whether later units of the same stream may well decode.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::Undecodable(_) | Self::Failed(_) => true,
            Self::MissingElement { .. }
            | Self::Start(_)
            | Self::TooLarge { .. }
            | Self::File { .. }
            | Self::NotVideo { .. }
            | Self::NotPicture { .. }
            | Self::LargeFile { .. }
            | Self::Damaged { .. } => false,
        }
    }
}

/// Every element that decoding needs, those of all codecs included, with the Debian package that holds it.
const ELEMENTS: [(&str, &str); 14] = [
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("decodebin", "gstreamer1.0-plugins-base"),
    ("parsebin", "gstreamer1.0-plugins-base"),
    ("videoconvert", "gstreamer1.0-plugins-base"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("h265parse", "gstreamer1.0-plugins-bad"),
    ("vp9parse", "gstreamer1.0-plugins-bad"),
    ("av1parse", "gstreamer1.0-plugins-bad"),
    ("avdec_h264", "gstreamer1.0-libav"),
    ("avdec_h265", "gstreamer1.0-libav"),
    ("avdec_vp9", "gstreamer1.0-libav"),
    ("av1dec", "gstreamer1.0-plugins-bad"),
    ("filesrc", "libgstreamer1.0-0"),
];

/// The elements that decoding needs and this machine lacks: each with the package to install.
///
/// # Errors
/// When GStreamer itself cannot start.
pub fn check() -> Result<Vec<(String, String)>, DecodeError> {
    start_gstreamer()?;
    let missing = ELEMENTS.iter().filter(|(element, _)| gst::ElementFactory::find(element).is_none());
    Ok(missing.map(|&(element, package)| (element.to_owned(), package.to_owned())).collect())
}

fn start_gstreamer() -> Result<(), DecodeError> {
    gst::init().map_err(|error| DecodeError::Start(error.to_string()))
}

/// An element of [`ELEMENTS`] by its factory name.
fn element(name: &'static str) -> Result<gst::Element, DecodeError> {
    gst::ElementFactory::make(name).build().map_err(|_error| missing(name))
}

fn missing(name: &str) -> DecodeError {
    let package = ELEMENTS.iter().find(|(element, _)| *element == name).map_or("that holds it", |(_, package)| package);
    DecodeError::MissingElement { element: name.to_owned(), package }
}

/// Width and height that `caps` announce.
fn size(caps: &gst::CapsRef) -> Option<(u32, u32)> {
    let structure = caps.structure(0)?;
    let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
    Some((side("width")?, side("height")?))
}

/// What is known of the file at `path`, once it is known to be one that has an end: looked at before it is opened, for that alone
/// would wait for whoever writes into a pipe. `refused` makes an error of what is wrong with it.
fn regular(path: &Path, refused: impl Fn(&'static str) -> DecodeError) -> Result<Metadata, DecodeError> {
    let unreadable = |source| DecodeError::File { path: path.to_owned(), source };
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    if facts.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    if !facts.is_file() {
        return Err(refused("is a pipe or a device: copy what it gives to a file first"));
    }
    if facts.len() == 0 {
        return Err(refused("is empty: copy it again"));
    }
    Ok(facts)
}

/// Takes `pipeline` down on a thread of its own: a decoder that hangs would otherwise take the caller with it.
fn tear_down(pipeline: gst::Pipeline) {
    use gst::prelude::*;
    let down = move || {
        if let Err(error) = pipeline.set_state(gst::State::Null) {
            tracing::warn!(%error, "a decoder did not stop cleanly");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("decode-reaper".to_owned()).spawn(down) {
        tracing::error!(%error, "no thread to stop a decoder with: it stays");
    }
}
