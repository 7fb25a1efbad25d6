//! Bytes that somebody put where a bank's index is: at their word, and as changes to a real one.
#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use sluicegate::bank::index::{Fault, Index};
use sluicegate::hash::PdqHash;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = ask(&aligned(bytes));

    // A real file, and where in it which byte is how much different: every change must be noticed.
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    let real = REAL.get_or_init(real);
    let mut changed = real.clone();
    for change in bytes.chunks_exact(5).take(8) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize % changed.len();
        changed[at] ^= change[4];
    }
    let intact = changed == *real;
    assert_eq!(ask(&aligned(&changed)).is_ok(), intact);
});

/// What it takes for an index must be one that can be asked.
fn ask(file: &Bytes) -> Result<(), Fault> {
    let (index, _) = Index::read(file)?;
    for distance in [0, 31, 63] {
        index.nearest(&PdqHash::ZERO, distance);
        index.within(&PdqHash::ZERO, distance, |_, _| {});
    }
    Ok(())
}

/// With a cluster and without a seed, so that it is the same every time.
fn real() -> Vec<u8> {
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hashes = (0..4000).map(|n| if n % 2 == 0 { [0, 0, 0, n % 64] } else { [spread(n), !spread(n), n, spread(n * n)] });
    let hashes: Vec<PdqHash> = hashes.map(PdqHash::from_words).collect();
    let index = Index::build(hashes.into_iter()).expect("a few thousand are not too many");
    index.file([7; 32]).concat()
}

/// As a map would be.
fn aligned(file: &[u8]) -> Bytes {
    let mut memory = vec![0; file.len() + 8];
    let start = memory.as_ptr().align_offset(8);
    memory[start..start + file.len()].copy_from_slice(file);
    Bytes::from(memory).slice(start..start + file.len())
}
