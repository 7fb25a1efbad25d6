//! The request that ends a session, as an operator describes it.

use std::collections::BTreeMap;

use reqwest::RequestBuilder;

use super::config::{BodyType, Config, headers_can_be_sent, stays_json};
use super::template::{Filled, Line, Template};
use crate::act::ActError;
use crate::act::servers::Kicked;
use crate::act::servers::link::{LARGEST_ANSWER, Link};
use crate::act::webhook::Secret;
use crate::stream::Session;

const KICK: &str = "its kick (`kick` in its section)";

/// A kick, ready to be filled in.
#[derive(Debug, Clone)]
pub(in crate::act::servers) struct Kick {
    line: Line,
    body: Option<Template>,
    kind: BodyType,
    gone: Vec<u16>,
    headers: BTreeMap<String, Secret>,
}

impl Kick {
    /// Reads what `config` says of a kick, or says what is wrong with it.
    pub(in crate::act::servers) fn parse(config: &Config) -> Result<Self, String> {
        Ok(Self {
            line: Line::parse(&config.kick)?,
            body: config.kick_body.as_deref().map(Template::parse).transpose()?,
            kind: config.kick_type,
            gone: config.gone.clone(),
            headers: config.headers.clone(),
        })
    }

    /// Whether it says which session is meant, and not only whose name.
    pub(super) fn names_session(&self) -> bool {
        self.line.names_session() || self.body.as_ref().is_some_and(Template::names_session)
    }

    /// The request for `session`.
    pub(super) fn request(&self, link: &Link, session: &Session) -> Result<RequestBuilder, ActError> {
        let request = super::request(link, &self.headers, &self.line, session)?;
        let Some(body) = &self.body else { return Ok(request) };
        let text = body.fill(&Filled::of(session), |text| self.kind.written(text));
        Ok(request.header("content-type", self.kind.media_type()).body(text))
    }

    /// Sends it.
    pub(in crate::act::servers) async fn send(&self, link: &Link, session: &Session) -> Result<Kicked, ActError> {
        let answer = link.send(self.request(link, session)?, KICK, LARGEST_ANSWER).await?;
        if self.gone.contains(&answer.status.as_u16()) {
            return Ok(Kicked::NoSuchSession);
        }
        if answer.status.is_success() {
            return Ok(Kicked::Dropped);
        }
        Err(link.body(answer, KICK).err().unwrap_or_else(|| link.bad_session()))
    }
}

/// What is wrong with the keys of a kick: the key, and a message.
pub(in crate::act::servers) fn problems(config: &Config) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    if config.kick.is_empty() {
        problems.push(("kick", "it is needed: what ends a session is described by it".to_owned()));
    } else if let Err(message) = Line::parse(&config.kick) {
        problems.push(("kick", message));
    }
    let body = config.kick_body.as_deref().map(Template::parse);
    match &body {
        Some(Err(message)) => problems.push(("kick_body", message.clone())),
        Some(Ok(template)) if config.kick_type == BodyType::Json && !stays_json(template) => {
            let message = "it is no JSON: names are put inside quotes, such as {\"id\":\"{session}\"}";
            problems.push(("kick_body", message.to_owned()));
        }
        _ => {}
    }
    let body_names = body.is_some_and(|body| body.is_ok_and(|body| body.names_somebody()));
    if Line::parse(&config.kick).is_ok_and(|line| !line.names_somebody()) && !body_names {
        let message = "it names neither a session nor a stream, and would end everybody: put {session} into it or into `kick_body`";
        problems.push(("kick", message.to_owned()));
    }
    if !headers_can_be_sent(&config.headers) {
        let message = "one of them cannot be sent: a name is letters, digits and `-`, a value is one line";
        problems.push(("headers", message.to_owned()));
    }
    problems
}
