//! The `[api]` section: where the interface listens and who may use it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// The `[api]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Allows an address that other machines can reach.
    pub allow_remote: bool,
    /// Names, besides `localhost` and IP addresses, under which clients reach the interface.
    pub hosts: Vec<String>,
    /// A file whose content clients of `/v1` must send as `Authorization: Bearer ...`.
    pub token_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8410)),
            allow_remote: false,
            hosts: Vec::new(),
            token_file: None,
        }
    }
}

impl Config {
    /// What is wrong with values that are each well-formed: the key and a message.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        if self.allow_remote || self.listen.ip().is_loopback() {
            return Vec::new();
        }
        let message = format!(
            "`{}` can be reached from other machines; listen on 127.0.0.1, or set `api.allow_remote = true` and \
             `api.token_file` if that is meant",
            self.listen
        );
        vec![("listen", message)]
    }

    /// What is allowed but deserves a second look.
    pub fn warnings(&self) -> Vec<String> {
        if self.listen.ip().is_loopback() || self.token_file.is_some() {
            return Vec::new();
        }
        vec![format!(
            "api.listen: `{}` can be reached from other machines and `api.token_file` is not set: whoever reaches it \
             can read names of streams and lift denies",
            self.listen
        )]
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_error: std::net::AddrParseError| {
        D::Error::custom(format!("`{text}` is not an IP address and port: write for example \"127.0.0.1:8410\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_needs_no_permission() {
        for (toml, problems, warnings) in [
            ("", 0, 0),
            (r#"listen = "[::1]:80""#, 0, 0),
            (r#"listen = "0.0.0.0:8410""#, 1, 1),
            ("listen = \"0.0.0.0:8410\"\nallow_remote = true", 0, 1),
            ("listen = \"10.0.0.7:8410\"\nallow_remote = true\ntoken_file = \"t\"", 0, 0),
        ] {
            let config: Config = toml::from_str(toml).unwrap();
            assert_eq!((config.problems().len(), config.warnings().len()), (problems, warnings), "{toml}");
        }
    }

    #[test]
    fn an_address_that_is_none_gets_an_example() {
        for text in ["localhost:8410", "8410", "127.0.0.1", ":8410"] {
            let error = toml::from_str::<Config>(&format!("listen = \"{text}\"")).unwrap_err();
            assert!(error.message().contains("127.0.0.1:8410"), "{error}");
        }
    }
}
