//! What the house asks of a media server: the words that `act`, `source` and `api` share about one.

use serde::{Deserialize, Serialize};

use crate::stream::{Session, StreamId};

/// A publisher as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Who publishes where.
    pub session: Session,
    /// The publisher's address as the server reports it.
    pub address: Option<String>,
    /// Bytes received from the publisher so far, where the server says so.
    pub bytes_in: Option<u64>,
}

/// What a server's hook announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// Somebody asks to publish; the answer decides.
    Publish {
        /// Who asks.
        session: Session,
        /// Their address.
        address: Option<String>,
    },
    /// A publisher is gone.
    PublishDone {
        /// Who.
        session: Session,
    },
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

/// Where to pull a stream from, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The stream.
    pub stream: StreamId,
    /// The launch description in `pipelines/` without its ending: `rtmp`.
    pub protocol: &'static str,
    /// The address to pull from. Contains the stream's name: never logged whole.
    pub url: String,
}
