//! Ant Media Server: its REST API lists and cuts off, `webhookAuthenticateURL` asks.
//!
//! Facts that shape this file, from its sources (`BroadcastRestService.java`, `AcceptOnlyStreamsWithWebhook.java`,
//! `JWTFilter.java`):
//! - Each application has an API of its own, below its name. Which applications there are is not told without an account of
//!   the console, so `apps` names them.
//! - It has no identifier of a session: when a broadcast began (`startTime`) is taken for one. `stop` ends whoever holds the
//!   *name*, so the time is looked at once more just before.
//! - `stop` answers 200 with `success`, true or false.
//! - The question names stream and application, and brings the query of the address as Java prints a map: `{a=b, c=d}`. A
//!   value may hold `, `, so what is in there twice is in doubt and refused.
//! - Only a 200 is yes. One slow answer holds up everybody who wants to publish in that application.
//! - Its other hooks (`listenerHookURL`) come in any order and name no session: they are not relied on.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link, decoded, encoded, is_no_step};
use super::{Config, Kicked, MediaServer, jwt, query};
use crate::act::{self, ActError};
use crate::clock::Clock;
use crate::media_server::{Admission, Hook, HookRequest, Listed, Protocol, Pull, Reply};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const LIST: &str = "/{app}/rest/v2/broadcasts/list/{offset}/{size}";
const BROADCAST: &str = "/{app}/rest/v2/broadcasts/{id}";
const STOP: &str = "/{app}/rest/v2/broadcasts/{id}/stop";
/// No release gives fewer than this at once.
const PAGE: usize = 50;
const MOST_PAGES: usize = 400;
const ON_AIR: &str = "broadcasting";
/// What is published; the other types are what the server fetches by itself.
const PUBLISHED: &str = "liveStream";
/// How long a token is good for, in seconds.
const TOKEN_LASTS: u64 = 60;

/// An Ant Media Server.
#[derive(Debug)]
pub struct AntMedia {
    config: Config,
    link: Link,
    /// `jwtSecretKey` of the application, where it is set.
    secret: String,
    clock: Clock,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Broadcast {
    stream_id: String,
    status: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    start_time: i64,
}

#[derive(Deserialize)]
struct Stopped {
    success: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    app_name: String,
    stream_id: String,
    #[serde(default)]
    query_params: String,
}

impl AntMedia {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        let secret = decoded(config.control.password().unwrap_or(config.control.username()));
        let bare = Config { control: link::without_user(&config.control), ..config.clone() };
        Ok(Self { link: Link::new(&bare, common)?, config: config.clone(), secret, clock: Clock::system() })
    }

    fn request(&self, method: Method, at: &str) -> RequestBuilder {
        let request = self.link.request(method, self.link.at(at));
        let ends = jwt::seconds(self.clock.wall()) + TOKEN_LASTS;
        let token =
            (!self.secret.is_empty()).then(|| jwt::sign(self.secret.as_bytes(), &json!({ "exp": ends }))).flatten();
        match token {
            Some(token) => request.header("authorization", token),
            None => request,
        }
    }

    /// Where a broadcast is in the API.
    fn at(&self, stream: &StreamId) -> Result<String, ActError> {
        Ok(format!("/{}/rest/v2/broadcasts/{}", self.link.step(&stream.app)?, self.link.step(&stream.name)?))
    }

    /// The session of a broadcast that is on the air and somebody's.
    fn session(&self, app: &str, broadcast: &Broadcast) -> Result<Option<Session>, ActError> {
        if broadcast.status != ON_AIR || broadcast.kind.as_deref().is_some_and(|kind| kind != PUBLISHED) {
            return Ok(None);
        }
        if broadcast.start_time <= 0 {
            return Err(self.link.garbage(BROADCAST, "a broadcast on the air without `startTime`"));
        }
        let stream = StreamId::new(&self.config.name, app, &broadcast.stream_id);
        Ok(Some(Session { stream, id: SessionId(broadcast.start_time.to_string().into()) }))
    }

