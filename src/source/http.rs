//! Fetches over http and https, and nothing else: streams as they come; playlists and segments with limits on time, size and
//! redirects.
//!
//! Nothing of the configured address goes along to other hosts: no credentials, no cookies, no `Referer`. An address is
//! never a part of an error.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::RANGE;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Response, StatusCode};
use url::Url;

use super::SourceError;
use super::guard::{Lookup, OffLimits, Reach};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// How many idle connections to one host are kept for the next request.
const IDLE: usize = 32;

/// Memory that is taken before anything came to fill it.
const AT_ONCE: usize = 4 << 20;

/// Some bytes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Why something could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers, or not in time.
    Silent(String),
    /// The server has no such thing, and says that it is gone or was never there.
    Gone(u16),
    /// The server answers something else than what was asked for.
    Refused(u16),
    /// What was answered is of no use.
    Garbage(&'static str),
}

impl Trouble {
    /// The same, as it is told outside.
    pub(super) fn told(self, stream: String) -> SourceError {
        match self {
            Self::Silent(reason) => SourceError::Unreachable { stream, reason },
            Self::Gone(status) | Self::Refused(status) => {
                SourceError::Refused { stream, reason: format!("HTTP status {status}") }
            }
            Self::Garbage(reason) => SourceError::Garbage { stream, reason: reason.to_owned() },
        }
    }
}

/// A client for one kind of reach. Cloning it shares its connections.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    reach: Reach,
}

/// An answer, and the address that it came from after all redirects.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) url: Url,
    pub(super) body: Bytes,
}

impl Http {
    pub(super) fn new(reach: Reach) -> Result<Self, String> {
        let follow = move |attempt: Attempt<'_>| {
            if !reach.allows(attempt.url()) {
                attempt.error(OffLimits)
            } else if attempt.previous().len() > REDIRECTS {
                attempt.error("it is redirected again and again")
            } else {
                attempt.follow()
            }
        };
        let mut builder = builder().redirect(Policy::custom(follow));
        if reach == Reach::Normal {
            builder = builder.dns_resolver(Lookup);
        }
        Ok(Self { client: built(builder)?, reach })
    }

    /// A client for what is configured, wherever that is: it is asked there and nowhere else.
    pub(super) fn direct() -> Result<Self, String> {
        Ok(Self { client: built(builder().redirect(Policy::none()))?, reach: Reach::LinkLocal })
    }

    pub(super) fn allows(&self, url: &Url) -> bool {
        self.reach.allows(url)
    }

    /// Fetches `url`, or `range` of it.
    pub(super) async fn get(&self, url: &Url, range: Option<Range>, limits: Limits) -> Result<Answer, Trouble> {
        if !self.reach.allows(url) {
            return Err(Trouble::Garbage("it names an address that no playlist may name"));
        }
        if range.is_some_and(|range| range.length == 0 || range.length > limits.bytes as u64) {
            return Err(Trouble::Garbage("a range of bytes is empty or larger than the limit"));
        }
        let mut request = self.client.get(url.clone()).timeout(limits.time);
        if let Some(Range { start, length }) = range {
            request = request.header(RANGE, format!("bytes={start}-{}", start.saturating_add(length - 1)));
        }
        let response = request.send().await.map_err(|error| silent(&error))?;
        let url = response.url().clone();
        let body = match (response.status(), range) {
            (StatusCode::OK, None) => whole(response, limits.bytes).await?,
            // Not more than was asked for, whatever the server thinks.
            (StatusCode::PARTIAL_CONTENT, Some(range)) => part(response, Range { start: 0, ..range }).await?,
            // A server without ranges sends everything.
            (StatusCode::OK, Some(range)) if range.start <= limits.bytes as u64 => part(response, range).await?,
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => return Err(Trouble::Gone(response.status().as_u16())),
            (status, _) => return Err(Trouble::Refused(status.as_u16())),
        };
        Ok(Answer { url, body })
    }
}

impl Http {
    /// Asks for what is at `url`, to be read as it comes.
    pub(super) async fn open(&self, url: Url) -> Result<Body, Trouble> {
        let response = self.client.get(url).send().await.map_err(|error| silent(&error))?;
        match response.status() {
            StatusCode::OK => Ok(Body(response)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Trouble::Gone(response.status().as_u16())),
            status => Err(Trouble::Refused(status.as_u16())),
        }
    }
}

/// What is being answered.
#[derive(Debug)]
pub(super) struct Body(Response);

impl Body {
    /// What comes next; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        self.0.chunk().await.map_err(|error| silent(&error))
    }
}

fn builder() -> ClientBuilder {
    // Fails when a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder()
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(IDLE)
        .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
}

fn built(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| format!("no HTTP client can be made: {}", root(&error)))
}

async fn whole(mut response: Response, limit: usize) -> Result<Bytes, Trouble> {
    let expected = response.content_length().unwrap_or_default();
    if expected > limit as u64 {
        return Err(TOO_LARGE);
    }
    let mut body = BytesMut::with_capacity((expected as usize).min(AT_ONCE));
    while let Some(chunk) = response.chunk().await.map_err(|error| silent(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(TOO_LARGE);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

const TOO_LARGE: Trouble = Trouble::Garbage("it is larger than the limit");

async fn part(mut response: Response, range: Range) -> Result<Bytes, Trouble> {
    let (mut skip, length) = (range.start as usize, range.length as usize);
    let mut body = BytesMut::with_capacity(length.min(AT_ONCE));
    while body.len() < length
        && let Some(chunk) = response.chunk().await.map_err(|error| silent(&error))?
    {
        let skipped = skip.min(chunk.len());
        skip -= skipped;
        let wanted = (chunk.len() - skipped).min(length - body.len());
        body.extend_from_slice(chunk.get(skipped..skipped + wanted).unwrap_or_default());
    }
    if body.len() < length { Err(Trouble::Garbage("a range of bytes is not all there")) } else { Ok(body.freeze()) }
}

/// What the system said. The outer causes repeat the address, which may hold a secret.
fn silent(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() {
        return Trouble::Silent("it takes too long".to_owned());
    }
    Trouble::Silent(root(error))
}

fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.downcast_ref::<reqwest::Error>().map_or_else(|| cause.to_string(), |_| "the request failed".to_owned())
}
