//! Sources against a real RTSP server (gst-rtsp-server): units arrive in every codec that RTP carries, and whatever happens
//! to the server is told, and got over.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;
#[cfg(test)]
#[path = "support/watched.rs"]
mod watched;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::process::{Output, Process};
use sluicegate::clock::Clock;
use sluicegate::decode::{self, Decoder};
use sluicegate::media_server::Protocol;
use sluicegate::source::{Reason, SourceEvent};
use sluicegate::stream::Codec;
use support::ffmpeg;
use watched::{Watched, sources};

/// A server that plays files, each under its name; all clients of one see the same moment of it.
struct Server {
    process: Process,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// Each clip: its name, ffmpeg's words for what to encode, and the elements from a queue to the payloaders.
    fn start(clips: &[(&str, &str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, mut places) = (rig::free_port().unwrap(), Vec::new());
        for (name, encoding, payload) in clips {
            let input = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine -t 30 -pix_fmt yuv420p -c:a aac";
            let path = ffmpeg(&format!("{input} {encoding}"), &folder.path().join(format!("{name}.mkv")));
            let launch = format!("( filesrc location={} ! matroskademux name=d {payload} )", path.display());
            places.extend([format!("/{name}"), launch]);
        }
        let process = Self::run(port, &places, &folder.path().join("log"));
        std::fs::write(folder.path().join("places"), places.join("\n")).unwrap();
        Self { process, port, folder }
    }

    fn run(port: u16, places: &[String], log: &Path) -> Process {
        let script: PathBuf = rig::repository().join("tests/support/rtsp_server.py");
        let arguments: Vec<String> =
            [script.display().to_string(), port.to_string()].into_iter().chain(places.iter().cloned()).collect();
        // The distribution's own Python has the bindings.
        let process = Process::start(Path::new("/usr/bin/python3"), &arguments, log, Output::Logged).unwrap();
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
        rig::until("the server listens", Duration::from_secs(30), listens).unwrap();
        process
    }

    /// Ends it without a word to anybody, and starts it anew.
    fn crash_and_return(&mut self) {
        self.process.signal("KILL").unwrap();
        self.process.wait(Duration::from_secs(10)).unwrap();
        let places = std::fs::read_to_string(self.folder.path().join("places")).unwrap();
        let places: Vec<String> = places.lines().map(str::to_owned).collect();
        self.process = Self::run(self.port, &places, &self.folder.path().join("log"));
    }

    fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }
}

const H264: (&str, &str, &str) = (
    "h264",
    "-c:v libx264 -preset ultrafast -bf 2 -g 30 -sc_threshold 0",
    "d. ! queue ! h264parse ! rtph264pay name=pay0 d. ! queue ! aacparse ! rtpmp4apay name=pay1",
);
const H265: (&str, &str, &str) = (
    "h265",
    "-c:v libx265 -preset ultrafast -x265-params keyint=30:min-keyint=30:open-gop=1:bframes=3:log-level=none",
    "d. ! queue ! h265parse ! rtph265pay name=pay0",
);
const VP9: (&str, &str, &str) =
    ("vp9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30", "d. ! queue ! vp9parse ! rtpvp9pay name=pay0");
const SOUND_ALONE: (&str, &str, &str) = ("sound", "-vn", "d. ! queue ! aacparse ! rtpmp4apay name=pay0");
const SOUND_FIRST: (&str, &str, &str) = (
    "sound-first",
    "-c:v libx264 -preset ultrafast -g 30 -sc_threshold 0",
    "d. ! queue ! aacparse ! rtpmp4apay name=pay0 d. ! queue ! h264parse ! rtph264pay name=pay1",
);

#[test]
fn units_arrive_in_every_codec_also_when_joined_between_keyframes() {
    let server = Server::start(&[H264, H265, VP9, SOUND_FIRST]);
    let sources = sources();
    for (name, codec) in
        [("h264", Codec::H264), ("h265", Codec::H265), ("vp9", Codec::Vp9), ("sound-first", Codec::H264)]
    {
        let first = Watched::add(&sources, Protocol::Rtsp, &server.url(name));
        first.attached();
        first.units(40);
        // In the middle of a group of pictures.
        let second = Watched::add(&sources, Protocol::Rtsp, &server.url(name));
        second.attached();
        for (watched, story) in [(first, "from the start"), (second, "joined later")] {
            let units = watched.units(75);
            assert!(units.iter().all(|unit| unit.codec == codec && unit.pts.is_some()), "{name} {story}");
            let keyframes: Vec<_> = units.iter().filter(|unit| unit.keyframe).collect();
            assert!((2..=3).contains(&keyframes.len()), "{name} {story}: {}", keyframes.len());
            for keyframe in keyframes {
                let mut decoder = Decoder::new(&decode::Config::default()).unwrap();
                decoder.decode(std::slice::from_ref(keyframe), &[keyframe.sequence], &mut drop).unwrap();
            }
        }
    }
}

#[test]
fn a_server_that_freezes_dies_or_comes_back_is_noticed() {
    let mut server = Server::start(&[H264]);
    let sources = sources();
    let watched = Watched::add(&sources, Protocol::Rtsp, &server.url("h264"));
    watched.attached();
    watched.units(30);
    server.process.signal("STOP").unwrap();
    assert_eq!(watched.reconnecting().0, Reason::Stalled);
    server.process.signal("CONT").unwrap();
    watched.attached();
    watched.units(30);
    server.crash_and_return();
    let (reason, kind, text) = watched.reconnecting();
    assert!(reason == Reason::Ended || kind == Some("unreachable"), "{reason:?} {text}");
    assert!(!text.contains("secret-key"), "{text}");
    watched.attached();
    watched.units(30);
}

#[test]
fn what_a_server_has_not_or_cannot_give_says_so() {
    let server = Server::start(&[SOUND_ALONE]);
    let sources = sources();
    let watched = Watched::add(&sources, Protocol::Rtsp, &server.url("sound"));
    watched.wait("no video", |event| match event {
        SourceEvent::NoVideo => Some(()),
        SourceEvent::Attached | SourceEvent::Unit(_) => panic!("{event:?}"),
        _ => None,
    });
    let watched = Watched::add(&sources, Protocol::Rtsp, &server.url("absent"));
    let (reason, kind, text) = watched.reconnecting();
    assert_eq!((reason, kind), (Reason::Error, Some("refused")), "{text}");
    let nobody = format!("rtsp://127.0.0.1:{}/x", rig::free_port().unwrap());
    let watched = Watched::add(&sources, Protocol::Rtsp, &nobody);
    let (reason, kind, text) = watched.reconnecting();
    assert_eq!((reason, kind), (Reason::Error, Some("unreachable")), "{text}");
}

#[test]
fn a_shutdown_waits_for_no_server() {
    let server = Server::start(&[H264]);
    // One that takes connections and never says a word.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mute_url = format!("rtsp://127.0.0.1:{}/x", mute.local_addr().unwrap().port());
    let sources = sources();
    let attached: Vec<Watched> = (0..4).map(|_| Watched::add(&sources, Protocol::Rtsp, &server.url("h264"))).collect();
    attached.iter().for_each(Watched::attached);
    let _waiting: Vec<Watched> = (0..4).map(|_| Watched::add(&sources, Protocol::Rtsp, &mute_url)).collect();
    server.process.signal("STOP").unwrap();
    let clock = Clock::system();
    let start = clock.now();
    drop(attached);
    drop(sources);
    assert!(clock.now().since(start) < Duration::from_secs(4), "the shutdown took {:?}", clock.now().since(start));
    server.process.signal("CONT").unwrap();
}
