//! Hashing the luma plane of a video gives, on average within two bits, what its RGB gives.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

use sluicegate::hash::{Hasher, Luma, Rgb, USEFUL_QUALITY};
use sluicegate::picture::ColourRange;

/// The frames of a clip, as ffmpeg gives them.
fn frames(clip: &str, format: &str, size: usize) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/clips").join(clip);
    // Chroma is scaled as well as ffmpeg can, and nothing is dithered: what RGB a player shows.
    let quality = ["-sws_flags", "accurate_rnd+full_chroma_int+full_chroma_inp"];
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(file).args(quality).args(["-f", "rawvideo", "-pix_fmt", format, "-"]);
    let made = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "ffmpeg could not read {clip}: `make setup` fetches both");
    made.stdout.chunks(size).map(<[u8]>::to_vec).collect()
}

#[test]
fn luma_is_within_two_bits_of_rgb() {
    let mut hasher = Hasher::new();
    let (mut bits, mut all) = (0, 0);
    for (clip, width, height) in [("bigbuckbunny.mp4", 1280, 720), ("bikes.mp4", 640, 272), ("carphone.mp4", 176, 144)]
    {
        let yuv = frames(clip, "yuv420p", width * height * 3 / 2);
        let rgb = frames(clip, "rgb24", width * height * 3);
        assert_eq!(yuv.len(), rgb.len(), "{clip}");
        let mut apart = Vec::new();
        for (yuv, rgb) in yuv.iter().zip(&rgb) {
            let luma = Luma::new(yuv, width, height, width).unwrap().in_range(ColourRange::Limited);
            let (ours, theirs) = (hasher.luma(luma), hasher.rgb(Rgb::new(rgb, width, height).unwrap()));
            if ours.quality >= USEFUL_QUALITY {
                apart.push(ours.hash.distance(&theirs.hash));
            }
        }
        assert!(apart.len() >= 50, "{clip}: {} frames of useful quality", apart.len());
        let sum: u32 = apart.iter().sum();
        println!(
            "{clip}: {} frames, {:.2} bits apart on average, {} at most",
            apart.len(),
            f64::from(sum) / apart.len() as f64,
            apart.iter().max().unwrap()
        );
        (bits, all) = (bits + sum, all + apart.len());
    }
    let average = f64::from(bits) / all as f64;
    println!("all: {average:.2} bits apart on average");
    assert!(average <= 2.0, "luma is {average:.2} bits from RGB on average");
}
