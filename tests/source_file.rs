//! Sources that are local files: what containers hold in each codec, at the pace of its timestamps, to its end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use sluicegate::clock::Clock;
use sluicegate::decode::{self, Decoder};
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::source::{Config, Reason, SourceEvent, SourceHandle, Sources};
use sluicegate::stream::{AccessUnit, Codec, StreamId};
use support::ffmpeg;

const PATIENCE: Duration = Duration::from_secs(30);

fn sources() -> Sources {
    Sources::new(Config::default(), Clock::system()).unwrap()
}

fn play(sources: &Sources, address: &str) -> (SourceHandle, Receiver<SourceEvent>) {
    let (sender, events) = bounded(10_000);
    let pull = Pull { stream: StreamId::new("test", "", "s"), protocol: Protocol::File, url: address.to_owned() };
    (sources.add(pull, Box::new(move |event| drop(sender.try_send(event)))).unwrap(), events)
}

fn address(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// All units of a file up to its end.
fn units_of(sources: &Sources, path: &Path) -> Vec<AccessUnit> {
    let (_handle, events) = play(sources, &address(path));
    let mut units = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            SourceEvent::Attached => assert!(units.is_empty(), "attached once"),
            SourceEvent::Unit(unit) => units.push(unit),
            SourceEvent::Finished => return units,
            other => panic!("{}: after {} units: {other:?}", path.display(), units.len()),
        }
    }
}

const X264: &str = "libx264 -preset ultrafast -bf 2 -x264-params keyint=15:scenecut=0";
const X265: &str = "libx265 -preset ultrafast -x265-params keyint=15:min-keyint=15:bframes=3:log-level=none:open-gop";
const VP9: &str = "libvpx-vp9 -deadline realtime -cpu-used 8 -g 15 -lag-in-frames 8 -auto-alt-ref 1";
const AV1: &str = "libaom-av1 -usage realtime -cpu-used 8 -g 15";

#[test]
fn every_codec_comes_out_of_every_container_that_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources();
    for (name, codec, encoder) in [
        ("a.mp4", Codec::H264, X264),
        ("a.mkv", Codec::H264, X264),
        ("a.ts", Codec::H264, X264),
        ("a.flv", Codec::H264, X264),
        ("closed.mp4", Codec::H265, &format!("{X265}=0")),
        ("open.mp4", Codec::H265, &format!("{X265}=1")),
        ("open.mkv", Codec::H265, &format!("{X265}=1")),
        ("open.ts", Codec::H265, &format!("{X265}=1")),
        ("a.webm", Codec::Vp9, VP9),
        ("vp9.mp4", Codec::Vp9, VP9),
        ("av1.mkv", Codec::Av1, AV1),
        ("av1.mp4", Codec::Av1, AV1),
    ] {
        let sound = if name.ends_with("webm") { "libopus" } else { "aac" };
        let path = ffmpeg(
            &format!(
                "-f lavfi -i sine -f lavfi -i testsrc2=size=320x180:rate=30 -t 1.5 -pix_fmt yuv420p -c:v {encoder} \
                 -c:a {sound} -ar 48000"
            ),
            &folder.path().join(name),
        );
        let units = units_of(&sources, &path);
        // A transport stream's last picture is known to be whole only by what follows, which may not come.
        assert!((44..=45).contains(&units.len()), "{name}: {}", units.len());
        assert!(units.iter().all(|unit| unit.codec == codec && unit.pts.is_some()), "{name}");
        assert!(units.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence), "{name}");
        // At the pace of their timestamps, as a server would send them.
        let took = units.last().unwrap().arrived.since(units[0].arrived);
        assert!(took >= Duration::from_millis(1200), "{name}: {took:?}");

        let keyframes: Vec<&AccessUnit> = units.iter().filter(|unit| unit.keyframe).collect();
        assert_eq!(keyframes.len(), 3, "{name}");
        assert!(units[0].keyframe, "{name}");
        for keyframe in keyframes {
            // A fresh decoder knows no parameter sets: the unit must bring its own.
            let mut decoder = Decoder::new(&decode::Config::default()).unwrap();
            decoder.decode(std::slice::from_ref(keyframe), &[keyframe.sequence], &mut drop).unwrap();
        }
    }
}

