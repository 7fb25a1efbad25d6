//! Starts inspectors anew, one after the other, when what they read by its name is replaced: name servers after a change of
//! network, or a folder of banks that is switched.
//!
//! Their sandbox holds what lay there when they were started. To let them read whatever comes to lie there, all of `/etc` would
//! have to be within their reach, and the configuration with it.

use std::time::Duration;

use tracing::info;

use super::Slot;
use crate::clock::Timestamp;
use crate::inspector::Setup;
use crate::inspector::sandbox::Reached;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Renewing {
    reached: Reached,
    looked: Timestamp,
    /// Those that were started before are to be started anew.
    since: Option<Timestamp>,
}

impl Renewing {
    /// For processes that are started from now on.
    pub(super) fn new(setup: &Setup) -> Self {
        Self { reached: Reached::new(setup), looked: Timestamp::ZERO, since: None }
    }

    /// Looks whether anything was replaced, and has the next process end, once all are up.
    pub(super) fn look(&mut self, slots: &mut [Slot], now: Timestamp) {
        if now.since(self.looked) >= EVERY {
            self.looked = now;
            if let Some(path) = self.reached.replaced() {
                info!(path = %path.display(), "what inspectors read was replaced: they are started anew, one after the other");
                self.since = Some(now);
            }
        }
        let Some(since) = self.since.filter(|_| slots.iter().all(Slot::is_up)) else { return };
        match slots.iter_mut().filter_map(Slot::running).find(|running| running.since < since) {
            Some(old) => old.leave(now),
            None => self.since = None,
        }
    }
}
