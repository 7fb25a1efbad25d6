//! What can go wrong when something is to be done in the world, told so that an operator knows where to look.
//!
//! Streams' names, secrets and whole addresses never appear: a message names the `[[server]]` or the `[[webhook]]`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A media server or a webhook did not do what was asked, or what it said made no sense.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No connection.
    #[error(
        "media server `{server}` cannot be reached at {address} ({reason}): check that it runs and that `control` in its [[server]] is its HTTP address"
    )]
    Unreachable {
        /// The server.
        server: Arc<str>,
        /// Scheme, host and port.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "media server `{server}` at {address} did not answer in time: check its load, or raise `request_timeout` in [act]"
    )]
    TimedOut {
        /// The server.
        server: Arc<str>,
        /// Scheme, host and port.
        address: String,
    },
    /// 401 or 403.
    #[error(
        "media server `{server}` does not let us use {path} (HTTP {status}): allow this machine's address there, or correct the user and password in `control`; see docs/servers.md"
    )]
    Forbidden {
        /// The server.
        server: Arc<str>,
        /// What was asked for.
        path: &'static str,
        /// What it answered.
        status: u16,
    },
    /// 404.
    #[error(
        "media server `{server}` has nothing at {path} (HTTP 404): switch that on in its configuration as in docs/servers.md, or correct `control`"
    )]
    NotFound {
        /// The server.
        server: Arc<str>,
        /// What was asked for.
        path: &'static str,
    },
    /// Another status that is no success.
    #[error("media server `{server}` answered {path} with HTTP {status}: see its error log")]
    Status {
        /// The server.
        server: Arc<str>,
        /// What was asked for.
        path: &'static str,
        /// What it answered.
        status: u16,
    },
    /// 429: asked too often.
    #[error(
        "media server `{server}` answered {path} with HTTP 429, too many requests: it is asked again later; raise `streams.reconcile_every`, or have the limit of the account raised"
    )]
    Throttled {
        /// The server.
        server: Arc<str>,
        /// What was asked for.
        path: &'static str,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// An answer that cannot be understood.
    #[error(
        "media server `{server}` answered {path} with something else than expected ({reason}): check that `control` leads to the server named by `kind`"
    )]
    Garbage {
        /// The server.
        server: Arc<str>,
        /// What was asked for.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Such a session cannot exist on this server. Asking for it might end the wrong ones.
    #[error(
        "a session of media server `{server}` has an identifier that the server cannot have given: nothing was asked of the server; report this"
    )]
    BadSession {
        /// The server.
        server: Arc<str>,
    },
    /// Asked to end the session, the server still lists it.
    #[error(
        "media server `{server}` still lists the session {waited:?} after being asked to end it, and {bytes}: see its error log, and block the publisher's address if it stays"
    )]
    StillListed {
        /// The server.
        server: Arc<str>,
        /// How long we looked.
        waited: Duration,
        /// Whether anything still arrives of it.
        bytes: Bytes,
    },
    /// A hook's body makes no sense.
    #[error(
        "a hook of media server `{server}` cannot be understood ({reason}): point only the hooks of docs/servers.md here"
    )]
    BadHook {
        /// The server.
        server: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// The stream's name cannot be written into an address: what is pulled there would be another's.
    #[error(
        "a stream of media server `{server}` cannot be pulled ({reason}): it is not let in; have it published under another name"
    )]
    Unpullable {
        /// The server.
        server: Arc<str>,
        /// What is wrong with its name.
        reason: &'static str,
    },
    /// `[server.http]` cannot be used.
    #[error("media server `{server}` cannot be spoken to ({reason}): correct its [server.http]")]
    BadTemplate {
        /// The server.
        server: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// The action is for a server that is no longer configured.
    #[error(
        "an action is for media server `{name}`, which is not configured: add its [[server]] again or end the session by hand"
    )]
    UnknownServer {
        /// The name.
        name: Arc<str>,
    },
    /// What outlives a session is to be moved, and it is no longer said where that is.
    #[error(
        "what outlives a session of media server `{server}` is to be moved out of reach, and its [server.after_cut] does not say where it is: write it again, or purge playlists, segments and recordings by hand"
    )]
    NoAfterCut {
        /// The server.
        server: Arc<str>,
    },
    /// Files that outlive a session stay where they are.
    #[error(
        "what outlives a session of media server `{server}` cannot be moved out of reach ({reason}): let the service write to the folders in [server.after_cut], or purge them by hand"
    )]
    LeftBehind {
        /// The server.
        server: Arc<str>,
        /// What the system said.
        reason: String,
    },
    /// The server no longer lists the session, and its video goes on.
    #[error(
        "media server `{server}` no longer lists the session, yet its video still arrives: was the server reloaded? restart it, and look whether the publisher is gone"
    )]
    StillFlowing {
        /// The server.
        server: Arc<str>,
    },
    /// The action is for a webhook that is no longer configured.
    #[error(
        "an event is for webhook `{name}`, which is not configured: add its [[webhook]] again or tell its reader by hand"
    )]
    UnknownWebhook {
        /// The name.
        name: Arc<str>,
    },
    /// The event was not taken.
    #[error("webhook `{webhook}` did not take the event ({reason}): check its `url` and what answers there")]
    NotDelivered {
        /// The webhook.
        webhook: Arc<str>,
        /// What happened.
        reason: String,
        /// When the receiver wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Only addresses that may not be delivered to.
    #[error(
        "webhook `{webhook}` leads to no public address: correct its `url`, or set `allow_private = true` if it is meant to stay in your own network"
    )]
    PrivateAddress {
        /// The webhook.
        webhook: Arc<str>,
    },
    /// 410: the receiver wants no more.
    #[error(
        "webhook `{webhook}` is gone (HTTP 410) and gets nothing more: remove its [[webhook]], give it another `url`, or, once it answers again, run `sluicegate webhook test {webhook}`, then `sluicegate webhook replay {webhook}`"
    )]
    Gone {
        /// The webhook.
        webhook: Arc<str>,
    },
    /// The secret cannot be used.
    #[error(
        "webhook `{webhook}` has no usable secret ({reason}): set one of `secret`, `secret_env` and `secret_file` to what `sluicegate webhook key` prints"
    )]
    BadSecret {
        /// The webhook.
        webhook: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// No HTTP client.
    #[error("could not set up HTTPS ({reason}): install this system's CA certificates (Debian: ca-certificates)")]
    NoClient {
        /// What the library said.
        reason: String,
    },
}

