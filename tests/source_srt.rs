//! Sources against a real SRT server (GStreamer's `srtsink`, on loopback): units arrive, and whatever happens to the server
//! is told, and got over.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;
#[cfg(test)]
#[path = "support/watched.rs"]
mod watched;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::process::{Output, Process};
use sluicegate::clock::Clock;
use sluicegate::decode::{self, Decoder};
use sluicegate::media_server::Protocol;
use sluicegate::source::{Reason, SourceEvent, Sources};
use sluicegate::stream::Codec;
use support::ffmpeg;
use watched::{Watched, sources};

const X264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 30 -sc_threshold 0 -c:a aac";
const X265: &str =
    "-c:v libx265 -preset ultrafast -x265-params keyint=30:min-keyint=30:open-gop=1:bframes=3:log-level=none -c:a aac";

fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn clip(folder: &Path, name: &str, encoding: &str) -> PathBuf {
    let input = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine -t 30 -pix_fmt yuv420p";
    ffmpeg(&format!("{input} {encoding}"), &folder.join(name))
}

/// Plays `clip` to whoever calls; `more` goes into its address.
fn serve(clip: &Path, port: u16, more: &str) -> Process {
    let launch = format!(
        "-q filesrc location={} ! tsparse set-timestamps=true ! srtsink \
         uri=srt://127.0.0.1:{port}?mode=listener{more} wait-for-connection=false",
        clip.display()
    );
    let arguments: Vec<String> = launch.split_whitespace().map(str::to_owned).collect();
    Process::start(Path::new("gst-launch-1.0"), &arguments, &clip.with_extension("log"), Output::Logged).unwrap()
}

fn watch(sources: &Sources, port: u16, more: &str) -> Watched {
    Watched::add(sources, Protocol::Srt, &format!("srt://127.0.0.1:{port}{more}"))
}

#[test]
fn units_arrive_in_both_codecs_also_when_joined_between_keyframes() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources();
    for (name, codec, encoding) in [("a.ts", Codec::H264, X264), ("b.ts", Codec::H265, X265)] {
        let port = free_port();
        let _server = serve(&clip(folder.path(), name, encoding), port, "");
        let first = watch(&sources, port, "?streamid=%23%21%3A%3Ar%3Dlive%2Fcam%2Cm%3Drequest&latency=80");
        first.attached();
        first.units(40);
        let second = watch(&sources, port, "");
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
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), "a.ts", X264);
    let sources = sources();
    let port = free_port();
    let server = serve(&clip, port, "");
    let watched = watch(&sources, port, "");
    watched.attached();
    watched.units(30);
    server.signal("STOP").unwrap();
    assert_eq!(watched.reconnecting().0, Reason::Stalled);
    server.signal("CONT").unwrap();
    watched.attached();
    watched.units(30);
    drop(server);
    println!("killed: {:?}", watched.reconnecting());
    let _server = serve(&clip, port, "");
    watched.attached();
    watched.units(30);
}

#[test]
fn a_passphrase_goes_into_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), "a.ts", X264);
    let sources = sources();
    let port = free_port();
    let _server = serve(&clip, port, "&passphrase=a-long-secret&pbkeylen=16");
    let (reason, _, text) = watch(&sources, port, "?passphrase=another-secret").reconnecting();
    println!("{reason:?} {text}");
    assert!(!text.contains("secret"), "{text}");
    let watched = watch(&sources, port, "?passphrase=a-long-secret");
    watched.attached();
    watched.units(30);
}

#[test]
fn sound_alone_and_silence_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources();
    let port = free_port();
    let _server = serve(&clip(folder.path(), "a.ts", "-vn -c:a aac"), port, "");
    watch(&sources, port, "").wait("no video", |event| match event {
        SourceEvent::NoVideo => Some(()),
        SourceEvent::Attached | SourceEvent::Unit(_) => panic!("{event:?}"),
        _ => None,
    });
    // A port where somebody listens and never answers.
    let mute = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let watched = watch(&sources, mute.local_addr().unwrap().port(), "");
    let (reason, _, text) = watched.reconnecting();
    println!("{reason:?} {text}");
    assert!(matches!(reason, Reason::Stalled | Reason::Error), "{reason:?}");
}

#[test]
fn a_call_that_is_not_answered_holds_up_no_other_source() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), "a.ts", X264);
    let (port, mute) = (free_port(), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let sources = sources();
    let silent = mute.local_addr().unwrap().port();
    let waiting: Vec<Watched> = (0..8).map(|_| watch(&sources, silent, "")).collect();
    let _server = serve(&clip, port, "");
    let clock = Clock::system();
    let start = clock.now();
    let watched = watch(&sources, port, "");
    watched.attached();
    println!("attached within {:?}", clock.now().since(start));
    watched.units(30);
    let start = clock.now();
    drop(waiting);
    drop(sources);
    assert!(clock.now().since(start) < Duration::from_secs(4), "the shutdown took {:?}", clock.now().since(start));
}
