//! Sources against a real nginx-rtmp: units arrive, and whatever happens to the publisher, the server or the media is
//! told, and got over.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use sluicegate::clock::Clock;
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::source::{Config, Reason, SourceEvent, SourceHandle, Sources};
use sluicegate::stream::{AccessUnit, StreamId};
use support::ffmpeg;

/// Held for reading by every test that starts sources, for writing by the one that counts their threads.
static THREADS: RwLock<()> = RwLock::new(());

fn side_by_side() -> RwLockReadGuard<'static, ()> {
    THREADS.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until `done`; fails the test when that takes longer than `limit`.
fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let clock = Clock::system();
    let start = clock.now();
    while !done() {
        assert!(clock.now().since(start) < limit, "{what}: not within {limit:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A child process that ends with its owner.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill {signal}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        assert!(self.0.kill().is_ok() && self.0.wait().is_ok());
    }
}

/// An nginx-rtmp of one process in a folder of its own.
struct Nginx {
    process: Process,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Self {
        Self::start_on(rig::free_port().unwrap())
    }

    fn start_on(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        let configuration = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
             daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
             events {{ worker_connections 256; }}
             rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; idle_streams off; }} }} }}"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, configuration).unwrap();
        let process = Process::start(Command::new("/usr/sbin/nginx").arg("-p").arg(folder.path()).arg("-c").arg(&path));
        until("nginx listens", Duration::from_secs(10), || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Self { process, port, folder }
    }

    fn url(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.port)
    }

    fn publish(&self, clip: &Path, name: &str) -> Process {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i"]).arg(clip);
        Process::start(ffmpeg.args(["-c", "copy", "-f", "flv"]).arg(self.url(name)))
    }

    /// Twelve seconds of picture and sound, a keyframe every two seconds.
    fn clip(&self, name: &str, more: &str) -> PathBuf {
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine -t 12 -pix_fmt yuv420p -c:v libx264 \
                 -preset veryfast -g 60 -keyint_min 60 -sc_threshold 0 -bf 2 -c:a aac {more}"
            ),
            &self.folder.path().join(name),
        )
    }
}

