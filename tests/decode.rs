//! The decoder, seen from outside: every stream's units in, the right pictures out, whatever strangers send.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decode::file::Video;
use sluicegate::decode::{self, Config, DecodeError, Decoder};
use sluicegate::picture::{ColourRange, Picture, Plane};
use sluicegate::stream::{AccessUnit, Codec};
use support::ffmpeg;

/// The access units of an H.264 test clip of `size`, `seconds` long, with a keyframe every second and B-frames;
/// `more` are further arguments of ffmpeg.
fn units(size: &str, seconds: u32, more: &str) -> Vec<AccessUnit> {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size={size}:rate=30 -t {seconds} -pix_fmt yuv420p -c:v libx264 -preset veryfast \
             -x264-params keyint=30:min-keyint=30:scenecut=0:bframes=2:aud=1:repeat-headers=1:threads=1 {more}"
        ),
        &folder.path().join("clip.h264"),
    );
    let data = Bytes::from(std::fs::read(clip).unwrap());
    let delimiter = [0, 0, 0, 1, 9];
    let mut starts: Vec<usize> =
        (0..data.len()).filter(|&at| data.get(at..at + delimiter.len()) == Some(&delimiter[..])).collect();
    starts.push(data.len());
    let unit = |(sequence, window): (usize, &[usize])| {
        let data = data.slice(window[0]..window[1]);
        AccessUnit {
            sequence: sequence as u64,
            codec: Codec::H264,
            keyframe: data.windows(4).any(|nal| nal[..3] == [0, 0, 1] && nal[3] & 31 == 5),
            pts: None,
            arrived: Timestamp::from_millis(sequence as u64 * 33),
            data,
        }
    };
    starts.windows(2).enumerate().map(unit).collect()
}

fn decoder() -> Decoder {
    Decoder::new(&Config::default()).unwrap()
}

/// All pictures of a run at once.
fn pictures_of(decoder: &mut Decoder, units: &[AccessUnit], inspect: &[u64]) -> Result<Vec<Picture>, DecodeError> {
    let mut pictures = Vec::new();
    decoder.decode(units, inspect, &mut |picture| pictures.push(picture)).map(|()| pictures)
}

fn size(picture: &Picture) -> (usize, usize) {
    (picture.luma.width, picture.luma.height)
}

fn mean(picture: &Picture) -> f64 {
    let sum: u64 = picture.luma.rows().flatten().map(|&value| u64::from(value)).sum();
    sum as f64 / (picture.luma.width * picture.luma.height) as f64
}

fn with_data(unit: &AccessUnit, data: Vec<u8>) -> AccessUnit {
    AccessUnit { data: Bytes::from(data), ..unit.clone() }
}

#[test]
fn nothing_is_missing_on_this_machine() {
    assert_eq!(decode::check().unwrap(), Vec::new());
}

#[test]
fn keyframes_of_two_streams_in_turn_all_come_out_at_once() {
    let large = units("1920x1080", 12, "");
    let small = units("1280x720", 12, "");
    let keyframes = |units: &[AccessUnit]| units.iter().filter(|unit| unit.keyframe).cloned().collect::<Vec<_>>();
    let (large, small) = (keyframes(&large), keyframes(&small));
    assert_eq!((large.len(), small.len()), (12, 12));

    let mut decoder = decoder();
    let clock = Clock::system();
    let mut spent = Vec::new();
    for (large, small) in large.iter().zip(&small) {
        for (unit, expected) in [(large, (1920, 1080)), (small, (1280, 720))] {
            let start = clock.now();
            let pictures = pictures_of(&mut decoder, std::slice::from_ref(unit), &[unit.sequence]).unwrap();
            spent.push((expected, clock.now().since(start)));
            assert_eq!(pictures.len(), 1);
            assert_eq!(size(&pictures[0]), expected);
            assert_eq!((pictures[0].sequence, pictures[0].arrived), (unit.sequence, unit.arrived));
            assert_eq!(pictures[0].range, ColourRange::Limited);
            let rows: Vec<_> = pictures[0].luma.rows().collect();
            assert_eq!(rows.len(), expected.1);
            let [cb, cr] = pictures[0].chroma.as_ref().unwrap();
            assert_eq!((cb.width, cb.rows().count()), (expected.0 / 2, expected.1 / 2));
            assert_eq!((cr.width, cr.rows().count()), (expected.0 / 2, expected.1 / 2));
        }
    }
    spent.sort();
    println!("720p median {:?}, 1080p median {:?}", spent[6].1, spent[18].1);
}

