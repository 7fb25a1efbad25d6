//! `OvenMediaEngine`: its REST API lists and cuts off, its admission webhooks ask.
//!
//! Facts that shape this file, from its documentation and sources of 0.20 (`admission_webhooks.cpp`, REST API v1):
//! - It has no identifier of a session. What tells one publisher of a name from the next is when the stream began
//!   (`createdTime`), and that is the session here. A kick ends whoever holds the *name*, so the time is looked at once
//!   more just before; between that look and the kick lies one request.
//! - Hooks are signed with HMAC-SHA1 in `X-OME-Signature`. They may arrive in the wrong order on a reconnect, and name no
//!   session: the one that asks decides, the one that closes is not relied on.
//! - An answer is taken for yes only when it is 200 with `"allowed": true`.
//! - The access token is sent as Basic authentication, whole.
//! - The list of streams holds names only, so each is asked about once a look.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha1::Sha1;
use tracing::warn;

use super::last_seen::LastSeen;
use super::link::{Answer, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, encoded, is_no_step, without_user};
use super::{Config, Kicked, MediaServer, query};
use crate::act::{self, ActError};
use crate::media_server::{Admission, Hook, HookRequest, Listed, Protocol, Pull, Reply};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const APPS: &str = "/v1/vhosts/{vhost}/apps";
const STREAMS: &str = "/v1/vhosts/{vhost}/apps/{app}/streams";
const STREAM: &str = "/v1/vhosts/{vhost}/apps/{app}/streams/{stream}";

/// An `OvenMediaEngine`.
#[derive(Debug)]
pub struct OvenMediaEngine {
    config: Config,
    link: Link,
    /// Of the `Authorization` header.
    authorization: Option<String>,
    last: LastSeen,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said<T> {
    status_code: u16,
    response: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    status_code: u16,
}

#[derive(Deserialize)]
struct Stream {
    input: Input,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    created_time: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    client: Client,
    request: Request,
}

#[derive(Deserialize, Default)]
struct Client {
    /// The other end of the connection. `real_ip` beside it is what the other end says of itself.
    address: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    direction: String,
    status: String,
    url: String,
}

impl OvenMediaEngine {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let (user, password) = (config.control.username(), config.control.password());
        let token = match password {
            Some(password) => format!("{}:{}", decoded(user), decoded(password)),
            None => decoded(user),
        };
        let bare = Config { control: without_user(&config.control), ..config.clone() };
        Ok(Self {
            link: Link::new(&bare, common)?,
            config: config.clone(),
            authorization: (!token.is_empty()).then(|| format!("Basic {}", BASE64.encode(token))),
            last: LastSeen::default(),
        })
    }

    fn vhost(&self) -> &str {
        self.config.vhost.as_deref().unwrap_or("default")
    }

    fn request(&self, method: Method, at: &str) -> RequestBuilder {
        let request = self.link.request(method, self.link.at(at));
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    /// Where a stream is in the API.
    fn at(&self, stream: &StreamId) -> Result<String, ActError> {
        let (vhost, app) = (self.link.step(self.vhost())?, self.link.step(&stream.app)?);
        Ok(format!("/v1/vhosts/{vhost}/apps/{app}/streams/{}", self.link.step(&stream.name)?))
    }

    async fn get<T: DeserializeOwned>(&self, at: &str, path: &'static str) -> Result<Option<T>, ActError> {
        let answer = self.link.send(self.request(Method::GET, at), path, LARGEST_LIST).await?;
        if is_no_such(&answer) {
            return Ok(None);
        }
        let said: Said<T> = self.link.read(&self.link.body(answer, path)?, path)?;
        if said.status_code == 200 {
            Ok(Some(said.response))
        } else {
            Err(self.link.garbage(path, format!("status code {}", said.status_code)))
        }
    }

    /// The session that holds a name now.
    async fn holder(&self, stream: &StreamId) -> Result<Option<SessionId>, ActError> {
        let found: Option<Stream> = self.get(&self.at(stream)?, STREAM).await?;
        match found {
            Some(found) if found.input.created_time.is_empty() => Err(self.link.garbage(STREAM, "no `createdTime`")),
            Some(found) => Ok(Some(SessionId::from(found.input.created_time.as_str()))),
            None => Ok(None),
        }
    }

    fn check_signature(&self, request: HookRequest<'_>) -> Result<(), ActError> {
        let Some(secret) = &self.config.hook_secret else { return Ok(()) };
        let given = request.headers.get("x-ome-signature").and_then(|value| value.to_str().ok());
        let given = given.and_then(|text| URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).ok());
        let given = given.ok_or_else(|| self.link.bad_hook("no signature in X-OME-Signature"))?;
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.text().as_bytes()).expect("a key");
        mac.update(request.body);
        mac.verify_slice(&given).map_err(|_error: hmac::digest::MacError| {
            self.link.bad_hook("the signature is of another key than `hook_secret`, or of another body")
        })
    }
}

/// Whether it says itself that there is no such thing. A 404 of another server does not.
fn is_no_such(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
        && serde_json::from_slice::<Status>(&answer.body).is_ok_and(|said| said.status_code == 404)
}