/// A source under test: its events, in order.
struct Watched {
    _handle: SourceHandle,
    events: Receiver<SourceEvent>,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Watched {
    fn add(sources: &Sources, url: &str) -> Self {
        let (sender, events) = bounded(100_000);
        let pull =
            Pull { stream: StreamId::new("test", "live", "secret-key"), protocol: Protocol::Rtmp, url: url.to_owned() };
        let handle = sources.add(pull, Box::new(move |event| drop(sender.try_send(event)))).unwrap();
        Self { _handle: handle, events }
    }

    /// The next event that `wanted` takes; those before it are passed over.
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(SourceEvent) -> Option<T>) -> T {
        let clock = Clock::system();
        let start = clock.now();
        loop {
            let left = PATIENCE.saturating_sub(clock.now().since(start));
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    fn attached(&self) {
        self.wait("attached", |event| matches!(event, SourceEvent::Attached).then_some(()));
    }

    fn attached_at_the_first_attempt(&self) {
        self.wait("attached", |event| match event {
            SourceEvent::Attached => Some(()),
            other => panic!("{other:?}"),
        });
    }

    fn unit(&self) -> AccessUnit {
        self.wait("a unit", |event| if let SourceEvent::Unit(unit) = event { Some(unit) } else { None })
    }

    /// The reason and the kind of error of the next reconnection.
    fn reconnecting(&self) -> (Reason, Option<&'static str>, String) {
        self.wait("reconnecting", |event| match event {
            SourceEvent::Reconnecting { reason, error, .. } => {
                let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
                Some((reason, error.map(|error| error.kind()), text))
            }
            _ => None,
        })
    }
}

fn sources(config: Config) -> Sources {
    Sources::new(config, Clock::system()).unwrap()
}

fn impatient() -> Config {
    Config {
        stall_after: Duration::from_secs(2),
        no_video_after: Duration::from_secs(2),
        reconnect_max: Duration::from_secs(1),
        ..Config::default()
    }
}

#[test]
fn units_arrive_with_keyframes_that_stand_alone_and_go_on_after_the_publisher_restarts() {
    let _guard = side_by_side();
    let nginx = Nginx::start();
    let clip = nginx.clip("clip.flv", "");
    let publisher = nginx.publish(&clip, "secret-key");
    let sources = sources(impatient());
    let watched = Watched::add(&sources, &nginx.url("secret-key"));

    watched.attached();
    let units: Vec<AccessUnit> = (0..130).map(|_| watched.unit()).collect();
    assert_eq!(units.iter().map(|unit| unit.sequence).collect::<Vec<_>>(), (0..130).collect::<Vec<_>>());
    let keyframes: Vec<&AccessUnit> = units.iter().filter(|unit| unit.keyframe).collect();
    assert!((2..=3).contains(&keyframes.len()), "{}", keyframes.len());
    for keyframe in keyframes {
        let head: Vec<u8> =
            keyframe.data.windows(4).filter(|nal| nal[..3] == [0, 0, 1]).map(|nal| nal[3] & 31).collect();
        assert!(head.contains(&7) && head.contains(&8) && head.contains(&5), "{head:?}");
    }
    assert!(units.windows(2).all(|pair| pair[0].arrived <= pair[1].arrived));
    assert!(units.iter().all(|unit| unit.pts.is_some() && !unit.data.is_empty()));

    drop(publisher);
    let (reason, ..) = watched.reconnecting();
    assert_eq!(reason, Reason::Ended);
    let (reason, kind, text) = watched.reconnecting();
    assert_eq!((reason, kind), (Reason::Error, Some("refused")), "{text}");
    assert!(!text.contains("secret-key"), "{text}");

    let _publisher = nginx.publish(&clip, "secret-key");
    watched.attached();
    assert!(watched.unit().sequence >= 130);
}

#[test]
fn a_stream_without_video_is_said_to_have_none_until_it_has() {
    let _guard = side_by_side();
    let nginx = Nginx::start();
    let (sound, both) = (nginx.clip("sound.flv", "-vn"), nginx.clip("both.flv", ""));
    let publisher = nginx.publish(&sound, "s");
    let sources = sources(impatient());
    let watched = Watched::add(&sources, &nginx.url("s"));
    for _ in 0..2 {
        watched.wait("no video", |event| match event {
            SourceEvent::NoVideo => Some(()),
            SourceEvent::Attached | SourceEvent::Unit(_) => panic!("{event:?}"),
            _ => None,
        });
        assert_eq!(watched.reconnecting().0, Reason::NoVideo);
    }
    drop(publisher);
    let _publisher = nginx.publish(&both, "s");
    watched.attached();
    assert_eq!(watched.unit().sequence, 0);
}

#[test]
fn sound_that_comes_first_never_keeps_the_video_from_starting() {
    let _guard = side_by_side();
    let nginx = Nginx::start();
    let clip = nginx.clip("clip.flv", "");
    let _publisher = nginx.publish(&clip, "s");
    let sources = sources(Config::default());
    Watched::add(&sources, &nginx.url("s")).attached();
    // Joined at many points between two keyframes; the server sends sound at once, and video from the next keyframe.
    let mut watched = Vec::new();
    for _ in 0..16 {
        watched.push(Watched::add(&sources, &nginx.url("s")));
        std::thread::park_timeout(Duration::from_millis(130));
    }
    for source in &watched {
        source.attached_at_the_first_attempt();
        assert!(source.unit().keyframe);
    }
}

#[test]
fn a_keyframe_that_is_far_away_is_waited_for() {
    let _guard = side_by_side();
    let nginx = Nginx::start();
    let clip = nginx.clip("clip.flv", "-t 16 -g 240 -keyint_min 240");
    let _publisher = nginx.publish(&clip, "s");
    let sources = sources(Config { no_video_after: Duration::from_secs(5), ..impatient() });
    Watched::add(&sources, &nginx.url("s")).attached();
    // Joined right after a keyframe, with eight seconds to the next. The demuxer would ignore video that comes after
    // six seconds of sound, so the source joins again; and it does so at once, not to miss the keyframe.
    let watched = Watched::add(&sources, &nginx.url("s"));
    let mut gaps = Vec::new();
    watched.wait("attached", |event| match event {
        SourceEvent::Attached => Some(()),
        SourceEvent::Reconnecting { reason, after, .. } => {
            gaps.push((reason, after));
            None
        }
        _ => None,
    });
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].0 == Reason::NoVideo && gaps[0].1 <= Duration::from_millis(400), "{gaps:?}");
}

