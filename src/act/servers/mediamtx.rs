//! `MediaMTX`: its control API lists and cuts off, HTTP authentication asks, commands run by it tell.
//!
//! Facts that shape this file, from its sources of 2026 (`api/openapi.yaml`, `internal/auth/manager.go`,
//! `internal/servers/rtsp/session.go`, `internal/conf/path.go`):
//! - A path such as `live/cam1` is one name; here its last part is the stream and the rest the application.
//! - A session is named by its kind *and* its identifier, because each kind has a kick of its own: `rtmpConn:UUID`.
//! - The question whether somebody may publish comes with the identifier of the *connection*, which for RTSP is not that
//!   of the session. So the question only decides; who publishes is told by `runOnAvailable`, and by the list.
//! - Every other question comes here too, those about its own API included, and saying yes to them would open it.
//! - A second publisher throws the first out unless `overridePublisher` is off: a new session.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;
use uuid::Uuid;

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, decoded};
use super::{Config, Kicked, MediaServer, query, srt};
use crate::act::{self, ActError};
use crate::media_server::{Hook, HookRequest, Listed, Pull};
use crate::stream::{Publisher, Session, SessionId, StreamId};

/// The kinds of sources that publish and can be kicked, and under which name. What `MediaMTX` pulls by itself is no
/// publisher and has no kick.
const KICKS: [(&str, &str); 7] = [
    ("rtmpConn", "rtmpconns"),
    ("rtmpsConn", "rtmpsconns"),
    ("rtspSession", "rtspsessions"),
    ("rtspsSession", "rtspssessions"),
    ("srtConn", "srtconns"),
    ("webRTCSession", "webrtcsessions"),
    ("moqSession", "moqsessions"),
];
const PAGE: usize = 1000;
const MOST_PAGES: usize = 100;

/// A `MediaMTX`.
#[derive(Debug)]
pub struct MediaMtx {
    config: Config,
    link: Link,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    page_count: usize,
    items: Vec<Path>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Path {
    name: String,
    source: Option<Source>,
    inbound_bytes: Option<u64>,
    /// What `inboundBytes` was called before.
    bytes_received: Option<u64>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "error")]
    _error: String,
}

/// What HTTP authentication asks.
#[derive(Deserialize)]
struct Question {
    action: String,
    path: String,
    ip: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    /// The query that the publisher wrote.
    #[serde(default)]
    query: String,
}

