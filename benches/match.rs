//! Our side of `make bench-match`: hashes the pictures that `scripts/bench_match.py` prepared, makes banks, searches them, and prints one
//! JSON object a line. The script runs the peers on the same pictures and banks and draws the comparison.
//!
//! Arguments: a folder that holds `pictures.json`, and the sizes of the banks, with commas. It writes `queries.bin` there and, for
//! every size that peers are run at, `hashes-N.bin` (32 bytes a hash). One thread; times are CPU time of that thread. Without
//! arguments (as `cargo test` and `cargo bench --no-run` have it) it does nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sluicegate::bank::Scan;
use sluicegate::bank::index::Index;
use sluicegate::hash::{Hasher, Luma, MATCH_DISTANCE, PdqHash, Rgb};

/// Rounds of each measurement; the median is told.
const ROUNDS: usize = 9;

const QUERIES: usize = 1000;

/// Peers take too long, or too much memory, for more.
const PEERS_UP_TO: usize = 10_000_000;

/// The size at which the worst cluster is looked at, if it is asked for; else the largest below.
const CLUSTER_AT: usize = 10_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (Some(folder), Some(sizes)) = (arguments.next().map(PathBuf::from), arguments.next()) else { return };
    let mut sizes: Vec<usize> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    sizes.sort_unstable();
    pictures(&folder);
    let queries = queries(*sizes.first().unwrap());
    write(&folder.join("queries.bin"), &queries);
    for size in &sizes {
        bank(&folder, *size, &queries);
    }
    if let Some(size) = sizes.iter().rfind(|size| (100_000..=CLUSTER_AT).contains(*size)) {
        worst_cluster(*size);
    }
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

fn bank(folder: &Path, size: usize, queries: &[PdqHash]) {
    let name = json!(size);
    forget_peak();
    let before = memory("VmRSS:");
    let mut chance = Chance(1);
    let entries: Vec<PdqHash> = (0..size).map(|_| chance.healthy()).collect();
    if size <= PEERS_UP_TO {
        write(&folder.join(format!("hashes-{size}.bin")), &entries);
    }
    let (index, built) = cpu(|| Index::build(entries.into_iter()).unwrap());
    // The hashes that it was given among it.
    let peak = (memory("VmHWM:") - before) / index.size() as f64;
    say(&name, "build_s", built.as_secs_f64(), &Value::Null);
    say(&name, "build_peak", peak, &Value::Null);
    say(&name, "bytes_an_entry", index.size() as f64 / size as f64, &Value::Null);

    let mut found = 0_u64;
    let spent = median(|| {
        found = 0;
        cpu(|| queries.iter().for_each(|query| index.within(query, MATCH_DISTANCE, |_, _| found += 1))).1
    });
    say(&name, "query_us", micros(spent, queries.len()), &json!({ "found": found }));
    let spent = median(|| {
        cpu(|| queries.iter().for_each(|query| drop(std::hint::black_box(index.nearest(query, MATCH_DISTANCE))))).1
    });
    say(&name, "nearest_us", micros(spent, queries.len()), &Value::Null);
    for views in [8, 24] {
        let mut found_together = 0;
        let spent = median(|| {
            found_together = 0;
            let together = |views| index.within_all(views, MATCH_DISTANCE, |_, _, _| found_together += 1);
            cpu(|| queries.chunks(views).for_each(together)).1
        });
        assert_eq!(found_together, found, "asked together");
        say(&name, &format!("{views}_views_us"), micros(spent, queries.len()), &Value::Null);
    }
    if size <= PEERS_UP_TO {
        let scan: Scan = index.iter().collect();
        let few = queries.get(..if size < PEERS_UP_TO { 50 } else { 10 }).unwrap();
        let count = |found: &mut usize, query| scan.within(query, MATCH_DISTANCE, |_, _| *found += 1);
        let mut scanned = 0;
        let spent = median(|| {
            scanned = 0;
            cpu(|| few.iter().for_each(|query| count(&mut scanned, query))).1
        });
        let mut indexed = 0;
        few.iter().for_each(|query| index.within(query, MATCH_DISTANCE, |_, _| indexed += 1));
        assert_eq!(indexed, scanned, "a scan finds as many");
        say(&name, "scan_us", micros(spent, few.len()), &Value::Null);
    }
}

