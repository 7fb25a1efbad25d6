//! `[server.http]`: how a server is spoken to that Sluicegate does not know.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::kick;
use super::template::{Filled, Line, Template};
use crate::act::servers::link::encoded;
use crate::act::webhook::Secret;
use crate::stream::{Session, SessionId, StreamId};

/// The section `[server.http]`. Pointers are JSON Pointers (RFC 6901); an empty one points at nothing, but for `items`,
/// where it is the whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sent with every request. What they say is a secret: tokens go here.
    pub headers: BTreeMap<String, Secret>,
    /// The request that lists publishers: `GET /api/streams`, under `control`.
    pub list: String,
    /// Where the list is in the answer.
    pub items: String,
    /// Where the application is in each of its entries.
    pub app: String,
    /// Where the stream's name is.
    pub stream: String,
    /// Where the session's identifier is, or whatever else changes with each publisher.
    pub session: String,
    /// Where the publisher's address is.
    pub address: String,
    /// Where the key that they publish with is.
    pub key: String,
    /// Where the platform's account is that they publish for.
    pub account: String,
    /// Where the number of bytes received is.
    pub bytes: String,
    /// The request that ends a session: `DELETE /api/clients/{session}`.
    pub kick: String,
    /// Its body.
    pub kick_body: Option<String>,
    /// What that body is.
    pub kick_type: BodyType,
    /// The statuses that say that there is no such session.
    pub gone: Vec<u16>,
    /// Where a hook says what happened; empty: every hook asks to publish.
    pub hook_event: String,
    /// What it says there when somebody asks to publish.
    pub hook_publish: Vec<String>,
    /// What it says there when a publisher is gone.
    pub hook_done: Vec<String>,
    /// Where a hook names the application.
    pub hook_app: String,
    /// Where it names the stream.
    pub hook_stream: String,
    /// Where it names the session, if it is what the list calls it.
    pub hook_session: String,
    /// Where it says the publisher's address.
    pub hook_address: String,
    /// Where it says the publisher's key.
    pub hook_key: String,
    /// Where it says the platform's account.
    pub hook_account: String,
    /// The status that lets somebody publish.
    pub allow_status: u16,
    /// And the body.
    pub allow_body: String,
    /// The status that refuses.
    pub refuse_status: u16,
    /// And the body.
    pub refuse_body: String,
}

impl Default for Config {
    fn default() -> Self {
        let none = String::new;
        Self {
            headers: BTreeMap::new(),
            list: none(),
            items: none(),
            app: none(),
            stream: none(),
            session: none(),
            address: none(),
            key: none(),
            account: none(),
            bytes: none(),
            kick: none(),
            kick_body: None,
            kick_type: BodyType::Json,
            gone: vec![404],
            hook_event: none(),
            hook_publish: Vec::new(),
            hook_done: Vec::new(),
            hook_app: none(),
            hook_stream: none(),
            hook_session: none(),
            hook_address: none(),
            hook_key: none(),
            hook_account: none(),
            allow_status: 200,
            allow_body: none(),
            refuse_status: 403,
            refuse_body: none(),
        }
    }
}

/// What a body is, and so how names are written into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyType {
    /// JSON; what is put in stands inside quotes.
    Json,
    /// A form.
    Form,
}

impl BodyType {
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }

    /// `text`, so that it stays one value.
    pub(super) fn written(self, text: &str) -> String {
        match self {
            Self::Json => {
                let quoted = Value::String(text.to_owned()).to_string();
                quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
            }
            Self::Form => encoded(text),
        }
    }
}

impl Config {
    /// What is wrong with it for a server of the kind `http`.
    pub(in crate::act::servers) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: &str| problems.push(format!("`server.http.{key}`: {message}"));
        for (key, value) in [("list", &self.list), ("stream", &self.stream), ("session", &self.session)] {
            if value.is_empty() {
                problem(key, "it is needed: a server of the kind `http` is described by it");
            }
        }
        match Line::parse(&self.list) {
            Err(message) if !self.list.is_empty() => problem("list", &message),
            Ok(line) if line.names_anything() => problem("list", "it lists everybody: it names nobody"),
            _ => {}
        }
        for (key, pointer) in self.pointers() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                problem(key, "a JSON Pointer begins with `/`, such as \"/data/streams\"");
            }
        }
        for (key, status) in [("allow_status", self.allow_status), ("refuse_status", self.refuse_status)] {
            if !(200..600).contains(&status) {
                problem(key, "it is no HTTP status from 200 to 599");
            }
        }
        if (self.allow_status, &self.allow_body) == (self.refuse_status, &self.refuse_body) {
            problem("refuse_status", "it allows and refuses with the same words: nobody would be refused");
        }
        if !self.hook_event.is_empty() && self.hook_publish.is_empty() {
            problem("hook_publish", "`hook_event` is set, and nothing it says asks to publish");
        }
        problems
            .extend(kick::problems(self).into_iter().map(|(key, message)| format!("`server.http.{key}`: {message}")));
        problems
    }

    fn pointers(&self) -> [(&'static str, &str); 15] {
        [
            ("items", &self.items),
            ("app", &self.app),
            ("stream", &self.stream),
            ("session", &self.session),
            ("address", &self.address),
            ("key", &self.key),
            ("account", &self.account),
            ("bytes", &self.bytes),
            ("hook_event", &self.hook_event),
            ("hook_app", &self.hook_app),
            ("hook_stream", &self.hook_stream),
            ("hook_session", &self.hook_session),
            ("hook_address", &self.hook_address),
            ("hook_key", &self.hook_key),
            ("hook_account", &self.hook_account),
        ]
    }
}

/// Whether each can be a header of a request.
pub(super) fn headers_can_be_sent(headers: &BTreeMap<String, Secret>) -> bool {
    headers.iter().all(|(name, value)| {
        name.parse::<reqwest::header::HeaderName>().is_ok()
            && value.text().parse::<reqwest::header::HeaderValue>().is_ok()
    })
}

/// Whether a body is JSON whatever is put in: a number would fit where only a text is safe.
pub(super) fn stays_json(template: &Template) -> bool {
    let session = Session { stream: StreamId::new("", "\"x\\", "\"x\\"), id: SessionId::from("\"x\\") };
    let text = template.fill(&Filled::of(&session), |text| BodyType::Json.written(text));
    serde_json::from_str::<Value>(&text).is_ok()
}
