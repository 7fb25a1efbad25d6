//! What it takes to live with a large bank: to start with it, to change it, to compact it. Prints one JSON object a line.
//!
//! Arguments: a folder to make banks in, which they are removed from again, and how many signals each is to have (ten million take
//! 4 GB there while they are made and compacted, and 7 GB of memory). Times are wall clock, files in the page cache. Without arguments (as
//! `cargo test` and `cargo bench --no-run` have it) it does nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sluicegate::bank::dense::Frame;
use sluicegate::bank::formats::{Item, Listed, Place, Read};
use sluicegate::bank::{BankName, Changes, Compaction, Content, Import, InForce, Provenance, Store, Watch, Which};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::finding::Opinion;
use sluicegate::hash::{Pdq, PdqHash};

/// Changes that are timed; the median and the slowest are told.
const ROUNDS: u64 = 9;

/// As often as a running Sluicegate looks at its folder.
const EVERY: Duration = Duration::from_millis(500);

/// Imported at once: more would only take more memory.
const PART: u64 = 2_500_000;

/// As of a video banked densely.
const SIGNALS_A_FILE: u64 = 1000;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let Some(folder) = args.next() else { return };
    for size in args {
        let folder = tempfile::tempdir_in(&folder).unwrap();
        bank(folder.path(), size.parse().unwrap());
    }
}

fn bank(folder: &Path, size: u64) {
    let store = Store::open(folder).unwrap();
    let name: BankName = "large".parse().unwrap();
    fill(&store, &name, size);
    let bytes: u64 = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    say(size, "disk_bytes_an_entry", bytes as f64 / size as f64, &Value::Null);

    let (mut watch, started) = timed(|| {
        let mut watch = Watch::new(folder).unwrap();
        let seen = watch.look().unwrap().unwrap();
        (watch, Arc::new(InForce::new(seen.banks)))
    });
    say(size, "start_up_s", started.as_secs_f64(), &Value::Null);

    let in_force = Arc::clone(&watch.1);
    let stopped = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopped);
    let watching = thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            thread::park_timeout(EVERY);
            if let Some(seen) = watch.0.look().unwrap() {
                watch.1.replace(seen.banks);
            }
        }
    });
    let is_hit = |hash: &PdqHash| in_force.current().first().is_some_and(|bank| bank.nearest(hash, 0).is_some());
    let change = |round: u64| {
        // Not in step with whoever watches.
        thread::park_timeout(Duration::from_millis(round * 137));
        let hash = hash(u64::MAX - round);
        let file = format!("{round}.png");
        let provenance = Provenance { file: file.clone(), sha256: format!("{round:f>64}") };
        let frames = vec![Frame { pdq: Pdq { hash, quality: 100 }, at: None }];
        let content = Content { provenance, opinion: Opinion::Positive, frames, every_bits: 16 };
        let ((), added) = timed(|| {
            // A store of its own, as another process has.
            Store::open(folder).unwrap().add(&name, &Changes::default(), content, Timestamp::ZERO).unwrap();
            until(|| is_hit(&hash));
        });
        let ((), removed) = timed(|| {
            Store::open(folder).unwrap().remove(&name, &Which::File(file), Timestamp::ZERO).unwrap();
            until(|| !is_hit(&hash));
        });
        (added, removed)
    };
    let (added, removed): (Vec<_>, Vec<_>) = (1..=ROUNDS).map(change).unzip();
    say_all(size, "added_signal_effective_s", added);
    say_all(size, "removed_signal_effective_s", removed);

    fill(&store, &name, size + size.min(10_000));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let matching = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            for n in 0.. {
                let query = hash(n ^ 1 << 60);
                let (_, spent) = timed(|| in_force.current().first().map(|bank| bank.nearest(&query, 31)));
                slowest = slowest.max(spent);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
            slowest
        });
        let before = cpu();
        let (done, spent) = timed(|| store.compact(&name).unwrap());
        let cpu_s = cpu().saturating_sub(before).as_secs_f64();
        assert!(matches!(done, Compaction::Done { .. }), "{done:?}");
        over.store(true, Ordering::Relaxed);
        let slowest = matching.join().unwrap();
        let more = json!({ "slowest_match_meanwhile_ms": slowest.as_secs_f64() * 1e3, "cpu_s": cpu_s });
        say(size, "compaction_s", spent.as_secs_f64(), &more);
    });
    stopped.store(true, Ordering::Relaxed);
    watching.thread().unpark();
    watching.join().unwrap();
}

/// Imports signals until there are `size`, as lists that say where each comes from.
fn fill(store: &Store, name: &BankName, size: u64) {
    loop {
        let there = store.load(name).map_or(0, |bank| bank.len() as u64);
        if there >= size {
            return;
        }
        let end = size.min(there + PART);
        let items = (there..end).map(|n| {
            Item::Signal(Listed {
                place: Place::Line(n + 1),
                hash: hash(n),
                quality: Some(100),
                at: Some(Duration::from_millis(n % SIGNALS_A_FILE * 50)),
                opinion: None,
                source: Some(provenance(n / SIGNALS_A_FILE)),
                record: None,
            })
        });
        let list = Read { items: items.collect(), ..Read::default() };
        let import = Import { provenance: provenance(0), opinion: Opinion::Positive, list, whole: None };
        let (_, spent) = timed(|| store.import(name, &Changes::default(), import, Timestamp::ZERO).unwrap());
        say(end, "import_s", spent.as_secs_f64(), &json!({ "signals": end - there }));
    }
}

fn provenance(file: u64) -> Provenance {
    Provenance { file: format!("video-{file}.mp4"), sha256: format!("{file:064x}") }
}

/// One of random bits, another for each `n`, fit to be banked.
fn hash(n: u64) -> PdqHash {
    let mut state = n.wrapping_mul(0xd134_2543_de82_ef95);
    loop {
        let words = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        });
        let hash = PdqHash::from_words(words);
        if hash.ones().abs_diff(128) <= 16 {
            return hash;
        }
    }
}

fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let clock = Clock::system();
    let began = clock.now();
    let value = work();
    (value, clock.now().since(began))
}

/// The CPU time of this thread so far.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn say_all(of: u64, what: &str, mut times: Vec<Duration>) {
    times.sort();
    let slowest = times.last().unwrap().as_secs_f64();
    let median = times.get(times.len() / 2).unwrap().as_secs_f64();
    say(of, what, median, &json!({ "slowest": slowest, "rounds": ROUNDS }));
}

fn say(of: u64, what: &str, value: f64, more: &Value) {
    println!("{}", json!({ "of": of, "what": what, "value": value, "more": more }));
}
