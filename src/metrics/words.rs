//! The words that metrics are labelled with: bounded, so that no stranger can make a series.

/// A stage whose time and errors are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pulling and demuxing.
    Source,
    /// Decoding.
    Decode,
    /// Perceptual hash and bank match.
    Known,
    /// Model inference.
    Classify,
    /// Evidence and rules.
    Judge,
    /// Requests to media servers and webhooks.
    Act,
    /// The database.
    Ledger,
    /// The HTTP interface.
    Api,
}

impl Stage {
    /// The word used as a label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Decode => "decode",
            Self::Known => "known",
            Self::Classify => "classify",
            Self::Judge => "judge",
            Self::Act => "act",
            Self::Ledger => "ledger",
            Self::Api => "api",
        }
    }
}

/// What became of a picture that the sampler chose. `offered = inspected + superseded + stale + failed
/// + pending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureOutcome {
    /// Chosen by the sampler and put into its stream's mailbox.
    Offered,
    /// Decoded, hashed and matched.
    Inspected,
    /// Replaced in the mailbox by newer work of the same stream.
    Superseded,
    /// Waited for a decoder until it was too old to say how the stream is now.
    Stale,
    /// Did not decode, or its stream was gone by its turn.
    Failed,
}

impl PictureOutcome {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Inspected => "inspected",
            Self::Superseded => "superseded",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}
