//! Clips for the tests of `source` and `decode`, made by ffmpeg on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

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
