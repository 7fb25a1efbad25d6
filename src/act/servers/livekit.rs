//! `LiveKit`: its ingress API lists and cuts off, signed webhooks tell.
//!
//! Facts that shape this file, from its sources (`livekit/protocol`: `livekit_ingress.proto`, `webhook/verifier.go`;
//! `livekit/ingress`: `pkg/service/handler.go`, `service.go`):
//! - It asks nobody before somebody publishes. Who is denied is cut when the list, or a webhook, shows them.
//! - `UpdateIngress` on an ingress that is in use ends it, whatever is changed; with `enabled` off it also refuses the next
//!   connection, and the stream key stays. So that is the kick: it can be taken back with one request, which
//!   `DeleteIngress` cannot.
//! - The ingress has one publisher at a time; `state.resource_id` is new with each. A session is both: `INGRESS:RESOURCE`.
//! - A room is not to be had over RTMP or HTTP. What can be pulled (an egress, or a server in front) is for `pull` to say.
//! - Webhooks carry a token, signed with the API's secret, that holds the body's SHA-256.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, is_plain};
use super::{Config, Kicked, MediaServer, jwt};
use crate::act::{self, ActError};
use crate::clock::Clock;
use crate::media_server::{Hook, HookRequest, Listed, Pull};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const LIST: &str = "/twirp/livekit.Ingress/ListIngress";
const UPDATE: &str = "/twirp/livekit.Ingress/UpdateIngress";
const MOST_PAGES: usize = 100;
/// `IngressState.Status` of what is on the air.
const PUBLISHING: &str = "ENDPOINT_PUBLISHING";
/// What `LiveKit` fetches by itself is no publisher.
const FETCHED: &str = "URL_INPUT";
/// How long a token is good for, in seconds.
const TOKEN_LASTS: u64 = 60;

/// A `LiveKit`.
#[derive(Debug)]
pub struct LiveKit {
    config: Config,
    link: Link,
    /// The API's key and secret.
    key: String,
    secret: String,
    clock: Clock,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Ingress>,
    #[serde(alias = "nextPageToken")]
    next_page_token: Option<PageToken>,
}

#[derive(Deserialize)]
struct PageToken {
    #[serde(default)]
    token: String,
}

/// Its API writes names as the protocol has them, its webhooks as JSON has them.
#[derive(Deserialize)]
struct Ingress {
    #[serde(alias = "ingressId")]
    ingress_id: String,
    #[serde(default, alias = "streamKey")]
    stream_key: String,
    #[serde(default, alias = "inputType")]
    input_type: Value,
    #[serde(default, alias = "roomName")]
    room_name: String,
    #[serde(default, alias = "participantIdentity")]
    participant_identity: String,
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    status: Value,
    #[serde(default, alias = "resourceId")]
    resource_id: String,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(alias = "ingress_info", rename = "ingressInfo")]
    ingress: Option<Ingress>,
}

impl Ingress {
    fn publisher(&self) -> Publisher {
        let given = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        Publisher { address: None, key: given(&self.stream_key), account: given(&self.participant_identity) }
    }
}

