//! nginx with the RTMP module (libnginx-mod-rtmp 1.2): `/stat` lists, `/control` cuts off, `on_publish` asks.
//!
//! Measured facts that shape this file:
//! - `/control` compares names without decoding them, so a stream called `a&b` cannot be named at all; without a name it
//!   ends *every* session. So a kick always names the client's number, and never anything but digits goes there.
//! - `/stat` shows every byte of a name that is not printable ASCII as a space. The hook tells the whole name, so names
//!   that `/stat` would blur are remembered from there.
//! - Each worker process knows its own sessions only: `worker_processes 1` is a must, and after a reload the old worker's
//!   sessions are out of sight. A change of the worker that answers is logged.

mod hook;
mod stat;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use reqwest::Method;

use super::link::{self, LARGEST_ANSWER, LARGEST_LIST, Link};
use super::{Config, Kicked, MediaServer, query};
use crate::act::{self, ActError};
use crate::media_server::{Hook, HookRequest, Listed, Pull};
use crate::stream::{Publisher, Session, SessionId, StreamId};

/// How many names are remembered that `/stat` would blur.
const MOST_NAMES: usize = 4096;

/// An nginx with the RTMP module.
#[derive(Debug)]
pub struct NginxRtmp {
    config: Config,
    link: Link,
    /// Whole names by client number, for those that `/stat` would blur.
    names: Mutex<BTreeMap<u64, Arc<str>>>,
    /// The worker process that answered last; 0: none has.
    pid: AtomicU32,
}

impl NginxRtmp {
    /// An adapter for the server that `config` describes. Nothing is asked of it yet.
    pub fn new(config: &Config, common: &act::Config) -> Result<Self, ActError> {
        Ok(Self {
            config: config.clone(),
            link: Link::new(config, common)?,
            names: Mutex::default(),
            pid: AtomicU32::default(),
        })
    }

    /// Asks for `path` and gives the body of a 200. `query` goes out as it is: nginx does not decode it.
    async fn ask(
        &self,
        method: Method,
        path: &'static str,
        query: Option<&str>,
        limit: usize,
    ) -> Result<Vec<u8>, ActError> {
        let mut url = self.link.at(path);
        url.set_query(query);
        let answer = self.link.send(self.link.request(method, url), path, limit).await?;
        self.link.body(answer, path)
    }

    async fn publishers(&self) -> Result<Vec<stat::Publisher>, ActError> {
        let path = "/stat";
        let body = self.ask(Method::GET, path, None, LARGEST_LIST).await?;
        let stat = stat::read(&String::from_utf8_lossy(&body)).map_err(|reason| self.link.garbage(path, reason))?;
        let before = self.pid.swap(stat.pid, Ordering::Relaxed);
        if before != 0 && before != stat.pid {
            tracing::warn!(
                server = %self.config.name,
                "another nginx worker answers now: if nginx was reloaded, publishers from before cannot be seen or cut off; \
                 restart it, and keep worker_processes at 1"
            );
        }
        Ok(stat.publishers)
    }

    /// The session that `/stat` shows as `found`, under its whole name where that is known.
    fn listed(&self, found: stat::Publisher) -> Listed {
        let whole = self.names().get(&found.client).filter(|whole| blurred(whole) == found.name).cloned();
        let stream = StreamId {
            server: self.config.name.clone(),
            app: found.app.into(),
            name: whole.unwrap_or_else(|| found.name.into()),
        };
        let id = SessionId(found.client.to_string().into());
        Listed {
            session: Session { stream, id },
            publisher: Publisher::at(found.address.as_deref()),
            bytes_in: found.bytes_in,
        }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, client: u64, name: &Arc<str>) {
        if blurred(name) == **name {
            return;
        }
        let mut names = self.names();
        names.insert(client, name.clone());
        if names.len() > MOST_NAMES {
            // Numbers only grow, so the smallest is the oldest.
            names.pop_first();
        }
    }
}

#[async_trait]
impl MediaServer for NginxRtmp {
    fn name(&self) -> &Arc<str> {
        self.link.server()
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let publishers = self.publishers().await?;
        Ok(publishers
            .into_iter()
            .filter(|found| self.config.watches(&found.app))
            .map(|found| self.listed(found))
            .collect())
    }

    /// The number alone would not do: after a restart of nginx it may be somebody else's. The name is compared as
    /// `/stat` shows it, because the whole name may have been announced to an earlier process of ours.
    async fn publishes(&self, session: &Session) -> Result<bool, ActError> {
        let client = client_number(&session.id.0).ok_or_else(|| self.link.bad_session())?;
        let name = blurred(&session.stream.name);
        let same = |found: &stat::Publisher| {
            found.client == client && *found.app == *session.stream.app && blurred(&found.name) == name
        };
        Ok(self.publishers().await?.iter().any(same))
    }

    async fn kick(&self, session: &Session) -> Result<Kicked, ActError> {
        let path = "/control/drop/publisher";
        let client = client_number(&session.id.0).ok_or_else(|| self.link.bad_session())?;
        let app = &session.stream.app;
        // An application whose name would have to be encoded cannot be named; the client's number is enough.
        let query = if !app.is_empty() && app.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            format!("app={app}&clientid={client}")
        } else {
            format!("clientid={client}")
        };
        let body = self.ask(Method::POST, path, Some(&query), LARGEST_ANSWER).await?;
        match std::str::from_utf8(&body).ok().and_then(|text| text.trim().parse().ok()) {
            Some(0_u64) => Ok(Kicked::NoSuchSession),
            Some(_) => Ok(Kicked::Dropped),
            None => Err(self.link.garbage(path, "no number of dropped sessions".to_owned())),
        }
    }

    fn parse_hook(&self, request: HookRequest<'_>) -> Result<Hook, ActError> {
        let call = hook::parse(request.body).map_err(|reason| self.link.bad_hook(reason))?;
        let (hook::Call::Publish(caller) | hook::Call::PublishDone(caller)) = &call else { return Ok(Hook::Other) };
        if !self.config.watches(&caller.app) {
            return Ok(Hook::Other);
        }
        let session = Session {
            stream: StreamId { server: self.config.name.clone(), app: caller.app.clone(), name: caller.name.clone() },
            id: SessionId(caller.client.to_string().into()),
        };
        if matches!(call, hook::Call::PublishDone(_)) {
            self.names().remove(&caller.client);
            return Ok(Hook::PublishDone { session });
        }
        self.remember(caller.client, &caller.name);
        Ok(Hook::Publish { session, publisher: query::of(&self.config, caller.address.as_deref(), &caller.query) })
    }

    fn pull(&self, stream: &StreamId) -> Result<Pull, ActError> {
        link::pull(&self.config.pull, stream)
    }
}

/// A client number as nginx writes it: nothing else may ever reach `/control`.
fn client_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What `/stat` makes of a name.
fn blurred(name: &str) -> String {
    name.bytes().map(|byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { ' ' }).collect()
}

#[cfg(test)]
mod tests;
