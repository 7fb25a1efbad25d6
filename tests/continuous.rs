//! A stream's own decoder, seen from outside: it goes on where it left off, begins wherever it has to, and gives the pictures
//! that a decoder of the whole stream gives.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use sluicegate::clock::Timestamp;
use sluicegate::decode::{Config, Continuous, DecodeError, Decoder};
use sluicegate::picture::Picture;
use sluicegate::stream::{AccessUnit, Codec};
use support::ffmpeg;

/// Four seconds of something that moves, encoded with `x264` as said.
fn units(x264: &str) -> Vec<AccessUnit> {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size=320x180:rate=30 -t 4 -pix_fmt yuv420p -c:v libx264 -preset veryfast \
             -x264-params scenecut=0:aud=1:threads=1:{x264}"
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

/// The pictures of all `units`, decoded in one go.
fn truth(units: &[AccessUnit]) -> BTreeMap<u64, Picture> {
    let mut pictures = BTreeMap::new();
    let all: Vec<u64> = units.iter().map(|unit| unit.sequence).collect();
    let mut keep = |picture: Picture| drop(pictures.insert(picture.sequence, picture));
    Decoder::new(&Config::default()).unwrap().decode(units, &all, &mut keep).unwrap();
    pictures
}

/// What comes of `pieces`, of which every third picture is wanted.
fn continued<'a>(decoder: &mut Continuous, pieces: impl Iterator<Item = &'a [AccessUnit]>) -> BTreeMap<u64, Picture> {
    let mut pictures = BTreeMap::new();
    for piece in pieces {
        let wanted: Vec<u64> = piece.iter().map(|unit| unit.sequence).filter(|sequence| sequence % 3 == 0).collect();
        let mut keep = |picture: Picture| assert!(pictures.insert(picture.sequence, picture).is_none(), "twice");
        decoder.decode(piece, &wanted, &mut keep).unwrap();
    }
    pictures
}

/// How far two pictures are apart: the mean difference of their luma.
fn apart(one: &Picture, other: &Picture) -> f64 {
    let pairs = one.luma.rows().flatten().zip(other.luma.rows().flatten());
    let sum: u64 = pairs.map(|(&one, &other)| u64::from(one.abs_diff(other))).sum();
    sum as f64 / (one.luma.width * one.luma.height) as f64
}

#[test]
fn pieces_give_the_pictures_of_the_whole() {
    for x264 in
        ["keyint=600:bframes=3", "keyint=600:bframes=0", "keyint=40:open-gop=1:bframes=3", "keyint=30:intra-refresh=1"]
    {
        let units = units(x264);
        let truth = truth(&units);
        for size in [1, 3, 17] {
            let mut decoder = Continuous::new(&Config::default());
            let pictures = continued(&mut decoder, units.chunks(size));
            // The last few are shown only after units that never came.
            assert!(
                pictures.len() + decoder.owed() == 40 && decoder.owed() <= 2,
                "{x264}: {} {}",
                pictures.len(),
                decoder.owed()
            );
            for (sequence, picture) in &pictures {
                assert!(apart(picture, &truth[sequence]) < 0.01, "{x264}, {size} at a time: picture {sequence}");
                assert_eq!(picture.arrived, units[*sequence as usize].arrived);
            }
        }
    }
}

