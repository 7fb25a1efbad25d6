//! When pictures of several streams leave for the model together. Pure: the [`Owner`](super::Owner) asks, and acts.
//!
//! A batch leaves when it is full, when its oldest picture has waited its limit, or at once when no limit is set: then
//! it holds what came while the model was busy, so that a thread that is idle never makes a picture wait.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How pictures are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// The most pictures in one inference.
    pub most: NonZeroUsize,
    /// How long the oldest picture waits for others, at most.
    pub wait: Duration,
}

/// What to do with a batch of at least one picture, when nothing more is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Give it to the model.
    Leave,
    /// Wait for another picture, no longer than this.
    Wait(Duration),
}

impl Batching {
    /// Each picture by itself, at once.
    pub const ONE_BY_ONE: Self = Self { most: NonZeroUsize::MIN, wait: Duration::ZERO };

    /// Whether a batch of `pictures` takes no more.
    pub(super) const fn is_full(self, pictures: usize) -> bool {
        pictures >= self.most.get()
    }

    /// What to do with a batch of `pictures`, the oldest of which has `waited` so long.
    pub(super) fn next(self, pictures: usize, waited: Duration) -> Next {
        match self.wait.checked_sub(waited) {
            Some(left) if !left.is_zero() && !self.is_full(pictures) => Next::Wait(left),
            _ => Next::Leave,
        }
    }

    /// How many pictures have to be able to wait so that a batch can fill while another is at the model.
    pub(super) fn room(self, queue: NonZeroUsize) -> usize {
        queue.max(self.most).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_batch_leaves_when_full_when_late_and_at_once_when_nothing_is_to_be_waited_for() {
        let batching = |most, wait| Batching { most: NonZeroUsize::new(most).unwrap(), wait: MS(wait) };
        for (batching, pictures, waited, next) in [
            (batching(1, 0), 1, 0, Next::Leave),
            (batching(16, 0), 1, 0, Next::Leave),
            (batching(16, 0), 15, 9, Next::Leave),
            (batching(16, 5), 1, 0, Next::Wait(MS(5))),
            (batching(16, 5), 15, 3, Next::Wait(MS(2))),
            (batching(16, 5), 16, 0, Next::Leave),
            (batching(16, 5), 1, 5, Next::Leave),
            (batching(16, 5), 1, 80, Next::Leave),
            (batching(1, 5), 1, 0, Next::Leave),
        ] {
            assert_eq!(batching.next(pictures, MS(waited)), next, "{batching:?} {pictures} {waited}");
        }
    }

    #[test]
    fn a_batch_can_fill_while_another_is_at_the_model() {
        let sixteen = Batching { most: NonZeroUsize::new(16).unwrap(), wait: MS(0) };
        let eight = NonZeroUsize::new(8).unwrap();
        assert_eq!((sixteen.room(eight), Batching::ONE_BY_ONE.room(eight)), (16, 8));
    }
}
