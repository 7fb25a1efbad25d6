//! Our side of `make bench-match`: hashes the pictures and searches the banks that `scripts/bench_match.py` prepared, and
//! prints one JSON object a line. The script runs the peers on the same files and draws the comparison.
//!
//! Arguments: a folder that holds `pictures.json`, `queries.bin` and one `hashes-N.bin` a bank size (32 bytes a hash). One
//! thread; times are CPU time of that thread. Without arguments (as `cargo test` and `cargo bench --no-run` have it) it does
//! nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sluicegate::bank::index::Index;
use sluicegate::hash::{Hasher, Luma, PdqHash, Rgb};

/// Rounds of each measurement; the median is told.
const ROUNDS: usize = 9;

fn main() {
    let Some(folder) = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')) else { return };
    let folder = PathBuf::from(folder);
    pictures(&folder);
    banks(&folder);
}

fn pictures(folder: &Path) {
    let list: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("pictures.json")).unwrap()).unwrap();
    let mut hasher = Hasher::new();
    for picture in list {
        let data = fs::read(folder.join(picture["file"].as_str().unwrap())).unwrap();
        let side = |name: &str| picture[name].as_u64().unwrap() as usize;
        let (width, height) = (side("width"), side("height"));
        let mut hash = || match picture["layout"].as_str().unwrap() {
            "rgb" => hasher.rgb(Rgb::new(&data, width, height).unwrap()),
            _ => hasher.luma(Luma::new(&data, width, height, width).unwrap()),
        };
        let digest = hash().hash.to_string();
        let spent = median(|| cpu(|| std::hint::black_box(hash())).1);
        say(&picture["name"], "hash_ms", spent.as_secs_f64() * 1e3, &json!({ "hash": digest }));
    }
}

fn banks(folder: &Path) {
    let queries = hashes(&folder.join("queries.bin"));
    let mut sizes: Vec<(usize, PathBuf)> =
        fs::read_dir(folder).unwrap().filter_map(|entry| size(&entry.unwrap().path())).collect();
    sizes.sort();
    for (size, file) in sizes {
        let entries = hashes(&file);
        let (index, built) = cpu(|| Index::build(entries.into_iter()).unwrap());
        let mut found = 0_u64;
        let spent = median(|| {
            found = 0;
            cpu(|| queries.iter().for_each(|query| index.within(query, 31, |_, _| found += 1))).1
        });
        let name = json!(size);
        say(&name, "query_us", spent.as_secs_f64() * 1e6 / queries.len() as f64, &json!({ "found": found }));
        say(&name, "bytes_an_entry", index.size() as f64 / size as f64, &json!({ "peak_mb": peak_mb() }));
        say(&name, "build_s", built.as_secs_f64(), &Value::Null);
        if size <= 1_000_000 {
            let hashes: Vec<PdqHash> = index.iter().collect();
            let few = queries.get(..50).unwrap();
            let scan = || {
                few.iter().map(|query| hashes.iter().filter(|hash| hash.distance(query) <= 31).count()).sum::<usize>()
            };
            let spent = median(|| cpu(|| std::hint::black_box(scan())).1);
            say(&name, "scan_us", spent.as_secs_f64() * 1e6 / few.len() as f64, &Value::Null);
        }
    }
}

fn say(of: &Value, what: &str, value: f64, more: &Value) {
    println!("{}", json!({ "of": of, "what": what, "value": value, "more": more }));
}

fn size(path: &Path) -> Option<(usize, PathBuf)> {
    let name = path.file_name()?.to_str()?.strip_prefix("hashes-")?.strip_suffix(".bin")?;
    Some((name.parse().ok()?, path.to_owned()))
}

fn hashes(file: &Path) -> Vec<PdqHash> {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let hash = |bytes: &[u8]| PdqHash::from_words([0, 8, 16, 24].map(|at| word(bytes.get(at..at + 8).unwrap())));
    fs::read(file).unwrap().chunks_exact(32).map(hash).collect()
}

/// The CPU time that this thread spends on `work`.
fn cpu<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let began = now();
    let value = work();
    (value, now().saturating_sub(began))
}

fn median(mut round: impl FnMut() -> Duration) -> Duration {
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort();
    *rounds.get(ROUNDS / 2).unwrap()
}

fn peak_mb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