#[test]
fn a_look_back_run_gives_each_picture_its_own_access_unit() {
    // The picture grows lighter with time, so brightness tells which frame a picture is.
    let clip = units("320x180", 2, "-vf geq=lum=X*0+16+3*N:cb=128:cr=128");
    let inspect: Vec<u64> = (0..60).step_by(7).collect();
    let pictures = pictures_of(&mut decoder(), &clip, &inspect).unwrap();
    assert_eq!(pictures.len(), inspect.len());
    // In order of presentation the brightness only rises, although the units were not in that order.
    let brightness: Vec<f64> = pictures.iter().map(mean).collect();
    assert!(brightness.is_sorted(), "{brightness:?}");
    // And a unit decoded alone as far as possible agrees with the same unit in the run.
    for (at, picture) in pictures.iter().enumerate() {
        let alone = pictures_of(&mut decoder(), &clip[..=picture.sequence as usize], &[picture.sequence]).unwrap();
        assert!((mean(&alone[0]) - brightness[at]).abs() < 0.01, "unit {}", picture.sequence);
    }
}

#[test]
fn what_nobody_refers_to_is_left_out_and_the_rest_is_bit_for_bit_the_same() {
    for (x264, lone) in [("bframes=3", 16), ("bframes=3:b-pyramid=0", 16), ("bframes=3:tff=1", 16), ("bframes=0", 7)] {
        let more = format!("-x264-params keyint=30:min-keyint=30:scenecut=0:aud=1:repeat-headers=1:threads=1:{x264}");
        let clip = units("320x180", 2, &more);
        // Where each is asked for, each is decoded.
        let all: Vec<u64> = (0..clip.len() as u64).collect();
        let truth = pictures_of(&mut decoder(), &clip, &all).unwrap();
        assert_eq!(truth.len(), 60, "{x264}");
        let mut decoder = decoder();
        let asked = [vec![lone], vec![29], vec![59], vec![3, 4, 5], (0..60).step_by(7).collect(), vec![2, 41, 58]];
        for asked in asked {
            let pictures = pictures_of(&mut decoder, &clip, &asked).unwrap();
            assert_eq!(pictures.len(), asked.len(), "{x264}: {asked:?}");
            let expected = truth.iter().filter(|picture| asked.contains(&picture.sequence));
            for (picture, expected) in pictures.iter().zip(expected) {
                assert_eq!(picture.sequence, expected.sequence, "{x264}: {asked:?}");
                assert!(samples(picture) == samples(expected), "{x264}: {} of {asked:?}", picture.sequence);
            }
        }
    }
}

/// Every sample of a picture.
fn samples(picture: &Picture) -> Vec<u8> {
    let chroma = picture.chroma.iter().flatten().flat_map(Plane::rows);
    picture.luma.rows().chain(chroma).flatten().copied().collect()
}

#[test]
fn a_long_look_back_is_never_in_memory_as_a_whole() {
    // 12 s of 1080p: decoded and kept, more than a gigabyte.
    let clip = units("1920x1080", 12, "");
    let inspect: Vec<u64> = (0..clip.len() as u64).collect();
    let before = memory();
    let (mut seen, mut most) = (0, 0);
    let mut look = |_picture: Picture| {
        seen += 1;
        most = most.max(memory());
    };
    decoder().decode(&clip, &inspect, &mut look).unwrap();
    assert_eq!(seen, clip.len());
    assert!(most.saturating_sub(before) < 500 << 20, "{} MiB more", (most - before) >> 20);
}

