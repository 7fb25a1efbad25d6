//! Media servers: what Sluicegate asks of each of them. One adapter a file.
//!
//! To add one: implement [`MediaServer`], add a [`Kind`] with its [`Facts`], name it in [`build`], describe it in
//! `docs/servers.md`, and show in `deploy/` what an operator adds to the server's configuration.

mod ant_media;
mod aws_ivs;
mod cloudflare_stream;
mod config;
#[cfg(test)]
mod fake;
mod fallback;
mod generic;
mod hook_token;
mod jwt;
mod kind;
mod last_seen;
mod link;
mod livekit;
mod mediamtx;
mod mux;
mod nginx_rtmp;
mod node_media_server;
mod oven_media_engine;
mod query;
mod srs;
mod srt;
mod zlmediakit;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use ant_media::AntMedia;
pub use aws_ivs::AwsIvs;
pub use cloudflare_stream::CloudflareStream;
pub use config::Config;
pub(super) use config::deserialize_name;
pub use fallback::{Config as FallbackConfig, Fallback, Fallbacks};
pub use generic::{BodyType, Config as HttpConfig, Generic};
pub use hook_token::HookToken;
pub use kind::{Facts, Hooks, Kick, Kind, Tested, WhenDown};
pub(super) use link::encoded;
pub use livekit::LiveKit;
pub use mediamtx::MediaMtx;
pub use mux::Mux;
pub use nginx_rtmp::NginxRtmp;
pub use node_media_server::NodeMediaServer;
pub use oven_media_engine::OvenMediaEngine;
pub use srs::Srs;
pub use zlmediakit::ZlMediaKit;

use super::ActError;
use crate::media_server::{Admission, Hook, HookRequest, Listed, Pull, Reply};
use crate::stream::{Session, StreamId};

/// How far apart looks at one session are at services that count requests: a few a second for a whole account, kicks too.
const COUNTED: Duration = Duration::from_secs(1);

/// What the house asks of a media server. A server is asked by session, never by name alone: the same name may belong
/// to somebody else by the time the request arrives.
#[async_trait]
pub trait MediaServer: Send + Sync {
    /// The `name` of its `[[server]]`.
    fn name(&self) -> &Arc<str>;

    /// Everybody who publishes now, in the applications that are watched.
    async fn list(&self) -> Result<Vec<Listed>, ActError>;

    /// Whether `session` publishes now, in a watched application or not. It is how a kick is verified, so an answer that
    /// cannot be relied on must be an error.
    async fn publishes(&self, session: &Session) -> Result<bool, ActError>;

    /// How long there must be between two looks at a session whose end is awaited. Looked at more often, the server would
    /// refuse the very requests that end sessions.
    fn looks_apart(&self) -> Duration {
        Duration::ZERO
    }

    /// Asks the server to end one session, and only that one.
    async fn kick(&self, session: &Session) -> Result<Kicked, ActError>;

    /// Reads a hook.
    ///
    /// # Errors
    /// When it makes no sense: whoever waits for the answer must then be refused.
    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError>;

    /// How the server is told `answer` to `hook`. Most read the status alone.
    fn reply(&self, _hook: &Hook, answer: Admission) -> Reply {
        match answer {
            Admission::Allow => Reply::json(200, r#"{"admission":"allow"}"#),
            Admission::Refuse => Reply::json(403, r#"{"admission":"refuse"}"#),
        }
    }

    /// Where to pull `stream` from.
    ///
    /// # Errors
    /// [`ActError::Unpullable`] where no address leads to that stream and to none other. [`Self::parse_hook`] refuses it.
    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError>;
}

/// What a server said to a kick. Whether the session is gone is seen by [`MediaServer::publishes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kicked {
    /// It ended the session.
    Dropped,
    /// It knows no such session.
    NoSuchSession,
}

/// The adapter for a `[[server]]`.
pub fn build(server: &Config, common: &super::Config) -> Result<Arc<dyn MediaServer>, ActError> {
    Ok(match server.kind {
        Kind::NginxRtmp => Arc::new(NginxRtmp::new(server, common)?),
        Kind::Srs => Arc::new(Srs::new(server, common)?),
        Kind::MediaMtx => Arc::new(MediaMtx::new(server, common)?),
        Kind::NodeMediaServer => Arc::new(NodeMediaServer::new(server, common)?),
        Kind::OvenMediaEngine => Arc::new(OvenMediaEngine::new(server, common)?),
        Kind::ZlMediaKit => Arc::new(ZlMediaKit::new(server, common)?),
        Kind::AntMedia => Arc::new(AntMedia::new(server, common)?),
        Kind::LiveKit => Arc::new(LiveKit::new(server, common)?),
        Kind::AwsIvs => Arc::new(AwsIvs::new(server, common)?),
        Kind::Mux => Arc::new(Mux::new(server, common)?),
        Kind::CloudflareStream => Arc::new(CloudflareStream::new(server, common)?),
        Kind::Http => Arc::new(Generic::new(server, common)?),
    })
}
