//! The file of an index: what was written reads back, and of everything else it is said what it is.

use bytes::Bytes;
use proptest::prelude::*;

use crate::bank::index::gather::Gathering;
use crate::bank::index::image::{Aligned, HEADER, of_version};
use crate::bank::index::{Built, Fault, Index};
use crate::hash::PdqHash;

const BUILT: Built = [7; 32];

/// Some strangers, and two clusters.
fn hashes() -> Vec<PdqHash> {
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let strangers = (1..60).map(|n| PdqHash::from_words([spread(n), spread(n + 99), !spread(n), spread(n * n)]));
    let crowd = (0..40).map(|n| PdqHash::from_words([u64::MAX * (n % 2), 0, 1 << n, u64::MAX]));
    strangers.chain(crowd).collect()
}

/// As a map of it would be: aligned.
fn aligned(file: &[u8]) -> Bytes {
    let mut memory = Aligned::zeroed(file.len());
    memory.as_mut()[..file.len()].copy_from_slice(file);
    Bytes::from_owner(memory).slice(..file.len())
}

fn whole() -> Bytes {
    let gathering = Gathering { every: 1, sample: 100, crowd: 3, comparisons: 1 << 20 };
    let index = Index::arrange(hashes().into_iter(), gathering).unwrap();
    assert_eq!(index.shape.clusters(), 2);
    aligned(&index.file(BUILT).concat())
}

fn fault(file: &[u8]) -> Option<Fault> {
    Index::read(&aligned(file)).err()
}

#[test]
fn an_index_reads_back() {
    let (read, built) = Index::read(&whole()).unwrap();
    assert_eq!((read.len(), built), (99, BUILT));
    assert!(read.iter().eq(hashes()));
    for (place, hash) in (0..).zip(hashes()) {
        assert_eq!(read.nearest_in_parts(&hash, 31, &|_| true), Some((place, 0)));
    }
}

#[test]
fn anything_else_is_refused_by_what_it_is() {
    let whole = whole();
    for end in [0, 1, 7, 8, 100, HEADER - 1, HEADER, HEADER + 1, whole.len() - 1] {
        assert_eq!(fault(&whole[..end]), Some(Fault::CutShort), "at {end} of {}", whole.len());
    }
    assert_eq!(fault(b"\x7fELF"), Some(Fault::Foreign));
    assert_eq!(fault(&[&whole[..], &[0]].concat()), Some(Fault::Altered));
    assert_eq!(fault(&of_version(&whole, 1)), Some(Fault::Older(1)));
    assert_eq!(fault(&of_version(&whole, 3)), Some(Fault::Newer(3)));
    let askew = Bytes::from([&[0], &whole[..]].concat()).slice(1..);
    let either = Index::read(&askew).err();
    assert!(either == Some(Fault::Altered) || askew.as_ptr().addr().is_multiple_of(8), "it is not aligned");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_byte_can_change_unnoticed(
        changes in proptest::collection::vec((0.0..1.0f64, prop_oneof![1 => Just(0.0), 3 => 0.0..1.0f64], 1u8..), 1..4),
        kept in prop_oneof![2 => Just(1.0), 1 => 0.0..1.0f64],
    ) {
        let whole = whole();
        let mut file = whole.to_vec();
        for (header, body, change) in changes {
            // Half of them in the header, which is most of what is believed.
            let at = if body == 0.0 { header * HEADER as f64 } else { body * file.len() as f64 };
            file[at as usize] ^= change;
        }
        file.truncate((kept * file.len() as f64) as usize);
        if file != whole {
            prop_assert!(fault(&file).is_some());
        }
    }

    /// A forger can compute checksums: what they write may match the wrong things, and do nothing worse.
    #[test]
    fn an_index_of_anything_can_be_asked(noise: Vec<(usize, u64)>, query: [u64; 4], distance in 0u32..=64) {
        let (index, _) = Index::read(&whole()).unwrap();
        let mut body = index.body.to_vec();
        for (at, value) in noise {
            let at = at % (body.len() - 8);
            body[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let forged = Index { body: aligned(&body), ..index };
        for query in [PdqHash::from_words(query), hashes()[70]] {
            forged.within(&query, distance, |_, _| {});
            forged.within_all_in_parts(&[query], distance.min(63), |_, _, _| {});
            forged.nearest_in_parts(&query, distance.min(63), &|_| true);
        }
    }
}
