//! No blind spot: sources, samplers and decoders against real servers and whatever publishers do to their video.
//!
//! A [`Watch`] is all of the line that stands between a server and a picture. The time between pictures is told by when their
//! units arrived, so a slow machine changes nothing.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::bounded;
use rig::process::{Output, Process};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decode::{self, Continuous, Decoder};
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::picture::Picture;
use sluicegate::sample::{self, Course, Pool, Sampler};
use sluicegate::source::{self, SourceEvent, SourceHandle, Sources};
use sluicegate::stream::{Attention, StreamId};
use support::ffmpeg;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);
const MAX_GAP: Duration = Duration::from_secs(2);

/// What came of one stream so far.
#[derive(Debug, Default)]
struct Seen {
    /// When each unit arrived, and whether it was a keyframe.
    units: Vec<(Timestamp, bool)>,
    /// When the unit of each inspected picture arrived, and the picture's width.
    pictures: Vec<(Timestamp, usize)>,
    attached: usize,
    said_no_video: bool,
    /// What its video was said to be in that cannot be inspected.
    unsupported: Vec<String>,
    most_promoted: usize,
}

/// A source, its sampler, and decoders for what that chooses.
struct Watch {
    seen: Arc<Mutex<Seen>>,
    pool: Arc<Pool>,
    _source: SourceHandle,
}

impl Watch {
    fn of(sources: &Sources, protocol: Protocol, url: &str) -> Self {
        let (seen, pool) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Pool::new(1)));
        let (work, to_do) = bounded::<sample::Work>(1000);
        let config = sample::Config { max_gap: MAX_GAP, ..sample::Config::default() };
        let mut sampler = Sampler::new(&config, rand::random::<f64>, &pool);
        let (noted, counted) = (Arc::clone(&seen), Arc::clone(&pool));
        let on_event = move |event| match event {
            SourceEvent::Unit(unit) => {
                {
                    let mut seen = noted.lock().unwrap();
                    seen.units.push((unit.arrived, unit.keyframe));
                    seen.most_promoted = seen.most_promoted.max(counted.promoted());
                }
                if let Some(chosen) = sampler.offer(unit, Attention::Calm) {
                    work.try_send(chosen).unwrap();
                }
            }
            SourceEvent::Attached => {
                noted.lock().unwrap().attached += 1;
                sampler.reset();
            }
            SourceEvent::NoVideo => noted.lock().unwrap().said_no_video = true,
            SourceEvent::UnsupportedCodec(codec) => noted.lock().unwrap().unsupported.push(codec),
            _ => {}
        };
        let pull = Pull { stream: StreamId::new("test", "live", "cam"), protocol, url: url.to_owned() };
        let source = sources.add(pull, Box::new(on_event)).unwrap();
        let noting = Arc::clone(&seen);
        std::thread::spawn(move || {
            let config = decode::Config { timeout: PATIENCE, ..decode::Config::default() };
            let (mut shared, mut own) = (Decoder::new(&config).unwrap(), Continuous::new(&config));
            for work in to_do {
                let mut look =
                    |picture: Picture| noting.lock().unwrap().pictures.push((picture.arrived, picture.luma.width));
                let decoded = match work.course {
                    Course::Alone | Course::Aside => shared.decode(&work.units, &work.inspect, &mut look),
                    Course::Begun => {
                        own = Continuous::new(&config);
                        own.decode(&work.units, &work.inspect, &mut look)
                    }
                    Course::Continued => own.decode(&work.units, &work.inspect, &mut look),
                };
                if let Err(error) = decoded {
                    println!("{:?} of {} units: {error}", work.course, work.units.len());
                }
            }
        });
        Self { seen, pool, _source: source }
    }

    fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let told = || done(&self.seen.lock().unwrap()).then_some(());
        rig::until(what, PATIENCE, told).unwrap_or_else(|error| panic_with(&self.seen.lock().unwrap(), &error));
    }

    /// Waits until `seconds` of video have arrived, and what was chosen of them was inspected.
    fn until_watched(&self, seconds: u64) {
        let span = Duration::from_secs(seconds);
        self.until("enough video", |seen| {
            let Some((first, last)) = seen.units.first().zip(seen.units.last()) else { return false };
            seen.pictures.last().is_some_and(|(picture, _)| picture.since(first.0) >= span && last.0 >= *picture)
        });
    }

    /// No two inspected pictures are further apart than the gap and one frame; nor is the first from the first unit.
    fn assert_no_gap(&self, story: &str) {
        let seen = self.seen.lock().unwrap();
        let frame = seen.units.windows(2).map(|pair| pair[1].0.since(pair[0].0)).max().unwrap();
        let mut pictures: Vec<Timestamp> = seen.pictures.iter().map(|picture| picture.0).collect();
        pictures.sort_unstable();
        let last = seen.units[0].0;
        let gaps = std::iter::once(last).chain(pictures.iter().copied()).zip(&pictures);
        let widest = gaps.map(|(before, after)| after.since(before)).max().unwrap();
        println!("{story}: {} pictures of {} units, widest gap {widest:?}", pictures.len(), seen.units.len());
        // A keyframe that is expected just then may be late by a sixteenth.
        assert!(widest <= MAX_GAP + MAX_GAP / 16 + frame, "{story}: {widest:?} and frames up to {frame:?} apart");
    }
}

