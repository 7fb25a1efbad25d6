//! node-media-server: its API lists and cuts off, `notify.url` is told.
//!
//! Measured facts that shape this file (version 4.4):
//! - It never waits for an answer. A publisher is on the air while the hook is on its way, and is asked to leave when the
//!   answer is not 200. Kicks are of the same kind, so here both are *advisory*: what counts is what is observed.
//! - Nobody there is yes: when Sluicegate is down everybody can publish.
//! - After the publisher left, the stream is kept for 30 s as `reconnecting`, its publisher still in the list. Only
//!   `publishing` is on the air.
//! - The API wants a token, had for a user and a password. After five wrong tries in a row nobody gets in from that address
//!   for a quarter of an hour: a refused password is not tried again for as long.
//! - Names are letters, digits, `-` and `_`; it refuses the rest itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::link::{self, Answer, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, is_plain};
use super::{Config, Kicked, MediaServer, query};
use crate::act::{self, ActError};
use crate::media_server::{Hook, HookRequest, Listed, Pull};
use crate::stream::{self, Session, SessionId, StreamId};

/// How long a refused password is not tried again.
const LOCK: Duration = Duration::from_mins(15);

/// A node-media-server.
#[derive(Debug)]
pub struct NodeMediaServer {
    config: Config,
    link: Link,
    /// The user and the password.
    credentials: (String, String),
    token: Mutex<Token>,
}

#[derive(Debug, Default)]
enum Token {
    #[default]
    None,
    Had(String),
    /// The password was refused, then, with this status.
    Refused(Instant, u16),
}

#[derive(Deserialize)]
struct Said<T> {
    success: bool,
    data: T,
}

#[derive(Deserialize)]
struct LoggedIn {
    token: String,
}

