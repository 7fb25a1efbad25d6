//! HLS sources against real servers: joined at the newest segment, one late, at the pace of life, and over when it is over.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

#[cfg(test)]
#[path = "source_hls/scripted.rs"]
mod scripted;
#[cfg(test)]
mod support;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use rig::nginx::Nginx;
use rig::process::{Output, Process};
use rig::publisher::{Publisher, Times};
use scripted::{Answer, Scripted};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::sample::{self, Pool, Sampler};
use sluicegate::source::{Config, Reason, SourceEvent, SourceHandle, Sources};
use sluicegate::stream::{AccessUnit, Attention, Codec, StreamId};
use support::ffmpeg;

const PATIENCE: Duration = Duration::from_secs(40);

/// A source under test: its events, in order.
struct Watched {
    _handle: SourceHandle,
    events: Receiver<SourceEvent>,
}

impl Watched {
    fn add(sources: &Sources, url: String) -> Self {
        let (sender, events) = bounded(100_000);
        let pull = Pull { stream: StreamId::new("test", "live", "secret-key"), protocol: Protocol::Hls, url };
        let handle = sources.add(pull, Box::new(move |event| drop(sender.try_send(event)))).unwrap();
        Self { _handle: handle, events }
    }

    fn next(&self, what: &str) -> SourceEvent {
        self.events.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// The next event that `wanted` takes; those before it are passed over.
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(SourceEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next(what)) {
                return found;
            }
        }
    }

    fn attached(&self) {
        self.wait("attached", |event| matches!(event, SourceEvent::Attached).then_some(()));
    }

    /// The next units, with nothing else between them.
    fn units(&self, count: usize) -> Vec<AccessUnit> {
        let unit = |_| match self.next("a unit") {
            SourceEvent::Unit(unit) => unit,
            other => panic!("a unit: {other:?}"),
        };
        (0..count).map(unit).collect()
    }

    /// Why it is attached again, the kind of error and what that says.
    fn reconnecting(&self) -> (Reason, Option<&'static str>, String) {
        self.wait("reconnecting", |event| match event {
            SourceEvent::Reconnecting { reason, error, .. } => {
                let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
                assert!(!text.contains("secret-key") && !text.contains("http"), "{text}");
                Some((reason, error.map(|error| error.kind()), text))
            }
            _ => None,
        })
    }
}

fn sources() -> Sources {
    let config = Config { reconnect_max: Duration::from_secs(1), ..Config::default() };
    Sources::new(config, Clock::system()).unwrap()
}

/// Runs ffmpeg on its own until dropped, or until its input ends.
fn start_ffmpeg(args: &str, folder: &Path) -> Process {
    let args: Vec<String> = format!("-v error -nostdin {args}").split_whitespace().map(str::to_owned).collect();
    Process::start(Path::new("ffmpeg"), &args, &folder.join("ffmpeg.log"), Output::Logged).unwrap()
}

/// A generated picture of `lines` lines, in real time, a keyframe a second.
fn live(lines: u32, more: &str) -> String {
    format!(
        "-re -f lavfi -i testsrc2=size={}x{lines}:rate=15 {more} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 15 \
         -keyint_min 15 -sc_threshold 0",
        lines * 16 / 9
    )
}

/// Waits until the playlist `name` in the server's folder lists `count` segments.
fn wait_for_segments(nginx: &Nginx, name: &str, count: usize) {
    let listed = || std::fs::read_to_string(nginx.files().join(name)).unwrap_or_default().matches("#EXTINF").count();
    rig::until("segments", PATIENCE, || (listed() >= count).then_some(())).unwrap();
}

/// The segments that were asked for, in order.
fn fetched(nginx: &Nginx) -> Vec<String> {
    let segment = |line: &String| !line.contains(".m3u8") && line.starts_with("20");
    nginx.requests().into_iter().filter(segment).collect()
}

fn assert_once(requests: &[String]) {
    let distinct: HashSet<&String> = requests.iter().collect();
    assert_eq!(distinct.len(), requests.len(), "a segment was fetched twice: {requests:?}");
}

/// The longest time between two arrivals of `units`.
fn longest_gap(units: &[AccessUnit]) -> Duration {
    units.windows(2).map(|pair| pair[1].arrived.since(pair[0].arrived)).max().unwrap()
}

/// Milliseconds from each time to the next.
fn apart_in(times: &[Timestamp]) -> Vec<u128> {
    times.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect()
}

