//! Every way to work gives the same bits.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn every() -> Vec<Kernel> {
    let found: Vec<_> = Kernel::found().collect();
    if found.len() < 2 {
        println!("this machine lacks AVX2: only {found:?} is tested");
    }
    found
}

proptest! {
    #[test]
    fn rows_are_added_up_alike(
        (width, more) in (1_usize..200, 0_usize..9),
        weights in vec(any::<i16>(), 1..20),
        seed in any::<u32>(),
    ) {
        let stride = width + more;
        let data: Vec<u8> = (0..weights.len() * stride)
            .map(|at| (seed.wrapping_add(at as u32).wrapping_mul(0x9E37_79B9) >> 24) as u8)
            .collect();
        let rows = Rows { data: &data, stride, weights: &weights };
        let mut expected = vec![0; width];
        scalar::down(rows, &mut expected).unwrap();
        for kernel in every() {
            let mut sums = vec![0; width];
            prop_assert_eq!(kernel.down(rows, &mut sums), Some(()));
            prop_assert_eq!(&sums, &expected, "{:?}", kernel);
            // A row that ends too early is told, not read beyond.
            let needed = (weights.len() - 1) * stride + width;
            let short = Rows { data: &data[..needed - 1], ..rows };
            prop_assert_eq!(kernel.down(short, &mut sums), None, "{:?}", kernel);
        }
    }

    #[test]
    fn windows_are_added_up_alike(
        blocks in 1_usize..6,
        row in vec(-10_240_i16..10_240, 80..300),
        places in vec(any::<prop::sample::Index>(), 1..40),
        weights in vec(-4_000_i16..20_000, 5 * BLOCK),
    ) {
        let outputs = places.len().next_multiple_of(GROUP);
        let mut starts: Vec<usize> = places.iter().map(|at| at.index(row.len() - blocks * BLOCK + 1)).collect();
        starts.resize(outputs, 0);
        // Weights that add up to about one, as those of a filter do: no sum overflows.
        let small: Vec<i16> = weights.iter().map(|weight| weight / (blocks * BLOCK) as i16).collect();
        let weights = (0..outputs * blocks).map(|at| std::array::from_fn(|i| small[(at + i) % small.len()])).collect();
        let windows = Windows { starts, blocks, weights };
        let mut expected = vec![0.0; outputs];
        scalar::across(&row, &windows, &mut expected).unwrap();
        for kernel in every() {
            let mut out = vec![0.0; outputs];
            prop_assert_eq!(kernel.across(&row, &windows, &mut out), Some(()));
            prop_assert_eq!(&out, &expected, "{:?}", kernel);
            let end = windows.starts.iter().max().unwrap() + blocks * BLOCK;
            prop_assert_eq!(kernel.across(&row[..end - 1], &windows, &mut out), None, "{:?}", kernel);
        }
    }
}