    async fn broadcasts(&self, app: &str) -> Result<Vec<Session>, ActError> {
        let mut sessions = Vec::new();
        let step = self.link.step(app)?;
        for page in 0..MOST_PAGES {
            let at = format!("/{step}/rest/v2/broadcasts/list/{}/{PAGE}", page * PAGE);
            let found: Vec<Broadcast> = self.link.json(self.request(Method::GET, &at), LIST, LARGEST_LIST).await?;
            for broadcast in &found {
                sessions.extend(self.session(app, broadcast)?);
            }
            if found.len() < PAGE {
                return Ok(sessions);
            }
        }
        Err(self.link.garbage(LIST, format!("more than {MOST_PAGES} pages")))
    }

    /// The session that holds a name now.
    async fn holder(&self, stream: &StreamId) -> Result<Option<Session>, ActError> {
        let answer = self.link.send(self.request(Method::GET, &self.at(stream)?), BROADCAST, LARGEST_ANSWER).await?;
        // Of an application that is not there the server says so with a page.
        if answer.status == StatusCode::NOT_FOUND && !answer.body.starts_with(b"<") {
            return Ok(None);
        }
        let broadcast: Broadcast = self.link.read(&self.link.body(answer, BROADCAST)?, BROADCAST)?;
        self.session(&stream.app, &broadcast)
    }
}

/// The value of `name` in a map that Java printed; `Err` where it is in doubt.
fn printed(map: &str, name: &str) -> Result<Option<String>, &'static str> {
    let inside = map.trim().trim_start_matches('{').trim_end_matches('}');
    let mut found = inside.split(", ").filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let value = found.next().map(|(_, value)| value.to_owned());
    if found.next().is_some() { Err("a parameter of the query is there twice") } else { Ok(value) }
}

#[async_trait]
impl MediaServer for AntMedia {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let mut publishers = Vec::new();
        for app in &self.config.apps {
            let sessions = self.broadcasts(app).await?.into_iter();
            publishers.extend(sessions.map(|session| Listed {
                session,
                publisher: Publisher::default(),
                bytes_in: None,
            }));
        }
        Ok(publishers)
    }

    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        Ok(self.holder(&session.stream).await?.as_ref() == Some(session))
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        if session.id.0.is_empty() || !session.id.0.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.link.bad_session());
        }
        if !self.publishes(session).await? {
            return Ok(Kicked::NoSuchSession);
        }
        let request = self.request(Method::POST, &format!("{}/stop", self.at(&session.stream)?));
        let stopped: Stopped = self.link.json(request, STOP, LARGEST_ANSWER).await?;
        if stopped.success { Ok(Kicked::Dropped) } else { Err(self.link.garbage(STOP, "no success")) }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        let question: Question = serde_json::from_slice(request.body)
            .map_err(|error| self.link.bad_hook(format!("not the JSON of a question: {:?} error", error.classify())))?;
        let (app, name) = (question.app_name, question.stream_id);
        if app.is_empty() || name.is_empty() {
            return Err(self.link.bad_hook("no `appName` or no `streamId`"));
        }
        if !self.config.watches(&app) {
            return Ok(Hook::Other);
        }
        for param in self.config.key_param.iter().chain(&self.config.account_param) {
            printed(&question.query_params, param).map_err(|reason| self.link.bad_hook(reason))?;
        }
        let stream = StreamId::new(&self.config.name, &app, &name);
        self.pull(&stream)?;
        let find = |param: &str| printed(&question.query_params, param).ok().flatten();
        Ok(Hook::Ask { stream, publisher: query::publisher(&self.config, None, find) })
    }

    fn reply(&self, _hook: &Hook, answer: Admission) -> Reply {
        match answer {
            Admission::Allow => Reply::json(200, r#"{"admission":"allow"}"#),
            Admission::Refuse => Reply::json(403, r#"{"admission":"refuse"}"#),
        }
    }

    /// HLS, which every edition serves.
    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        if is_no_step(&stream.app) || is_no_step(&stream.name) {
            let reason = "its application or its name is empty, `.` or `..`";
            return Err(ActError::Unpullable { server: stream.server.clone(), reason });
        }
        let base = self.config.pull.as_str().trim_end_matches('/');
        let url = format!("{base}/{}/streams/{}.m3u8", encoded(&stream.app), encoded(&stream.name));
        Ok(Pull { stream: stream.clone(), protocol: Protocol::Hls, url })
    }
}

#[cfg(test)]
mod tests;
