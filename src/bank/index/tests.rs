//! The index against a scan, on what is usual, what is real and what would break it.

mod file;

use proptest::collection::vec;
use proptest::prelude::*;

use super::bands::{BANDS, Limits, banded, distance, unbanded};
use super::gather::Gathering;
use super::*;
use crate::bank::Scan;
use crate::hash::Hasher;

/// A stream of bits that looks like chance.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn hash(&mut self) -> PdqHash {
        PdqHash::from_words(std::array::from_fn(|_| self.next()))
    }

    /// As of a real picture: 128 bits are set.
    fn healthy(&mut self) -> PdqHash {
        let mut hash = self.hash();
        while hash.ones() != 128 {
            let changed = self.near(&hash, 1);
            if changed.ones().abs_diff(128) < hash.ones().abs_diff(128) {
                hash = changed;
            }
        }
        hash
    }

    /// At most `changes` bits away.
    fn near(&mut self, hash: &PdqHash, changes: u64) -> PdqHash {
        let mut words = *hash.words();
        for _ in 0..changes {
            let bit = (self.next() & 255) as usize;
            words[bit / 64] ^= 1 << (bit % 64);
        }
        PdqHash::from_words(words)
    }

    /// Any of what is asked for at all, from the very same to everything.
    fn some_near(&mut self, hash: &PdqHash, most: u64) -> PdqHash {
        let changes = self.next() % (most + 1);
        self.near(hash, changes)
    }
}

/// Pulls together whatever is only a little crowded, so that few entries make many clusters.
const EAGER: Gathering = Gathering { every: 1, sample: 1 << 14, crowd: 3, comparisons: 1 << 30 };

/// Leaves everything in the bands.
const NONE: Gathering = Gathering { every: 1, sample: 0, crowd: usize::MAX, comparisons: 0 };

fn sorted<T: Ord>(mut found: Vec<T>) -> Vec<T> {
    found.sort_unstable();
    found
}

/// Both ways through the index, its own and through its scan, against [`Scan`]; few entries are not worth an index, so the choice
/// is left out. With all kinds of clusters.
fn check(hashes: &[PdqHash], queries: &[PdqHash], distances: &[u32]) {
    for gathering in [Gathering::USUAL, EAGER, NONE] {
        check_index(&Index::arrange(hashes.iter().copied(), gathering).unwrap(), hashes, queries, distances);
    }
}

fn check_index(index: &Index, hashes: &[PdqHash], queries: &[PdqHash], distances: &[u32]) {
    let scan: Scan = hashes.iter().copied().collect();
    assert!(index.iter().eq(hashes.iter().copied()));
    for &distance in distances {
        let (mut expected, mut chosen, mut in_parts) = (Vec::new(), Vec::new(), Vec::new());
        for (n, query) in queries.iter().enumerate() {
            scan.within(query, distance, |place, apart| expected.push((n, place as u32, apart)));
            let nearest = |kept: fn(u32) -> bool| {
                let place_first = |(place, apart)| (place as u32, apart);
                scan.nearest_where(query, distance, |place| kept(place as u32)).map(place_first)
            };
            let odd = |place: u32| place % 2 == 1;
            assert_eq!(index.nearest(query, distance), nearest(|_| true), "at {distance}");
            assert_eq!(index.nearest_where(query, distance, odd), nearest(odd), "of the odd at {distance}");
            if distance <= 63 {
                assert_eq!(
                    index.nearest_in_parts(query, distance, &|_| true),
                    nearest(|_| true),
                    "in parts at {distance}"
                );
                assert_eq!(
                    index.nearest_in_parts(query, distance, &odd),
                    nearest(odd),
                    "of the odd in parts at {distance}"
                );
            }
        }
        index.within_all(queries, distance, |n, place, apart| chosen.push((n, place, apart)));
        assert_eq!(sorted(chosen), expected, "at {distance}");
        if distance <= 63 {
            index.within_all_in_parts(queries, distance, |n, place, apart| in_parts.push((n, place, apart)));
            assert_eq!(sorted(in_parts), expected, "in parts at {distance}");
        }
    }
}