/// Bytes of memory that this process holds.
fn memory() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn nothing_of_one_stream_shows_in_the_next() {
    let white = units("320x180", 1, "-vf geq=lum=235:cb=128:cr=128");
    let black = units("320x180", 1, "-vf geq=lum=16:cb=128:cr=128");
    let mut decoder = decoder();
    assert_eq!(pictures_of(&mut decoder, &white, &[29]).unwrap().len(), 1);
    // The second stream's units without their keyframe: whatever comes out, it is not the first stream's white.
    let inspect: Vec<u64> = (1..30).collect();
    if let Ok(pictures) = pictures_of(&mut decoder, &black[1..], &inspect) {
        for picture in pictures {
            assert!(mean(&picture) < 200.0, "unit {} shows another stream", picture.sequence);
        }
    }
}

#[test]
fn damaged_units_never_stop_the_decoder() {
    let clip = units("640x360", 1, "");
    let good = &clip[0];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut damaged: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0; 4096],
        (0..4096).map(|_| next() as u8).collect(),
        good.data[..good.data.len() / 2].to_vec(),
        good.data[..40].to_vec(),
    ];
    for _ in 0..60 {
        let mut bytes = good.data.to_vec();
        for _ in 0..20 {
            let at = next() as usize % bytes.len();
            bytes[at] ^= 1 << (next() % 8);
        }
        damaged.push(bytes);
    }
    let mut decoder = decoder();
    for bytes in damaged {
        match pictures_of(&mut decoder, &[with_data(good, bytes)], &[0]) {
            Ok(pictures) => assert_eq!(pictures.len(), 1),
            Err(error) => assert_eq!((error.kind(), error.is_retryable()), ("undecodable", true), "{error}"),
        }
        let pictures = pictures_of(&mut decoder, std::slice::from_ref(good), &[0]).unwrap();
        assert_eq!(size(&pictures[0]), (640, 360));
    }
}

#[test]
fn too_large_a_picture_is_refused_and_the_next_stream_decodes() {
    let config = Config { max_pixels: 640 * 360, ..Config::default() };
    let mut decoder = Decoder::new(&config).unwrap();
    let (large, allowed) = (units("1280x720", 1, ""), units("640x360", 1, ""));
    let refused = pictures_of(&mut decoder, &large, &[0]).unwrap_err();
    assert!(matches!(refused, DecodeError::TooLarge { width: 1280, height: 720, .. }), "{refused}");
    assert!(!refused.is_retryable());
    assert_eq!(pictures_of(&mut decoder, &allowed, &[0]).unwrap().len(), 1);
}

#[test]
fn a_decoder_that_takes_too_long_is_given_up_at_once() {
    let clip = units("1920x1080", 1, "");
    let clock = Clock::system();
    let start = clock.now();
    let mut decoder = Decoder::new(&Config { timeout: Duration::from_micros(1), ..Config::default() }).unwrap();
    for _ in 0..3 {
        let error = pictures_of(&mut decoder, &clip, &[29]).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), ("timed_out", true));
    }
    drop(decoder);
    assert!(clock.now().since(start) < Duration::from_secs(1));
}

#[test]
fn other_samplings_and_full_range_arrive_as_420() {
    for (format, range) in [
        ("yuv422p", ColourRange::Limited),
        ("yuv444p", ColourRange::Limited),
        ("yuv420p10le", ColourRange::Limited),
        ("gray", ColourRange::Limited),
        ("yuvj420p", ColourRange::Full),
    ] {
        let clip = units("320x180", 1, &format!("-pix_fmt {format}"));
        let pictures = pictures_of(&mut decoder(), &clip[..1], &[0]).unwrap();
        assert_eq!(size(&pictures[0]), (320, 180), "{format}");
        assert_eq!(pictures[0].chroma.as_ref().unwrap()[0].width, 160, "{format}");
        if format != "gray" {
            assert_eq!(pictures[0].range, range, "{format}");
        }
    }
}