impl LiveKit {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let bare = Config { control: link::without_user(&config.control), ..config.clone() };
        Ok(Self {
            link: Link::new(&bare, common)?,
            config: config.clone(),
            key: decoded(config.control.username()),
            secret: decoded(config.control.password().unwrap_or_default()),
            clock: Clock::system(),
        })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &'static str, body: &Value, limit: usize) -> Result<T, ActError> {
        let now = jwt::seconds(self.clock.wall());
        let grant = json!({ "iss": self.key, "nbf": now.saturating_sub(TOKEN_LASTS), "exp": now + TOKEN_LASTS,
                            "video": { "ingressAdmin": true } });
        let request = self.link.request(Method::POST, self.link.at(path));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let token = jwt::sign(self.secret.as_bytes(), &grant).unwrap_or_default();
        self.link.json(request.bearer_auth(token), path, limit).await
    }

    async fn publishers(&self) -> Result<Vec<Listed>, ActError> {
        let mut publishers = Vec::new();
        let mut body = json!({});
        for _ in 0..MOST_PAGES {
            let page: Page = self.ask(LIST, &body, LARGEST_LIST).await?;
            for ingress in &page.items {
                publishers.extend(self.listed(ingress)?);
            }
            match page.next_page_token.filter(|next| !next.token.is_empty()) {
                Some(next) => body = json!({ "page_token": { "token": next.token } }),
                None => return Ok(publishers),
            }
        }
        Err(self.link.garbage(LIST, format!("more than {MOST_PAGES} pages")))
    }

    /// Whoever publishes through an ingress now.
    fn listed(&self, ingress: &Ingress) -> Result<Option<Listed>, ActError> {
        let Some(state) = ingress.state.as_ref().filter(|state| state.status == PUBLISHING) else { return Ok(None) };
        if ingress.input_type == FETCHED {
            return Ok(None);
        }
        let Some(session) = self.session(ingress, state) else {
            return Err(self
                .link
                .garbage(LIST, "somebody publishes, and no `ingress_id`, `resource_id` or room says who"));
        };
        Ok(Some(Listed { session, publisher: ingress.publisher(), bytes_in: None }))
    }

    fn session(&self, ingress: &Ingress, state: &State) -> Option<Session> {
        let named = is_plain(&ingress.ingress_id) && is_plain(&state.resource_id);
        if !named || ingress.room_name.is_empty() || ingress.participant_identity.is_empty() {
            return None;
        }
        let stream = StreamId::new(&self.config.name, &ingress.room_name, &ingress.participant_identity);
        Some(Session { stream, id: SessionId(format!("{}:{}", ingress.ingress_id, state.resource_id).into()) })
    }

    /// Whether a webhook is from the server, and its body as it was sent.
    fn check(&self, request: HookRequest<'_>) -> Result<(), ActError> {
        let token = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let claims = jwt::verified(self.secret.as_bytes(), token, self.clock.wall())
            .filter(|claims| claims.get("iss").is_some_and(|key| *key == *self.key))
            .ok_or_else(|| self.link.bad_hook("no token of the key and the secret in `control`"))?;
        let digest = BASE64.encode(Sha256::digest(request.body));
        if claims.get("sha256").is_none_or(|said| *said != *digest) {
            return Err(self.link.bad_hook("its token is for another body"));
        }
        Ok(())
    }
}

#[async_trait]
impl MediaServer for LiveKit {
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
        let parts = session.id.0.split_once(':').filter(|(ingress, resource)| is_plain(ingress) && is_plain(resource));
        let (ingress, _) = parts.ok_or_else(|| self.link.bad_session())?;
        if !self.publishes(session).await? {
            return Ok(Kicked::NoSuchSession);
        }
        let shut: Ingress =
            self.ask(UPDATE, &json!({ "ingress_id": ingress, "enabled": false }), LARGEST_ANSWER).await?;
        if shut.ingress_id == ingress {
            Ok(Kicked::Dropped)
        } else {
            Err(self.link.garbage(UPDATE, "another ingress than was asked for"))
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        self.check(request)?;
        let event: Event = serde_json::from_slice(request.body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a webhook: {:?} error", error.classify())))?;
        let begins = match event.event.as_str() {
            "ingress_started" => true,
            "ingress_ended" => false,
            _ => return Ok(Hook::Other),
        };
        let ingress = event.ingress.ok_or_else(|| self.link.bad_hook("no `ingressInfo`"))?;
        let state = ingress.state.as_ref().ok_or_else(|| self.link.bad_hook("no `state`"))?;
        if ingress.input_type == FETCHED {
            return Ok(Hook::Other);
        }
        // Begun may be told before it is known as what: the list tells then.
        let Some(session) = self.session(&ingress, state).filter(|session| self.config.watches(&session.stream.app))
        else {
            return Ok(Hook::Other);
        };
        Ok(if begins { Hook::Begun { session, publisher: ingress.publisher() } } else { Hook::PublishDone { session } })
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        link::pull(&self.config.pull, stream)
    }
}

#[cfg(test)]
mod tests;