#[test]
fn where_few_pictures_are_wanted_they_are_the_same_and_no_later() {
    for x264 in ["keyint=600:bframes=3", "keyint=600:bframes=3:tff=1", "keyint=40:open-gop=1:bframes=3"] {
        let units = units(x264);
        let truth = truth(&units);
        let mut decoder = Continuous::new(&Config::default());
        let (mut seen, mut asked) = (0, 0);
        for (at, piece) in units.chunks(3).enumerate() {
            // One at a time, each at another place in the pattern of the encoder.
            let wanted = Vec::from_iter((at % 5 == 0).then(|| piece[at / 5 % 3].sequence));
            asked += wanted.len();
            let newest = piece.last().map_or(0, |unit| unit.sequence);
            let mut look = |picture: Picture| {
                assert!(apart(&picture, &truth[&picture.sequence]) == 0.0, "{x264}: picture {}", picture.sequence);
                // Three may be shown before it, and two more must come for the decoder to know that these were all.
                assert!(newest <= picture.sequence + 7, "{x264}: picture {} came with {newest}", picture.sequence);
                seen += 1;
            };
            decoder.decode(piece, &wanted, &mut look).unwrap();
        }
        assert_eq!((seen + decoder.owed(), asked), (8, 8), "{x264}");
    }
}

#[test]
fn begun_in_the_middle_it_is_right_from_the_next_keyframe_or_refresh_on() {
    for (x264, begun, right) in [("keyint=60:bframes=2", 25, 60), ("keyint=30:intra-refresh=1:bframes=0", 35, 95)] {
        let units = units(x264);
        let truth = truth(&units);
        // As a source gives them: the first unit brings the parameter sets, whatever else it is.
        let sets = &units[0].data;
        let slice = sets.windows(4).position(|nal| nal[..3] == [0, 0, 1] && matches!(nal[3] & 31, 5 | 6)).unwrap();
        let mut joined = units[begun..].to_vec();
        joined[0].data = Bytes::from([&sets[..slice], &joined[0].data].concat());
        let mut decoder = Continuous::new(&Config::default());
        let pictures = continued(&mut decoder, joined.chunks(4));
        assert!(pictures.keys().any(|sequence| (*sequence as usize) < right), "{x264}: nothing at once");
        let later: Vec<u64> = pictures.keys().copied().filter(|sequence| *sequence as usize > right).collect();
        assert!(later.len() >= 7, "{x264}: {later:?}");
        for sequence in later {
            assert!(apart(&pictures[&sequence], &truth[&sequence]) < 1.0, "{x264}: picture {sequence}");
        }
    }
}

#[test]
fn units_that_are_missing_do_not_end_it() {
    let units = units("keyint=60:bframes=2");
    let truth = truth(&units);
    let pieces = units.chunks(5).enumerate().filter(|(at, _)| !(3..6).contains(at)).map(|(_, piece)| piece);
    let pictures = continued(&mut Continuous::new(&Config::default()), pieces);
    assert!(pictures.keys().any(|sequence| (30..60).contains(sequence)), "damaged ones are shown");
    assert!(pictures.range(60..).count() >= 19);
    assert!(pictures.range(60..).all(|(sequence, picture)| apart(picture, &truth[sequence]) < 0.01));
}

#[test]
fn what_a_stream_was_cannot_be_seen_in_what_it_is_after_an_error() {
    let units = units("keyint=600:bframes=0");
    let mut decoder = Continuous::new(&Config { max_pixels: 320 * 180, ..Config::default() });
    continued(&mut decoder, units[..30].chunks(3));
    let folder = tempfile::tempdir().unwrap();
    let large = ffmpeg(
        "-f lavfi -i testsrc2=size=640x360:rate=30 -t 0.1 -pix_fmt yuv420p -c:v libx264 -x264-params aud=1:slices=1",
        &folder.path().join("large.h264"),
    );
    let bomb = AccessUnit { data: Bytes::from(std::fs::read(large).unwrap()), ..units[0].clone() };
    let error = decoder.decode(&[bomb], &[0], &mut drop).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { width: 640, .. }), "{error}");
    assert_eq!(decoder.owed(), 0);
    // It goes on from the last keyframe that it knows, and has the parameters from there.
    let mut seen = 0;
    for piece in units[30..].chunks(3) {
        if decoder.decode(piece, &[piece[0].sequence], &mut |_picture| seen += 1).is_ok() && seen > 10 {
            return;
        }
    }
    assert!(seen > 10, "{seen}");
}