#[test]
fn a_frozen_server_is_noticed_and_its_return_too() {
    let _guard = side_by_side();
    let nginx = Nginx::start();
    let clip = nginx.clip("clip.flv", "");
    let _publisher = nginx.publish(&clip, "s");
    let sources = sources(impatient());
    let watched = Watched::add(&sources, &nginx.url("s"));
    watched.attached();
    nginx.process.signal("-STOP");
    assert_eq!(watched.reconnecting().0, Reason::Stalled);
    nginx.process.signal("-CONT");
    watched.attached();
}

#[test]
fn a_server_that_is_away_is_said_to_be_and_found_again() {
    let _guard = side_by_side();
    let port = rig::free_port().unwrap();
    let sources = sources(impatient());
    let watched = Watched::add(&sources, &format!("rtmp://127.0.0.1:{port}/live/s"));
    for _ in 0..2 {
        let (reason, kind, text) = watched.reconnecting();
        assert_eq!((reason, kind), (Reason::Error, Some("unreachable")), "{text}");
    }
    let nginx = Nginx::start_on(port);
    let _publisher = nginx.publish(&nginx.clip("clip.flv", ""), "s");
    watched.attached();
}

#[test]
fn a_server_that_talks_nonsense_is_left_and_tried_again() {
    let _guard = side_by_side();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut peer, _) = listener.accept().unwrap();
            let mut hello = [0; 64];
            let nonsense: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
            if peer.read(&mut hello).is_ok() && peer.write_all(&nonsense).is_err() {
                println!("the source hung up first");
            }
        }
    });
    let sources = sources(impatient());
    let watched = Watched::add(&sources, &format!("rtmp://127.0.0.1:{port}/live/s"));
    for _ in 0..2 {
        let (reason, kind, text) = watched.reconnecting();
        println!("{reason:?} {kind:?} {text}");
        assert_ne!(reason, Reason::NoVideo);
    }
    server.join().unwrap();
}

/// Sources whose `rtmp` is a file: no server is needed. The queue has the demuxer take what comes, as from a server: what it
/// fetches by itself, the guard of FLV would read out of order.
fn of_a_file() -> (Sources, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let launch = "# a file in the place of a server
        filesrc name=src ! queue ! flvdemux name=demux";
    std::fs::write(folder.path().join("rtmp.launch"), launch).unwrap();
    (sources(Config { pipelines: Some(folder.path().to_owned()), ..impatient() }), folder)
}

#[test]
fn what_is_no_stream_or_cannot_be_inspected_says_so() {
    let _guard = side_by_side();
    let (sources, folder) = of_a_file();
    let noise = folder.path().join("noise.flv");
    std::fs::write(&noise, vec![0x5a; 50_000]).unwrap();
    let watched = Watched::add(&sources, noise.to_str().unwrap());
    let (reason, kind, text) = watched.reconnecting();
    assert_eq!((reason, kind), (Reason::Error, Some("garbage")), "{text}");

    let old = ffmpeg("-f lavfi -i testsrc2=size=320x180 -t 1 -c:v flv1", &folder.path().join("old.flv"));
    let watched = Watched::add(&sources, old.to_str().unwrap());
    let codec = watched.wait("a codec", |event| match event {
        SourceEvent::UnsupportedCodec(codec) => Some(codec),
        SourceEvent::Unit(_) => panic!("{event:?}"),
        _ => None,
    });
    assert_eq!(codec, "video/x-flash-video");
    assert_eq!(watched.reconnecting().1, Some("unsupported_codec"));

    let absent = folder.path().join("absent.flv");
    let watched = Watched::add(&sources, absent.to_str().unwrap());
    assert_eq!(watched.reconnecting().1, Some("refused"));
}

#[test]
fn video_that_flv_was_not_made_for_is_named() {
    let _guard = side_by_side();
    let folder = tempfile::tempdir().unwrap();
    // The queue has the demuxer take what comes, as from a server.
    std::fs::write(folder.path().join("rtmp.launch"), "filesrc name=src ! queue ! flvdemux name=demux").unwrap();
    let sources = sources(Config { pipelines: Some(folder.path().to_owned()), ..impatient() });
    let sound = ffmpeg("-f lavfi -i sine -t 1 -c:a aac", &folder.path().join("sound.flv"));
    // Sound, and behind it a tag of video as encoders write it: kind, size, no time, itself, and the size of the whole.
    let sound = std::fs::read(sound).unwrap();
    for (body, name) in [
        (&b"\x90hvc1\x01\0\0\0"[..], "H.265 in enhanced FLV"),
        (b"\x90av01\x81\0\0\0", "AV1 in enhanced FLV"),
        (b"\x1c\0\0\0\0\x01\0\0\0", "FLV codec 12"),
    ] {
        let tag = [&[9, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0][..], body, &[0, 0, 0, 20]].concat();
        let path = folder.path().join("new.flv");
        std::fs::write(&path, [&sound[..], &tag, &tag].concat()).unwrap();
        let watched = Watched::add(&sources, path.to_str().unwrap());
        let codec = watched.wait("a codec", |event| match event {
            SourceEvent::UnsupportedCodec(codec) => Some(codec),
            SourceEvent::Unit(_) => panic!("{event:?}"),
            _ => None,
        });
        assert_eq!(codec, name);
    }
}

