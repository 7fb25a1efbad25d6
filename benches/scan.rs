//! How long it takes to find the nearest of many hashes within 31 bits.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::bank::Scan;
use sluicegate::hash::{MATCH_DISTANCE, PdqHash};

fn hashes(count: u64) -> impl Iterator<Item = PdqHash> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    (0..count).map(move |_| PdqHash::from_words([next(), next(), next(), next()]))
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    for count in [10_000, 100_000, 1_000_000] {
        let scan: Scan = hashes(count).collect();
        // The usual case: a picture that no bank knows.
        let stranger = PdqHash::from_words([0x0123_4567_89ab_cdef; 4]);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| scan.nearest(black_box(&stranger), MATCH_DISTANCE));
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
