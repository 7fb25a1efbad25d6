//! What can go wrong with a source, in words for people and for metrics.

use gstreamer as gst;
use gstreamer::glib;

use crate::media_server::Pull;

/// A source failed, or could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// This installation of GStreamer lacks an element.
    #[error("GStreamer has no element `{element}`: install the package {package}")]
    MissingElement {
        /// The element's name.
        element: String,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// A launch description is missing or wrong.
    #[error("the launch description {origin} cannot be used: {reason}")]
    Description {
        /// The file, or the name of the built-in one.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server does not answer.
    #[error("{stream} cannot be pulled, the server does not answer: {reason}; check that it runs and its address")]
    Unreachable {
        /// The stream, redacted.
        stream: String,
        /// In GStreamer's words.
        reason: String,
    },
    /// The server has no such stream, or does not give it.
    #[error(
        "{stream} cannot be pulled, the server refuses: {reason}; check that it is live and may be played from here"
    )]
    Refused {
        /// The stream, redacted.
        stream: String,
        /// In GStreamer's words.
        reason: String,
    },
    /// What the server sends is not what it should be.
    #[error("{stream} sends something that is no valid stream: {reason}")]
    Garbage {
        /// The stream, redacted.
        stream: String,
        /// In GStreamer's words.
        reason: String,
    },
    /// The video is in a codec that cannot be inspected.
    #[error(
        "{stream} sends video that cannot be inspected: {codec}; pull it over another protocol, or have it published as H.264"
    )]
    UnsupportedCodec {
        /// The stream, redacted.
        stream: String,
        /// The codec, as far as it is known.
        codec: String,
    },
    /// Something else failed.
    #[error("{stream} failed: {reason}")]
    Failed {
        /// The stream, redacted.
        stream: String,
        /// In GStreamer's words.
        reason: String,
    },
    /// The sources were shut down.
    #[error("no source can be added: the sources were shut down")]
    Stopped,
}

impl SourceError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MissingElement { .. } => "missing_element",
            Self::Description { .. } => "description",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Garbage { .. } => "garbage",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether attaching again may well succeed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Garbage { .. } | Self::Failed { .. } => true,
            // A publisher may change the codec; the source goes on trying, and nobody should count on it.
            Self::UnsupportedCodec { .. } | Self::MissingElement { .. } | Self::Description { .. } | Self::Stopped => {
                false
            }
        }
    }

    /// What an element's error means for `pull`, without whatever holds the address.
    pub(super) fn from_element(pull: &Pull, error: &glib::Error) -> Self {
        let stream = pull.stream.to_string();
        let reason = redact(error.message(), pull);
        if let Some(kind) = error.kind::<gst::ResourceError>() {
            use gst::ResourceError::{NotAuthorized, NotFound};
            // RTMP's refusals arrive as a connection that failed, with the server's answer in the message.
            let refused = matches!(kind, NotFound | NotAuthorized) || reason.contains("play denied");
            return if refused { Self::Refused { stream, reason } } else { Self::Unreachable { stream, reason } };
        }
        match error.kind::<gst::StreamError>() {
            Some(gst::StreamError::CodecNotFound) => Self::UnsupportedCodec { stream, codec: reason },
            Some(_) => Self::Garbage { stream, reason },
            None => Self::Failed { stream, reason },
        }
    }
}

/// `text` without the stream's address, name or key.
fn redact(text: &str, pull: &Pull) -> String {
    let mut text = text.trim_end_matches('.').to_owned();
    for secret in [pull.url.as_str(), &*pull.stream.name] {
        if !secret.is_empty() {
            text = text.replace(secret, "[redacted]");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamId;

    fn pull() -> Pull {
        let stream = StreamId::new("main", "live", "sk_9f8e7d");
        Pull { stream, protocol: crate::media_server::Protocol::Rtmp, url: "rtmp://10.0.0.1/live/sk_9f8e7d".to_owned() }
    }

    #[test]
    fn an_element_s_error_is_told_in_the_house_s_words() {
        use gst::{CoreError, ResourceError, StreamError};
        for (error, kind) in [
            (glib::Error::new(ResourceError::OpenRead, "Connection refused"), "unreachable"),
            (glib::Error::new(ResourceError::Read, "Connection reset by peer"), "unreachable"),
            (glib::Error::new(ResourceError::OpenRead, "play denied; stream not found"), "refused"),
            (glib::Error::new(ResourceError::NotFound, "No such file"), "refused"),
            (glib::Error::new(ResourceError::NotAuthorized, "no"), "refused"),
            (glib::Error::new(StreamError::WrongType, "Invalid FLV"), "garbage"),
            (glib::Error::new(StreamError::Failed, "Internal data stream error."), "garbage"),
            (glib::Error::new(StreamError::CodecNotFound, "oh"), "unsupported_codec"),
            (glib::Error::new(CoreError::Negotiation, "oh"), "failed"),
        ] {
            let told = SourceError::from_element(&pull(), &error);
            assert_eq!(told.kind(), kind, "{told}");
        }
    }

    #[test]
    fn a_key_never_shows_in_an_error() {
        let error =
            glib::Error::new(gst::ResourceError::Read, "cannot open rtmp://10.0.0.1/live/sk_9f8e7d, or sk_9f8e7d.");
        let told = SourceError::from_element(&pull(), &error);
        for shown in [told.to_string(), format!("{told:?}")] {
            assert!(!shown.contains("9f8e7d") && !shown.contains("10.0.0.1"), "{shown}");
        }
    }
}