#[test]
fn a_live_stream_is_joined_at_its_newest_segment_and_its_end_and_return_are_noticed() {
    let nginx = Nginx::start(None).unwrap();
    let clip = ffmpeg(
        "-f lavfi -i testsrc2=size=320x180:rate=15 -f lavfi -i sine -t 20 -pix_fmt yuv420p -c:v libx264 -preset ultrafast \
         -g 15 -keyint_min 15 -sc_threshold 0 -c:a aac",
        &nginx.files().join("clip.flv"),
    );
    let publish = || Publisher::start(&clip, &format!("{}/live/secret-key", nginx.rtmp()), Times::Forever).unwrap();
    let url = format!("{}/hls/secret-key.m3u8", nginx.http());
    let playlist = || ureq::get(&url).call().ok()?.body_mut().read_to_string().ok();
    let listed = || playlist().map_or(0, |text| text.matches("#EXTINF").count());
    let publisher = publish();
    rig::until("five segments", PATIENCE, || (listed() >= 5).then_some(())).unwrap();

    let sources = sources();
    let before = playlist().unwrap();
    let clock = Clock::system();
    let started = clock.now();
    let watched = Watched::add(&sources, url.clone());
    assert!(matches!(watched.next("attached"), SourceEvent::Attached));
    println!("fragments of 1 s: the first picture comes {:?} after attaching", clock.now().since(started));
    let units = watched.units(15 * 8);
    assert!(units[0].keyframe, "a segment begins with a keyframe");
    assert_eq!(units.iter().map(|unit| unit.sequence).collect::<Vec<_>>(), (0..15 * 8).collect::<Vec<_>>());
    assert_eq!(units.iter().filter(|unit| unit.keyframe).count(), 8);
    assert!(units.iter().all(|unit| unit.pts.is_some()));
    let requests = fetched(&nginx);
    let newest = before.lines().rfind(|line| !line.starts_with('#')).unwrap();
    let late =
        before.lines().filter(|line| !line.starts_with('#')).any(|name| name != newest && requests[0].contains(name));
    assert!(!late, "joined at {}, and the newest was {newest}", requests[0]);
    assert_once(&requests);

    // The clip's fragments last a second; nginx says so, or two.
    drop(publisher);
    let cut = clock.now();
    let (reason, kind, text) = watched.reconnecting();
    assert_eq!((reason, kind), (Reason::Stalled, None), "{text}");
    let noticed = clock.now().since(cut);
    println!("fragments of 1 s: an end is noticed {:.1} s after the publisher is gone", noticed.as_secs_f64());
    assert!(noticed < Duration::from_secs(15), "{noticed:?}");

    // What is still listed is not looked at again; what comes next is.
    let quiet = watched.wait("again", |event| match event {
        SourceEvent::Unit(_) | SourceEvent::Attached => Some(false),
        SourceEvent::Reconnecting { .. } => Some(true),
        _ => None,
    });
    assert!(quiet, "an old segment came again");
    assert_once(&fetched(&nginx));
    let _publisher = publish();
    watched.attached();
    assert!(watched.units(1)[0].sequence >= 15 * 8);
}

#[test]
fn a_long_segment_arrives_over_the_time_that_it_lasts() {
    let nginx = Nginx::start(None).unwrap();
    let files = nginx.files();
    let folder = files.display();
    let args = format!("{} -f hls -hls_time 4 -hls_list_size 4 {folder}/cam.m3u8", live(180, ""));
    let _encoder = start_ffmpeg(&args, &files);
    wait_for_segments(&nginx, "cam.m3u8", 1);
    let sources = sources();
    let watched = Watched::add(&sources, format!("{}/files/cam.m3u8", nginx.http()));
    watched.attached();
    let units = watched.units(15 * 11);
    // One segment of four seconds after the other: never longer without a picture than it takes to see the next one.
    assert!(longest_gap(&units) < Duration::from_secs(4), "{:?}", longest_gap(&units));
    let keyframes: Vec<Timestamp> = units.iter().filter(|unit| unit.keyframe).map(|unit| unit.arrived).collect();
    let apart = apart_in(&keyframes);
    let spread = apart.iter().filter(|apart| **apart > 300).count();
    assert!(spread * 3 > apart.len() * 2, "keyframes a second apart arrived so many milliseconds apart: {apart:?}");
    // So the sampler, which goes by arrival, finds a picture in every two seconds of the stream, not one in each segment.
    let mut sampler = Sampler::new(&sample::Config::default(), || 0.5, &Arc::new(Pool::new(0)));
    let work = units.iter().filter_map(|unit| sampler.offer(unit.clone(), Attention::Calm));
    let looked_at: Vec<Duration> = work.filter_map(|work| work.units.last()?.pts).collect();
    let apart = looked_at.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap();
    println!(
        "segments of 4 s: {} of 11 s looked at, {apart:?} apart at most; keyframes came {:?} ms apart",
        looked_at.len(),
        apart_in(&keyframes)
    );
    assert!(apart <= Duration::from_secs(3), "{looked_at:?}");
    let last = units.last().unwrap();
    assert!(last.arrived.since(units[0].arrived) > Duration::from_secs(6));
    assert!(last.pts.unwrap().saturating_sub(units[0].pts.unwrap()) > Duration::from_secs(10));
}

