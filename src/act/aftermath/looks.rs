//! One look at who publishes, for all keepers of a media server.
//!
//! Hundreds may watch what outlives their sessions at the same time, on a server that is busy enough with the cuts. Each
//! asking by itself would be one list a second for each of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::act::servers::MediaServer;
use crate::clock::{Clock, Timestamp};
use crate::stream::Session;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Option<Look>>);

#[derive(Debug, Clone)]
struct Look {
    asked: Timestamp,
    /// `None`: the server did not answer.
    sessions: Option<Arc<[Session]>>,
}

impl Looks {
    /// Who publishes, as of less than `every` ago and not before `from`; `None`: the server did not answer. Whatever is
    /// asked here, the server is not asked more often than four times in `every`.
    pub(super) async fn since(
        &self,
        from: Timestamp,
        every: Duration,
        server: &dyn MediaServer,
        clock: Clock,
    ) -> Option<Arc<[Session]>> {
        let mut last = self.0.lock().await;
        if let Some(look) = &*last {
            let age = clock.now().since(look.asked);
            if look.asked >= from && age < every {
                return look.sessions.clone();
            }
            sleep((every / 4).saturating_sub(age)).await;
        }
        let asked = clock.now();
        let listed = server.list().await.ok();
        let sessions = listed.map(|listed| listed.into_iter().map(|one| one.session).collect());
        *last = Some(Look { asked, sessions: sessions.clone() });
        sessions
    }
}