/// Whether an answer about one stream says nothing of the server as a whole.
const fn is_about_one(error: &ActError) -> bool {
    matches!(
        error,
        ActError::BadSession { .. } | ActError::NotFound { .. } | ActError::Status { .. } | ActError::Garbage { .. }
    )
}

/// The application and the stream of `scheme://host:port/app/stream?query`.
fn named(url: &str) -> Option<(String, String)> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split(['?', '#']).next()?.split_once('/')?;
    let mut steps = path.split('/').map(decoded);
    let (app, name) = (steps.next()?, steps.next()?);
    (!app.is_empty() && !name.is_empty()).then_some((app, name))
}

#[async_trait]
impl MediaServer for OvenMediaEngine {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let vhost = self.link.step(self.vhost())?;
        let no_vhost = || ActError::NotFound { server: self.config.name.clone(), path: APPS };
        let apps: Vec<String> = self.get(&format!("/v1/vhosts/{vhost}/apps"), APPS).await?.ok_or_else(no_vhost)?;
        let mut publishers = Vec::new();
        // One stream of which nothing can be learnt must not hide the others.
        let (mut failed, mut first) = (Vec::new(), None);
        // No hook lets an application in that the API has no address for.
        let watched = |app: &String| self.config.watches(app) && !is_no_step(app);
        for app in apps.into_iter().filter(watched) {
            let at = format!("/v1/vhosts/{vhost}/apps/{}/streams", self.link.step(&app)?);
            let names: Vec<String> = self.get(&at, STREAMS).await?.unwrap_or_default();
            for name in names {
                let stream = StreamId::new(&self.config.name, &app, &name);
                match self.holder(&stream).await {
                    Ok(Some(id)) => {
                        publishers.push(Listed {
                            session: Session { stream, id },
                            publisher: Publisher::default(),
                            bytes_in: None,
                        });
                    }
                    // Between the list and the question it ended.
                    Ok(None) => {}
                    Err(error) if is_about_one(&error) => {
                        first.get_or_insert(error);
                        failed.push(stream);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        match first {
            // Nothing at all was learnt: that is no empty list.
            Some(error) if publishers.is_empty() => return Err(error),
            Some(error) => {
                warn!(server = %self.config.name, failed = failed.len(), %error, "streams count as they were last seen");
            }
            None => {}
        }
        publishers.extend(failed.iter().filter_map(|stream| self.last.of(stream)));
        self.last.remember(&publishers);
        Ok(publishers)
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        Ok(self.holder(&session.stream).await?.as_ref() == Some(&session.id))
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        if session.id.0.is_empty() {
            return Err(self.link.bad_session());
        }
        if self.holder(&session.stream).await?.as_ref() != Some(&session.id) {
            return Ok(Kicked::NoSuchSession);
        }
        let request = self.request(Method::DELETE, &self.at(&session.stream)?);
        let answer = self.link.send(request, STREAM, LARGEST_ANSWER).await?;
        if is_no_such(&answer) {
            return Ok(Kicked::NoSuchSession);
        }
        let said: Status = self.link.read(&self.link.body(answer, STREAM)?, STREAM)?;
        match said.status_code {
            200 => Ok(Kicked::Dropped),
            code => Err(self.link.garbage(STREAM, format!("status code {code}"))),
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        self.check_signature(request)?;
        let body: Body = serde_json::from_slice(request.body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a hook: {:?} error", error.classify())))?;
        match (body.request.direction.as_str(), body.request.status.as_str()) {
            ("incoming", "opening") => {}
            ("incoming", "closing") | ("outgoing", "opening" | "closing") => return Ok(Hook::Other),
            _ => return Err(self.link.bad_hook("an unknown `direction` or `status`")),
        }
        let (app, name) = named(&body.request.url).ok_or_else(|| self.link.bad_hook("no stream in `url`"))?;
        if !self.config.watches(&app) {
            return Ok(Hook::Other);
        }
        let stream = StreamId::new(&self.config.name, &app, &name);
        self.pull(&stream)?;
        let asked = body.request.url.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or_default());
        let publisher = query::of(&self.config, body.client.address.as_deref(), asked.unwrap_or_default());
        Ok(Hook::Ask { stream, publisher })
    }

    fn reply(&self, _hook: &Hook, answer: Admission) -> Reply {
        match answer {
            Admission::Allow => Reply::json(200, r#"{"allowed":true}"#),
            Admission::Refuse => Reply::json(200, r#"{"allowed":false,"reason":"refused by sluicegate"}"#),
        }
    }

    /// HLS in MPEG-TS: neither RTMP nor RTSP is served.
    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        if is_no_step(&stream.app) || is_no_step(&stream.name) {
            let reason = "its application or its name is empty, `.` or `..`";
            return Err(ActError::Unpullable { server: stream.server.clone(), reason });
        }
        let base = self.config.pull.as_str().trim_end_matches('/');
        let url = format!("{base}/{}/{}/ts:playlist.m3u8", encoded(&stream.app), encoded(&stream.name));
        Ok(Pull { stream: stream.clone(), protocol: Protocol::Hls, url })
    }
}

#[cfg(test)]
mod tests;