#[test]
fn pictures_outlive_their_decoder() {
    let clip = units("640x360", 1, "");
    let pictures = pictures_of(&mut decoder(), &clip, &[0, 15]).unwrap();
    let before: Vec<f64> = pictures.iter().map(mean).collect();
    let mut other = decoder();
    pictures_of(&mut other, &clip, &[29]).unwrap();
    drop(other);
    assert_eq!(pictures.iter().map(mean).collect::<Vec<_>>(), before);
}

/// As many threads as the development machine has.
const CORES: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Every picture of a file.
fn read(path: &std::path::Path) -> Result<Vec<Picture>, DecodeError> {
    Video::open(path, CORES)?.collect()
}

#[test]
fn every_frame_of_a_file_comes_in_order_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["clip.mp4", "clip.mkv", "clip.ts", "clip.flv"] {
        let path = ffmpeg(
            "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 2 -c:v libx264 -bf 2 -pix_fmt yuv420p -c:a aac",
            &folder.path().join(name),
        );
        let mut times = Vec::new();
        let mut sequences = Vec::new();
        let mut video = Video::open(&path, CORES).unwrap();
        for picture in video.by_ref().map(Result::unwrap) {
            times.push(picture.pts.unwrap());
            sequences.push(picture.sequence);
            assert_eq!(size(&picture), (320, 180));
        }
        assert!(video.next().is_none());
        // A transport stream's length is a guess.
        let duration = video.duration().unwrap().as_secs_f64();
        assert!((1.9..2.2).contains(&duration), "{name}: {duration}");
        assert_eq!(sequences, (0..50).collect::<Vec<u64>>(), "{name}");
        assert!(times.is_sorted(), "{name}: {times:?}");
        assert_eq!(times[49].as_millis() / 50, 39, "{name}: {:?}", times[49]);
        assert_eq!(times[0], Duration::ZERO, "{name}");
    }
}

