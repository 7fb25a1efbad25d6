//! Live streams in, access units out: the one place that talks media protocols.
//!
//! [`Sources`] keeps any number of streams attached. A stream costs one pipeline that demuxes and parses and never
//! decodes, on one streaming thread (and what its network element runs for itself: `rtmp2src` has one more); a single
//! thread watches over all of them, and another fetches whatever comes over HTTP. It promises that
//!
//! - an access unit is handed on in the streaming thread the moment it is parsed, without a copy, a lock to wait for or
//!   a queue to fill;
//! - the end of a stream, an error and silence come to the same: the source is detached and attached again, with growing
//!   and jittered waits, until its handle is dropped;
//! - no stream can hold up another, and nothing here waits for ever, not even the shutdown;
//! - no media server is attached to faster than `attach_per_second`, whoever has to be attached and why.

mod attachment;
mod backoff;
mod branch;
mod descriptors;
mod error;
mod flv;
mod framing;
mod guard;
mod hls;
mod http;
mod http_flv;
mod launch;
mod outlet;
mod pace;
mod progress;
mod supervisor;
mod typed;
mod watch;
mod workshop;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stream::AccessUnit;

pub use descriptors::{Room, make_room, room_for};
pub use error::SourceError;
pub use launch::check;
pub use supervisor::{SourceHandle, Sources};

/// The `[source]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A folder of launch descriptions, such as `rtmp.launch`, that replace the built-in ones of the same name.
    pub pipelines: Option<PathBuf>,
    /// Attach again when no video came for this long, or no answer at all.
    #[serde(with = "crate::config::duration")]
    pub stall_after: Duration,
    /// Say that a stream has no video when it sent none for this long, and look for it afresh.
    #[serde(with = "crate::config::duration")]
    pub no_video_after: Duration,
    /// The shortest wait before attaching again.
    #[serde(with = "crate::config::duration")]
    pub reconnect_min: Duration,
    /// The longest wait before attaching again.
    #[serde(with = "crate::config::duration")]
    pub reconnect_max: Duration,
    /// Attach to no more streams of one media server in a second, but for the first few.
    pub attach_per_second: NonZeroU32,
    /// Where an HLS stream comes in several renditions, the cheapest that has so many lines is looked at.
    pub min_height: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pipelines: None,
            stall_after: Duration::from_secs(5),
            no_video_after: Duration::from_secs(6),
            reconnect_min: Duration::from_millis(200),
            reconnect_max: Duration::from_secs(10),
            attach_per_second: NonZeroU32::MIN.saturating_add(49),
            min_height: 360,
        }
    }
}

/// What a source says.
#[derive(Debug)]
pub enum SourceEvent {
    /// Video flows: the next event is the attachment's first access unit. Its timestamps have nothing to do with those
    /// of the attachment before; its sequence numbers go on from there. Said again where a stream goes on with
    /// timestamps or in an encoding of another kind, as HLS does at a discontinuity.
    Attached,
    /// One encoded frame.
    Unit(AccessUnit),
    /// The server sends, and there is no video in it. Said once an attachment.
    NoVideo,
    /// There is video, in a codec that cannot be inspected. Its name, as far as it is known.
    UnsupportedCodec(String),
    /// So many segments of a playlist were not looked at: they were gone, could not be had or fed, or came too late.
    Missed(u64),
    /// A file has come to its end. Nothing more comes of it.
    Finished,
    /// The source was detached and will be attached again.
    Reconnecting {
        /// Why.
        reason: Reason,
        /// What went wrong, where something did.
        error: Option<SourceError>,
        /// How long until then.
        after: Duration,
    },
}

/// Why a source is attached again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The server ended the stream.
    Ended,
    /// The server, the network or the media failed.
    Error,
    /// No video came for too long.
    Stalled,
    /// The server sends, and the demuxer found no video in it.
    NoVideo,
}

impl Reason {
    /// A bounded word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Error => "error",
            Self::Stalled => "stalled",
            Self::NoVideo => "no_video",
        }
    }
}
