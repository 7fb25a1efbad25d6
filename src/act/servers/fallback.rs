//! What is asked to end a session when its media server does not: another control of the same server, or something else
//! that can, such as a proxy in front of it. Described as the kick of a server of the kind `http` is.
//!
//! Whether the session is gone is still seen by the server's own list, and by its video.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::generic::{self, BodyType, Kick};
use super::link::Link;
use super::{Config as Server, Kicked};
use crate::act::webhook::Secret;
use crate::act::{self, ActError, http};
use crate::stream::Session;

/// One `[[server.fallback]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it is asked; `None`: where the server is.
    #[serde(deserialize_with = "deserialize_control")]
    pub control: Option<Url>,
    /// Sent with the request. What they say is a secret.
    pub headers: BTreeMap<String, Secret>,
    /// The request that ends a session.
    pub kick: String,
    /// Its body.
    pub kick_body: Option<String>,
    /// What that body is.
    pub kick_type: BodyType,
    /// The statuses that say that there is no such session.
    pub gone: Vec<u16>,
}

impl Default for Config {
    fn default() -> Self {
        let generic::Config { headers, kick, kick_body, kick_type, gone, .. } = generic::Config::default();
        Self { control: None, headers, kick, kick_body, kick_type, gone }
    }
}

impl Config {
    fn as_generic(&self) -> generic::Config {
        let Self { headers, kick, kick_body, kick_type, gone, .. } = self.clone();
        generic::Config { headers, kick, kick_body, kick_type, gone, ..generic::Config::default() }
    }

    /// What is wrong with it.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems = generic::kick_problems(&self.as_generic()).into_iter();
        problems.map(|(key, message)| format!("`server.fallback.{key}`: {message}")).collect()
    }
}

fn deserialize_control<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    http::deserialize_url(deserializer).map(Some)
}

/// See the module.
#[derive(Debug)]
pub struct Fallback {
    link: Link,
    kick: Kick,
}

/// What each server falls back on, in order, by its name.
pub type Fallbacks = HashMap<Arc<str>, Vec<Fallback>>;

impl Fallback {
    /// Everything that `[[server]]` falls back on. Nothing is asked of it yet.
    pub fn all(server: &Server, common: &act::Config) -> Result<Vec<Self>, ActError> {
        let build = |config: &Config| {
            let wrong = |reason: String| ActError::BadTemplate { server: server.name.clone(), reason };
            let control = config.control.clone().unwrap_or_else(|| server.control.clone());
            Ok(Self {
                link: Link::new(&Server { control, ..server.clone() }, common)?,
                kick: Kick::parse(&config.as_generic()).map_err(wrong)?,
            })
        };
        server.fallback.iter().map(build).collect()
    }

    /// Asks it to end a session.
    pub async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        if session.id.0.is_empty() {
            return Err(self.link.bad_session());
        }
        self.kick.send(&self.link, session).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::servers::Kind;
    use crate::act::servers::fake::{self, Fake, hostile_names, session};

    fn fallback(server: &Fake, more: &str) -> Fallback {
        let config = server.config(Kind::NginxRtmp, more);
        assert_eq!(config.problems(), []);
        Fallback::all(&config, &fake::limits()).unwrap().remove(0)
    }

    #[tokio::test]
    async fn it_asks_the_server_itself_or_whoever_is_named() {
        let (server, proxy) = (Fake::always(200, "").await, Fake::always(404, "").await);
        let section = "fallback = [{ kick = 'POST /end/{session}?name={stream}' }]";
        assert_eq!(fallback(&server, section).kick(&session("live", "a&b", "7")).await.unwrap(), Kicked::Dropped);
        assert_eq!(server.lines(), ["POST /end/7?name=a%26b"]);
        let named = format!(
            "fallback = [{{ control = '{}', kick = 'DELETE /{{app}}', kick_body = '{{\"n\":\"{{stream}}\"}}' }}]",
            proxy.url
        );
        assert_eq!(fallback(&server, &named).kick(&session("live", "a", "7")).await.unwrap(), Kicked::NoSuchSession);
        let asked = proxy.asked();
        assert_eq!((&*asked[0].line, &*asked[0].body), ("DELETE /live", "{\"n\":\"a\"}"));
        assert!(server.asked().is_empty());
    }

    #[tokio::test]
    async fn a_strangers_name_stays_a_name() {
        let server = Fake::always(200, "").await;
        let fallback = fallback(&server, "fallback = [{ kick = 'POST /end/{stream}/{session}' }]");
        for name in hostile_names() {
            fallback.kick(&session("live", &name, "7")).await.unwrap();
            let line = server.lines().remove(0);
            assert!(line.starts_with("POST /end/") && line.ends_with("/7"), "{line}");
            assert_eq!(line.matches('/').count(), 3, "{line}");
            assert!(!line.contains(['?', '#', '&']), "{line}");
        }
        assert_eq!(fallback.kick(&session("live", "..", "7")).await.unwrap_err().kind(), "bad_session");
        assert_eq!(fallback.kick(&session("live", "a", "")).await.unwrap_err().kind(), "bad_session");
        assert!(server.asked().is_empty());
    }
}
