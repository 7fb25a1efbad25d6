//! `ZLMediaKit`: its API lists and cuts off, `on_publish` asks.
//!
//! Facts that shape this file, from its sources (`server/WebApi.cpp`, `server/WebHook.cpp`) and its API's documentation:
//! - A stream is in the list once for each protocol that it is offered in. `originSock.identifier` is the publisher's
//!   session, the same in all of them; it is the `id` of the hooks, and what `kick_session` takes.
//! - `close_streams` takes what is left out for "any": one missing field ends everybody. It is never asked; `kick_session`
//!   names one session and nothing else.
//! - What went wrong is in `code`, not in the status.
//! - Every hook has an address of its own, and no body says which it is. `on_publish` says what kind of origin it is about,
//!   `on_flow_report` whether it is about a player: that tells them apart from the rest.
//! - What it pulls by itself, and RTP that it was told to receive, is the operator's own and has no session to end.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, encoded, is_no_step, is_plain};
use super::{Config, Kicked, MediaServer, query};
use crate::act::{self, ActError};
use crate::media_server::{Admission, Hook, HookRequest, Listed, Protocol, Pull, Reply};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const LIST: &str = "/index/api/getMediaList";
const KICK: &str = "/index/api/kick_session";
const DEFAULT_VHOST: &str = "__defaultVhost__";
/// `originType` of what is pushed: RTMP, RTSP, WebRTC, SRT.
const PUSHED: [i64; 4] = [1, 2, 8, 9];
/// `API::AuthFailed`
const WRONG_SECRET: i64 = -100;
/// What it says of a session that is not there; the code beside it is that of any other failure.
const NO_SUCH_SESSION: &str = "can not find the target";

/// A `ZLMediaKit`.
#[derive(Debug)]
pub struct ZlMediaKit {
    config: Config,
    link: Link,
    /// `api.secret` of its configuration.
    secret: String,
}

#[derive(Deserialize)]
struct Said<T> {
    code: i64,
    #[serde(default)]
    msg: String,
    #[serde(default = "none")]
    data: Option<T>,
}

const fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Media {
    app: String,
    stream: String,
    vhost: String,
    origin_type: i64,
    origin_sock: Option<Origin>,
    total_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Origin {
    identifier: String,
    peer_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    app: Option<String>,
    stream: Option<String>,
    vhost: Option<String>,
    id: Option<String>,
    ip: Option<String>,
    #[serde(default)]
    params: String,
    /// In `on_publish` only.
    origin_type: Option<i64>,
    /// In `on_flow_report` only.
    player: Option<bool>,
}

impl ZlMediaKit {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let secret = decoded(config.control.password().unwrap_or(config.control.username()));
        // It goes into the form of each request: an address would be in the server's log.
        let bare = Config { control: link::without_user(&config.control), ..config.clone() };
        Ok(Self { link: Link::new(&bare, common)?, config: config.clone(), secret })
    }

    fn vhost(&self) -> &str {
        self.config.vhost.as_deref().unwrap_or(DEFAULT_VHOST)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &'static str,
        field: (&str, &str),
        limit: usize,
    ) -> Result<Said<T>, ActError> {
        let form = format!("secret={}&{}={}", encoded(&self.secret), field.0, encoded(field.1));
        let request = self.link.request(Method::POST, self.link.at(path)).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let said: Said<T> = self.link.json(request, path, limit).await?;
        if said.code == WRONG_SECRET {
            return Err(ActError::Forbidden { server: self.config.name.clone(), path, status: 200 });
        }
        Ok(said)
    }

    async fn publishers(&self) -> Result<Vec<Listed>, ActError> {
        let said: Said<Vec<Media>> = self.ask(LIST, ("vhost", self.vhost()), LARGEST_LIST).await?;
        if said.code != 0 {
            return Err(self.link.garbage(LIST, format!("code {}", said.code)));
        }
        let mut seen = BTreeSet::new();
        let mut publishers = Vec::new();
        // With nobody there the list is left out.
        for media in said.data.unwrap_or_default() {
            if !PUSHED.contains(&media.origin_type) || media.vhost != self.vhost() {
                continue;
            }
            let origin = media.origin_sock.filter(|origin| is_plain(&origin.identifier));
            let origin = origin.ok_or_else(|| self.link.garbage(LIST, "a publisher without `identifier`"))?;
            let session = self.session(media.app.into(), media.stream.into(), &origin.identifier);
            if seen.insert(session.clone()) {
                let publisher = Publisher::at(origin.peer_ip.as_deref());
                publishers.push(Listed { session, publisher, bytes_in: media.total_bytes });
            }
        }
        Ok(publishers)
    }

    fn session(&self, app: Arc<str>, name: Arc<str>, id: &str) -> Session {
        Session { stream: StreamId { server: self.config.name.clone(), app, name }, id: SessionId::from(id) }
    }
}