/// Around every place where the way of searching changes.
const DISTANCES: [u32; 12] = [0, 1, 2, 15, 16, 30, 31, 32, 47, 63, 64, 256];

/// What breaks a search by bands, if anything does.
#[derive(Debug, Clone, Copy)]
enum Content {
    Chance,
    Healthy,
    Cluster,
    OneBandAlike,
    Degenerate,
    Odd,
    /// Several clusters, loose and dense, among strangers.
    Clusters,
    /// A dense cluster inside a loose one, and many entries that are one and the same.
    Nested,
    Identical,
    /// Each near the one before it, and nothing near all of them: a video from somebody's hand.
    Chain,
}

const CONTENTS: [Content; 10] = [
    Content::Chance,
    Content::Healthy,
    Content::Cluster,
    Content::OneBandAlike,
    Content::Degenerate,
    Content::Odd,
    Content::Clusters,
    Content::Nested,
    Content::Identical,
    Content::Chain,
];

fn entries(content: Content, count: u64, bits: &mut Bits) -> Vec<PdqHash> {
    let centre = bits.healthy();
    let alike = banded(&centre);
    let centres: [PdqHash; 5] = std::array::from_fn(|_| bits.healthy());
    let off_centre = bits.near(&centre, 20);
    let mut last = centre;
    let mut entry = |n: u64| match content {
        Content::Chance => bits.hash(),
        Content::Healthy => bits.healthy(),
        Content::Cluster => bits.some_near(&centre, 34),
        Content::OneBandAlike => {
            let [_, b, c, d] = banded(&bits.hash());
            unbanded(&[alike[0], b, c, d])
        }
        Content::Degenerate if n.is_multiple_of(3) => bits.some_near(&PdqHash::ZERO, 20),
        Content::Degenerate if n % 3 == 1 => bits.some_near(&PdqHash::from_words([u64::MAX; 4]), 20),
        Content::Degenerate => PdqHash::ZERO,
        Content::Odd => {
            let hash = bits.some_near(&centre, 40);
            if hash.ones() % 2 == 1 { hash } else { bits.near(&hash, 1) }
        }
        Content::Clusters if n.is_multiple_of(4) => bits.healthy(),
        Content::Clusters => bits.some_near(&centres[n as usize % 5], 12 * (1 + n % 5)),
        Content::Nested => match n % 3 {
            0 => bits.some_near(&centre, 60),
            1 => bits.some_near(&off_centre, 6),
            _ => off_centre,
        },
        Content::Identical => centre,
        Content::Chain => {
            last = bits.some_near(&last, 24);
            last
        }
    };
    (0..count).map(&mut entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn finds_what_a_scan_finds(
        seed: u64,
        count in 0u64..400,
        content in proptest::sample::select(&CONTENTS[..]),
        away in vec(0u64..70, 1..4),
        distance in 0u32..=64,
    ) {
        let mut bits = Bits(seed);
        let hashes = entries(content, count, &mut bits);
        let mut queries = vec![bits.hash(), PdqHash::ZERO];
        queries.extend(away.iter().zip(&hashes).map(|(away, hash)| bits.near(hash, *away)));
        check(&hashes, &queries, &[distance, 31]);
    }

    #[test]
    fn arranging_the_bits_keeps_distances_and_can_be_undone(a: [u64; 4], b: [u64; 4]) {
        let (a, b) = (PdqHash::from_words(a), PdqHash::from_words(b));
        prop_assert_eq!(distance(&banded(&a), &banded(&b)), a.distance(&b));
        prop_assert!(unbanded(&banded(&a)) == a);
    }

    #[test]
    fn every_match_is_shown_by_a_band(seed: u64, distance in 0u32..=63) {
        let mut bits = Bits(seed);
        let limits = Limits::within(distance);
        prop_assert_eq!((0..BANDS).map(|n| limits.one(n)).sum::<u32>(), distance + 1);
        let difference = banded(&bits.near(&PdqHash::ZERO, u64::from(distance)));
        prop_assert!(limits.shown_by(&difference).is_some());
    }
}

#[test]
fn a_crowd_is_found_whole() {
    let mut bits = Bits(1);
    for content in CONTENTS {
        let hashes = entries(content, 2000, &mut bits);
        let queries = [hashes[0], bits.near(&hashes[1], 9), bits.near(&hashes[2], 25)];
        check(&hashes, &queries, &DISTANCES);
    }
}

#[test]
fn a_bank_large_enough_for_the_choice_to_fall_on_the_bands_is_searched_exactly() {
    let mut bits = Bits(2);
    let mut hashes = entries(Content::Healthy, 60_000, &mut bits);
    hashes.extend(entries(Content::Cluster, 600, &mut bits));
    let queries: Vec<_> = [5, 700, 60_001, 60_400].iter().map(|at| bits.some_near(&hashes[*at], 40)).collect();
    check(&hashes, &queries, &[0, 15, 31, 40]);
}

#[test]
fn what_is_dense_is_pulled_out_of_the_bands_and_nothing_else() {
    let mut bits = Bits(6);
    let pulled = |hashes: Vec<PdqHash>| {
        let index = Index::build(hashes.into_iter()).unwrap();
        (index.shape.clusters(), index.len() - index.shape.banded())
    };
    assert_eq!(pulled(entries(Content::Healthy, 30_000, &mut bits)), (0, 0));
    assert_eq!(pulled(entries(Content::Identical, 3000, &mut bits)), (1, 3000));
    let mut hashes = entries(Content::Healthy, 30_000, &mut bits);
    let crowd = entries(Content::Cluster, 600, &mut bits);
    for (n, hash) in crowd.into_iter().enumerate() {
        hashes.insert(n * 50, hash);
    }
    assert_eq!(pulled(hashes), (1, 600));
    let (clusters, members) = pulled(entries(Content::Clusters, 20_000, &mut bits));
    assert!(clusters >= 5 && members > 12_000, "{members} in {clusters} clusters");
}

/// Blotches that drift, as successive pictures of a video do, and now and then a cut.
fn frames() -> Vec<PdqHash> {
    let mut hasher = Hasher::new();
    let frame = |t: usize| {
        let scene = (t / 40) as u64;
        let luma = move |x: usize, y: usize| {
            let (x, y) = ((x + t % 40) as f32 / 9.0, (y + t % 40 / 3) as f32 / 7.0);
            let phase = scene as f32 * 1.7;
            let waves = (x + phase).sin() + (y * 1.3 - phase).cos() + ((x * y) / 11.0 + phase * 2.0).sin();
            (127.0 + 40.0 * waves).clamp(0.0, 255.0) as u8
        };
        (0..72).flat_map(move |y| (0..128).map(move |x| luma(x, y))).collect::<Vec<u8>>()
    };
    let picture = |t| crate::picture::Picture {
        sequence: t as u64,
        pts: None,
        arrived: crate::clock::Timestamp::ZERO,
        luma: crate::picture::Plane { data: frame(t).into(), width: 128, height: 72, stride: 128 },
        chroma: None,
        range: crate::picture::ColourRange::Full,
    };
    (0..400).map(|t| hasher.picture(&picture(t)).unwrap().hash).collect()
}

#[test]
fn hashes_of_pictures_are_found() {
    let mut bits = Bits(3);
    let frames = frames();
    let mut queries: Vec<_> = frames.iter().step_by(37).copied().collect();
    queries.extend(frames.iter().step_by(41).map(|hash| bits.some_near(hash, 31)));
    check(&frames, &queries, &DISTANCES);
}

#[test]
fn the_kernels_agree() {
    let mut bits = Bits(4);
    for _ in 0..200 {
        let next: Vec<u16> = (0..500).map(|_| bits.next() as u16 & 0x0f0f).collect();
        let buckets: Vec<_> = (0..20)
            .map(|_| {
                let start = (bits.next() % 400) as u32;
                simd::Bucket { start, end: start + (bits.next() % 68) as u32, limit: (bits.next() % 8) as u32 }
            })
            .collect();
        let word = bits.next() as u16 & 0x0f0f;
        let slow = buckets.iter().flat_map(|bucket| (bucket.start..bucket.end).map(move |at| (at, bucket.limit)));
        let slow: Vec<u32> =
            slow.filter(|(at, limit)| (next[*at as usize] ^ word).count_ones() <= *limit).map(|(at, _)| at).collect();
        for (sift, _) in simd::kernels() {
            let mut near = Vec::new();
            sift(&next, &buckets, word, &mut near);
            assert_eq!(near, slow);
        }
        let hashes: Vec<Banded> = (0..8 * (bits.next() % 9)).map(|_| banded(&bits.hash())).collect();
        let (query, distance) = (banded(&bits.hash()), 96 + (bits.next() % 64) as u32);
        let apart = (0..).zip(&hashes).map(|(at, hash)| simd::Near { at, apart: bands::distance(hash, &query) });
        let slow: Vec<_> = apart.filter(|near| near.apart <= distance).collect();
        for (_, compare) in simd::kernels() {
            let mut near = Vec::new();
            compare(&gather::blocks(hashes.iter().copied()), &query, distance, &mut near);
            assert_eq!(near, slow);
        }
    }
}

#[test]
fn no_hash_of_an_index_shows_in_logs() {
    let index = Index::build([PdqHash::from_words([1234; 4])].into_iter()).unwrap();
    let shown = format!("{:?}", Live::new(index).with([PdqHash::from_words([5678; 4])]));
    assert!(shown.contains("1 entries") && !shown.contains("1234") && !shown.contains("5678"), "{shown}");
}

#[derive(Debug, Clone)]
enum Change {
    Add(u64),
    Remove(u32),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_changed_index_finds_what_a_scan_of_what_is_left_finds(
        seed: u64,
        changes in vec(
            prop_oneof![
                (0u64..40).prop_map(Change::Add),
                (0u32..250).prop_map(Change::Remove),
            ],
            0..25,
        ),
        content in proptest::sample::select(&CONTENTS[..]),
        distance in 0u32..=63,
    ) {
        let mut bits = Bits(seed);
        let first = entries(content, 200, &mut bits);
        let centre = first[0];
        let mut left: Vec<Option<PdqHash>> = first.iter().copied().map(Some).collect();
        let mut live = Live::new(Index::arrange(first.into_iter(), EAGER).unwrap());
        for change in changes {
            live = match change {
                Change::Add(away) => {
                    let hash = bits.near(&centre, away);
                    left.push(Some(hash));
                    live.with([hash])
                }
                Change::Remove(place) => {
                    if let Some(entry) = left.get_mut(place as usize) {
                        *entry = None;
                    }
                    live.without([place])
                }
            };
            prop_assert_eq!(live.places(), left.len());
        }
        for query in [centre, bits.near(&centre, 20)] {
            let mut expected: Vec<(u32, u32)> = (0..)
                .zip(&left)
                .filter_map(|(place, entry)| Some((entry.as_ref()?.distance(&query), place)))
                .filter(|(apart, _)| *apart <= distance)
                .collect();
            expected.sort_unstable();
            let mut found = Vec::new();
            live.within(&query, distance, |place, apart| found.push((apart, place)));
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            for every in [1, 3] {
                let wanted = |place: u32| place.is_multiple_of(every);
                let nearest = expected.iter().find(|(_, place)| wanted(*place)).map(|(apart, place)| (*place, *apart));
                prop_assert_eq!(live.nearest(&query, distance, wanted), nearest);
            }
        }
    }
}
