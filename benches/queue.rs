//! What it costs to hand work from a source to a decoder: alone, with many streams, and against others.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::sample::queue::{Mailbox, Priority, Queue};

type Line = (Queue<usize, u64>, Vec<Mailbox<usize, u64>>);

fn line(streams: usize) -> Line {
    let queue = Queue::new(NonZeroUsize::MIN.saturating_add(streams - 1));
    let mailboxes = (0..streams).filter_map(|key| queue.open(key).ok()).collect();
    (queue, mailboxes)
}

/// One thread offers to every stream, and takes everything.
fn alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("offer and take");
    for streams in [1, 1000] {
        let (queue, mailboxes) = line(streams);
        group.throughput(Throughput::Elements(streams as u64));
        group.bench_function(format!("{streams} streams"), |bencher| {
            bencher.iter(|| {
                for mailbox in &mailboxes {
                    black_box(mailbox.offer(7, Priority::Ordinary));
                }
                for _ in &mailboxes {
                    black_box(queue.take(Duration::ZERO, |_work| true));
                }
            });
        });
    }
    group.finish();
}

/// The same for one stream while another thread floods the other streams and a third takes.
fn contended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("offer, against a flood and a taker");
    for streams in [2, 1000] {
        let (queue, mailboxes) = line(streams);
        let Some((mine, others)) = mailboxes.split_first() else { continue };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for mailbox in others {
                        black_box(mailbox.offer(7, Priority::Ordinary));
                    }
                }
            });
            scope.spawn(|| while queue.take(Duration::from_secs(1), |_work| true).is_some() || !queue.is_closed() {});
            group.bench_function(format!("{streams} streams"), |bencher| {
                bencher.iter(|| black_box(mine.offer(7, Priority::Ordinary)));
            });
            over.store(true, Ordering::Relaxed);
            queue.close();
        });
    }
    group.finish();
}

criterion_group!(benches, alone, contended);
criterion_main!(benches);
