//! Mux Video: its API lists live streams and shuts them, signed webhooks tell.
//!
//! Facts that shape this file, from its documentation (Video API, live streams; "Verify webhook signatures"):
//! - It asks nobody before somebody publishes. Who is denied is cut when the list, or a webhook, shows them.
//! - Each session makes an asset of its own, so `active_asset_id` is the session. Within `reconnect_window` a publisher who
//!   comes back goes on with the same one.
//! - `disable` closes the encoder's connection at once and refuses the next until `enable`; `complete` only ends the
//!   recording. `disable` names the live stream, so the asset is looked at once more just before.
//! - A live stream is played under another identifier than its own. Only those that need no token can be pulled.
//! - Webhooks are signed with HMAC-SHA256 over `TIME.BODY` (`Mux-Signature: t=TIME,v1=HEX`); old ones are refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use sha2::Sha256;

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, is_plain};
use super::{COUNTED, Config, Kicked, MediaServer, jwt};
use crate::act::{self, ActError};
use crate::clock::Clock;
use crate::media_server::{Hook, HookRequest, Listed, Protocol, Pull};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const LIST: &str = "/video/v1/live-streams";
const ONE: &str = "/video/v1/live-streams/{id}";
const DISABLE: &str = "/video/v1/live-streams/{id}/disable";
const PAGE: usize = 100;
const MOST_PAGES: usize = 100;
const ACTIVE: &str = "active";
const PUBLIC: &str = "public";
/// How old a webhook may be, in seconds: an overheard one is not to be sent again later.
const TOLERANCE: u64 = 300;
/// How many playback identifiers that webhooks told are kept between two looks at the list.
const MOST_TOLD: usize = 4096;

/// The live streams of one environment of Mux.
#[derive(Debug)]
pub struct Mux {
    config: Config,
    link: Link,
    clock: Clock,
    /// What can be played, and under which identifier: as of the last look at the list.
    playable: Mutex<HashMap<Arc<str>, Arc<str>>>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct LiveStream {
    id: String,
    status: String,
    active_asset_id: Option<String>,
    stream_key: Option<String>,
    #[serde(default)]
    playback_ids: Vec<Playback>,
}

#[derive(Deserialize)]
struct Playback {
    id: String,
    policy: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
}

impl Mux {
    /// An adapter for the environment whose token `control` has. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        Ok(Self {
            config: config.clone(),
            link: Link::new(config, common)?,
            clock: Clock::system(),
            playable: Mutex::default(),
        })
    }

    async fn live_streams(&self) -> Result<Vec<LiveStream>, ActError> {
        let mut found = Vec::new();
        for page in 1..=MOST_PAGES {
            let mut url = self.link.at(LIST);
            url.set_query(Some(&format!("status={ACTIVE}&limit={PAGE}&page={page}")));
            let one: Data<Vec<LiveStream>> =
                self.link.json(self.link.request(Method::GET, url), LIST, LARGEST_LIST).await?;
            let length = one.data.len();
            found.extend(one.data);
            if length < PAGE {
                return Ok(found);
            }
        }
        Err(self.link.garbage(LIST, format!("more than {MOST_PAGES} pages")))
    }

    /// Whoever publishes to a live stream now.
    fn listed(&self, found: &LiveStream) -> Result<Option<Listed>, ActError> {
        if found.status != ACTIVE {
            return Ok(None);
        }
        // Between the connection and the asset lies a moment: the next look shows both.
        let Some(asset) = found.active_asset_id.as_deref() else { return Ok(None) };
        if !is_plain(&found.id) || !is_plain(asset) {
            return Err(self.link.garbage(LIST, "a live stream without an identifier"));
        }
        let stream = StreamId::new(&self.config.name, "", &found.id);
        let publisher = Publisher { key: found.stream_key.as_deref().map(Arc::from), ..Publisher::default() };
        Ok(Some(Listed { session: Session { stream, id: SessionId::from(asset) }, publisher, bytes_in: None }))
    }

    /// The session that holds a live stream now.
    async fn holder(&self, stream: &StreamId) -> Result<Option<Session>, ActError> {
        let url = self.link.at(&format!("{LIST}/{}", self.plain(&stream.name)?));
        let answer = self.link.send(self.link.request(Method::GET, url), ONE, LARGEST_ANSWER).await?;
        if is_no_such(answer.status, &answer.body) {
            return Ok(None);
        }
        let one: Data<LiveStream> = self.link.read(&self.link.body(answer, ONE)?, ONE)?;
        Ok(self.listed(&one.data)?.map(|listed| listed.session))
    }

    fn plain<'id>(&self, id: &'id str) -> Result<&'id str, ActError> {
        if is_plain(id) { Ok(id) } else { Err(self.link.bad_session()) }
    }

    /// Whether a webhook is from Mux, whole and fresh.
    fn check(&self, request: HookRequest<'_>) -> Result<(), ActError> {
        let secret = self.config.hook_secret.as_ref().ok_or_else(|| self.link.bad_hook("`hook_secret` is not set"))?;
        let header = request.headers.get("mux-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let part = |name: &str| header.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let signed = part("t").zip(part("v1")).and_then(|(at, sign)| Some((at, hex::decode(sign).ok()?)));
        let (at, signature) = signed.ok_or_else(|| self.link.bad_hook("no signature in `Mux-Signature`"))?;
        let right = Hmac::<Sha256>::new_from_slice(secret.text().as_bytes()).is_ok_and(|mac| {
            mac.chain_update(at).chain_update(b".").chain_update(request.body).verify_slice(&signature).is_ok()
        });
        if !right {
            return Err(self.link.bad_hook("signed with another key than `hook_secret`"));
        }
        let now = jwt::seconds(self.clock.wall());
        if at.parse().is_ok_and(|at: u64| now.abs_diff(at) <= TOLERANCE) {
            Ok(())
        } else {
            Err(self.link.bad_hook("signed too long ago: look at this machine's clock"))
        }
    }
}