impl MediaMtx {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        Ok(Self { config: config.clone(), link: Link::new(config, common)? })
    }

    async fn publishers(&self) -> Result<Vec<Listed>, ActError> {
        let path = "/v3/paths/list";
        let mut publishers = Vec::new();
        for number in 0..MOST_PAGES {
            let mut url = self.link.at(path);
            url.set_query(Some(&format!("itemsPerPage={PAGE}&page={number}")));
            let page: Page = self.link.json(self.link.request(Method::GET, url), path, LARGEST_LIST).await?;
            for item in page.items {
                let Some(source) = item.source.filter(|source| KICKS.iter().any(|(kind, _)| *kind == source.kind))
                else {
                    continue;
                };
                if !is_uuid(&source.id) {
                    return Err(self.link.garbage(path, "a publisher without an identifier"));
                }
                let id = SessionId(format!("{}:{}", source.kind, source.id).into());
                let session = Session { stream: self.stream(&item.name), id };
                let bytes_in = item.inbound_bytes.or(item.bytes_received);
                publishers.push(Listed { session, publisher: Publisher::default(), bytes_in });
            }
            if number + 1 >= page.page_count {
                return Ok(publishers);
            }
        }
        Err(self.link.garbage(path, format!("more than {MOST_PAGES} pages")))
    }

    fn stream(&self, path: &str) -> StreamId {
        let (app, name) = path.rsplit_once('/').unwrap_or(("", path));
        StreamId { server: self.config.name.clone(), app: app.into(), name: name.into() }
    }

    /// The answer to a question about anything but publishing. Whoever reads is none of our business; the server's own
    /// interfaces are for those on its machine, and for who has the user and the password that we have.
    fn other(&self, question: &Question) -> Hook {
        let local = question.ip.parse().is_ok_and(|ip: std::net::IpAddr| ip.to_canonical().is_loopback());
        match question.action.as_str() {
            "api" | "metrics" | "pprof" if !local && !self.has_our_password(question) => Hook::Forbidden,
            _ => Hook::Other,
        }
    }

    fn has_our_password(&self, question: &Question) -> bool {
        // Compared by digest, so that how long it takes says nothing.
        let digest =
            |user: &str, password: &str| Sha256::digest([Sha256::digest(user), Sha256::digest(password)].concat());
        self.config.control.password().is_some_and(|password| {
            digest(&decoded(self.config.control.username()), &decoded(password))
                == digest(&question.user, &question.password)
        })
    }

    fn question(&self, body: &[u8]) -> Result<Hook, ActError> {
        let question: Question = serde_json::from_slice(body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a question: {:?} error", error.classify())))?;
        if question.action != "publish" {
            return Ok(self.other(&question));
        }
        if question.path.is_empty() {
            return Err(self.link.bad_hook("no `path`"));
        }
        let stream = self.stream(&question.path);
        if !self.config.watches(&stream.app) {
            return Ok(Hook::Other);
        }
        self.pull(&stream)?;
        Ok(Hook::Ask { stream, publisher: query::of(&self.config, Some(&question.ip), &question.query) })
    }

    /// What a command that the server runs tells, as a form.
    fn told(&self, body: &[u8]) -> Result<Hook, ActError> {
        let bad = |reason: &str| self.link.bad_hook(reason);
        let field = |wanted: &str| {
            let found = form_urlencoded::parse(body).find(|(key, _)| key == wanted);
            found.map(|(_, value)| value).filter(|value| !value.is_empty())
        };
        let event = field("event").ok_or_else(|| bad("no `event`"))?;
        let path = field("path").ok_or_else(|| bad("no `path`"))?;
        let (kind, id) = (field("type").ok_or_else(|| bad("no `type`"))?, field("id").unwrap_or_default());
        if !KICKS.iter().any(|(known, _)| *known == kind) {
            return Ok(Hook::Other);
        }
        if !is_uuid(&id) {
            return Err(bad("no identifier in `id`"));
        }
        let session = Session { stream: self.stream(&path), id: SessionId(format!("{kind}:{id}").into()) };
        match &*event {
            _ if !self.config.watches(&session.stream.app) => Ok(Hook::Other),
            "begun" => Ok(Hook::Begun { session, publisher: Publisher::default() }),
            "ended" => Ok(Hook::PublishDone { session }),
            _ => Err(bad("`event` is neither `begun` nor `ended`")),
        }
    }
}

/// As the server writes them: with hyphens.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

#[async_trait]
impl MediaServer for MediaMtx {
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
        let path = "/v3/{kind}/kick/{id}";
        let (kind, id) = session.id.0.split_once(':').ok_or_else(|| self.link.bad_session())?;
        let known = KICKS.iter().find(|(known, _)| *known == kind).filter(|_| is_uuid(id));
        let (_, kick) = known.ok_or_else(|| self.link.bad_session())?;
        let url = self.link.at(&format!("/v3/{kick}/kick/{id}"));
        let answer = self.link.send(self.link.request(Method::POST, url), path, LARGEST_ANSWER).await?;
        // A 404 of another server, or of another address on this one, does not say what is missing.
        if answer.status == StatusCode::NOT_FOUND && serde_json::from_slice::<Failed>(&answer.body).is_ok() {
            return Ok(Kicked::NoSuchSession);
        }
        let body = self.link.body(answer, path)?;
        // Older releases say nothing, newer ones `{"status":"ok"}`.
        match serde_json::from_slice::<Done>(&body) {
            Ok(done) if done.status == "ok" => Ok(Kicked::Dropped),
            _ if body.is_empty() => Ok(Kicked::Dropped),
            _ => Err(self.link.garbage(path, "neither nothing nor `ok`")),
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        if request.body.first() == Some(&b'{') { self.question(request.body) } else { self.told(request.body) }
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        if self.config.pull.scheme() == "srt" {
            return srt::pull(&self.config.pull, stream, &srt::read(stream)?);
        }
        link::pull(&self.config.pull, stream)
    }
}

#[derive(Deserialize)]
struct Done {
    status: String,
}

#[cfg(test)]
mod tests;
