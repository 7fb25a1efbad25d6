//! A hasher allocates for the first picture of a size and for none after it, whichever way that takes.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![expect(unsafe_code, reason = "an allocator is told to the language so")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sluicegate::hash::{Hasher, Luma, Pixels, Rgb};
use sluicegate::picture::ColourRange;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// The system's, counting on each thread what is asked of it.
struct Counting;

// SAFETY: the system's allocator does the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATED.get();
    work();
    ALLOCATED.get() - before
}

/// Pictures of one size: one with much to see, one that shows nothing and so must be hashed the long way.
fn pictures(width: usize, height: usize) -> [Vec<u8>; 2] {
    let wave = |at: usize| 127.0 + 120.0 * ((at % width) as f64 / 17.0).sin() * ((at / width) as f64 / 23.0).cos();
    [(0..width * height * 3).map(|at| wave(at / 3) as u8 ^ (at % 7) as u8).collect(), vec![77; width * height * 3]]
}

#[derive(Clone, Copy)]
enum Kind {
    Grey,
    Video,
    Rgb,
}

impl Kind {
    fn view(self, data: &[u8], width: usize, height: usize) -> Pixels<'_> {
        let luma = || Luma::new(data, width, height, width).unwrap();
        match self {
            Self::Grey => luma().into(),
            Self::Video => luma().in_range(ColourRange::Limited).into(),
            Self::Rgb => Rgb::new(data, width, height).unwrap().into(),
        }
    }
}

#[test]
fn a_hasher_allocates_nothing_after_the_first_picture_of_a_size() {
    for (width, height) in [(640, 360), (1920, 1080), (100, 75), (64, 64)] {
        let pictures = pictures(width, height);
        for kind in [Kind::Grey, Kind::Video, Kind::Rgb] {
            let mut hasher = Hasher::new();
            let mut hash = |data| match kind.view(data, width, height) {
                Pixels::Luma(luma) => hasher.luma(luma),
                Pixels::Rgb(rgb) => hasher.rgb(rgb),
            };
            hash(&pictures[0]);
            let later = allocations(|| {
                for data in pictures.iter().cycle().take(4) {
                    hash(data);
                }
            });
            assert_eq!(later, 0, "{width}x{height}");
        }
    }
}

#[test]
fn nor_does_it_for_variants_once_some_had_to_be_turned() {
    let (width, height) = (640, 360);
    let pictures = pictures(width, height);
    for kind in [Kind::Grey, Kind::Video, Kind::Rgb] {
        let mut hasher = Hasher::new();
        hasher.dihedral(kind.view(&pictures[1], width, height));
        assert_eq!(hasher.retaken(), 8);
        let later = allocations(|| {
            for data in pictures.iter().cycle().take(4) {
                hasher.dihedral(kind.view(data, width, height));
            }
        });
        assert_eq!(later, 0);
    }
}
