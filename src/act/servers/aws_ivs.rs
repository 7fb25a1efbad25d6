//! Amazon Interactive Video Service, low-latency channels: its API lists streams and stops them.
//!
//! Facts that shape this file, from its documentation (IVS Low-Latency Streaming API Reference; SDK models of `ivs`):
//! - It asks nobody before somebody publishes, and its events (`EventBridge`) come late, twice or not at all. Everything is
//!   seen by looking.
//! - `ListStreams` gives every stream of the region with its channel and a `streamId` that is new with each broadcast.
//! - `StopStream` names the *channel*, so the `streamId` is looked at once more just before. Encoders connect again at once:
//!   while a deny stands the list shows them and they are stopped again. The platform is to take the stream key away.
//! - Where a channel is played is told by `GetStream`. It is remembered as long as the stream goes on.
//! - Requests are signed with version 4 (see `signature`); the region is part of the address.

mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::warn;
use url::Url;

use super::link::{self, Answer, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, is_plain};
use super::{COUNTED, Config, Kicked, MediaServer};
use crate::act::{self, ActError};
use crate::clock::Clock;
use crate::media_server::{Hook, HookRequest, Listed, Protocol, Pull};
use crate::stream::{Publisher, Session, SessionId, StreamId};
use signature::{Credentials, signed};

const LIST: &str = "/ListStreams";
const GET: &str = "/GetStream";
const STOP: &str = "/StopStream";
const PAGE: usize = 100;
const MOST_PAGES: usize = 100;
/// Where no region can be read from the address, as with an endpoint of one's own.
const SOME_REGION: &str = "us-east-1";

/// A stream's session, and where it is played.
type Played = HashMap<StreamId, (SessionId, Option<Arc<str>>)>;

/// The channels of one account in one region.
#[derive(Debug)]
pub struct AwsIvs {
    config: Config,
    link: Link,
    credentials: Credentials,
    clock: Clock,
    /// Where each stream of the last list is played, if that is where it may be pulled, and as which session.
    played: Mutex<Played>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    streams: Vec<Broadcast>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct One {
    stream: Broadcast,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Broadcast {
    channel_arn: String,
    stream_id: Option<String>,
    state: Option<String>,
    playback_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    #[serde(rename = "exceptionMessage")]
    _message: String,
}

impl AwsIvs {
    /// An adapter for the account and region that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let credentials = Credentials {
            key: decoded(config.control.username()),
            secret: decoded(config.control.password().unwrap_or_default()),
            region: region(&config.control).unwrap_or(SOME_REGION).to_owned(),
            service: "ivs",
        };
        let bare = Config { control: link::without_user(&config.control), ..config.clone() };
        Ok(Self {
            link: Link::new(&bare, common)?,
            config: config.clone(),
            credentials,
            clock: Clock::system(),
            played: Mutex::default(),
        })
    }

    async fn send(&self, path: &'static str, body: &Value, limit: usize) -> Result<Answer, ActError> {
        let url = self.link.at(path);
        let body = body.to_string();
        let headers = signed(&self.credentials, &url, "application/json", &body, self.clock.wall());
        let request = self.link.request(Method::POST, url).body(body);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        self.link.send(request, path, limit).await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &'static str, body: &Value, limit: usize) -> Result<T, ActError> {
        let answer = self.send(path, body, limit).await?;
        self.link.read(&self.link.body(answer, path)?, path)
    }

    async fn streams(&self) -> Result<Vec<Session>, ActError> {
        let mut sessions = Vec::new();
        let mut body = json!({ "maxResults": PAGE });
        for _ in 0..MOST_PAGES {
            let page: Page = self.ask(LIST, &body, LARGEST_LIST).await?;
            for stream in &page.streams {
                sessions.extend(self.session(stream, LIST)?);
            }
            match page.next_token.filter(|token| !token.is_empty()) {
                Some(token) => body = json!({ "maxResults": PAGE, "nextToken": token }),
                None => return Ok(sessions),
            }
        }
        Err(self.link.garbage(LIST, format!("more than {MOST_PAGES} pages")))
    }

    fn session(&self, stream: &Broadcast, path: &'static str) -> Result<Option<Session>, ActError> {
        if stream.state.as_deref().is_some_and(|state| state != "LIVE") {
            return Ok(None);
        }
        let named = self.stream(&stream.channel_arn).zip(stream.stream_id.as_deref().filter(|id| is_plain(id)));
        let (stream, id) = named.ok_or_else(|| self.link.garbage(path, "no `channelArn` or no `streamId`"))?;
        Ok(Some(Session { stream, id: SessionId::from(id) }))
    }

    /// `arn:aws:ivs:REGION:ACCOUNT:channel` is the application, and what follows the stream.
    fn stream(&self, arn: &str) -> Option<StreamId> {
        let (app, name) = arn.rsplit_once('/')?;
        (is_arn(app) && is_plain(name)).then(|| StreamId::new(&self.config.name, app, name))
    }