#[expect(clippy::panic, reason = "it fails the test")]
fn panic_with(seen: &Seen, error: &anyhow::Error) {
    let start = seen.units.first().map_or(Timestamp::ZERO, |unit| unit.0);
    println!("pictures at {:?}", seen.pictures.iter().map(|(at, width)| (at.since(start), width)).collect::<Vec<_>>());
    let (units, pictures) = (seen.units.len(), seen.pictures.len());
    panic!("{error}: {units} units, {pictures} pictures, attached {} times", seen.attached);
}

fn sources() -> Sources {
    let config = source::Config { reconnect_max: Duration::from_secs(1), ..source::Config::default() };
    Sources::new(config, Clock::system()).unwrap()
}

/// Something that moves, with sound, encoded as said.
fn clip(folder: &TempDir, name: &str, x264: &str, more: &str) -> PathBuf {
    ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine -t 30 -pix_fmt yuv420p -c:v libx264 -preset veryfast \
             -threads 1 -x264-params scenecut=0:{x264} -c:a aac {more}"
        ),
        &folder.path().join(name),
    )
}

fn publish(clip: &Path, url: &str) -> Process {
    let input = format!("-v error -nostdin -re -i {} -c copy -f flv {url}", clip.display());
    let args: Vec<String> = input.split_whitespace().map(str::to_owned).collect();
    Process::start(Path::new("ffmpeg"), &args, &clip.with_extension("log"), Output::Logged).unwrap()
}

/// An nginx-rtmp that lets viewers join between two keyframes.
fn nginx(folder: &TempDir, port: u16) -> Process {
    let root = folder.path().display();
    let configuration = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
         daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
         events {{ worker_connections 256; }}
         rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; wait_key off; wait_video off; }} }} }}"
    );
    std::fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
    let args = ["-p", &root.to_string(), "-c", "nginx.conf"].map(str::to_owned);
    let nginx =
        Process::start(Path::new("/usr/sbin/nginx"), &args, &folder.path().join("log"), Output::Logged).unwrap();
    let up = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
    rig::until("nginx listens", PATIENCE, up).unwrap();
    nginx
}

/// What encoders make that have few keyframes, or none that the name fits.
const RARE: [(&str, &str); 3] = [
    ("a group of a minute", "keyint=1800:min-keyint=1800:bframes=2"),
    ("long open groups", "keyint=150:min-keyint=150:open-gop=1:bframes=3"),
    ("intra refresh without IDR", "keyint=45:intra-refresh=1:bframes=0"),
];

#[test]
fn the_gap_is_held_however_rare_keyframes_are_joined_at_the_start_or_between_two() {
    let folder = TempDir::new().unwrap();
    let port = rig::free_port().unwrap();
    let _nginx = nginx(&folder, port);
    let sources = sources();
    let mut watched = Vec::new();
    for (number, (story, x264)) in RARE.into_iter().enumerate() {
        let url = format!("rtmp://127.0.0.1:{port}/live/{number}");
        let publisher = publish(&clip(&folder, &format!("{number}.flv"), x264, ""), &url);
        let early = Watch::of(&sources, Protocol::Rtmp, &url);
        watched.push((story, url, publisher, early));
    }
    // Whoever joins after a second is between two keyframes.
    let join = |(story, url, _, early): &(_, String, _, Watch)| {
        early.until("a second of it", |seen| seen.units.len() > 30);
        (*story, Watch::of(&sources, Protocol::Rtmp, url))
    };
    let joined: Vec<(&str, Watch)> = watched.iter().map(join).collect();
    for ((_, _, _, early), (story, late)) in watched.iter().zip(&joined) {
        late.until_watched(9);
        assert!(!late.seen.lock().unwrap().units[0].1, "{story}: it joined at a keyframe");
        early.until_watched(10);
        for (watch, joined) in [(early, "from its start"), (late, "joined late")] {
            watch.assert_no_gap(&format!("{story}, {joined}"));
            assert_eq!(watch.pool.promoted(), 1, "{story}, {joined}");
        }
    }
}

