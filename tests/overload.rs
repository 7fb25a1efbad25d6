//! Three times more work than can be done, with the real sampler, queue and decoder: every stream is looked at, about as
//! often as the others, what is looked at is fresh, little is held, and every picture is accounted for.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decode::{self, Decoder};
use sluicegate::sample::queue::{Mailbox, Priority, Queue, Taken};
use sluicegate::sample::{Config, Pool, Sampler, Work};
use sluicegate::stream::{AccessUnit, Attention, Codec};
use support::ffmpeg;

const STREAMS: usize = 24;
const OVERLOAD: u32 = 3;
/// So often is every stream to be looked at, were all alike.
const ROUNDS: u32 = 20;

/// Keyframes, cut at their access unit delimiters.
fn keyframes() -> Vec<Bytes> {
    let folder = tempfile::tempdir().unwrap();
    let file = ffmpeg(
        "-f lavfi -i testsrc2=size=640x360:rate=10 -t 1 -pix_fmt yuv420p -c:v libx264 -x264-params keyint=1:aud=1:threads=1",
        &folder.path().join("keyframes.h264"),
    );
    let stream = Bytes::from(std::fs::read(file).unwrap());
    let starts: Vec<usize> = (0..stream.len()).filter(|at| stream[*at..].starts_with(&[0, 0, 0, 1, 9])).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts.iter().zip(ends).map(|(start, end)| stream.slice(*start..end)).collect()
}

fn unit(sequence: u64, arrived: Timestamp, keyframes: &[Bytes]) -> AccessUnit {
    let data = keyframes[sequence as usize % keyframes.len()].clone();
    AccessUnit { sequence, codec: Codec::H264, keyframe: true, pts: None, arrived, data }
}

/// What a decoder needs for one keyframe on this machine, now.
fn service(decoder: &mut Decoder, keyframes: &[Bytes], clock: Clock) -> Duration {
    const PIECES: u32 = 40;
    let mut pictures = 0;
    let began = clock.now();
    for sequence in 0..u64::from(PIECES) {
        decoder.decode(&[unit(sequence, began, keyframes)], &[sequence], &mut |_picture| pictures += 1).unwrap();
    }
    assert_eq!(pictures, PIECES);
    clock.now().since(began) / PIECES
}

/// What became of pictures.
#[derive(Default)]
struct Account {
    offered: AtomicU64,
    superseded: AtomicU64,
    stale: AtomicU64,
    inspected: AtomicU64,
}

impl Account {
    /// How many pictures wait, or are looked at just now.
    fn pending(&self) -> u64 {
        // What became of a picture first: one that comes to its end meanwhile may not be missed.
        let done = [&self.superseded, &self.stale, &self.inspected].map(|count| count.load(Ordering::SeqCst));
        self.offered.load(Ordering::SeqCst) - done.iter().sum::<u64>()
    }
}

#[test]
fn at_three_times_what_can_be_done_everybody_is_looked_at_and_nothing_is_lost() {
    let (keyframes, clock) = (keyframes(), Clock::system());
    let mut decoder = Decoder::new(&decode::Config::default()).unwrap();
    let service = (0..3).map(|_| service(&mut decoder, &keyframes, clock)).min().unwrap();
    let period = service * STREAMS as u32 / OVERLOAD;
    let max_age = period / 2;
    let config = Config { min_interval: Duration::ZERO, lookback_bytes: 0, ..Config::default() };
    let queue: Queue<usize, Work> = Queue::new(NonZeroUsize::new(STREAMS).unwrap());
    let account = Account::default();
    let looks: Mutex<HashMap<usize, u32>> = Mutex::default();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !queue.is_closed() {
                let mut now = Timestamp::ZERO;
                let fresh = |work: &Work| {
                    now = clock.now();
                    work.is_fresh(now, max_age)
                };
                match queue.take(Duration::from_millis(50), fresh) {
                    Some(Taken::Fresh(stream, work)) => {
                        assert!(now.since(work.units[0].arrived) <= max_age);
                        let mut pictures = 0;
                        decoder.decode(&work.units, &work.inspect, &mut |_picture| pictures += 1).unwrap();
                        assert_eq!(pictures, work.inspect.len());
                        *looks.lock().unwrap().entry(stream).or_default() += 1;
                        account.inspected.fetch_add(1, Ordering::SeqCst);
                    }
                    Some(Taken::Stale(_, work)) => {
                        assert!(now.since(work.units[0].arrived) > max_age);
                        account.stale.fetch_add(1, Ordering::SeqCst);
                    }
                    None => {}
                }
            }
        });

        let mut streams: Vec<(Mailbox<usize, Work>, Sampler)> = (0..STREAMS)
            .map(|key| (queue.open(key).unwrap(), Sampler::new(&config, || 0.5, &Arc::new(Pool::new(0)))))
            .collect();
        let began = clock.now();
        for step in 0..STREAMS * (ROUNDS * OVERLOAD) as usize {
            // One after another, in an order of its own.
            let (mailbox, sampler) = &mut streams[step * 7 % STREAMS];
            let due = period * step as u32 / STREAMS as u32;
            while clock.now().since(began) < due {
                std::thread::park_timeout(due.saturating_sub(clock.now().since(began)));
            }
            let Some(work) = sampler.offer(unit((step / STREAMS) as u64, clock.now(), &keyframes), Attention::Calm)
            else {
                continue;
            };
            account.offered.fetch_add(1, Ordering::SeqCst);
            if mailbox.offer(work, Priority::Ordinary).is_some() {
                account.superseded.fetch_add(1, Ordering::SeqCst);
            }
            assert!(account.pending() <= STREAMS as u64 + 1, "a place for each, and one in the decoder");
        }
        queue.close();
        let left = streams.into_iter().filter_map(|(mailbox, _)| mailbox.close()).count() as u64;
        account.superseded.fetch_add(left, Ordering::SeqCst);
    });

    assert_eq!(account.pending(), 0, "every picture is accounted for");
    let looks = looks.into_inner().unwrap();
    let (fewest, most) = (looks.values().min().unwrap(), looks.values().max().unwrap());
    println!("{service:?} a picture, looks from {fewest} to {most}, stale {:?}", account.stale);
    assert_eq!(looks.len(), STREAMS, "everybody is looked at: {looks:?}");
    assert!(*most <= 2 * fewest + 2, "{looks:?}");
    assert!(account.stale.into_inner() + account.superseded.into_inner() > 0, "it was too much for the decoder");
}