/// What a media server says of the bytes of a session that it still lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// More came.
    Arriving,
    /// None came: perhaps only the entry is left.
    Stopped,
    /// It does not say.
    Unknown,
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arriving => "receives its video",
            Self::Stopped => "receives nothing of it any more",
            Self::Unknown => "does not say whether its video still arrives",
        })
    }
}

impl ActError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Status { .. } => "status",
            Self::Throttled { .. } => "throttled",
            Self::Garbage { .. } => "garbage",
            Self::BadSession { .. } => "bad_session",
            Self::StillListed { .. } => "still_listed",
            Self::BadHook { .. } => "bad_hook",
            Self::Unpullable { .. } => "unpullable",
            Self::BadTemplate { .. } => "bad_template",
            Self::UnknownServer { .. } => "unknown_server",
            Self::NoAfterCut { .. } => "no_after_cut",
            Self::LeftBehind { .. } => "left_behind",
            Self::StillFlowing { .. } => "still_flowing",
            Self::UnknownWebhook { .. } => "unknown_webhook",
            Self::NotDelivered { .. } => "not_delivered",
            Self::PrivateAddress { .. } => "private_address",
            Self::Gone { .. } => "gone",
            Self::BadSecret { .. } => "bad_secret",
            Self::NoClient { .. } => "no_client",
        }
    }

    /// Whether the same may work later. What an operator can repair while we run counts as retryable.
    pub const fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::BadSession { .. }
                | Self::BadHook { .. }
                | Self::Unpullable { .. }
                | Self::BadTemplate { .. }
                | Self::UnknownServer { .. }
                | Self::NoAfterCut { .. }
                | Self::UnknownWebhook { .. }
                | Self::Gone { .. }
                | Self::BadSecret { .. }
                | Self::NoClient { .. }
        )
    }

    /// When whoever refused wants to be asked again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotDelivered { retry_after, .. } | Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
