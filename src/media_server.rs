//! What the house asks of a media server: the words that `act`, `source` and `api` share about one.

use std::borrow::Cow;
use std::path::PathBuf;

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::stream::{Publisher, Session, StreamId};

/// A publisher as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Who publishes where.
    pub session: Session,
    /// Who they are.
    pub publisher: Publisher,
    /// Bytes received from the publisher so far, where the server says so.
    pub bytes_in: Option<u64>,
}

/// A hook as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct HookRequest<'a> {
    /// The request's headers: some servers sign there.
    pub headers: &'a HeaderMap,
    /// The request's body, as it is.
    pub body: &'a [u8],
}

/// What a server's hook announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// Somebody asks to publish; the answer decides.
    Publish {
        /// The session that they ask for.
        session: Session,
        /// Who asks.
        publisher: Publisher,
    },
    /// Somebody asks to publish before the server has given them a session; the answer decides. Which session it became
    /// is told by [`Hook::Begun`] or by the server's list.
    Ask {
        /// Where they want to publish.
        stream: StreamId,
        /// Who asks.
        publisher: Publisher,
    },
    /// A session publishes now.
    Begun {
        /// Who.
        session: Session,
        /// What is known of them, which may be less than they were asked with.
        publisher: Publisher,
    },
    /// A publisher is gone.
    PublishDone {
        /// Who.
        session: Session,
    },
    /// Somebody asks for what is not publishing and not theirs.
    Forbidden,
    /// A hook that Sluicegate has no use for.
    Other,
}

/// The answer to somebody who asks to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Let them publish.
    Allow,
    /// A deny stands against the stream.
    Refuse,
}

impl Admission {
    /// A bounded word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

/// What the server that sent a hook is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The media type of `body`.
    pub content_type: Cow<'static, str>,
    /// The body.
    pub body: Cow<'static, str>,
}

impl Reply {
    /// A reply of JSON.
    pub const fn json(status: u16, body: &'static str) -> Self {
        Self { status, content_type: Cow::Borrowed("application/json"), body: Cow::Borrowed(body) }
    }
}

/// How a stream is pulled: which of the launch descriptions in `pipelines/` it is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// From an RTMP server.
    Rtmp,
    /// FLV over HTTP, without an end.
    HttpFlv,
    /// HTTP Live Streaming: playlists of segments.
    Hls,
    /// From an RTSP server, over TCP.
    Rtsp,
    /// MPEG-TS over SRT.
    Srt,
    /// A local file, at the pace at which it was recorded.
    File,
}

impl Protocol {
    /// Every protocol there is.
    pub const ALL: [Self; 6] = [Self::Rtmp, Self::HttpFlv, Self::Hls, Self::Rtsp, Self::Srt, Self::File];

    /// A bounded word: for metrics, and the name of the launch description without its ending.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::HttpFlv => "http-flv",
            Self::Hls => "hls",
            Self::Rtsp => "rtsp",
            Self::Srt => "srt",
            Self::File => "file",
        }
    }
}

/// Where to pull a stream from, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The stream.
    pub stream: StreamId,
    /// How.
    pub protocol: Protocol,
    /// The address to pull from. Contains the stream's name: never logged whole.
    pub url: String,
}

impl Pull {
    /// Where the file lies that is pulled, if it is one and its address says so.
    pub fn path(&self) -> Option<PathBuf> {
        let url = Url::parse(&self.url).ok().filter(|url| url.scheme() == "file")?;
        url.to_file_path().ok()
    }

    /// Whether a file is to be played again and again: its address ends in `#loop`.
    pub fn repeats(&self) -> bool {
        self.url.ends_with("#loop")
    }
}