    fn arn(&self, stream: &StreamId) -> Result<String, ActError> {
        if is_arn(&stream.app) && is_plain(&stream.name) {
            Ok(format!("{}/{}", stream.app, stream.name))
        } else {
            Err(self.link.bad_session())
        }
    }

    /// The stream of a channel now.
    async fn current(&self, stream: &StreamId) -> Result<Option<Broadcast>, ActError> {
        let answer = self.send(GET, &json!({ "channelArn": self.arn(stream)? }), LARGEST_ANSWER).await?;
        if is_no_such(&answer) {
            return Ok(None);
        }
        let one: One = self.link.read(&self.link.body(answer, GET)?, GET)?;
        Ok(Some(one.stream))
    }

    fn played(&self) -> MutexGuard<'_, Played> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns where those are played that are new since the last look. Of whom that cannot be learnt is asked again at the
    /// next look: one of them must not hide the others.
    async fn learn(&self, sessions: &[Session]) {
        let (mut unknown, mut first) = (0_u32, None);
        self.played()
            .retain(|stream, (id, _)| sessions.iter().any(|session| session.stream == *stream && session.id == *id));
        for session in sessions {
            if self.played().contains_key(&session.stream) {
                continue;
            }
            let stream = match self.current(&session.stream).await {
                Ok(Some(stream)) => stream,
                Ok(None) => continue,
                Err(error) => {
                    unknown += 1;
                    let is_throttled = matches!(error, ActError::Throttled { .. });
                    first.get_or_insert(error);
                    if is_throttled {
                        break;
                    }
                    continue;
                }
            };
            let address = stream.playback_url.as_deref().and_then(|url| self.playback(url));
            if address.is_none() {
                warn!(stream = %session.stream, "its playback address is not below `pull`: it is not pulled");
            }
            self.played().insert(session.stream.clone(), (session.id.clone(), address));
        }
        if let Some(error) = first {
            warn!(server = %self.config.name, unknown, %error, "where streams are played is not known yet");
        }
    }

    /// A playback address, if it leads where `pull` says that playlists are.
    fn playback(&self, text: &str) -> Option<Arc<str>> {
        let url = Url::parse(text).ok()?;
        let (host, base) = (url.host_str()?, self.config.pull.host_str()?);
        // Each customer has a name of their own below `playback.live-video.net`.
        let below = host == base || host.strip_suffix(base).is_some_and(|rest| rest.ends_with('.'));
        (url.scheme() == self.config.pull.scheme() && below).then(|| Arc::from(url.as_str()))
    }
}

/// Whether it says itself that nobody publishes there. A 404 of another server does not.
fn is_no_such(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && serde_json::from_slice::<Failed>(&answer.body).is_ok()
}

/// `arn:aws:ivs:REGION:ACCOUNT:channel`, and nothing that could be more.
fn is_arn(text: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "ivs", _, _, "channel"]) && parts.into_iter().all(plain)
}

/// The region in `ivs.REGION.amazonaws.com`, or `ivs.REGION.api.aws`.
pub(super) fn region(control: &Url) -> Option<&str> {
    let mut labels = control.host_str()?.split('.');
    labels.by_ref().find(|label| matches!(*label, "ivs" | "ivs-fips"))?;
    let region = labels.next()?;
    (matches!(labels.next()?, "amazonaws" | "api" | "vpce")).then_some(region)
}

#[async_trait]
impl MediaServer for AwsIvs {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let mut sessions = self.streams().await?;
        sessions.retain(|session| self.config.watches(&session.stream.app));
        self.learn(&sessions).await;
        let listed = |session| Listed { session, publisher: Publisher::default(), bytes_in: None };
        Ok(sessions.into_iter().map(listed).collect())
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        match self.current(&session.stream).await? {
            Some(stream) => Ok(self.session(&stream, GET)?.as_ref() == Some(session)),
            None => Ok(false),
        }
    }

    fn looks_apart(&self) -> Duration {
        COUNTED
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        if !is_plain(&session.id.0) {
            return Err(self.link.bad_session());
        }
        let arn = self.arn(&session.stream)?;
        if !self.publishes(session).await? {
            return Ok(Kicked::NoSuchSession);
        }
        let answer = self.send(STOP, &json!({ "channelArn": arn }), LARGEST_ANSWER).await?;
        if is_no_such(&answer) {
            return Ok(Kicked::NoSuchSession);
        }
        self.link.body(answer, STOP).map(|_empty| Kicked::Dropped)
    }

    fn parse_hook(&self, _request: HookRequest<'_>) -> Result<Hook, ActError> {
        Err(self.link.bad_hook("its events come late or never, and are of no use here"))
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        let played = self.played();
        let url = played.get(stream).and_then(|(_, url)| url.as_ref()).ok_or_else(|| ActError::Unpullable {
            server: stream.server.clone(),
            reason: "it is not known where it is played",
        })?;
        Ok(Pull { stream: stream.clone(), protocol: Protocol::Hls, url: url.to_string() })
    }
}

#[cfg(test)]
mod tests;
