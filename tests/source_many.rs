//! A thousand sources against one real nginx-rtmp: they come one after another, after a restart of the server too, and
//! cost a bounded number of threads and descriptors.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::source::{Config, Room, SourceEvent, SourceHandle, Sources, make_room};
use sluicegate::stream::StreamId;
use support::ffmpeg;

const STREAMS: usize = 1000;
const PER_SECOND: u32 = 100;
/// A fifth of a second's worth may come at once.
const AT_ONCE: f64 = 20.0;
const SPARE: usize = 24;
const PATIENCE: Duration = Duration::from_mins(1);

/// One stream that everybody pulls, of two small frames a second: what is measured here is not video.
fn publish(nginx: &Nginx, folder: &Path) -> Publisher {
    let clip = folder.join("clip.flv");
    if !clip.exists() {
        ffmpeg("-f lavfi -i testsrc2=size=64x64:rate=2 -t 10 -pix_fmt yuv420p -c:v libx264 -g 2 -bf 0", &clip);
    }
    Publisher::start(&clip, &format!("{}/live/s", nginx.rtmp()), Times::Forever).unwrap()
}

/// How many pull the stream, by the server's own account.
fn pulls(nginx: &Nginx) -> usize {
    let stat = nginx.stat().unwrap_or_default();
    let clients = stat.split("<client>").skip(1).filter_map(|client| client.split("</client>").next());
    clients.filter(|client| !client.contains("<publishing/>")).count()
}

/// Waits until all pull; at no time have more come since `start` than may.
fn all_come_in_time(nginx: &Nginx, start: Timestamp, clock: Clock) {
    let mut seen = Vec::new();
    let all = rig::until("all streams to be pulled", PATIENCE, || {
        let pulls = pulls(nginx);
        let seconds = clock.now().since(start).as_secs_f64();
        seen.push((pulls, seconds));
        (pulls == STREAMS).then_some(())
    });
    assert!(all.is_ok(), "{seen:?}");
    for (pulls, seconds) in &seen {
        assert!(*pulls as f64 <= AT_ONCE + f64::from(PER_SECOND) * seconds, "{pulls} after {seconds:.2} s: {seen:?}");
    }
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_thousand_streams_come_one_after_another_and_cost_little() {
    assert!(matches!(make_room(NonZeroUsize::new(STREAMS).unwrap()), Room::Enough(_)));
    let folder = tempfile::tempdir().unwrap();
    let mut nginx = Nginx::start(None).unwrap();
    let publisher = publish(&nginx, folder.path());
    let clock = Clock::system();
    let config = Config {
        attach_per_second: NonZeroU32::new(PER_SECOND).unwrap(),
        reconnect_max: Duration::from_secs(2),
        stall_after: PATIENCE,
        no_video_after: PATIENCE,
        ..Config::default()
    };
    let sources = Sources::new(config, clock).unwrap();
    let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
    let attached = Arc::new(AtomicUsize::new(0));
    let start = clock.now();
    let handles: Vec<SourceHandle> = (0..STREAMS)
        .map(|number| {
            let stream = StreamId::new("main", "live", &number.to_string());
            let pull = Pull { stream, protocol: Protocol::Rtmp, url: format!("{}/live/s", nginx.rtmp()) };
            let attached = Arc::clone(&attached);
            let on_event = move |event| {
                if matches!(event, SourceEvent::Attached) {
                    attached.fetch_add(1, Ordering::Relaxed);
                }
            };
            sources.add(pull, Box::new(on_event)).unwrap()
        })
        .collect();
    all_come_in_time(&nginx, start, clock);
    let all = |times: usize| (attached.load(Ordering::Relaxed) >= times * STREAMS).then_some(());
    rig::until("video of all", PATIENCE, || all(1)).unwrap();

    let per_stream = |folder, before| (count(folder) - before) as f64 / STREAMS as f64;
    let (threads_each, descriptors_each) =
        (per_stream("/proc/self/task", threads), per_stream("/proc/self/fd", descriptors));
    println!("threads a stream: {threads_each:.2}; descriptors a stream: {descriptors_each:.2}");
    assert!(threads_each <= 2.1, "{threads_each}");
    assert!(descriptors_each <= 5.0, "{descriptors_each}");

    drop(publisher);
    let start = clock.now();
    nginx.restart().unwrap();
    let _publisher = publish(&nginx, folder.path());
    all_come_in_time(&nginx, start, clock);
    rig::until("video of all again", PATIENCE, || all(2)).unwrap();

    drop(handles);
    // GLib keeps a few threads for the next who wants one.
    let left = || {
        (
            count("/proc/self/task").saturating_sub(threads),
            count("/proc/self/fd").saturating_sub(descriptors),
            pulls(&nginx),
        )
    };
    let given_back = rig::until("every thread and descriptor given back", PATIENCE, || match left() {
        (threads, descriptors, 0) if threads <= SPARE && descriptors <= SPARE => Some(()),
        _ => None,
    });
    assert!(given_back.is_ok(), "{:?}", left());
}