#[derive(Deserialize)]
struct Streams {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    app: String,
    name: String,
    status: String,
    publisher: Option<Publisher>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Publisher {
    id: String,
    ip: Option<String>,
    in_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Body {
    action: String,
    id: String,
    ip: Option<String>,
    app: String,
    name: String,
    /// What the publisher wrote after `?`.
    #[serde(default)]
    query: serde_json::Map<String, serde_json::Value>,
}

impl NodeMediaServer {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let (user, password) = (config.control.username(), config.control.password().unwrap_or_default());
        let credentials = (decoded(user), decoded(password));
        // They go into the body of a login, not along with each request.
        let bare = Config { control: link::without_user(&config.control), ..config.clone() };
        Ok(Self { link: Link::new(&bare, common)?, config: config.clone(), credentials, token: Mutex::default() })
    }

    /// A token, from before or fresh. Nobody else logs in meanwhile.
    async fn token(&self) -> Result<String, ActError> {
        let path = "/api/v1/login";
        let forbidden = |status| ActError::Forbidden { server: self.config.name.clone(), path, status };
        let mut token = self.token.lock().await;
        match &*token {
            Token::Had(token) => return Ok(token.clone()),
            Token::Refused(at, status) if at.elapsed() < LOCK => return Err(forbidden(*status)),
            Token::None | Token::Refused(..) => {}
        }
        let (username, password) = &self.credentials;
        let body = serde_json::json!({ "username": username, "password": password });
        let request = self.link.request(Method::POST, self.link.at(path));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = self.link.send(request, path, LARGEST_ANSWER).await?;
        let refused =
            [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
        if refused.contains(&answer.status) {
            let status = answer.status.as_u16();
            *token = Token::Refused(Instant::now(), status);
            return Err(forbidden(status));
        }
        let said: Said<LoggedIn> = self.link.read(&self.link.body(answer, path)?, path)?;
        if !said.success || said.data.token.is_empty() {
            return Err(self.link.garbage(path, "no token"));
        }
        *token = Token::Had(said.data.token.clone());
        Ok(said.data.token)
    }

    /// Asks with a token, and once more with a fresh one where that has run out.
    async fn ask(&self, method: Method, at: &str, path: &'static str, limit: usize) -> Result<Answer, ActError> {
        let mut fresh = false;
        loop {
            let token = self.token().await?;
            let request = self.link.request(method.clone(), self.link.at(at)).bearer_auth(&token);
            let answer = self.link.send(request, path, limit).await?;
            if answer.status != StatusCode::UNAUTHORIZED || fresh {
                return Ok(answer);
            }
            let mut held = self.token.lock().await;
            if matches!(&*held, Token::Had(held) if *held == token) {
                *held = Token::None;
            }
            fresh = true;
        }
    }

    async fn publishers(&self) -> Result<Vec<Listed>, ActError> {
        let path = "/api/v1/streams";
        let answer = self.ask(Method::GET, path, path, LARGEST_LIST).await?;
        let said: Said<Streams> = self.link.read(&self.link.body(answer, path)?, path)?;
        if !said.success {
            return Err(self.link.garbage(path, "no success"));
        }
        let live = said.data.streams.into_iter().filter(|stream| stream.status == "publishing");
        live.map(|stream| {
            let publisher = stream.publisher.filter(|publisher| is_plain(&publisher.id));
            let publisher = publisher.ok_or_else(|| self.link.garbage(path, "a stream without a publisher"))?;
            let session = self.session(stream.app, stream.name, &publisher.id);
            Ok(Listed {
                session,
                publisher: stream::Publisher::at(publisher.ip.as_deref().map(host).as_deref()),
                bytes_in: publisher.in_bytes,
            })
        })
        .collect()
    }

    fn session(&self, app: String, name: String, id: &str) -> Session {
        let stream = StreamId { server: self.config.name.clone(), app: app.into(), name: name.into() };
        Session { stream, id: SessionId::from(id) }
    }
}

/// The address of `address:port`.
fn host(ip: &str) -> String {
    ip.rsplit_once(':').map_or(ip, |(host, _)| host).to_owned()
}

#[async_trait]
impl MediaServer for NodeMediaServer {
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
        let path = "/api/v1/sessions/{id}";
        if !is_plain(&session.id.0) {
            return Err(self.link.bad_session());
        }
        let at = format!("/api/v1/sessions/{}", session.id);
        let answer = self.ask(Method::DELETE, &at, path, LARGEST_ANSWER).await?;
        // A 404 of another server does not say so in JSON.
        let said = serde_json::from_slice::<Said<serde_json::Value>>(&answer.body);
        match (answer.status, said) {
            (StatusCode::NOT_FOUND, Ok(said)) if !said.success => Ok(Kicked::NoSuchSession),
            (StatusCode::OK, Ok(said)) if said.success => Ok(Kicked::Dropped),
            (StatusCode::OK, _) => Err(self.link.garbage(path, "no success")),
            _ => Err(self.link.body(answer, path).err().unwrap_or_else(|| self.link.bad_session())),
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        let body: Body = serde_json::from_slice(request.body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a hook: {:?} error", error.classify())))?;
        if !matches!(body.action.as_str(), "prePublish" | "postPublish" | "donePublish") {
            return Ok(Hook::Other);
        }
        if body.app.is_empty() || body.name.is_empty() {
            return Err(self.link.bad_hook("no `app` or no `name`"));
        }
        if !is_plain(&body.id) {
            return Err(self.link.bad_hook("no identifier in `id`"));
        }
        if !self.config.watches(&body.app) {
            return Ok(Hook::Other);
        }
        let session = self.session(body.app, body.name, &body.id);
        let address = body.ip.as_deref().map(host);
        let publisher = query::publisher(&self.config, address.as_deref(), |name| {
            // A name that is there twice is an array, if at all.
            let value = body.query.get(name)?;
            value.as_array().and_then(|all| all.first()).unwrap_or(value).as_str().map(str::to_owned)
        });
        if body.action != "donePublish" {
            self.pull(&session.stream)?;
        }
        // The first two come at the same time, in any order: attaching twice is attaching once.
        Ok(match body.action.as_str() {
            "prePublish" => Hook::Ask { stream: session.stream, publisher },
            "postPublish" => Hook::Begun { session, publisher },
            _ => Hook::PublishDone { session },
        })
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        link::pull(&self.config.pull, stream)
    }
}

#[cfg(test)]
mod tests;