#[test]
fn a_file_that_is_no_video_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let clock = Clock::system();
    let sound = ffmpeg("-f lavfi -i sine -t 1 -c:a aac", &folder.path().join("sound.mp4"));
    let noise: Vec<u8> = (0..9000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (path, kind, says) in [
        (folder.path().join("absent.mp4"), "file", "cannot be read"),
        (folder.path().to_owned(), "file", "cannot be read"),
        (write("empty.mp4", b""), "not_video", "is empty"),
        (write("noise.mp4", &noise), "not_video", "is no video"),
        (write("words.mp4", b"just some words, not a film at all\n"), "not_video", "is no video"),
        (write("list.m3u8", b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n"), "not_video", "is"),
        (sound, "not_video", "no video track"),
    ] {
        let start = clock.now();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{}: {error}", path.display());
        assert!(error.to_string().contains(says), "{error}");
        assert!(clock.now().since(start) < Duration::from_secs(5), "{}", path.display());
    }
}

#[test]
fn a_file_opened_in_colour_has_its_colours_whatever_its_format() {
    let folder = tempfile::tempdir().unwrap();
    for (format, range) in
        [("yuv420p", ColourRange::Limited), ("yuvj420p", ColourRange::Full), ("yuv444p10le", ColourRange::Limited)]
    {
        // Red on the left and blue on the right: Cb and Cr of BT.601.
        let halves = "-f lavfi -i color=red:size=120x90:rate=5,pad=240:90:0:0:blue -t 1 -c:v libx264 -crf 5 -pix_fmt";
        let path = ffmpeg(&format!("{halves} {format}"), &folder.path().join(format!("{format}.mkv")));
        let pictures: Vec<Picture> = Video::open_in_colour(&path, CORES).unwrap().map(Result::unwrap).collect();
        assert_eq!(pictures.len(), 5, "{format}");
        let [blue, red] = pictures[3].chroma.as_ref().expect("there is colour");
        assert_eq!((pictures[3].range, blue.width, red.height), (range, 120, 45), "{format}");
        let at = |plane: &Plane, x: usize| f32::from(plane.data[20 * plane.stride + x]) - 128.0;
        let gain = if range == ColourRange::Full { 1.0 } else { 255.0 / 224.0 };
        for (plane, x, expected) in [(blue, 20, -43.0), (red, 20, 127.5), (blue, 100, 127.5), (red, 100, -20.7)] {
            let got = gain * at(plane, x);
            assert!((got - expected).abs() < 3.0, "{format}: {got} instead of {expected}");
        }
    }
}

#[test]
fn the_luma_of_a_file_is_what_was_decoded_whatever_its_format() {
    let folder = tempfile::tempdir().unwrap();
    for (format, range) in [
        ("yuv420p", ColourRange::Limited),
        ("yuvj420p", ColourRange::Full),
        ("yuv422p", ColourRange::Limited),
        ("yuv444p", ColourRange::Limited),
        ("yuv420p10le", ColourRange::Limited),
        ("gray", ColourRange::Limited),
    ] {
        // A ramp from left to right, and a size that no codec's blocks fit.
        let ramp = "-f lavfi -i nullsrc=size=334x178:rate=25,geq=lum=X/2+30:cb=128:cr=128 -t 0.4 -c:v libx264 -pix_fmt";
        let path = ffmpeg(&format!("{ramp} {format}"), &folder.path().join(format!("{format}.mp4")));
        let pictures = read(&path).unwrap();
        assert_eq!(pictures.len(), 10, "{format}");
        for picture in pictures {
            assert_eq!((size(&picture), picture.chroma.is_none()), ((334, 178), true), "{format}");
            if format != "gray" {
                assert_eq!(picture.range, range, "{format}");
            }
            for row in picture.luma.rows() {
                for (x, &value) in row.iter().enumerate() {
                    let limited = x as f64 / 2.0 + 30.0;
                    let expected =
                        if picture.range == ColourRange::Full { (limited - 16.0) * 255.0 / 219.0 } else { limited };
                    assert!((f64::from(value) - expected).abs() <= 6.0, "{format}: {value} at {x}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn a_video_that_says_that_its_end_is_missing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clip = "-f lavfi -i testsrc2=size=320x180:rate=25 -t 2 -c:v libx264 -pix_fmt yuv420p";
    for (name, more) in [
        ("index-first.mp4", "-movflags +faststart"),
        ("index-last.mp4", ""),
        ("fragments.mp4", "-movflags frag_keyframe+empty_moov -g 10"),
        ("clip.mkv", ""),
        ("clip.avi", ""),
    ] {
        let path = ffmpeg(&format!("{clip} {more}"), &folder.path().join(name));
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(read(&path).unwrap().len(), 50, "{name}");
        for share in [30, 60, 97] {
            std::fs::write(&path, &whole[..whole.len() * share / 100]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("is cut short: copy it again"), "{name} at {share} %: {error}");
        }
    }
    // What cannot say so is taken as it is.
    let path = ffmpeg(clip, &folder.path().join("clip.ts"));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!((10..40).contains(&read(&path).unwrap().len()));
}

#[test]
fn a_file_of_enormous_frames_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    // Where the container tells the size, and a picture of which only the decoder knows it.
    let told = ffmpeg("-f lavfi -i color=red:size=12000x8640:rate=1 -t 1 -c:v mjpeg", &folder.path().join("a.avi"));
    let bitmap = folder.path().join("a.bmp");
    let (side, nothing) = (40_000_u32.to_le_bytes(), [0; 4]);
    let header = [b"BM", &[0, 16, 0, 0][..], &nothing, &[54, 0, 0, 0], &[40, 0, 0, 0], &side, &side, &[1, 0, 24, 0]];
    std::fs::write(&bitmap, [header.concat(), vec![0; 4000]].concat()).unwrap();
    for (path, says) in [(told, "12000x8640"), (bitmap, "40000x40000")] {
        let before = memory();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind(), "too_large", "{error}");
        assert!(error.to_string().contains(says) && error.to_string().contains("scale it down"), "{error}");
        assert!(memory().saturating_sub(before) < 400 << 20);
    }
}
