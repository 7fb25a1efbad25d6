//! How much may be under way at the same time with each media server and each webhook.
//!
//! Each has slots of its own, so that one that answers slowly or never keeps nobody else waiting. A kick holds a slot until
//! it was asked for; the looks whether it worked have others, so that publishers who do not go keep no kick waiting.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Worker;
use crate::decision::Action;

/// See the module.
pub(super) struct Slots {
    kicks: HashMap<Arc<str>, Semaphore>,
    looks: HashMap<Arc<str>, Semaphore>,
    deliveries: HashMap<Arc<str>, Semaphore>,
}

impl Slots {
    pub(super) fn new(worker: &Worker) -> Self {
        let each =
            |limit: usize, name: &Arc<str>| (name.clone(), Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
        let kicks = || worker.servers.iter().map(|server| each(worker.config.kicks_at_once, server.name())).collect();
        let share = worker.config.deliveries_at_once / worker.webhooks.len().max(1);
        let deliveries = worker.webhooks.iter().map(|webhook| each(share, webhook.name())).collect();
        Self { kicks: kicks(), looks: kicks(), deliveries }
    }

    /// A slot for whatever `action` turns to, when there is one. Nobody waits to ask somebody who is not configured, or to
    /// look at files.
    pub(super) async fn of(&self, action: &Action) -> Option<SemaphorePermit<'_>> {
        match action {
            Action::Kick { session } => take(&self.kicks, &session.stream.server).await,
            Action::Notify { webhook, .. } => take(&self.deliveries, webhook).await,
            Action::Quarantine { .. } => None,
        }
    }

    /// A slot for a look whether a kick on `server` worked.
    pub(super) async fn look(&self, server: &Arc<str>) -> Option<SemaphorePermit<'_>> {
        take(&self.looks, server).await
    }
}

async fn take<'a>(slots: &'a HashMap<Arc<str>, Semaphore>, name: &Arc<str>) -> Option<SemaphorePermit<'a>> {
    // Never closed.
    slots.get(name)?.acquire().await.ok()
}
