//! Benign clips that stand in for what must be told apart: made once from the clips that `make setup` fetches.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{asset, repository};

/// The clip whose content is banked: it stands in for known harmful content.
///
/// # Errors
/// When it was not fetched.
pub fn banked() -> Result<PathBuf> {
    asset("clips/bikes.mp4")
}

/// The time from one keyframe to the next in the clips made here.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

/// An innocent stream, 854x480 at 25 frames a second with a keyframe every 2 s, 20 s long.
///
/// # Errors
/// When ffmpeg or the clips are missing.
pub fn innocent() -> Result<PathBuf> {
    let bunny = asset("clips/bigbuckbunny.mp4")?;
    encode("innocent", |to| {
        let scaled = "-filter_complex [0:v]scale=854:480,setsar=1,fps=25[v] -map [v] -map 1:a -t 20";
        [
            words("-stream_loop 4 -i"),
            vec![text(&bunny)],
            words("-f lavfi -i sine=440"),
            words(scaled),
            codecs("1200k"),
            vec![text(to)],
        ]
        .concat()
    })
}

/// An innocent beginning of length `lead`, then 17 s of the banked clip at another size, bit rate and phase. A `lead`
/// that is no multiple of [`KEYFRAME_INTERVAL`] puts the change into the middle of a group of pictures, as in life.
///
/// # Errors
/// When ffmpeg or the clips are missing.
pub fn incident(lead: Duration) -> Result<PathBuf> {
    let (bunny, bikes) = (asset("clips/bigbuckbunny.mp4")?, banked()?);
    let join = format!(
        "[0:v]scale=854:480,setsar=1,fps=25,trim=duration={at}[calm];\
         [1:v]trim=start=0.33,setpts=PTS-STARTPTS,scale=854:480,setsar=1,fps=25[known];\
         [calm][known]concat=n=2:v=1[v]",
        at = lead.as_secs_f64()
    );
    let length = lead.as_secs() + 17;
    encode(&format!("incident-{}", lead.as_millis()), |to| {
        [
            words("-stream_loop 2 -i"),
            vec![text(&bunny)],
            words("-stream_loop 1 -i"),
            vec![text(&bikes)],
            words("-f lavfi -i sine=330 -filter_complex"),
            vec![join],
            words(&format!("-map [v] -map 2:a -t {length}")),
            codecs("700k"),
            vec![text(to)],
        ]
        .concat()
    })
}

/// A copy of the banked clip as those who put it up again make it: small, cheap, and from its first frame on. 320x180 at
/// 15 frames a second with a keyframe every second, 20 s long.
///
/// # Errors
/// When ffmpeg or the clips are missing.
pub fn copy() -> Result<PathBuf> {
    let bikes = banked()?;
    encode("copy", |to| {
        let small = "-vf scale=320:180,setsar=1,fps=15 -an -t 20 -c:v libx264 -preset veryfast -pix_fmt yuv420p";
        let keyframes = "-g 15 -keyint_min 15 -sc_threshold 0 -b:v 200k -f flv";
        [words("-stream_loop 2 -i"), vec![text(&bikes)], words(small), words(keyframes), vec![text(to)]].concat()
    })
}

/// Makes `assets/made/NAME.flv` by ffmpeg with the arguments that `args` gives for the file to be written, unless it
/// is there already.
///
/// # Errors
/// When ffmpeg fails.
pub fn encode(name: &str, args: impl FnOnce(&Path) -> Vec<String>) -> Result<PathBuf> {
    let folder = repository().join("assets/made");
    let made = folder.join(format!("{name}.flv"));
    if made.exists() {
        return Ok(made);
    }
    std::fs::create_dir_all(&folder)?;
    // Under another name until it is whole: tests run side by side, and a run may be interrupted.
    let partial = tempfile::Builder::new().prefix(name).suffix(".flv").tempfile_in(&folder)?;
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(args(partial.path()))
        .output()
        .context("cannot start ffmpeg: run `make setup`")?;
    if !output.status.success() {
        bail!("ffmpeg could not make {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    partial.persist(&made)?;
    Ok(made)
}

/// H.264 with a keyframe every 2 s and none in between, so that a change of scene does not bring one by itself; AAC.
fn codecs(bit_rate: &str) -> Vec<String> {
    let video = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0";
    words(&format!("{video} -b:v {bit_rate} -c:a aac -b:a 64k -f flv"))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
