//! What every stage knows about a stream: its name, the publisher's session, what it carries, how it is doing and how
//! closely it is looked at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// A stream's place on a media server: `server/app/name`.
///
/// On most servers the name is the publisher's secret key, so [`fmt::Display`] and [`fmt::Debug`] shorten it: logs may
/// carry a `StreamId` as it is. The ledger, the API and the media server use the whole of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The `name` of the `[[server]]` in the configuration.
    pub server: Arc<str>,
    /// The application (nginx-rtmp, SRS) or path prefix.
    pub app: Arc<str>,
    /// The stream's name as the server gives it, decoded.
    pub name: Arc<str>,
}

impl StreamId {
    /// A stream called `name` in `app` on the configured `server`.
    pub fn new(server: &str, app: &str, name: &str) -> Self {
        Self { server: server.into(), app: app.into(), name: name.into() }
    }

    /// The other way of [`Self::full`]. An application may hold slashes, a stream's name holds none.
    pub fn parse(full: &str) -> Self {
        let (server, rest) = full.split_once('/').unwrap_or(("", full));
        let (app, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        Self::new(server, app, name)
    }

    /// The whole name, `server/app/name`: for the API and the ledger, never for logs.
    pub fn full(&self) -> String {
        format!("{}/{}/{}", self.server, self.app, self.name)
    }
}

/// The redacted form: `server/app/nam..#1f2e3d`, the same for the same stream.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.name.chars().take(3).filter(char::is_ascii_alphanumeric).collect();
        let digest = hex::encode(Sha256::digest(self.full().as_bytes()));
        write!(f, "{}/{}/{head}..#{}", self.server, self.app, digest.get(..6).unwrap_or_default())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The media server's own identifier for one connection of a publisher. A new publisher on the same name is a new
/// session; every verdict and every kick is bound to one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Arc<str>);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SessionId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

/// One publisher's session on one stream: what findings, verdicts and actions are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The stream published to.
    pub stream: StreamId,
    /// The server's identifier of the connection.
    pub id: SessionId,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} session {}", self.stream, self.id)
    }
}

/// Who publishes, as far as the media server tells. Empty where it tells nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Publisher {
    /// The address that they publish from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Arc<str>>,
    /// The secret that they publish with, where it is not the stream's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// The platform's account that they publish for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Arc<str>>,
}

impl Publisher {
    /// Somebody of whom at most the address is known.
    pub fn at(address: Option<&str>) -> Self {
        Self { address: address.map(Arc::from), ..Self::default() }
    }

    /// What is known, and what `other` knows beyond it.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            address: self.address.or_else(|| other.address.clone()),
            key: self.key.or_else(|| other.key.clone()),
            account: self.account.or_else(|| other.account.clone()),
        }
    }

    /// Whether both may be one and the same: their addresses do not differ.
    pub fn may_be(&self, other: &Self) -> bool {
        self.address.is_none() || other.address.is_none() || self.address == other.address
    }
}

/// Without the key, which is a secret, and without the address, which is personal.
impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |part: &Option<Arc<str>>| part.as_ref().map(|_| "..");
        f.debug_struct("Publisher")
            .field("address", &hidden(&self.address))
            .field("key", &hidden(&self.key))
            .field("account", &hidden(&self.account))
            .finish()
    }
}

/// A video codec, as far as Sluicegate tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 / AVC, as an Annex B byte stream, one access unit at a time, parameter sets in front of keyframes.
    H264,
    /// H.265 / HEVC, in the same form.
    H265,
    /// VP9, one frame or superframe at a time.
    Vp9,
    /// AV1, one temporal unit at a time, as a low-overhead bitstream (`obu-stream`).
    Av1,
}

impl Codec {
    /// Every codec there is.
    pub const ALL: [Self; 4] = [Self::H264, Self::H265, Self::Vp9, Self::Av1];

    /// A bounded word for metrics and people: `h264`, `h265`, `vp9` or `av1`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
        }
    }
}

/// One encoded frame, as the demuxer and parser give it. Cloning copies a reference, not the frame.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// Counts the video access units of a session from 0.
    pub sequence: u64,
    /// The codec of `data`.
    pub codec: Codec,
    /// Can be decoded without any unit before it.
    pub keyframe: bool,
    /// Presentation timestamp on the stream's own clock.
    pub pts: Option<Duration>,
    /// When it reached us.
    pub arrived: Timestamp,
    /// The encoded bytes.
    pub data: Bytes,
}

/// How a stream is doing, as `/metrics` and the API say it. Only `Inspected` counts as inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum StreamState {
    /// Announced by the server; nothing received yet.
    Connecting,
    /// A picture was inspected recently.
    Inspected,
    /// No inspectable picture for longer than `blind_after`.
    Blind,
    /// It cannot be inspected at all, for the reason given.
    Uninspectable(UninspectableReason),
}