/// Under which identifier each of `found` is played that needs no token for it.
fn playable(found: &[LiveStream]) -> HashMap<Arc<str>, Arc<str>> {
    let public = |found: &LiveStream| {
        let playback = found.playback_ids.iter().find(|one| one.policy == PUBLIC && is_plain(&one.id))?;
        Some((Arc::from(found.id.as_str()), Arc::from(playback.id.as_str())))
    };
    found.iter().filter_map(public).collect()
}

/// Whether Mux says itself that there is no such live stream. A 404 of another server does not.
fn is_no_such(status: StatusCode, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Failed {
        error: Kind,
    }
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    status == StatusCode::NOT_FOUND
        && serde_json::from_slice::<Failed>(body).is_ok_and(|failed| failed.error.kind == "not_found")
}

#[async_trait]
impl MediaServer for Mux {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let found = self.live_streams().await?;
        let listed: Vec<_> = found.iter().map(|one| self.listed(one)).collect::<Result<_, _>>()?;
        *self.playable.lock().unwrap_or_else(PoisonError::into_inner) = playable(&found);
        Ok(listed.into_iter().flatten().collect())
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        Ok(self.holder(&session.stream).await?.as_ref() == Some(session))
    }

    fn looks_apart(&self) -> Duration {
        COUNTED
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        self.plain(&session.id.0)?;
        if !self.publishes(session).await? {
            return Ok(Kicked::NoSuchSession);
        }
        let url = self.link.at(&format!("{LIST}/{}/disable", self.plain(&session.stream.name)?));
        let answer = self.link.send(self.link.request(Method::PUT, url), DISABLE, LARGEST_ANSWER).await?;
        if is_no_such(answer.status, &answer.body) {
            return Ok(Kicked::NoSuchSession);
        }
        let _: Data<serde_json::Value> = self.link.read(&self.link.body(answer, DISABLE)?, DISABLE)?;
        Ok(Kicked::Dropped)
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        self.check(request)?;
        let bad = |error: &serde_json::Error| {
            self.link.bad_hook(format!("not the JSON of a webhook: {:?} error", error.classify()))
        };
        let event: Event = serde_json::from_slice(request.body).map_err(|error| bad(&error))?;
        // `idle` comes after `reconnect_window` and names no session; the list knows before.
        if event.kind != "video.live_stream.active" {
            return Ok(Hook::Other);
        }
        let told: Data<LiveStream> = serde_json::from_slice(request.body).map_err(|error| bad(&error))?;
        let listed = self.listed(&told.data).map_err(|_error: ActError| self.link.bad_hook("no identifier"))?;
        let Some(listed) = listed else { return Ok(Hook::Other) };
        let mut known = self.playable.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_TOLD {
            known.extend(playable(&[told.data]));
        }
        Ok(Hook::Begun { session: listed.session, publisher: listed.publisher })
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        let known = self.playable.lock().unwrap_or_else(PoisonError::into_inner);
        let playback = known.get(&stream.name).ok_or_else(|| ActError::Unpullable {
            server: stream.server.clone(),
            reason: "it has no playback identifier of the policy `public`",
        })?;
        let base = link::without_user(&self.config.pull);
        let url = format!("{}/{playback}.m3u8", base.as_str().trim_end_matches('/'));
        Ok(Pull { stream: stream.clone(), protocol: Protocol::Hls, url })
    }
}

#[cfg(test)]
mod tests;
