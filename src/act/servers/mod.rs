//! Media servers: what Sluicegate asks of each of them. One adapter a file.
//!
//! To add one: implement [`MediaServer`], add a [`Kind`], name it in [`build`], and describe in `deploy/` what an
//! operator adds to the server's configuration and what it does when Sluicegate is down.

mod nginx_rtmp;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, de};
use url::Url;

pub use nginx_rtmp::NginxRtmp;

use super::{ActError, http};
use crate::media_server::{Hook, Listed, Pull};
use crate::stream::{Session, StreamId};

/// What the house asks of a media server. A server is asked by session, never by name alone: the same name may belong
/// to somebody else by the time the request arrives.
#[async_trait]
pub trait MediaServer: Send + Sync {
    /// The `name` of its `[[server]]`.
    fn name(&self) -> &Arc<str>;

    /// Everybody who publishes now, in the applications that are watched.
    async fn list(&self) -> Result<Vec<Listed>, ActError>;

    /// Whether `session` publishes now, in a watched application or not. It is how a kick is verified, so an answer that
    /// cannot be relied on must be an error.
    async fn publishes(&self, session: &Session) -> Result<bool, ActError>;

    /// Asks the server to end one session, and only that one.
    async fn kick(&self, session: &Session) -> Result<Kicked, ActError>;

    /// Reads the body of a hook.
    ///
    /// # Errors
    /// When it makes no sense: whoever waits for the answer must then be refused.
    fn parse_hook(&self, body: &[u8]) -> Result<Hook, ActError>;

    /// Where to pull `stream` from.
    fn pull(&self, stream: &StreamId) -> Pull;
}

/// What a server said to a kick. Whether the session is gone is seen by [`MediaServer::publishes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kicked {
    /// It ended the session.
    Dropped,
    /// It knows no such session.
    NoSuchSession,
}

/// A kind of media server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// nginx with libnginx-mod-rtmp. When Sluicegate is down, nobody can publish: its hooks fail closed.
    #[serde(rename = "nginx-rtmp")]
    NginxRtmp,
}

/// One `[[server]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called here, in metrics and in the path of its hooks (`/hooks/NAME`): letters, digits, `-` and `_`.
    #[serde(deserialize_with = "deserialize_name")]
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Where streams are pulled from.
    #[serde(default = "default_rtmp", deserialize_with = "deserialize_rtmp")]
    pub rtmp: Url,
    /// Where it is asked and told: for nginx-rtmp, the address under which `/stat` and `/control` are found. May hold a
    /// user and a password.
    #[serde(default = "default_control", deserialize_with = "http::deserialize_url")]
    pub control: Url,
    /// The applications that are watched; empty: all.
    #[serde(default)]
    pub apps: Vec<Arc<str>>,
}

impl Config {
    /// A server of `kind` on this machine with the default ports and all its applications.
    pub fn local(name: &str, kind: Kind) -> Self {
        Self { name: name.into(), kind, rtmp: default_rtmp(), control: default_control(), apps: Vec::new() }
    }
}

/// The adapter for a `[[server]]`.
pub fn build(server: &Config, common: &super::Config) -> Result<Arc<dyn MediaServer>, ActError> {
    match server.kind {
        Kind::NginxRtmp => Ok(Arc::new(NginxRtmp::new(server, common)?)),
    }
}

#[expect(clippy::expect_used, reason = "a constant")]
fn default_rtmp() -> Url {
    Url::parse("rtmp://127.0.0.1:1935").expect("an address")
}

#[expect(clippy::expect_used, reason = "a constant")]
fn default_control() -> Url {
    Url::parse("http://127.0.0.1:8080").expect("an address")
}

fn deserialize_rtmp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    http::url_of(&text, &["rtmp"], "rtmp://127.0.0.1:1935").map_err(de::Error::custom)
}

/// Reads a name that may be a metric's label and a part of a path; for `#[serde(deserialize_with)]`.
pub(super) fn deserialize_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if plain && (1..=32).contains(&text.len()) {
        return Ok(text.into());
    }
    Err(de::Error::custom(format!("`{text}` is not a name: use 1 to 32 letters, digits, `-` and `_`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_a_server_on_this_machine() {
        let config: Config = toml::from_str("name = \"main\"\nkind = \"nginx-rtmp\"").unwrap();
        assert_eq!(config, Config::local("main", Kind::NginxRtmp));
    }

    #[test]
    fn a_bad_section_says_what_is_wrong() {
        for (line, said) in [
            ("name = \"a b\"", "is not a name"),
            ("name = \"\"", "is not a name"),
            ("kind = \"nginx\"", "nginx-rtmp"),
            ("rtmp = \"http://h\"", "begin with rtmp://"),
            ("rtmp = \"rtmp://h/?a=b\"", "after ?"),
            ("control = \"127.0.0.1:8080\"", "not an address"),
            ("contol = \"http://h\"", "unknown field"),
            ("apps = \"live\"", "sequence"),
        ] {
            let mut section = String::new();
            for other in ["name = \"main\"", "kind = \"nginx-rtmp\""] {
                if other.split_once(' ').unwrap().0 != line.split_once(' ').unwrap().0 {
                    section = format!("{section}{other}\n");
                }
            }
            let message = toml::from_str::<Config>(&format!("{section}{line}")).unwrap_err().to_string();
            assert!(message.contains(said), "{line}: {message}");
        }
    }
}
