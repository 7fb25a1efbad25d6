//! Clips for the tests of `source` and `decode`, made by ffmpeg on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use sluicegate::clock::Timestamp;
use sluicegate::stream::{AccessUnit, Codec};

/// Runs ffmpeg with `arguments`, then the file at `to`.
pub(crate) fn ffmpeg(arguments: &str, to: &Path) -> PathBuf {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .arg(to)
        .status()
        .expect("ffmpeg runs");
    assert!(done.success(), "ffmpeg {arguments}");
    to.to_owned()
}

/// The access units of an H.264 test clip of `size`, `seconds` long, with a keyframe every second and B-frames;
/// `more` are further arguments of ffmpeg.
pub(crate) fn units(size: &str, seconds: u32, more: &str) -> Vec<AccessUnit> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clip = ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size={size}:rate=30 -t {seconds} -pix_fmt yuv420p -c:v libx264 -preset veryfast \
             -x264-params keyint=30:min-keyint=30:scenecut=0:bframes=2:aud=1:repeat-headers=1:threads=1 {more}"
        ),
        &folder.path().join("clip.h264"),
    );
    let data = Bytes::from(std::fs::read(clip).expect("ffmpeg wrote the clip"));
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