#[test]
fn of_several_renditions_in_fragments_the_cheapest_that_shows_enough_is_looked_at() {
    let nginx = Nginx::start(None).unwrap();
    let files = nginx.files();
    let folder = files.display();
    let args = format!(
        "{} -filter_complex [0:v]split=3[a][b][c];[a]scale=320:180[x];[b]scale=640:360[y];[c]scale=854:480[z] \
         -map [x] -map [y] -map [z] -b:v:0 200k -b:v:1 400k -b:v:2 800k -f hls -hls_time 1 -hls_list_size 5 \
         -hls_segment_type fmp4 -master_pl_name master.m3u8 -hls_segment_filename {folder}/v%v-%d.m4s \
         -hls_fmp4_init_filename v%v-init.mp4 -var_stream_map v:0,name:low|v:1,name:mid|v:2,name:high {folder}/v%v.m3u8",
        live(180, "")
    );
    // ffmpeg wants spaces between the renditions, inside one argument.
    let args: Vec<String> =
        format!("-v error -nostdin {args}").split_whitespace().map(|arg| arg.replace('|', " ")).collect();
    let _encoder = Process::start(Path::new("ffmpeg"), &args, &files.join("ffmpeg.log"), Output::Logged).unwrap();
    wait_for_segments(&nginx, "vmid.m3u8", 2);
    rig::until("the master playlist", PATIENCE, || files.join("master.m3u8").exists().then_some(())).unwrap();

    let sources = sources();
    let watched = Watched::add(&sources, format!("{}/files/master.m3u8", nginx.http()));
    watched.attached();
    let units = watched.units(15 * 6);
    assert_eq!(units.iter().filter(|unit| unit.keyframe).count(), 6);
    assert!(units.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
    let requests = fetched(&nginx);
    assert!(requests.iter().all(|request| request.contains("/vmid-")), "{requests:?}");
    assert_once(&requests);

    // The rendition fails, and another one is looked at, the one that is next in price first.
    std::fs::rename(files.join("vmid.m3u8"), files.join("gone.m3u8")).unwrap();
    std::fs::create_dir(files.join("vmid.m3u8")).unwrap();
    watched.reconnecting();
    watched.attached();
    watched.units(15);
    let requests = fetched(&nginx);
    assert!(requests.last().unwrap().contains("/vhigh-"), "{requests:?}");
}

#[test]
fn ranges_of_one_growing_file_are_segments_too() {
    for (kind, more) in [("ts", ""), ("m4s", "-hls_segment_type fmp4")] {
        let nginx = Nginx::start(None).unwrap();
        let files = nginx.files();
        let folder = files.display();
        let args = format!(
            "{} {more} -f hls -hls_time 1 -hls_list_size 5 -hls_flags single_file {folder}/cam.m3u8",
            live(180, "-f lavfi -i sine")
        );
        let _encoder = start_ffmpeg(&args, &files);
        wait_for_segments(&nginx, "cam.m3u8", 2);
        let sources = sources();
        let watched = Watched::add(&sources, format!("{}/files/cam.m3u8", nginx.http()));
        watched.attached();
        let units = watched.units(15 * 5);
        assert!(units[0].keyframe, "{kind}");
        assert_eq!(units.iter().filter(|unit| unit.keyframe).count(), 5, "{kind}");
        let requests = fetched(&nginx);
        assert!(requests.iter().all(|request| request.starts_with("206 ")), "{kind}: {requests:?}");
    }
}

#[test]
fn every_picture_before_and_after_a_discontinuity_is_seen() {
    let nginx = Nginx::start(None).unwrap();
    let files = nginx.files();
    // Two segments of fifteen pictures each, of several sizes, some in another codec, the last ones in another container.
    let x264 = "libx264 -preset ultrafast -g 15";
    let x265 = "libx265 -preset ultrafast -x265-params keyint=15:min-keyint=15:scenecut=0:bframes=0:log-level=none";
    let of =
        [("a", 180, x264, ""), ("b", 270, x264, ""), ("c", 180, x265, ""), ("d", 144, x264, "-hls_segment_type fmp4")];
    for (name, lines, codec, more) in of {
        let folder = files.display();
        let picture = format!("-f lavfi -i testsrc2=size={}x{lines}:rate=15 -t 2 -pix_fmt yuv420p", lines * 16 / 9);
        let hls = format!("-f hls -hls_time 1 -hls_list_size 0 -hls_fmp4_init_filename {name}-init");
        let segments = format!("-hls_segment_filename {folder}/{name}%d");
        let args = format!("{picture} -c:v {codec} {hls} {more} {segments}");
        ffmpeg(&args, &files.join(format!("{name}.m3u8")));
    }
    let write = |segments: &str| {
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n";
        let lines = segments.replace('!', "#EXT-X-DISCONTINUITY\n").replace('|', "\n#EXTINF:1,\n");
        std::fs::write(files.join("next.m3u8"), format!("{head}{lines}\n")).unwrap();
        std::fs::rename(files.join("next.m3u8"), files.join("cam.m3u8")).unwrap();
    };
    write("|a0");
    let sources = sources();
    let watched = Watched::add(&sources, format!("{}/files/cam.m3u8", nginx.http()));
    watched.attached();
    write("|a0|a1\n!|b0|b1\n!|c0|c1\n!#EXT-X-MAP:URI=\"d-init\"|d0|d1\n#EXT-X-ENDLIST");
    // Other timestamps, another codec or container: said as another attachment, and its first unit stands alone.
    let (mut pictures, mut codecs) = (vec![0], HashSet::new());
    let reason = watched.wait("the end", |event| match event {
        SourceEvent::Unit(unit) => {
            let count = pictures.last_mut().unwrap();
            assert!(*count > 0 || unit.keyframe);
            *count += 1;
            codecs.insert(unit.codec);
            None
        }
        SourceEvent::Attached => {
            pictures.push(0);
            None
        }
        SourceEvent::Reconnecting { reason, .. } => Some(reason),
        other => panic!("{other:?}"),
    });
    assert_eq!((reason, pictures), (Reason::Ended, vec![30, 30, 30, 30]));
    assert_eq!(codecs, HashSet::from([Codec::H264, Codec::H265]));
}

#[test]
fn a_server_that_goes_and_comes_back_is_noticed_both_times() {
    let mut nginx = Nginx::start(None).unwrap();
    let files = nginx.files();
    let folder = files.display();
    let _encoder =
        start_ffmpeg(&format!("{} -f hls -hls_time 1 -hls_list_size 5 {folder}/cam.m3u8", live(180, "")), &files);
    wait_for_segments(&nginx, "cam.m3u8", 2);
    let sources = sources();
    let watched = Watched::add(&sources, format!("{}/files/cam.m3u8", nginx.http()));
    watched.attached();
    nginx.process().signal("STOP").unwrap();
    let (reason, kind, text) = watched.reconnecting();
    assert_eq!((reason, kind), (Reason::Error, Some("unreachable")), "{text}");
    nginx.restart().unwrap();
    watched.attached();
    watched.units(30);
    assert_once(&fetched(&nginx));
    std::fs::remove_file(files.join("cam.m3u8")).unwrap();
}

#[test]
fn an_end_is_an_end_and_its_last_picture_is_seen() {
    let nginx = Nginx::start(None).unwrap();
    let files = nginx.files();
    let folder = files.display();
    let args = format!("{} -t 6 -f hls -hls_time 1 -hls_list_size 4 {folder}/cam.m3u8", live(180, ""));
    let _encoder = start_ffmpeg(&args, &files);
    wait_for_segments(&nginx, "cam.m3u8", 1);
    let sources = sources();
    let watched = Watched::add(&sources, format!("{}/files/cam.m3u8", nginx.http()));
    watched.attached();
    let mut units = 0;
    let reason = watched.wait("the end", |event| match event {
        SourceEvent::Unit(_) => {
            units += 1;
            None
        }
        SourceEvent::Reconnecting { reason, .. } => Some(reason),
        other => panic!("{other:?}"),
    });
    assert_eq!(reason, Reason::Ended);
    assert_eq!(units % 15, 0, "whole segments of fifteen pictures");
    // It stays ended, for whoever asks again.
    assert_eq!(watched.reconnecting().0, Reason::Ended);
}

/// A fragment of boxes in boxes, which GStreamer 1.22 reads by recursion, until its stack is spent.
fn bottomless() -> Vec<u8> {
    const DEPTH: u32 = 400_000;
    let header =
        |level: u32| [(8 * (DEPTH - level)).to_be_bytes(), *if level == 0 { b"moov" } else { b"trak" }].concat();
    (0..DEPTH).flat_map(header).collect()
}

#[test]
fn whatever_a_server_answers_it_is_named_and_got_over() {
    let playlist = |lines: &str| Answer::ok(format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{lines}\n"));
    let segment = "#EXTINF:1,\n/segment";
    let sources = sources();
    for (story, answers, reason, kind, says) in [
        ("there is no such stream", vec![("/secret-key", Answer::status(404))], Reason::Error, "refused", "404"),
        ("the server fails", vec![("/secret-key", Answer::status(500))], Reason::Error, "refused", "500"),
        ("a web page", vec![("/secret-key", Answer::ok("<html>"))], Reason::Error, "garbage", "none"),
        ("a playlist without end", vec![("/secret-key", Answer::Endless)], Reason::Error, "garbage", "larger"),
        ("a huge playlist", vec![("/secret-key", Answer::Announced(1 << 30))], Reason::Error, "garbage", "larger"),
        (
            "a huge segment",
            vec![("/secret-key", playlist(segment)), ("/segment", Answer::Announced(1 << 30))],
            Reason::Stalled,
            "",
            "",
        ),
        (
            "a segment of nothing",
            vec![("/secret-key", playlist(segment)), ("/segment", Answer::ok(""))],
            Reason::Error,
            "garbage",
            "unknown",
        ),
        (
            "a page for a segment",
            vec![("/secret-key", playlist(segment)), ("/segment", Answer::ok("<html>"))],
            Reason::Error,
            "garbage",
            "unknown",
        ),
        (
            "boxes within boxes without end",
            vec![("/secret-key", playlist(segment)), ("/segment", Answer::ok(bottomless()))],
            Reason::Error,
            "garbage",
            "without end",
        ),
        (
            "sound",
            vec![("/secret-key", playlist(segment)), ("/segment", Answer::ok("ID3 and so on"))],
            Reason::NoVideo,
            "",
            "",
        ),
        (
            "encrypted",
            vec![("/secret-key", playlist(&format!("#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n{segment}")))],
            Reason::Error,
            "unsupported_codec",
            "encrypted",
        ),
        (
            "a file of ours for a segment",
            vec![("/secret-key", playlist("#EXTINF:1,\nfile:///etc/hostname"))],
            Reason::Stalled,
            "",
            "",
        ),
        (
            "a redirect to a file of ours",
            vec![("/secret-key", Answer::redirect("file:///etc/hostname"))],
            Reason::Error,
            "refused",
            "302",
        ),
        (
            "a redirect to a metadata service",
            vec![("/secret-key", Answer::redirect("http://169.254.169.254/"))],
            Reason::Error,
            "unreachable",
            "no playlist may name",
        ),
        (
            "a redirect to itself",
            vec![("/secret-key", Answer::redirect("/secret-key"))],
            Reason::Error,
            "unreachable",
            "again and again",
        ),
        (
            "a master playlist of itself",
            vec![("/secret-key", Answer::ok("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/secret-key"))],
            Reason::Error,
            "garbage",
            "names renditions",
        ),
        ("no answer", vec![("/secret-key", Answer::Silence)], Reason::Error, "unreachable", "too long"),
    ] {
        let server = Scripted::start(answers);
        let watched = Watched::add(&sources, server.url("/secret-key"));
        let (told, error, text) = watched.reconnecting();
        assert_eq!((told, error.unwrap_or_default()), (reason, kind), "{story}: {text}");
        assert!(text.contains(says), "{story}: {text}");
    }
}
