//! Any server with an HTTP interface: what to ask, and where in its answers to look, is in `[server.http]`.
//!
//! It promises that a stranger's name never becomes more than a name, wherever a template puts it, and that a session
//! that the configuration cannot name is looked at once more before whoever holds its name is kicked.

mod config;
mod kick;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use serde_json::Value;
use url::form_urlencoded;

pub use config::{BodyType, Config};
pub(super) use kick::{Kick, problems as kick_problems};
use template::{Filled, Line};

use super::link::{self, LARGEST_LIST, Link};
use super::{Kicked, MediaServer, srt};
use crate::act::webhook::Secret;
use crate::act::{self, ActError};
use crate::media_server::{Admission, Hook, HookRequest, Listed, Pull, Reply};
use crate::stream::{Publisher, Session, SessionId, StreamId};

const LIST: &str = "its list (`list` in [server.http])";

/// A server described by its configuration.
#[derive(Debug)]
pub struct Generic {
    config: super::Config,
    link: Link,
    list: Line,
    kick: Kick,
}

impl Generic {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &super::Config, common: &act::Config) -> Result<Self, ActError> {
        let wrong = |reason: String| ActError::BadTemplate { server: config.name.clone(), reason };
        let http = &config.http;
        Ok(Self {
            link: Link::new(config, common)?,
            list: Line::parse(&http.list).map_err(wrong)?,
            kick: Kick::parse(http).map_err(wrong)?,
            config: config.clone(),
        })
    }

    async fn publishers(&self) -> Result<Vec<Listed>, ActError> {
        let http = &self.config.http;
        // A list is about nobody in particular, and its template may name nobody.
        let nobody = Session { stream: StreamId::new("", "", ""), id: SessionId::from("") };
        let answer: Value =
            self.link.json(request(&self.link, &http.headers, &self.list, &nobody)?, LIST, LARGEST_LIST).await?;
        let items = answer.pointer(&http.items).and_then(Value::as_array);
        let items = items.ok_or_else(|| self.link.garbage(LIST, "no list where `items` points"))?;
        items
            .iter()
            .map(|item| {
                let session = self.session(item, &http.app, &http.stream, &http.session);
                let session =
                    session.map_err(|missing| self.link.garbage(LIST, format!("nothing where {missing} points")))?;
                let publisher = publisher(item, [&http.address, &http.key, &http.account]);
                let bytes_in = at(item, &http.bytes).and_then(|bytes| bytes.parse().ok());
                Ok(Listed { session, publisher, bytes_in })
            })
            .collect()
    }

    fn session(&self, item: &Value, app: &str, stream: &str, id: &str) -> Result<Session, &'static str> {
        let id = at(item, id).filter(|id| !id.is_empty()).ok_or("`session`")?;
        Ok(Session { stream: self.stream(item, app, stream)?, id: SessionId(id.into()) })
    }

    fn stream(&self, item: &Value, app: &str, stream: &str) -> Result<StreamId, &'static str> {
        let app = if app.is_empty() { String::new() } else { at(item, app).ok_or("`app`")? };
        let name = at(item, stream).filter(|name| !name.is_empty()).ok_or("`stream`")?;
        Ok(StreamId::new(&self.config.name, &app, &name))
    }
}

/// The request that `line` asks for.
fn request(
    link: &Link,
    headers: &BTreeMap<String, Secret>,
    line: &Line,
    session: &Session,
) -> Result<RequestBuilder, ActError> {
    let target = line.target(&Filled::of(session)).ok_or_else(|| link.bad_session())?;
    let (path, query) = target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
    let mut url = link.at(path);
    url.set_query(query);
    let request = link.request(line.method.clone(), url);
    Ok(headers.iter().fold(request, |request, (name, value)| request.header(name, value.text())))
}

/// A text or a number in `value`; an empty pointer points at nothing.
fn at(value: &Value, pointer: &str) -> Option<String> {
    if pointer.is_empty() {
        return None;
    }
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Who publishes, by pointers to the address, the key and the account.
fn publisher(value: &Value, [address, key, account]: [&String; 3]) -> Publisher {
    let named = |pointer: &str| at(value, pointer).filter(|text| !text.is_empty()).map(Arc::from);
    Publisher { address: named(address), key: named(key), account: named(account) }
}

/// A hook's body as JSON. Of a form, the first value of each field counts: a publisher's own query may follow.
fn fields(body: &[u8]) -> Option<Value> {
    if matches!(body.first(), Some(b'{' | b'[')) {
        return serde_json::from_slice(body).ok();
    }
    let mut fields = serde_json::Map::new();
    for (key, value) in form_urlencoded::parse(body) {
        fields.entry(key).or_insert_with(|| Value::String(value.into_owned()));
    }
    Some(Value::Object(fields))
}

#[async_trait]
impl MediaServer for Generic {
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
        if session.id.0.is_empty() {
            return Err(self.link.bad_session());
        }
        // What cannot be written into the request is not looked for either.
        drop(self.kick.request(&self.link, session)?);
        if !self.kick.names_session() && !self.publishes(session).await? {
            return Ok(Kicked::NoSuchSession);
        }
        self.kick.send(&self.link, session).await
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        let http = &self.config.http;
        if http.hook_stream.is_empty() {
            return Err(self.link.bad_hook("`hook_stream` in [server.http] is not set"));
        }
        let body = fields(request.body).ok_or_else(|| self.link.bad_hook("neither JSON nor a form"))?;
        let nothing = |key: &str| self.link.bad_hook(format!("nothing where hook_{} points", key.trim_matches('`')));
        let event = if http.hook_event.is_empty() {
            None
        } else {
            Some(at(&body, &http.hook_event).ok_or_else(|| nothing("event"))?)
        };
        let asks = event.as_ref().is_none_or(|event| http.hook_publish.contains(event));
        let ends = event.is_some_and(|event| http.hook_done.contains(&event));
        if !asks && !ends {
            return Ok(Hook::Other);
        }
        let publisher = publisher(&body, [&http.hook_address, &http.hook_key, &http.hook_account]);
        let stream = self.stream(&body, &http.hook_app, &http.hook_stream).map_err(nothing)?;
        if !self.config.watches(&stream.app) {
            return Ok(Hook::Other);
        }
        if asks {
            self.pull(&stream)?;
        }
        if http.hook_session.is_empty() {
            return Ok(if asks { Hook::Ask { stream, publisher } } else { Hook::Other });
        }
        let session = self.session(&body, &http.hook_app, &http.hook_stream, &http.hook_session).map_err(nothing)?;
        Ok(if asks { Hook::Publish { session, publisher } } else { Hook::PublishDone { session } })
    }

    fn reply(&self, _hook: &Hook, answer: Admission) -> Reply {
        let http = &self.config.http;
        let (status, body) = match answer {
            Admission::Allow => (http.allow_status, &http.allow_body),
            Admission::Refuse => (http.refuse_status, &http.refuse_body),
        };
        let content_type = if body.starts_with('{') { "application/json" } else { "text/plain; charset=utf-8" };
        Reply { status, content_type: content_type.into(), body: body.clone().into() }
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        if self.config.pull.scheme() == "srt" {
            return srt::pull(&self.config.pull, stream, &srt::standard(stream, None)?);
        }
        link::pull(&self.config.pull, stream)
    }
}

#[cfg(test)]
mod tests;