#[test]
fn over_http_flv_the_gap_is_held_too() {
    let folder = TempDir::new().unwrap();
    let [rtmp, http] = [rig::free_port().unwrap(), rig::free_port().unwrap()];
    let conf = format!(
        r#"{{"bind": "127.0.0.1", "rtmp": {{"port": {rtmp}}}, "http": {{"port": {http}}}, "auth": {{"play": false, "publish": false}}}}"#
    );
    let file = folder.path().join("config.json");
    std::fs::write(&file, conf).unwrap();
    let app = rig::asset("node/node_modules/node-media-server/bin/app.js").unwrap();
    let kept = folder.path().join("data");
    let args = [app.as_path(), Path::new("--config"), &file, Path::new("--data-path"), &kept];
    let args = args.map(|arg| arg.display().to_string());
    let _server = Process::start(Path::new("node"), &args, &folder.path().join("node.log"), Output::Logged).unwrap();
    let up = || TcpStream::connect((Ipv4Addr::LOCALHOST, http)).ok();
    rig::until("node-media-server listens", PATIENCE, up).unwrap();
    let (story, x264) = RARE[0];
    let publisher = publish(&clip(&folder, "long.flv", x264, ""), &format!("rtmp://127.0.0.1:{rtmp}/live/cam"));
    let sources = sources();
    let watch = Watch::of(&sources, Protocol::HttpFlv, &format!("http://127.0.0.1:{http}/live/cam.flv"));
    watch.until_watched(8);
    watch.assert_no_gap(story);
    assert_eq!(watch.pool.promoted(), 1);
    drop(publisher);
}

#[test]
fn a_stream_is_promoted_when_keyframes_become_rare_and_demoted_when_they_come_often_again() {
    let folder = TempDir::new().unwrap();
    let port = rig::free_port().unwrap();
    let _nginx = nginx(&folder, port);
    let sources = sources();
    let url = format!("rtmp://127.0.0.1:{port}/live/s");
    let turning =
        clip(&folder, "turning.flv", "keyint=1800:bframes=2", "-force_key_frames 1,2,10,11,12,13,14,15,16,17,18");
    let _publisher = publish(&turning, &url);
    let watch = Watch::of(&sources, Protocol::Rtmp, &url);
    watch.until("promotion", |seen| seen.most_promoted == 1);
    rig::until("demotion", PATIENCE, || (watch.pool.promoted() == 0).then_some(())).unwrap();
    let units = watch.seen.lock().unwrap().units.len();
    watch.until("two more seconds", |seen| seen.units.len() >= units + 60);
    assert_eq!(watch.pool.promoted(), 0);
    watch.assert_no_gap("rare keyframes, then many");
}

#[test]
fn video_that_begins_eight_seconds_after_the_sound_is_seen() {
    let folder = TempDir::new().unwrap();
    let port = rig::free_port().unwrap();
    let _nginx = nginx(&folder, port);
    let sources = sources();
    let url = format!("rtmp://127.0.0.1:{port}/live/s");
    let late = ffmpeg(
        "-f lavfi -i sine -itsoffset 8 -f lavfi -i testsrc2=size=320x180:rate=30 -t 30 -pix_fmt yuv420p -c:v libx264 \
         -preset veryfast -g 30 -c:a aac",
        &folder.path().join("late.flv"),
    );
    let _publisher = publish(&late, &url);
    let watch = Watch::of(&sources, Protocol::Rtmp, &url);
    watch.until_watched(3);
    watch.assert_no_gap("video after eight seconds");
    assert!(watch.seen.lock().unwrap().said_no_video, "it said nothing of the silence before");
}

