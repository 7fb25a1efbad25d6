//! Requests to the index: limits, and errors that hold no password.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Proxy, Response, StatusCode};
use url::Url;

use super::FetchError;
use super::settings::{Settings, shown};

const CONNECT: Duration = Duration::from_secs(15);

/// The longest silence within an answer.
const SILENCE: Duration = Duration::from_mins(1);

/// A client that goes the way that the settings and the environment say.
pub(super) fn client(settings: &Settings) -> Result<Client, FetchError> {
    // Fails when a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    // A compressed answer could not be taken up in its middle.
    let plain = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    let mut builder = Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .default_headers(plain)
        .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
    let unusable =
        |what: &str, error: &dyn Error| FetchError::Setting { what: what.to_owned(), problem: error.to_string() };
    if let Some(proxy) = &settings.proxy {
        builder =
            builder.proxy(Proxy::all(proxy.as_str()).map_err(|error| unusable("pip's proxy", &error.without_url()))?);
    }
    if let Some(path) = &settings.cert {
        let what = format!("pip's cert {}", path.display());
        let pem = std::fs::read(path).map_err(|error| unusable(&what, &error))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&what, &error))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| unusable("TLS", &error))
}

/// The answer to a request for `url`, if it is one of `wanted`.
pub(super) async fn answer(
    client: &Client,
    url: &Url,
    headers: HeaderMap,
    wanted: &[StatusCode],
) -> Result<Response, FetchError> {
    let request = client.get(url.clone()).headers(headers);
    let response = request.send().await.map_err(|error| unreachable(url, &error))?;
    let status = response.status();
    if wanted.contains(&status) {
        return Ok(response);
    }
    let advice = match status.as_u16() {
        407 => {
            "the proxy wants a name and a password: write them into HTTPS_PROXY and HTTP_PROXY, or pip's `proxy`, as in \
             http://NAME:PASSWORD@HOST:PORT"
        }
        401 | 403 => "write name and password into the address: https://NAME:PASSWORD@HOST/simple",
        404 | 410 => "name an index that has it with --index, such as https://pypi.org/simple",
        500.. => "try again later, or name another index with --index",
        _ => "name another index with --index",
    };
    Err(FetchError::Status { at: shown(url), status: status.as_u16(), advice })
}

/// A connection that failed or broke off.
pub(super) fn unreachable(url: &Url, error: &reqwest::Error) -> FetchError {
    FetchError::Unreachable { at: shown(url), reason: root(error) }
}

/// The innermost cause: what the system said. The outer ones repeat the address, which may hold a password.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_timeout() => "no answer in time".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None => cause.to_string(),
    }
}
