//! Ends a session and watches it go.
//!
//! Done is what was observed: the media server no longer lists the session, *and* nothing arrives of its video any more. A
//! server may lose sight of a publisher who is still on the air; nginx after a reload does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::slots::Slots;
use super::{Step, Worker, retry};
use crate::act::servers::{Fallback, Kicked, MediaServer};
use crate::act::{ActError, Bytes};
use crate::clock::Timestamp;
use crate::decision::Job;
use crate::stream::Session;

/// What is in the pipes gets this long to run dry; then as long again it is looked whether more arrives.
const SETTLING: Duration = Duration::from_millis(500);

/// How long a kick waits to hear whether it was taken back.
const LOOKING: Duration = Duration::from_millis(100);

impl Worker {
    /// Makes one attempt at ending `session`, with whoever's turn it is. `slot` is given back as soon as nothing more is
    /// to be asked: watching takes a second or two.
    pub(super) async fn kick(
        &self,
        job: &Job,
        session: &Session,
        mut slot: Option<SemaphorePermit<'_>>,
        slots: &Slots,
    ) -> Result<String, ActError> {
        let name = &session.stream.server;
        let server = self.server(name)?;
        let turn = retry::turn(job.attempts, self.actuators(job));
        let fallback = turn.checked_sub(1).and_then(|turn| self.fallbacks.get(name)?.get(turn));
        // A look first: the session's number may have become somebody else's while we were away. A look that fails is no
        // reason not to ask.
        if let Ok(false) = server.publishes(session).await {
            let gone = self.clock.now();
            drop(slot.take());
            if !self.still_flows(session).await {
                self.tell(job, Step::ObservedGone, gone);
                return Ok("already gone".to_owned());
            }
            // The server would be asked for a number that is nobody's, or somebody else's.
            if fallback.is_none() {
                return Err(ActError::StillFlowing { server: name.clone() });
            }
            slot = slots.of(&job.action).await;
        }
        if !self.stands(job).await {
            return Ok("released before anybody was asked".to_owned());
        }
        let asked = self.clock.now();
        self.tell(job, Step::Asked, asked);
        let (answer, by) = match fallback {
            None => (server.kick(session).await?, String::new()),
            Some(fallback) => (Fallback::kick(fallback, session).await?, format!(", by fallback {turn}")),
        };
        drop(slot);
        let gone = self.unlisted(server, session, asked, slots).await?;
        if self.still_flows(session).await {
            return Err(ActError::StillFlowing { server: name.clone() });
        }
        self.tell(job, Step::ObservedGone, gone);
        let said = match answer {
            Kicked::Dropped => "observed gone",
            Kicked::NoSuchSession => "gone before the request arrived, seen",
        };
        Ok(format!("{said} {} ms after the request{by}", gone.since(asked).as_millis()))
    }

    /// Whether the kick was not taken back since it was claimed. Where that cannot be said at once, it was not.
    async fn stands(&self, job: &Job) -> bool {
        let (outbox, id) = (Arc::clone(&self.outbox), job.id);
        let looked = timeout(LOOKING, spawn_blocking(move || outbox.stands(id))).await;
        !matches!(looked, Ok(Ok(Ok(false))))
    }

    /// Waits until the server no longer lists the session, and says when that was.
    async fn unlisted(
        &self,
        server: &Arc<dyn MediaServer>,
        session: &Session,
        asked: Timestamp,
        slots: &Slots,
    ) -> Result<Timestamp, ActError> {
        loop {
            let look = slots.look(server.name()).await;
            let seen = server.publishes(session).await;
            drop(look);
            let now = self.clock.now();
            let waited = now.since(asked);
            match seen {
                Ok(false) => return Ok(now),
                Ok(true) if waited >= self.config.verify_for => {
                    let bytes = bytes(server, session, slots).await;
                    return Err(ActError::StillListed { server: server.name().clone(), waited, bytes });
                }
                Err(error) if waited >= self.config.verify_for => return Err(error),
                Ok(true) | Err(_) => sleep(self.config.verify_every.max(server.looks_apart())).await,
            }
        }
    }

    /// Whether video of the session still arrives. A session that is detached meanwhile is over.
    async fn still_flows(&self, session: &Session) -> bool {
        let began = self.clock.now();
        let mut settled = None;
        loop {
            let Some(received) = (self.flow)(session) else { return false };
            match settled {
                Some(before) if received > before => return true,
                Some(_) if self.clock.now().since(began) >= 2 * SETTLING => return false,
                None if self.clock.now().since(began) >= SETTLING => settled = Some(received),
                _ => {}
            }
            sleep(self.config.verify_every).await;
        }
    }
}

/// Whether the server receives anything of a session that it lists, by its own count.
async fn bytes(server: &Arc<dyn MediaServer>, session: &Session, slots: &Slots) -> Bytes {
    let count = async || {
        let _look = slots.look(server.name()).await;
        let listed = server.list().await.ok()?;
        listed.into_iter().find(|listed| listed.session == *session)?.bytes_in
    };
    let before = count().await;
    sleep(SETTLING).await;
    match before.zip(count().await) {
        Some((before, now)) if now > before => Bytes::Arriving,
        Some(_) => Bytes::Stopped,
        None => Bytes::Unknown,
    }
}
