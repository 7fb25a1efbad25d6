//! How long it takes to find the nearest of many hashes within 31 bits, by a scan and by the index, and to build the index.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::bank::Scan;
use sluicegate::bank::index::Index;
use sluicegate::hash::{MATCH_DISTANCE, PdqHash};

const SEED: u64 = 1;

fn hashes(count: u32, seed: u64) -> impl ExactSizeIterator<Item = PdqHash> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    (0..count).map(move |_| PdqHash::from_words([next(), next(), next(), next()]))
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    for count in [10_000, 100_000, 1_000_000] {
        let scan: Scan = hashes(count, SEED).collect();
        // The usual case: a picture that no bank knows.
        let stranger = PdqHash::from_words([0x0123_4567_89ab_cdef; 4]);
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| scan.nearest(black_box(&stranger), MATCH_DISTANCE));
        });
    }
    group.finish();
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    for count in [10_000, 100_000, 1_000_000] {
        let Some(index) = Index::build(hashes(count, SEED)) else { continue };
        // Strangers, and never the same one twice in a row: a query must not find its buckets in the cache.
        let strangers: Vec<PdqHash> = hashes(1000, 2).collect();
        let mut turn = strangers.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| turn.next().and_then(|stranger| index.nearest(black_box(stranger), MATCH_DISTANCE)));
        });
    }
    group.sample_size(10).bench_function("build/1000000", |b| {
        b.iter(|| Index::build(hashes(1_000_000, SEED)));
    });
    group.finish();
}

criterion_group!(benches, scan, index);
criterion_main!(benches);
