//! What every HTTP request of this stage has in common: limits on time and size, no redirect, no proxy.
//!
//! A redirect could send a kick or a signed event to another host than the one in the configuration.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};
use serde::{Deserialize as _, Deserializer, de};
use url::Url;

use super::ActError;

/// A client whose connections take at most `connect` and whose requests take at most `total`.
pub(super) fn client(connect: Duration, total: Duration) -> Result<Client, ActError> {
    built(builder(connect, total))
}

/// What [`client`] is built of, for whoever has more to say.
pub(super) fn builder(connect: Duration, total: Duration) -> ClientBuilder {
    // Fails when a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(connect)
        .timeout(total)
        .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
}

pub(super) fn built(builder: ClientBuilder) -> Result<Client, ActError> {
    builder.build().map_err(|error| ActError::NoClient { reason: root(&error) })
}

/// Why the body of an answer could not be had.
pub(super) enum BodyError {
    /// It is longer than the limit.
    TooLong,
    /// It broke off.
    Broken(reqwest::Error),
}

/// The body of an answer, if it is not longer than `limit` bytes.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause: what the system said. The outer ones repeat the address, which may hold a secret.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.downcast_ref::<reqwest::Error>().map_or_else(|| cause.to_string(), |_| "request failed".to_owned())
}

/// Scheme, host and port: what of an address may be logged.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Reads an `http` or `https` address; for `#[serde(deserialize_with)]`.
pub(super) fn deserialize_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    url_of(&text, &["http", "https"], "http://127.0.0.1:8080").map_err(de::Error::custom)
}

/// Parses an address with a host and one of `schemes`. The message does not repeat the text: it may hold a secret.
pub(super) fn url_of(text: &str, schemes: &[&str], example: &str) -> Result<Url, String> {
    let refused = |why: &str| format!("not an address ({why}): write it like \"{example}\"");
    let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
    if !schemes.contains(&url.scheme()) {
        return Err(refused(&format!("it must begin with {}://", schemes.join(":// or "))));
    }
    let scheme = url.scheme();
    if scheme != "file" && url.host_str().is_none_or(str::is_empty) {
        return Err(refused("it names no host"));
    }
    if scheme == "srt" && url.port().is_none() {
        return Err(refused("it names no port"));
    }
    // Of what streams are pulled from, SRT alone keeps its settings behind ?, and files are asked to repeat behind #.
    let query = url.query().is_some() && schemes.contains(&"rtmp") && scheme != "srt";
    if query || url.fragment().is_some_and(|fragment| (scheme, fragment) != ("file", "loop")) {
        return Err(refused("it has a part after ? or #"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_starts() {
        let check = |text| url_of(text, &["http", "https"], "http://127.0.0.1:8080");
        for good in ["http://127.0.0.1:8080", "https://u:p@media.example/rtmp/", "http://[::1]:80/?a=b"] {
            check(good).unwrap();
        }
        for bad in ["", "127.0.0.1:8080", "localhost:8080", "ftp://h/", "http://", "/stat", "http://h/#x"] {
            let message = check(bad).unwrap_err();
            assert!(message.contains("write it like"), "{bad}: {message}");
        }
    }
}
