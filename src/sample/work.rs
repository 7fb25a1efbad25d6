//! What a sampler hands to whoever decodes.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::stream::AccessUnit;

/// What to decode, and of which units pictures are wanted.
///
/// `inspect` names some of `units`, in increasing order. A sampler whose stream is promoted, or looked at closely, waits
/// with more work until this is dropped: it is done, or will not be.
#[derive(Debug, Clone)]
pub struct Work {
    /// What to decode, in this order. They follow one another without a gap, but for a lone first one in [`Course::Begun`].
    pub units: Vec<AccessUnit>,
    /// The sequence numbers of the units whose pictures are to be inspected.
    pub inspect: Vec<u64>,
    /// What came before.
    pub course: Course,
    /// What it is worth once it is old.
    pub worth: Worth,
    pub(super) _under_way: Arc<()>,
}

/// What becomes of work that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// A look at how the stream is now: when it is old, a newer one serves better.
    WhileFresh,
    /// Pictures from before and after a suspicion: they are evidence, and nothing that comes later stands in for them. And what
    /// a decoder of the stream's own needs to go on.
    Always,
}

impl Work {
    /// Whether it is still to be done at `now`: what is worth something only while fresh is not, when the newest of its
    /// pictures came longer than `max_age` ago.
    pub fn is_fresh(&self, now: Timestamp, max_age: Duration) -> bool {
        match self.worth {
            Worth::WhileFresh => self.units.last().is_some_and(|newest| now.since(newest.arrived) <= max_age),
            Worth::Always => true,
        }
    }
}

/// What a piece of [`Work`] has to do with the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Nothing. It begins with a keyframe and asks for at least one picture; any decoder will do.
    Alone,
    /// The same, and work that is continued goes on behind it: the decoder that the stream keeps is to be left as it is.
    Aside,
    /// Nothing, but others will continue it: it is for a fresh decoder that the stream keeps. Where there was nothing better
    /// to begin with it does not begin with a keyframe, or misses units behind it.
    Begun,
    /// Its units follow on those of the piece before, to be decoded by the decoder that the stream kept. Where units were
    /// lost or passed over, that is the best there is.
    Continued,
}