#[async_trait]
impl MediaServer for ZlMediaKit {
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
        if !is_plain(&session.id.0) {
            return Err(self.link.bad_session());
        }
        let said: Said<serde_json::Value> = self.ask(KICK, ("id", &session.id.0), LARGEST_ANSWER).await?;
        match said.code {
            0 => Ok(Kicked::Dropped),
            _ if said.msg == NO_SUCH_SESSION => Ok(Kicked::NoSuchSession),
            code => Err(self.link.garbage(KICK, format!("code {code}"))),
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        let bad = |reason: &str| self.link.bad_hook(reason);
        let body: Body = serde_json::from_slice(request.body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a hook: {:?} error", error.classify())))?;
        let asks = match (body.origin_type, body.player) {
            (_, Some(true)) => return Ok(Hook::Other),
            (_, Some(false)) => false,
            (Some(_), None) => true,
            (None, None) => return Err(bad("neither `originType` nor `player`")),
        };
        if body.vhost.as_deref().ok_or_else(|| bad("no `vhost`"))? != self.vhost() {
            return Ok(Hook::Other);
        }
        let app = body.app.filter(|app| !app.is_empty()).ok_or_else(|| bad("no `app`"))?;
        let name = body.stream.filter(|name| !name.is_empty()).ok_or_else(|| bad("no `stream`"))?;
        let id = body.id.filter(|id| is_plain(id)).ok_or_else(|| bad("no identifier in `id`"))?;
        if !self.config.watches(&app) {
            return Ok(Hook::Other);
        }
        let session = self.session(app.into(), name.into(), &id);
        if !asks {
            return Ok(Hook::PublishDone { session });
        }
        self.pull(&session.stream)?;
        let publisher = query::of(&self.config, body.ip.as_deref(), &body.params);
        Ok(Hook::Publish { session, publisher })
    }

    fn reply(&self, _hook: &Hook, answer: Admission) -> Reply {
        match answer {
            Admission::Allow => Reply::json(200, r#"{"code":0,"msg":"success"}"#),
            Admission::Refuse => Reply::json(200, r#"{"code":-1,"msg":"refused by sluicegate"}"#),
        }
    }

    /// Over HTTP a stream has a name of its own: `/APP/STREAM.live.flv`.
    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        // Its own parser cuts a name at the first `?`, over RTMP too: what follows would be lost.
        if is_no_step(&stream.name) || stream.name.contains('?') {
            let reason = "its name is empty, `.` or `..`, or holds a `?`";
            return Err(ActError::Unpullable { server: stream.server.clone(), reason });
        }
        let mut pull = link::pull(&self.config.pull, stream)?;
        if let Some(plain) = pull.url.strip_suffix(".flv").filter(|_| pull.protocol == Protocol::HttpFlv) {
            pull.url = format!("{plain}.live.flv");
        }
        if let Some(vhost) = &self.config.vhost {
            pull.url = format!("{}?vhost={}", pull.url, encoded(vhost));
        }
        Ok(pull)
    }
}

#[cfg(test)]
mod tests;
