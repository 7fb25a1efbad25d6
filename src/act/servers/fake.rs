//! A media server that is a list of answers: what an adapter asks of it is written down, byte for byte.
//!
//! It stands in for servers that cannot be installed here. Its answers are made after their documentation and sources; a
//! test that wants to know what a kick sends looks at [`Fake::asked`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Config, Kind, MediaServer};
use crate::act::{self, ActError};
use crate::media_server::{Hook, HookRequest, Listed};
use crate::stream::{Session, StreamId};

/// What was asked: `METHOD target`, then the headers in lower case, then the body.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) head: String,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The status and the body that a request is answered with; `None`: it never is.
pub(super) type Answering = dyn Fn(&Asked) -> Option<(u16, String)> + Send + Sync;

/// See the module.
pub(super) struct Fake {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(super) async fn new(answer: impl Fn(&Asked) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen): (Arc<Answering>, _) = (Arc::new(answer), asked.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, answer.clone(), seen.clone()));
            }
        });
        Self { url, asked }
    }

    /// Answers everything with one status and body.
    pub(super) async fn always(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::new(move |_| Some((status, body.clone()))).await
    }

    /// Everything asked so far; forgets it.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first lines of everything asked so far; forgets it.
    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// A `[[server]]` called `main` that is this one, with `more` in its section; `{url}` there is its address.
    pub(super) fn config(&self, kind: Kind, more: &str) -> Config {
        config(kind, &format!("control = '{}'\n{}", self.url, more.replace("{url}", &self.url)))
    }

    /// The same, with a user and a password.
    pub(super) fn with_user(&self, kind: Kind, user: &str) -> Config {
        self.signed_in(kind, user, "")
    }

    /// Both.
    pub(super) fn signed_in(&self, kind: Kind, user: &str, more: &str) -> Config {
        let control = self.url.replace("//", &format!("//{user}@"));
        config(kind, &format!("control = '{control}'\n{}", more.replace("{url}", &self.url)))
    }
}

async fn serve(mut socket: TcpStream, answer: Arc<Answering>, seen: Arc<Mutex<Vec<Asked>>>) {
    let mut bytes = Vec::new();
    loop {
        let Some(asked) = read(&mut socket, &mut bytes).await else { return };
        let answered = answer(&asked);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let Some((status, body)) = answered else { return std::future::pending().await };
        // Whoever is asked too often says for how long not to.
        let wait = if status == 429 { "retry-after: 7\r\n" } else { "" };
        let text = format!("HTTP/1.1 {status} Said\r\n{wait}content-length: {}\r\n\r\n{body}", body.len());
        if socket.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Asked> {
    loop {
        let text = String::from_utf8(bytes.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, head) = head.split_once("\r\n").unwrap();
            let lowered =
                |line: &str| line.split_once(": ").map(|(name, value)| format!("{}: {value}", name.to_lowercase()));
            let head = head.lines().filter_map(lowered).collect::<Vec<_>>().join("\n");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if let Some(whole) = body.get(..length) {
                let asked = Asked { line: line.trim_end_matches(" HTTP/1.1").to_owned(), head, body: whole.to_owned() };
                *bytes = body.as_bytes()[length..].to_vec();
                return Some(asked);
            }
        }
        if socket.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A `[[server]]` called `main` of `kind`.
pub(super) fn config(kind: Kind, more: &str) -> Config {
    toml::from_str(&format!("name = 'main'\nkind = '{}'\n{more}", kind.facts().word)).unwrap()
}

/// Limits short enough for a test of what never answers.
pub(super) fn limits() -> act::Config {
    act::Config { request_timeout: Duration::from_millis(300), ..act::Config::default() }
}

pub(super) fn session(app: &str, name: &str, id: &str) -> Session {
    Session { stream: StreamId::new("main", app, name), id: id.into() }
}

/// What was listed, in short.
pub(super) fn shown(listed: &[Listed]) -> Vec<String> {
    listed.iter().map(|one| format!("{} {}", one.session.stream.full(), one.session.id)).collect()
}

/// What a hook with `body` is read as.
pub(super) fn hook(server: &dyn MediaServer, body: &str) -> Result<Hook, ActError> {
    server.parse_hook(HookRequest { headers: &reqwest::header::HeaderMap::new(), body: body.as_bytes() })
}

/// Names that break what is not careful.
pub(super) fn hostile_names() -> Vec<String> {
    let names = ["a&b", "a%2520b", "n#h", "new\nline", "sl/ash", "q?x=1", "\"quote\\", "é", "..;", "{session}"];
    names.iter().map(|name| (*name).to_owned()).chain(["L".repeat(4096)]).collect()
}

/// What every adapter does alike: the same failures of a server are the same errors, listing and kicking, and none of
/// them counts as "gone".
pub(super) async fn fails_like_the_others(kind: Kind, more: &str, session: &Session) {
    for (status, body, said) in [
        (401, "", "forbidden"),
        (403, "no", "forbidden"),
        (500, "", "status"),
        (302, "", "status"),
        (200, "<html>It works!</html>", "garbage"),
        (200, "", "garbage"),
        (200, "{}", "garbage"),
        (200, "[", "garbage"),
        (200, "null", "garbage"),
    ] {
        let fake = Fake::always(status, body).await;
        let server = super::build(&fake.config(kind, more), &limits()).unwrap();
        assert_eq!(server.list().await.unwrap_err().kind(), said, "list {status} {body}");
        assert_eq!(server.publishes(session).await.unwrap_err().kind(), said, "publishes {status} {body}");
        // An empty 200 is how some servers say that a kick was done.
        if (status, body) != (200, "") {
            assert_eq!(server.kick(session).await.unwrap_err().kind(), said, "kick {status} {body}");
        }
    }
    let silent = Fake::new(|_| None).await;
    let server = super::build(&silent.config(kind, more), &limits()).unwrap();
    assert_eq!(server.list().await.unwrap_err().kind(), "timed_out");
    assert_eq!(server.kick(session).await.unwrap_err().kind(), "timed_out");
    let nowhere = "http://127.0.0.1:1";
    let closed = config(kind, &format!("control = '{nowhere}'\n{}", more.replace("{url}", nowhere)));
    let error = super::build(&closed, &limits()).unwrap().list().await.unwrap_err();
    assert_eq!(error.kind(), "unreachable", "{error}");
}
