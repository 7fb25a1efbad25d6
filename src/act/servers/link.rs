//! What all adapters that speak HTTP have in common: requests with limits, errors that say where to look, and names of
//! strangers written into addresses so that they stay names.
//!
//! A name may hold anything: `a&b`, `n#h`, a line break, `..`. Written as it is into a path, the last would turn "end
//! this stream" into "end what lies above it". So nothing but unreserved characters is written bare, and the three
//! names that a path cannot hold at all are refused.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::Config;
use crate::act::http::{self, BodyError};
use crate::act::{self, ActError};
use crate::media_server::{Protocol, Pull};
use crate::stream::StreamId;

/// Some ten thousand publishers.
pub(super) const LARGEST_LIST: usize = 16 << 20;
/// Answers to anything but a list.
pub(super) const LARGEST_ANSWER: usize = 64 << 10;
/// A server that is asked too often is left alone for as long as it says, and not longer than this: a stream is on the air.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server's HTTP interface.
#[derive(Debug)]
pub(super) struct Link {
    server: Arc<str>,
    control: Url,
    client: Client,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// When it wants to be asked again, if it says so.
    retry_after: Option<Duration>,
}

impl Link {
    /// To the server that `config` describes. Nothing is asked of it yet.
    pub(super) fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        Ok(Self {
            server: config.name.clone(),
            control: config.control.clone(),
            client: http::client(common.connect_timeout, common.request_timeout)?,
        })
    }

    pub(super) fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// `path` under the control address. What of it a stranger chose must have gone through [`encoded`].
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.control.clone();
        url.set_path(&format!("{}{path}", self.control.path().trim_end_matches('/')));
        url
    }

    /// A request. A user and a password in the address go along.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends `request`, called `path` in messages, and gives the answer if it is not longer than `limit` bytes.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        path: &'static str,
        limit: usize,
    ) -> Result<Answer, ActError> {
        let response = request.send().await.map_err(|error| self.failed(path, &error))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = http::body(response, limit).await.map_err(|error| match error {
            BodyError::TooLong => self.garbage(path, format!("more than {limit} bytes")),
            BodyError::Broken(error) => self.failed(path, &error),
        })?;
        Ok(Answer { status, body, retry_after })
    }

    /// The body of a 200; any other status is the error that it stands for.
    pub(super) fn body(&self, answer: Answer, path: &'static str) -> Result<Vec<u8>, ActError> {
        let server = self.server.clone();
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            StatusCode::NOT_FOUND => Err(ActError::NotFound { server, path }),
            StatusCode::TOO_MANY_REQUESTS => Err(ActError::Throttled { server, path, retry_after: answer.retry_after }),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(ActError::Forbidden { server, path, status: status.as_u16() })
            }
            status => Err(ActError::Status { server, path, status: status.as_u16() }),
        }
    }

    /// The JSON of a 200.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        path: &'static str,
        limit: usize,
    ) -> Result<T, ActError> {
        let answer = self.send(request, path, limit).await?;
        self.read(&self.body(answer, path)?, path)
    }

    /// `body` as JSON.
    pub(super) fn read<T: DeserializeOwned>(&self, body: &[u8], path: &'static str) -> Result<T, ActError> {
        // What serde says quotes the body, and with it names that are keys: its category and place are enough.
        serde_json::from_slice(body).map_err(|error| {
            let (what, line, column) = (error.classify(), error.line(), error.column());
            self.garbage(path, format!("not the JSON that it should be: {what:?} error at {line}:{column}"))
        })
    }

    pub(super) fn failed(&self, path: &'static str, error: &reqwest::Error) -> ActError {
        let (server, address) = (self.server.clone(), http::origin(&self.control));
        if error.is_timeout() {
            ActError::TimedOut { server, address }
        } else if error.is_connect() {
            ActError::Unreachable { server, address, reason: http::root(error) }
        } else {
            self.garbage(path, http::root(error))
        }
    }

    pub(super) fn garbage(&self, path: &'static str, reason: impl Into<String>) -> ActError {
        ActError::Garbage { server: self.server.clone(), path, reason: reason.into() }
    }

    pub(super) fn bad_session(&self) -> ActError {
        ActError::BadSession { server: self.server.clone() }
    }

    pub(super) fn bad_hook(&self, reason: impl Into<String>) -> ActError {
        ActError::BadHook { server: self.server.clone(), reason: reason.into() }
    }

    /// A name as one step of a path.
    ///
    /// # Errors
    /// `""`, `.` and `..` cannot be one: the address would mean something else.
    pub(super) fn step(&self, name: &str) -> Result<String, ActError> {
        if is_no_step(name) { Err(self.bad_session()) } else { Ok(encoded(name)) }
    }
}

/// `Retry-After` in seconds, as interfaces of servers write it.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// Whether a path cannot hold `name` as a step, encoded or not.
pub(super) fn is_no_step(name: &str) -> bool {
    matches!(name, "" | "." | "..")
}

