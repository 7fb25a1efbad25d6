//! Keeps out who has no business here: pages in somebody's browser, and clients without the token.
//!
//! A browser on the operator's machine reaches loopback on behalf of any page it shows. Two tricks matter. A form or
//! script of a foreign page sends requests (CSRF): its browser adds an `Origin`, which must then be our own. A foreign
//! name that is made to resolve to 127.0.0.1 (DNS rebinding) makes us that page's own origin: but then `Host` carries
//! that name, and a host must be an IP address, `localhost` or a name from `api.hosts`. A media server sends neither an
//! `Origin` nor a foreign `Host`, so hooks pass.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::{ApiError, Config};

const SHORTEST_TOKEN: usize = 16;

/// Who may use the interface.
#[derive(Debug)]
pub(super) struct Guard {
    hosts: Vec<String>,
    // Compared as digests: how long a comparison takes then says nothing about the token.
    token: Option<[u8; 32]>,
}

impl Guard {
    /// Reads the token file, if there is one.
    pub(super) fn new(config: &Config) -> Result<Self, ApiError> {
        let token = match &config.token_file {
            None => None,
            Some(path) => {
                let refused = |why: String| ApiError::Token { path: path.clone(), why };
                let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
                let token = text.trim();
                if token.len() < SHORTEST_TOKEN {
                    return Err(refused(format!("its content is shorter than {SHORTEST_TOKEN} characters")));
                }
                Some(digest(token))
            }
        };
        Ok(Self { hosts: config.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(), token })
    }

    fn browser(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers.get(header::HOST).map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
        if host.as_deref().is_some_and(|host| !self.knows(host)) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "requests under this host name are refused",
                "use an IP address or `localhost`, or add the name to `api.hosts`",
            ));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default();
        if host.as_deref() == Some(authority) || self.configured(authority) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests from pages of another origin are refused",
            "send the request without an `Origin` header, or add the page's host to `api.hosts`",
        ))
    }

    fn knows(&self, authority: &str) -> bool {
        let name = name(authority);
        name.as_deref() == Some("localhost")
            || name.is_some_and(|name| name.parse::<IpAddr>().is_ok())
            || self.configured(authority)
    }

    fn configured(&self, authority: &str) -> bool {
        name(authority).is_some_and(|name| self.hosts.contains(&name))
    }

    fn bearer(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = self.token else { return Ok(()) };
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match sent.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(sent) if digest(sent.trim()) == token => Ok(()),
            _ => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this needs the token",
                "send `Authorization: Bearer` with the content of the file named by `api.token_file`",
            )),
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn name(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    Some(authority.host().trim_start_matches('[').trim_end_matches(']').to_owned())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Refuses what comes from a foreign page.
pub(super) async fn no_foreign_pages(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    guard.browser(request.headers())?;
    Ok(next.run(request).await)
}

/// Asks for the token.
pub(super) async fn token(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Result<Response, Problem> {
    guard.bearer(request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_strangers_are_kept_out_and_tools_let_in() {
        let config = Config { hosts: vec!["Gate.example".to_owned()], ..Config::default() };
        let guard = Guard::new(&config).unwrap();
        for (host, origin, passes) in [
            (None, None, true),
            (Some("127.0.0.1:8410"), None, true),
            (Some("[::1]:8410"), None, true),
            (Some("LOCALHOST"), None, true),
            (Some("gate.example:8410"), None, true),
            (Some("evil.example"), None, false),
            (Some("localhost.evil.example:8410"), None, false),
            (Some("gate.example.evil.example"), None, false),
            (Some("user@evil.example"), None, false),
            (Some(""), None, false),
            (Some("localhost:8410"), Some("http://localhost:8410"), true),
            (Some("localhost:8410"), Some("https://gate.example"), true),
            (Some("localhost:8410"), Some("http://localhost:3000"), false),
            (Some("localhost:8410"), Some("http://evil.example"), false),
            (Some("localhost:8410"), Some("null"), false),
            (None, Some("http://127.0.0.1:8410"), false),
            (None, Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(guard.browser(&headers).is_ok(), passes, "host {host:?} origin {origin:?}");
        }
    }

    #[test]
    fn a_token_file_that_protects_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let config = Config { token_file: Some(path.clone()), ..Config::default() };
        assert!(Guard::new(&config).unwrap_err().to_string().contains("token_file"));
        std::fs::write(&path, "short\n").unwrap();
        assert!(Guard::new(&config).unwrap_err().to_string().contains("shorter than 16"));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(Guard::new(&config).is_ok());
    }
}