#[test]
fn a_server_that_is_killed_is_found_again_when_it_is_back() {
    let folder = TempDir::new().unwrap();
    let port = rig::free_port().unwrap();
    let server = nginx(&folder, port);
    let sources = sources();
    let url = format!("rtmp://127.0.0.1:{port}/live/s");
    let clip = clip(&folder, "clip.flv", "keyint=300:bframes=2", "");
    let publisher = publish(&clip, &url);
    let watch = Watch::of(&sources, Protocol::Rtmp, &url);
    watch.until_watched(5);
    assert_eq!(watch.pool.promoted(), 1);
    server.signal("KILL").unwrap();
    drop((server, publisher));
    let _server = nginx(&folder, port);
    let _publisher = publish(&clip, &url);
    watch.until("another attachment", |seen| seen.attached >= 2);
    let before = watch.seen.lock().unwrap().pictures.len();
    watch.until("pictures of it", |seen| seen.pictures.len() >= before + 3);
}

/// The tags of an FLV file: type, time in milliseconds, and the rest of the tag.
fn tags(path: &Path) -> Vec<(u8, u32, Vec<u8>)> {
    let file = std::fs::read(path).unwrap();
    let (mut tags, mut rest) = (Vec::new(), &file[13..]);
    while rest.len() > 11 {
        let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let millis = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        tags.push((rest[0], millis, rest[11..11 + size].to_vec()));
        rest = &rest[11 + size + 4..];
    }
    tags
}

/// `tags` as a file, each clip's times moved to where those of the one before it end.
fn joined(clips: &[Vec<(u8, u32, Vec<u8>)>], to: &Path) -> PathBuf {
    let (mut flv, mut end) = (b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec(), 0);
    for clip in clips {
        let start = end;
        for (kind, millis, data) in clip.iter().filter(|(kind, ..)| *kind == 9) {
            end = end.max(start + millis + 40);
            flv.extend(tag(*kind, start + millis, data));
        }
    }
    std::fs::write(to, flv).unwrap();
    to.to_owned()
}

fn tag(kind: u8, millis: u32, data: &[u8]) -> Vec<u8> {
    let [high, a, b, c] = millis.to_be_bytes();
    let [_, s1, s2, s3] = (data.len() as u32).to_be_bytes();
    let mut tag = vec![kind, s1, s2, s3, a, b, c, high, 0, 0, 0];
    tag.extend(data);
    tag.extend((tag.len() as u32).to_be_bytes());
    tag
}

/// Serves clips over HTTP-FLV in real time, each with its times moved by so many milliseconds: what no publisher's own tools
/// would send, and nothing but tools keeps anybody from.
fn serve(clips: Vec<(PathBuf, i64)>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let Ok((mut viewer, _)) = listener.accept() else { return };
        let mut request = [0; 1024];
        let asked = viewer.read(&mut request).unwrap_or(0);
        assert!(asked > 0);
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\nFLV\x01\x01\0\0\0\x09\0\0\0\0";
        let mut sent = viewer.write_all(head);
        for (clip, moved) in &clips {
            let (clock, mut last) = (Clock::system(), 0);
            let start = clock.now();
            for (kind, millis, data) in tags(clip).into_iter().filter(|(kind, ..)| *kind == 9) {
                let due = start + Duration::from_millis(millis.into());
                last = last.max(millis);
                std::thread::park_timeout(due.since(clock.now()));
                let moved = (i64::from(millis) + moved).max(0) as u32;
                sent = sent.and_then(|()| viewer.write_all(&tag(kind, moved, &data)));
            }
        }
        // Held open: what follows is silence, not an end.
        std::thread::park_timeout(PATIENCE);
        drop(viewer);
    });
    port
}

#[test]
fn neither_times_that_jump_nor_another_size_or_rate_hide_anything() {
    let folder = TempDir::new().unwrap();
    let make = |name: &str, size: &str, rate: u32, keyint: u32| {
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size={size}:rate={rate} -t 5 -pix_fmt yuv420p -c:v libx264 -preset veryfast -threads 1 \
                 -x264-params scenecut=0:keyint={keyint}:min-keyint={keyint}:bframes=2"
            ),
            &folder.path().join(name),
        )
    };
    let (small, large, slow) = (
        make("small.flv", "320x180", 30, 300),
        make("large.flv", "640x360", 30, 30),
        make("slow.flv", "320x180", 15, 300),
    );
    let sources = sources();
    for (story, clips) in [
        ("an hour on", vec![(small.clone(), 0), (small.clone(), 3_600_000), (small.clone(), 3_605_000)]),
        ("back to the beginning", vec![(small.clone(), 100_000), (small.clone(), 0), (small.clone(), 0)]),
        ("another size and rate", vec![(small.clone(), 0), (large, 5000), (slow, 10_000)]),
    ] {
        let sizes = if story == "another size and rate" { vec![320, 640] } else { vec![320] };
        let port = serve(clips);
        let watch = Watch::of(&sources, Protocol::HttpFlv, &format!("http://127.0.0.1:{port}/live/cam.flv"));
        watch.until_watched(11);
        watch.assert_no_gap(story);
        let seen = watch.seen.lock().unwrap();
        assert_eq!(seen.attached, 1, "{story}");
        for size in sizes {
            let of = seen.pictures.iter().filter(|(_, width)| *width == size).count();
            assert!(of >= 3, "{story}: {of} pictures {size} wide");
        }
    }
}

