//! Cloudflare Stream: its API lists live inputs and disables them; what is on the air, each input's `lifecycle` tells.
//!
//! Facts that shape this file, from its documentation (API "Stream Live Inputs"; "Watch a live stream", `lifecycle`):
//! - It asks nobody before somebody publishes, and its notifications name no session. Everything is seen by looking.
//! - The list of live inputs does not say who is on the air. `lifecycle`, served beside the playlists and not counted against
//!   the limits of the API, does: `live` and `videoUID`, new with each broadcast, which is taken for the session.
//! - `"enabled": false` keeps everybody out. That it ends a running broadcast is not documented: it counts as done only when
//!   `lifecycle` says so. What is left out of the request stays as it is.
//! - A live input is disabled by its own identifier, so the video is looked at once more just before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tracing::warn;
use url::Url;

use super::last_seen::LastSeen;
use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, is_plain};
use super::{COUNTED, Config, Kicked, MediaServer};
use crate::act::{self, ActError};
use crate::media_server::{Hook, HookRequest, Listed, Protocol, Pull};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const LIST: &str = "/stream/live_inputs";
const ONE: &str = "/stream/live_inputs/{id}";
const LIFECYCLE: &str = "/{id}/lifecycle";
/// How many live inputs are asked about at the same time.
const AT_ONCE: usize = 16;

/// The live inputs of one account of Cloudflare.
#[derive(Debug)]
pub struct CloudflareStream {
    config: Config,
    link: Arc<Link>,
    token: String,
    last: LastSeen,
}

#[derive(Deserialize)]
struct Said<T> {
    success: bool,
    result: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inputs {
    live_inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    uid: String,
    /// Left out by older answers, which know no disabled inputs.
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    live: bool,
    #[serde(rename = "videoUID")]
    video: Option<String>,
}

impl CloudflareStream {
    /// An adapter for the account that `control` names. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let token = decoded(config.control.password().unwrap_or(config.control.username()));
        let bare = Config { control: link::without_user(&config.control), ..config.clone() };
        Ok(Self { link: Arc::new(Link::new(&bare, common)?), config: config.clone(), token, last: LastSeen::default() })
    }

    fn request(&self, method: Method, at: &str) -> RequestBuilder {
        self.link.request(method, self.link.at(at)).bearer_auth(&self.token)
    }

    /// Where an input's playlists are, and what it says of itself.
    fn beside(&self, input: &str, what: &str) -> Url {
        let mut url = link::without_user(&self.config.pull);
        url.set_path(&format!("{}/{input}/{what}", self.config.pull.path().trim_end_matches('/')));
        url
    }

    fn session(&self, input: &str, video: &str) -> Session {
        Session { stream: StreamId::new(&self.config.name, "", input), id: SessionId::from(video) }
    }

    async fn holder(&self, input: &str) -> Result<Option<Session>, ActError> {
        if !is_plain(input) {
            return Err(self.link.bad_session());
        }
        let video = on_air(&self.link, self.beside(input, "lifecycle")).await?;
        Ok(video.map(|video| self.session(input, &video)))
    }
}

/// The video that a live input makes now.
async fn on_air(link: &Link, url: Url) -> Result<Option<String>, ActError> {
    let said: Lifecycle = link.json(link.request(Method::GET, url), LIFECYCLE, LARGEST_ANSWER).await?;
    match said.video.filter(|_| said.live) {
        Some(video) if !is_plain(&video) => Err(link.garbage(LIFECYCLE, "no identifier in `videoUID`")),
        None if said.live => Err(link.garbage(LIFECYCLE, "on the air without `videoUID`")),
        video => Ok(video),
    }
}

#[async_trait]
impl MediaServer for CloudflareStream {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let said: Said<Inputs> = self.link.json(self.request(Method::GET, LIST), LIST, LARGEST_LIST).await?;
        if !said.success {
            return Err(self.link.garbage(LIST, "no success"));
        }
        // One that was disabled a moment ago may still be on the air.
        let mut waiting = said.result.live_inputs.into_iter().filter(|one| is_plain(&one.uid));
        let mut asking = JoinSet::new();
        let (mut publishers, mut failed, mut first) = (Vec::new(), Vec::new(), None);
        loop {
            while asking.len() < AT_ONCE
                && let Some(input) = waiting.next()
            {
                let (link, url) = (Arc::clone(&self.link), self.beside(&input.uid, "lifecycle"));
                asking.spawn(async move { (on_air(&link, url).await, input) });
            }
            let Some(answered) = asking.join_next().await else { break };
            match answered {
                Ok((Ok(Some(video)), input)) => publishers.push(Listed {
                    session: self.session(&input.uid, &video),
                    publisher: Publisher::default(),
                    bytes_in: None,
                }),
                Ok((Ok(None), _)) => {}
                // One of which nothing can be learnt must not hide the others.
                Ok((Err(error), input)) => {
                    first.get_or_insert(error);
                    failed.push(StreamId::new(&self.config.name, "", &input.uid));
                }
                Err(_) => return Err(self.link.garbage(LIFECYCLE, "a question broke off")),
            }
        }
        match first {
            Some(error) if publishers.is_empty() => return Err(error),
            Some(error) => {
                let failed = failed.len();
                warn!(server = %self.config.name, failed, %error, "live inputs count as they were last seen");
            }
            None => {}
        }
        publishers.extend(failed.iter().filter_map(|stream| self.last.of(stream)));
        self.last.remember(&publishers);
        Ok(publishers)
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        Ok(self.holder(&session.stream.name).await?.as_ref() == Some(session))
    }

    fn looks_apart(&self) -> Duration {
        COUNTED
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        if !is_plain(&session.id.0) {
            return Err(self.link.bad_session());
        }
        if !self.publishes(session).await? {
            return Ok(Kicked::NoSuchSession);
        }
        let request = self.request(Method::PUT, &format!("{LIST}/{}", session.stream.name));
        let request = request.header("content-type", "application/json").body(json!({ "enabled": false }).to_string());
        let said: Said<Input> = self.link.json(request, ONE, LARGEST_ANSWER).await?;
        if said.success && said.result.enabled != Some(true) {
            Ok(Kicked::Dropped)
        } else {
            Err(self.link.garbage(ONE, "it is still enabled"))
        }
    }

    fn parse_hook(&self, _request: HookRequest<'_>) -> Result<Hook, ActError> {
        Err(self.link.bad_hook("its notifications name no session, and are of no use here"))
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        if !is_plain(&stream.name) {
            return Err(ActError::Unpullable { server: stream.server.clone(), reason: "it is no live input" });
        }
        let url = self.beside(&stream.name, "manifest/video.m3u8").into();
        Ok(Pull { stream: stream.clone(), protocol: Protocol::Hls, url })
    }
}

#[cfg(test)]
mod tests;
