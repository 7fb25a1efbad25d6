//! SRS (Simple Realtime Server): its HTTP API lists and cuts off, `on_publish` asks.
//!
//! Facts that shape this file, from SRS 7.0 (`srs_app_http_api.cpp`, `srs_app_http_hooks.cpp`):
//! - `/api/v1/streams` names each stream's publisher (`publish.cid`), which is the `client_id` of the hooks and the
//!   identifier that `DELETE /api/v1/clients/{id}` takes. It gives ten entries unless told otherwise.
//! - What went wrong is in `code`, not in the status: a client that is not there is `200` with `{"code":2049}`.
//! - A hook is taken for yes only when the status is 200 *and* the body is `{"code":0}`.
//! - A virtual host is a world of its own, with streams of the same names. One `[[server]]` watches one of them.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, is_plain};
use super::{Config, Kicked, MediaServer, query, srt};
use crate::act::{self, ActError};
use crate::media_server::{Admission, Hook, HookRequest, Listed, Pull, Reply};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const DEFAULT_VHOST: &str = "__defaultVhost__";
/// `ERROR_RTMP_CLIENT_NOT_FOUND`
const NO_SUCH_CLIENT: i64 = 2049;
/// More than the limit on the answer's length lets through.
const ALL: &str = "100000";

/// An SRS.
#[derive(Debug)]
pub struct Srs {
    config: Config,
    link: Link,
}

#[derive(Deserialize)]
struct Streams {
    code: i64,
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    app: String,
    /// `/app/name`, with the virtual host in front where it is not the default.
    url: Option<String>,
    publish: Publish,
    recv_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Publish {
    active: bool,
    cid: Option<String>,
}

#[derive(Deserialize)]
struct Coded {
    code: i64,
}

#[derive(Deserialize)]
struct Body {
    action: String,
    client_id: Option<String>,
    ip: Option<String>,
    vhost: Option<String>,
    app: Option<String>,
    stream: Option<String>,
    /// The query that the publisher wrote, with its `?`.
    #[serde(default)]
    param: String,
}

impl Srs {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        Ok(Self { config: config.clone(), link: Link::new(config, common)? })
    }

    fn vhost(&self) -> &str {
        self.config.vhost.as_deref().unwrap_or(DEFAULT_VHOST)
    }

    /// Whether a stream of the list belongs to the virtual host that is watched.
    fn is_ours(&self, stream: &Stream) -> bool {
        let host = if self.vhost() == DEFAULT_VHOST { "" } else { self.vhost() };
        stream.url.as_ref().is_none_or(|url| *url == format!("{host}/{}/{}", stream.app, stream.name))
    }

    async fn publishers(&self) -> Result<Vec<Listed>, ActError> {
        let path = "/api/v1/streams";
        let mut url = self.link.at("/api/v1/streams/");
        url.set_query(Some(&format!("start=0&count={ALL}")));
        let answer: Streams = self.link.json(self.link.request(Method::GET, url), path, LARGEST_LIST).await?;
        if answer.code != 0 {
            return Err(self.link.garbage(path, format!("code {}", answer.code)));
        }
        let live = answer.streams.into_iter().filter(|stream| stream.publish.active && self.is_ours(stream));
        live.map(|stream| {
            let id = stream.publish.cid.filter(|id| is_plain(id));
            let id = id.ok_or_else(|| self.link.garbage(path, "a publisher without `cid`"))?;
            let session = self.session(stream.app.into(), stream.name.into(), &id);
            Ok(Listed { session, publisher: Publisher::default(), bytes_in: stream.recv_bytes })
        })
        .collect()
    }

    fn session(&self, app: Arc<str>, name: Arc<str>, id: &str) -> Session {
        Session { stream: StreamId { server: self.config.name.clone(), app, name }, id: SessionId::from(id) }
    }
}

#[async_trait]
impl MediaServer for Srs {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let mut publishers = self.publishers().await?;
        publishers.retain(|listed| self.config.watches(&listed.session.stream.app));
        Ok(publishers)
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        Ok(self.publishers().await?.iter().any(|listed| listed.session == *session))
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        let path = "/api/v1/clients/{id}";
        if !is_plain(&session.id.0) {
            return Err(self.link.bad_session());
        }
        let url = self.link.at(&format!("/api/v1/clients/{}", session.id));
        let answer: Coded = self.link.json(self.link.request(Method::DELETE, url), path, LARGEST_ANSWER).await?;
        match answer.code {
            0 => Ok(Kicked::Dropped),
            NO_SUCH_CLIENT => Ok(Kicked::NoSuchSession),
            code => Err(self.link.garbage(path, format!("code {code}"))),
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        let bad = |reason: &str| self.link.bad_hook(reason);
        let body: Body = serde_json::from_slice(request.body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a hook: {:?} error", error.classify())))?;
        let publishes = match body.action.as_str() {
            "on_publish" => true,
            "on_unpublish" => false,
            _ => return Ok(Hook::Other),
        };
        if body.vhost.as_deref().ok_or_else(|| bad("no `vhost`"))? != self.vhost() {
            return Ok(Hook::Other);
        }
        let app = body.app.filter(|app| !app.is_empty()).ok_or_else(|| bad("no `app`"))?;
        let name = body.stream.filter(|name| !name.is_empty()).ok_or_else(|| bad("no `stream`"))?;
        let id = body.client_id.filter(|id| is_plain(id)).ok_or_else(|| bad("no identifier in `client_id`"))?;
        if !self.config.watches(&app) {
            return Ok(Hook::Other);
        }
        let session = self.session(app.into(), name.into(), &id);
        if publishes {
            self.pull(&session.stream)?;
        }
        Ok(if publishes {
            Hook::Publish { session, publisher: query::of(&self.config, body.ip.as_deref(), &body.param) }
        } else {
            Hook::PublishDone { session }
        })
    }

    fn reply(&self, _hook: &Hook, answer: Admission) -> Reply {
        match answer {
            Admission::Allow => Reply::json(200, r#"{"code":0}"#),
            Admission::Refuse => Reply::json(200, r#"{"code":403}"#),
        }
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        if self.config.pull.scheme() == "srt" {
            return srt::pull(&self.config.pull, stream, &srt::standard(stream, self.config.vhost.as_deref())?);
        }
        let mut pull = link::pull(&self.config.pull, stream)?;
        if let Some(vhost) = &self.config.vhost {
            pull.url = format!("{}?vhost={}", pull.url, link::encoded(vhost));
        }
        Ok(pull)
    }
}

#[cfg(test)]
mod tests;