#[test]
fn a_size_that_changes_in_the_middle_is_only_another_keyframe() {
    let folder = tempfile::tempdir().unwrap();
    let part = |size: &str, name: &str| {
        let clip = format!("-f lavfi -i testsrc2=size={size}:rate=30 -t 1 -pix_fmt yuv420p -c:v {X264} -muxdelay 0");
        std::fs::read(ffmpeg(&clip, &folder.path().join(name))).unwrap()
    };
    let whole = [part("320x180", "a.ts"), part("640x360", "b.ts")].concat();
    let path = folder.path().join("whole.ts");
    std::fs::write(&path, whole).unwrap();
    let units = units_of(&sources(), &path);
    let mut decoder = Decoder::new(&decode::Config::default()).unwrap();
    let mut widths = Vec::new();
    for unit in units.iter().filter(|unit| unit.keyframe) {
        let mut each = |picture: sluicegate::picture::Picture| widths.push(picture.luma.width);
        decoder.decode(std::slice::from_ref(unit), &[unit.sequence], &mut each).unwrap();
    }
    assert_eq!(widths, [320, 320, 640, 640]);
}

#[test]
fn a_file_is_played_again_only_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let clip = format!("-f lavfi -i testsrc2=size=320x180:rate=30 -t 0.5 -pix_fmt yuv420p -c:v {X264}");
    let path = ffmpeg(&clip, &folder.path().join("a name with spaces & more.mp4"));
    let sources = sources();
    assert_eq!(units_of(&sources, &path).len(), 15);
    let (_handle, events) = play(&sources, &format!("{}#loop", address(&path).replace(' ', "%20")));
    let mut units = 0;
    let mut ends = 0;
    while units <= 30 {
        match events.recv_timeout(PATIENCE).unwrap() {
            SourceEvent::Unit(_) => units += 1,
            SourceEvent::Reconnecting { reason: Reason::Ended, .. } => ends += 1,
            SourceEvent::Attached => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends, 2);
}

#[test]
fn what_is_no_video_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sound = ffmpeg("-f lavfi -i sine -t 1 -c:a aac", &path("sound.mp4"));
    let old = ffmpeg("-f lavfi -i testsrc2=size=320x180 -t 1 -c:v mpeg4", &path("old.mp4"));
    std::fs::write(path("list.m3u8"), "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n").unwrap();
    std::fs::write(path("words.mp4"), "just some words, not a film at all\n").unwrap();
    std::fs::write(path("empty.mp4"), "").unwrap();
    let sources = sources();
    for (path, expected, kind) in [
        (sound, Reason::NoVideo, None),
        (old, Reason::Error, Some("unsupported_codec")),
        (path("list.m3u8"), Reason::Error, Some("garbage")),
        (path("words.mp4"), Reason::Error, Some("garbage")),
        (path("empty.mp4"), Reason::Error, Some("garbage")),
        (path("absent.mp4"), Reason::Error, Some("refused")),
        (folder.path().to_owned(), Reason::Error, Some("unreachable")),
    ] {
        let (_handle, events) = play(&sources, &address(&path));
        loop {
            match events.recv_timeout(PATIENCE).unwrap() {
                SourceEvent::Reconnecting { reason, error, .. } => {
                    assert_eq!(
                        (reason, error.as_ref().map(sluicegate::source::SourceError::kind)),
                        (expected, kind),
                        "{error:?}"
                    );
                    break;
                }
                SourceEvent::NoVideo | SourceEvent::UnsupportedCodec(_) => {}
                other => panic!("{}: {other:?}", path.display()),
            }
        }
    }
}