/// One in a hundred entries within 31 bits of the query, in three ways: all the same, all as far away as they can be, and evenly between.
/// Beside a scan of nothing but these.
fn worst_cluster(size: usize) {
    for (form, farthest, evenly) in [("alike", 0, false), ("far", 15, false), ("even", 15, true)] {
        let mut chance = Chance(3);
        let centre = chance.healthy();
        let dense: Vec<PdqHash> = (0..size / 100)
            .map(|n| chance.healthy_near(&centre, if evenly { n % (farthest + 1) } else { farthest }))
            .collect();
        let mut entries: Vec<PdqHash> = Vec::with_capacity(size);
        for one in &dense {
            entries.extend((0..99).map(|_| chance.healthy()));
            entries.push(*one);
        }
        let index = Index::build(entries.into_iter()).unwrap();
        let scan: Scan = dense.iter().copied().collect();
        let (mut indexed, mut scanned) = (0_u64, 0_u64);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // In turns, so that what else the machine does meets both.
        for _ in 0..3 * ROUNDS {
            (indexed, scanned) = (0, 0);
            let add =
                |sum: &mut u64, place: u64, apart: u32| *sum += (1 << 32) + u64::from(place > 0) + u64::from(apart);
            ours.push(cpu(|| index.within(&centre, MATCH_DISTANCE, |p, d| add(&mut indexed, p.into(), d))).1);
            theirs.push(cpu(|| scan.within(&centre, MATCH_DISTANCE, |p, d| add(&mut scanned, p as u64, d))).1);
        }
        let found = indexed >> 32;
        assert_eq!((found, scanned >> 32), (dense.len() as u64, found), "all of the cluster and nothing else");
        let nearest = median(|| cpu(|| std::hint::black_box(index.nearest(&centre, MATCH_DISTANCE))).1);
        let more = json!({ "size": size, "returned": found, "nearest_us": micros(nearest, 1) });
        say(&json!("worst cluster"), &format!("{form}_us"), micros(middle(ours), 1), &more);
        say(&json!("worst cluster"), &format!("{form}_scan_us"), micros(middle(theirs), 1), &Value::Null);
    }
}

/// Every other one is an entry of the smallest bank with up to 31 bits changed, the rest are strangers.
fn queries(smallest: usize) -> Vec<PdqHash> {
    let mut chance = Chance(1);
    let entries: Vec<PdqHash> = (0..smallest).map(|_| chance.healthy()).collect();
    let mut chance = Chance(2);
    (0..QUERIES)
        .map(|n| {
            let entry = entries.get(chance.next() as usize % smallest).unwrap();
            let changes = chance.next() % 32;
            if n % 2 == 0 { (0..changes).fold(*entry, |hash, _| chance.changed(&hash)) } else { chance.healthy() }
        })
        .collect()
}

/// Numbers that look like chance, the same every time (`SplitMix64`, G. Steele et al., 2014).
struct Chance(u64);

impl Chance {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// With one bit changed, which may be one that was changed before.
    fn changed(&mut self, hash: &PdqHash) -> PdqHash {
        let bit = self.next() as usize % 256;
        let mut words = *hash.words();
        words[bit / 64] ^= 1 << (bit % 64);
        PdqHash::from_words(words)
    }

    /// 128 bits are set, as of a real picture.
    fn healthy(&mut self) -> PdqHash {
        let mut hash = PdqHash::from_words(std::array::from_fn(|_| self.next()));
        while hash.ones() != 128 {
            let changed = self.changed(&hash);
            if changed.ones().abs_diff(128) < hash.ones().abs_diff(128) {
                hash = changed;
            }
        }
        hash
    }

    /// `pairs` ones and as many zeros changed.
    fn healthy_near(&mut self, centre: &PdqHash, pairs: usize) -> PdqHash {
        let mut hash = *centre;
        for distance in 1..=2 * pairs as u32 {
            let ones = if distance % 2 == 1 { 129 } else { 128 };
            hash = std::iter::repeat_with(|| self.changed(&hash))
                .find(|next| next.distance(centre) == distance && next.ones() == ones)
                .unwrap();
        }
        hash
    }
}

fn say(of: &Value, what: &str, value: f64, more: &Value) {
    println!("{}", json!({ "of": of, "what": what, "value": value, "more": more }));
}

/// As peers read them: the bytes of the text, the highest frequencies first.
fn write(file: &Path, hashes: &[PdqHash]) {
    let mut file = BufWriter::new(File::create(file).unwrap());
    for hash in hashes {
        hash.words().iter().for_each(|word| file.write_all(&word.to_be_bytes()).unwrap());
    }
    file.flush().unwrap();
}

/// The CPU time that this thread spends on `work`.
fn cpu<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let began = now();
    let value = work();
    (value, now().saturating_sub(began))
}

fn median(round: impl FnMut() -> Duration) -> Duration {
    middle(std::iter::repeat_with(round).take(ROUNDS).collect())
}

fn middle(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort();
    *rounds.get(rounds.len() / 2).unwrap()
}

fn micros(spent: Duration, times: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / times as f64
}

/// Has the kernel take the present use of memory for the peak.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// A line of this process's status, in bytes.
fn memory(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0
}
