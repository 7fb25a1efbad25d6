//! Our side of `make bench-video`: banks the video that `scripts/bench_video.py` prepared, as people do, and prints one JSON object
//! a line. The script runs the peers on the same file and draws the comparison.
//!
//! Argument: a video. Told are wall and CPU seconds of `sluicegate bank add`, from start to end; the same of decoding alone; the
//! CPU seconds of hashing alone, and the memory that decoding and hashing needed. Without arguments (as `cargo test` and `cargo bench
//! --no-run` have it) it does nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sluicegate::decode::file::Video;
use sluicegate::hash::Hasher;

/// Ticks a second of the times in `/proc`, which Linux fixes for programs.
const TICKS: f64 = 100.0;

fn main() {
    let Some(video) = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')) else { return };
    let video = Path::new(&video);
    bank(video);
    decode(video);
    hash(video);
}

fn bank(video: &Path) {
    let banks = std::env::temp_dir().join(format!("sluicegate-bench-{}", std::process::id()));
    fs::create_dir(&banks).unwrap();
    let (began, before) = (now(ClockId::Monotonic), children());
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["bank", "add", "bench", "--json", "--banks"])
        .args([&banks, video])
        .output()
        .unwrap();
    let (wall, cpu) = (now(ClockId::Monotonic).saturating_sub(began), children() - before);
    fs::remove_dir_all(&banks).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let added = &answer["results"][0];
    let more = json!({ "pictures": added["pictures"], "signals": added["added"] });
    say("bank", "wall_s", wall.as_secs_f64(), &more);
    say("bank", "cpu_s", cpu, &more);
}

fn decode(video: &Path) {
    let (began, before) = (now(ClockId::Monotonic), now(ClockId::ProcessCPUTime));
    let pictures = pictures(video).count();
    let (wall, cpu) = (now(ClockId::Monotonic), now(ClockId::ProcessCPUTime));
    say("decode", "wall_s", wall.saturating_sub(began).as_secs_f64(), &json!({ "pictures": pictures }));
    say("decode", "cpu_s", cpu.saturating_sub(before).as_secs_f64(), &Value::Null);
}

fn hash(video: &Path) {
    let mut hasher = Hasher::new();
    let (mut spent, mut pictures_hashed) = (Duration::ZERO, 0);
    for picture in pictures(video).take(2000) {
        let began = now(ClockId::ThreadCPUTime);
        std::hint::black_box(hasher.picture(&picture).unwrap());
        spent += now(ClockId::ThreadCPUTime).saturating_sub(began);
        pictures_hashed += 1;
    }
    say("hash", "ms", spent.as_secs_f64() * 1e3 / f64::from(pictures_hashed), &Value::Null);
    say("decode", "peak_mb", peak_mb(), &Value::Null);
}

fn pictures(video: &Path) -> impl Iterator<Item = sluicegate::picture::Picture> {
    let cores = std::thread::available_parallelism().unwrap();
    Video::open(video, cores).unwrap().map(Result::unwrap)
}

fn say(of: &str, what: &str, value: f64, more: &Value) {
    println!("{}", json!({ "of": of, "what": what, "value": value, "more": more }));
}

fn now(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap()
}

/// CPU seconds of the children that have ended.
fn children() -> f64 {
    let status = fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in brackets, may hold anything; behind it, from field 3 on, come numbers.
    let fields: Vec<&str> = status.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |field: usize| fields.get(field - 3).unwrap().parse::<f64>().unwrap();
    (ticks(16) + ticks(17)) / TICKS
}

fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}