/// H.264 as encoders that know "enhanced" FLV say that H.265 is in it.
fn enhanced(mut tags: Vec<(u8, u32, Vec<u8>)>) -> Vec<(u8, u32, Vec<u8>)> {
    for (_, _, data) in &mut tags {
        let &[first, packet, ..] = data.as_slice() else { continue };
        data[0] = 0x80 | first & 0x70 | packet;
        data.splice(1..2, *b"hvc1");
    }
    tags
}

#[test]
fn a_publisher_may_change_codec_size_and_rate_and_is_seen_within_the_gap_as_long_as_it_can_be() {
    let folder = TempDir::new().unwrap();
    let port = rig::free_port().unwrap();
    let _nginx = nginx(&folder, port);
    let make = |name: &str, size: &str, rate: u32, codec: &str| {
        let picture = format!("-f lavfi -i testsrc2=size={size}:rate={rate} -t 6 -pix_fmt yuv420p");
        tags(&ffmpeg(&format!("{picture} {codec}"), &folder.path().join(name)))
    };
    let x264 = "-c:v libx264 -preset veryfast -threads 1 -g 300 -bf 2 -x264-params scenecut=0";
    let (small, large, slow) = (
        make("small.flv", "320x180", 30, x264),
        make("large.flv", "640x360", 50, x264),
        make("slow.flv", "480x270", 12, x264),
    );
    let last = make("last.flv", "256x144", 30, &format!("{x264} -t 20"));
    let sorenson = make("sorenson.flv", "320x180", 15, "-c:v flv1");
    let sources = sources();
    for (number, (story, odd, says)) in [
        ("H.265 in enhanced FLV", enhanced(small.clone()), "H.265 in enhanced FLV"),
        ("Sorenson's H.263", sorenson, "FLV codec 2"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("rtmp://127.0.0.1:{port}/live/{number}");
        let clip = joined(
            &[small.clone(), large.clone(), slow.clone(), odd, last.clone()],
            &folder.path().join(format!("{number}.flv")),
        );
        let script = rig::repository().join("tests/support/flv_publisher.py");
        let args = [script.display().to_string(), clip.display().to_string(), url.clone()];
        let log = clip.with_extension("log");
        let mut publisher = Process::start(Path::new("/usr/bin/python3"), &args, &log, Output::Logged).unwrap();
        let watch = Watch::of(&sources, Protocol::Rtmp, &url);
        let width = |seen: &Seen, wide: usize| seen.pictures.iter().filter(|(_, width)| *width == wide).count();

        watch.until("the third size", |seen| width(seen, 480) >= 3);
        watch.assert_no_gap(&format!("{story} is to come"));
        assert!(width(&watch.seen.lock().unwrap(), 640) >= 3, "{story}");
        watch.until("what cannot be inspected is named", |seen| seen.unsupported.iter().any(|codec| codec == says));
        watch.until("what can be inspected again", |seen| width(seen, 256) >= 3);
        assert!(publisher.is_running(), "{story}: one connection all the time: {}", publisher.log());
        let seen = watch.seen.lock().unwrap();
        let first = seen.pictures.iter().find(|(_, width)| *width == 256).unwrap().0;
        let since = seen.units.iter().rev().map(|(at, _)| *at).filter(|at| *at <= first);
        // Where units came closer together than a second, they are of the same attachment.
        let begun = since.fold(first, |begun, at| if begun.since(at) < Duration::from_secs(1) { at } else { begun });
        println!("{story}: seen again {:?} after it came, {:?}", first.since(begun), seen.unsupported);
        assert!(first.since(begun) <= MAX_GAP + MAX_GAP / 16 + Duration::from_millis(100), "{story}");
    }
}