/// An identifier of letters, digits, `-` and `_`, as servers make them up: nothing else may be one.
pub(super) fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// `text` with everything but unreserved characters (RFC 3986) percent-encoded.
pub(in crate::act) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// Percent-encoded text, such as the user and the password of an address, as it was meant.
pub(super) fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%').and_then(|two| hex::decode(two).ok());
        rest = if let Some(byte) = escaped {
            out.extend(byte);
            tail.get(2..).unwrap_or_default()
        } else {
            out.push(*first);
            tail
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An address without its user and password.
pub(super) fn without_user(url: &Url) -> Url {
    let mut bare = url.clone();
    // Failing is for addresses that cannot have a user, and those have none.
    bare.set_username("").ok();
    bare.set_password(None).ok();
    bare
}

/// Where a server that serves plain RTMP, RTSP or HTTP-FLV, or a folder, has `stream`.
///
/// An RTMP name goes into the address as it is: neither `rtmp2src` nor the servers decode it. In any other address it is
/// encoded, and a step that encoding cannot keep a step is refused: a client or a server would climb with it.
///
/// # Errors
/// [`ActError::Unpullable`].
pub(super) fn pull(base: &Url, stream: &StreamId) -> Result<Pull, ActError> {
    let unpullable = |reason| ActError::Unpullable { server: stream.server.clone(), reason };
    let mut bare = without_user(base);
    let repeats = bare.fragment() == Some("loop");
    bare.set_fragment(None);
    let text = bare.as_str().trim_end_matches('/');
    let (app, name) = (&stream.app, &stream.name);
    if base.scheme() == "rtmp" {
        if app.is_empty() {
            return Err(unpullable("over RTMP a path has two parts, such as live/cam1"));
        }
        return Ok(Pull { stream: stream.clone(), protocol: Protocol::Rtmp, url: format!("{text}/{app}/{name}") });
    }
    // A stream may have no application; any other step must be there.
    let steps = app.split('/').filter(|_| !app.is_empty()).chain(name.split('/'));
    if steps.into_iter().any(is_no_step) {
        return Err(unpullable("a part of its path is empty, `.` or `..`"));
    }
    let slash = if app.is_empty() { "" } else { "/" };
    let app = app.split('/').map(encoded).collect::<Vec<_>>().join("/");
    let place = format!("{text}/{app}{slash}{}", encoded(name));
    let (protocol, url) = match base.scheme() {
        "rtsp" => (Protocol::Rtsp, place),
        "file" => (Protocol::File, format!("{place}{}", if repeats { "#loop" } else { "" })),
        _ => (Protocol::HttpFlv, format!("{place}.flv")),
    };
    Ok(Pull { stream: stream.clone(), protocol, url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name_wherever_it_is_written() {
        for (name, written) in [
            ("cam-1_a.b~c", "cam-1_a.b~c"),
            ("a&b", "a%26b"),
            ("a%20b", "a%2520b"),
            ("n#h", "n%23h"),
            ("a/../b?c", "a%2F..%2Fb%3Fc"),
            ("new\nline\t", "new%0Aline%09"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(encoded(name), written);
            assert_eq!(decoded(written), name);
            let mut url = Url::parse("http://h/").unwrap();
            url.set_path(&format!("/streams/{written}"));
            assert_eq!(url.as_str(), format!("http://h/streams/{written}"));
        }
        for odd in ["%", "%4", "100%", "%zz"] {
            assert_eq!(decoded(odd), odd);
        }
    }

    #[test]
    fn a_stream_is_pulled_under_its_own_name() {
        let pulled = |base: &str, app: &str, name: &str| {
            let pull = pull(&base.parse().unwrap(), &StreamId::new("main", app, name)).unwrap();
            (pull.protocol.word(), pull.url)
        };
        assert_eq!(pulled("rtmp://u:p@h:1935/", "live", "a%20b&c"), ("rtmp", "rtmp://h:1935/live/a%20b&c".to_owned()));
        assert_eq!(pulled("http://h", "", "cam"), ("http-flv", "http://h/cam.flv".to_owned()));
        assert_eq!(
            pulled("rtsp://u:p@h:8554", "live/a", "n#h b"),
            ("rtsp", "rtsp://h:8554/live/a/n%23h%20b".to_owned())
        );
        assert_eq!(pulled("rtsp://h", "", "cam"), ("rtsp", "rtsp://h/cam".to_owned()));
        assert_eq!(pulled("file:///srv/clips", "", "a b.mp4"), ("file", "file:///srv/clips/a%20b.mp4".to_owned()));
        assert_eq!(
            pulled("file:///srv/clips#loop", "x", "a.mp4"),
            ("file", "file:///srv/clips/x/a.mp4#loop".to_owned())
        );
        assert_eq!(pulled("http://h:80/x/", "live/a", "n#h"), ("http-flv", "http://h/x/live/a/n%23h.flv".to_owned()));
    }

    #[test]
    fn a_stream_that_would_be_pulled_as_another_is_not_pulled() {
        for (base, app, name) in [
            ("http://h", "live/../other", "cam"),
            ("http://h", "..", "cam"),
            ("http://h", "live/.", "cam"),
            ("http://h", "live//a", "cam"),
            ("http://h", "live/", "cam"),
            ("http://h", "live", ".."),
            ("http://h", "live", "../other/cam"),
            ("rtsp://h", "live", "../other/cam"),
            ("file:///srv/clips", "", "../other/cam"),
            ("file:///srv/clips", "..", "other"),
            ("http://h", "live", ""),
            ("rtmp://h", "", "cam"),
        ] {
            let refused = pull(&base.parse().unwrap(), &StreamId::new("main", app, name)).unwrap_err();
            assert_eq!(refused.kind(), "unpullable", "{base} {app} {name}");
            assert!(!refused.to_string().contains("../other"), "{refused}");
        }
    }

    #[test]
    fn an_identifier_is_what_a_server_would_make_up() {
        for (id, plain) in
            [("7x3fd2a1", true), ("", false), ("a/b", false), ("..", false), ("a b", false), ("é", false)]
        {
            assert_eq!(is_plain(id), plain, "{id}");
        }
        assert!(!is_plain(&"a".repeat(65)));
    }
}