impl StreamState {
    /// A bounded word for metrics: `connecting`, `inspected`, `blind` or `uninspectable`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Inspected => "inspected",
            Self::Blind => "blind",
            Self::Uninspectable(_) => "uninspectable",
        }
    }

    /// Every word that [`Self::word`] can give.
    pub const WORDS: [&'static str; 4] = ["connecting", "inspected", "blind", "uninspectable"];
}

/// Why a stream cannot be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UninspectableReason {
    /// The stream has no video, or none that arrives.
    NoVideo,
    /// The demuxer or the decoder does not know the codec.
    UnsupportedCodec,
    /// Video arrives, and nothing of it decodes.
    Undecodable,
    /// Its pictures are larger than the configuration allows.
    TooLarge,
    /// It brought inspectors down, and is not looked at again; nor are, for ten minutes, new sessions of its name.
    Crashed,
    /// As many streams are under inspection as the configuration allows.
    NoPlace,
}

impl UninspectableReason {
    /// Every reason there is.
    pub const ALL: [Self; 6] =
        [Self::NoVideo, Self::UnsupportedCodec, Self::Undecodable, Self::TooLarge, Self::Crashed, Self::NoPlace];

    /// A bounded word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoVideo => "no_video",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::Crashed => "crashed",
            Self::NoPlace => "no_place",
        }
    }
}

/// How closely a stream is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Keyframes, at the normal interval.
    Calm,
    /// A detector saw something: look back, and look often.
    Suspicious,
    /// People reported it.
    Reported,
    /// People reported that somebody is in danger of life.
    Imminent,
}

/// A stream's attention: the one value that flows against the line. A finding or a verdict raises it, time lowers it,
/// the sampler reads it. One atomic word, so neither side ever waits.
#[derive(Debug, Default)]
pub struct AttentionCell(AtomicU64);

const LEVEL_BITS: u32 = 2;

impl AttentionCell {
    /// Raises attention to `level` until `until`. A lower level does not replace a higher one that still holds.
    pub fn raise(&self, level: Attention, now: Timestamp, until: Timestamp) {
        let raised = (until.as_micros() << LEVEL_BITS) | level as u64;
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (held, held_until) = unpack(word);
            if held_until > now && (held > level || (held == level && held_until >= until)) {
                return;
            }
            match self.0.compare_exchange_weak(word, raised, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(newer) => word = newer,
            }
        }
    }

    /// The level in force at `now`.
    pub fn level(&self, now: Timestamp) -> Attention {
        self.standing(now).map_or(Attention::Calm, |(level, _)| level)
    }

    /// The level in force at `now`, and until when it is, where it is not calm.
    pub fn standing(&self, now: Timestamp) -> Option<(Attention, Timestamp)> {
        Some(unpack(self.0.load(Ordering::Acquire))).filter(|(_, until)| *until > now)
    }
}

fn unpack(word: u64) -> (Attention, Timestamp) {
    let level = match word & ((1 << LEVEL_BITS) - 1) {
        0 => Attention::Calm,
        1 => Attention::Suspicious,
        2 => Attention::Reported,
        _ => Attention::Imminent,
    };
    (level, Timestamp::from_micros(word >> LEVEL_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_key_never_shows_in_logs() {
        let stream = StreamId::new("main", "live", "sk_9f8e7d6c5b4a");
        for shown in [stream.to_string(), format!("{stream:?}")] {
            assert!(!shown.contains("9f8e7d"), "{shown}");
            assert!(shown.starts_with("main/live/sk"), "{shown}");
        }
        assert_eq!(stream.to_string(), stream.clone().to_string());
        assert_eq!(StreamId::parse(&stream.full()), stream);
        assert_eq!(StreamId::parse("main/a/b/c"), StreamId::new("main", "a/b", "c"));
        assert_ne!(stream.to_string(), StreamId::new("main", "live", "sk_9f8e7d6c5b4b").to_string());
    }

    #[test]
    fn attention_is_raised_by_events_and_lowered_by_time() {
        let at = Timestamp::from_millis;
        let cell = AttentionCell::default();
        assert_eq!(cell.level(at(0)), Attention::Calm);
        cell.raise(Attention::Suspicious, at(0), at(4000));
        assert_eq!(cell.level(at(3999)), Attention::Suspicious);
        assert_eq!(cell.level(at(4000)), Attention::Calm);
    }

    #[test]
    fn a_lower_level_does_not_replace_a_higher_one_that_holds() {
        let at = Timestamp::from_millis;
        let cell = AttentionCell::default();
        cell.raise(Attention::Imminent, at(0), at(1000));
        cell.raise(Attention::Suspicious, at(10), at(9000));
        assert_eq!(cell.level(at(20)), Attention::Imminent);
        cell.raise(Attention::Reported, at(20), at(9000));
        assert_eq!(cell.level(at(21)), Attention::Imminent);
        cell.raise(Attention::Suspicious, at(1001), at(9000));
        assert_eq!(cell.level(at(1002)), Attention::Suspicious);
    }
}