#[test]
fn keyframes_of_an_open_group_of_pictures_stand_alone_too() {
    let _guard = side_by_side();
    let (sources, folder) = of_a_file();
    for (options, keyframes) in [("open-gop=1:bframes=3", 3..=4), ("intra-refresh=1:bframes=0", 1..=1)] {
        let clip = ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size=320x180:rate=30 -t 3 -pix_fmt yuv420p -c:v libx264 -x264-params \
                 keyint=30:scenecut=0:{options}"
            ),
            &folder.path().join("clip.flv"),
        );
        let watched = Watched::add(&sources, clip.to_str().unwrap());
        let units: Vec<AccessUnit> = (0..88).map(|_| watched.unit()).collect();
        let found: Vec<u64> = units.iter().filter(|unit| unit.keyframe).map(|unit| unit.sequence).collect();
        assert!(keyframes.contains(&found.len()), "{options}: {found:?}");
        let mut decoder = sluicegate::decode::Decoder::new(&sluicegate::decode::Config::default()).unwrap();
        for unit in units.iter().filter(|unit| unit.keyframe) {
            // A fresh decoder knows no parameter sets: the unit must bring its own.
            decoder.decode(std::slice::from_ref(unit), &[unit.sequence], &mut drop).unwrap();
            decoder = sluicegate::decode::Decoder::new(&sluicegate::decode::Config::default()).unwrap();
        }
    }
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect()
}

#[test]
fn attaching_again_and_again_leaves_nothing_behind() {
    let _guard = THREADS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = threads().len();
    let config =
        Config { reconnect_min: Duration::from_millis(1), reconnect_max: Duration::from_millis(1), ..impatient() };
    let sources = sources(config);
    let watched = Watched::add(&sources, &format!("rtmp://127.0.0.1:{}/live/s", rig::free_port().unwrap()));
    for _ in 0..40 {
        watched.reconnecting();
    }
    // GLib keeps a few idle threads for reuse; forty pipelines that were never stopped would be eighty.
    until("stopped pipelines are gone", Duration::from_secs(5), || threads().len() < before + 12);
}

#[test]
fn a_shutdown_leaves_no_thread_and_waits_for_nobody() {
    let _guard = THREADS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let nginx = Nginx::start();
    let _publisher = nginx.publish(&nginx.clip("clip.flv", ""), "s");
    // A server that takes connections and never says a word.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mute_url = format!("rtmp://127.0.0.1:{}/live/s", mute.local_addr().unwrap().port());

    println!("before: {:?}", threads());
    let before = threads().len();
    let sources = sources(Config::default());
    let mut watched: Vec<Watched> = (0..8).map(|_| Watched::add(&sources, &nginx.url("s"))).collect();
    watched.iter().for_each(Watched::attached);
    println!("8 sources: {:?}", threads());
    let running = threads().len() - before;
    assert!(running <= 8 * 2 + 1, "{running} threads for 8 sources");
    watched.extend((0..8).map(|_| Watched::add(&sources, &mute_url)));

    let clock = Clock::system();
    let start = clock.now();
    watched.truncate(4);
    assert!(
        clock.now().since(start) < Duration::from_millis(200),
        "dropping handles took {:?}",
        clock.now().since(start)
    );
    drop(sources);
    assert!(clock.now().since(start) < Duration::from_secs(2), "the shutdown took {:?}", clock.now().since(start));
    println!("after {:?}: {:?}", clock.now().since(start), threads());
    for source in &watched {
        source.events.try_iter().for_each(drop);
        assert!(source.events.recv_timeout(Duration::from_millis(200)).is_err(), "an event after the shutdown");
    }
    until("all threads end", Duration::from_secs(20), || threads().len() <= before);
}
