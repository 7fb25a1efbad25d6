//! The way to work on any machine: what the others are held to, in a shape that compilers make wide instructions of.

use super::{BLOCK, Rows, UNIT, Windows};

/// Rows that are added up in one go, so that sums are fetched and put back less often.
const TOGETHER: usize = 4;

pub(super) fn down(rows: Rows<'_>, sums: &mut [i16]) -> Option<()> {
    sums.fill(rows.lost());
    let columns = sums.len();
    let row = |at: usize| rows.data.get(at * rows.stride..)?.get(..columns);
    let (groups, left) = rows.weights.as_chunks::<TOGETHER>();
    for (group, &[first, second, third, fourth]) in groups.iter().enumerate() {
        let at = TOGETHER * group;
        let (upper, lower) = (row(at)?.iter().zip(row(at + 1)?), row(at + 2)?.iter().zip(row(at + 3)?));
        for (sum, ((&top, &second_row), (&third_row, &bottom))) in sums.iter_mut().zip(upper.zip(lower)) {
            let upper = weighted(top, first).wrapping_add(weighted(second_row, second));
            let lower = weighted(third_row, third).wrapping_add(weighted(bottom, fourth));
            *sum = sum.wrapping_add(upper.wrapping_add(lower));
        }
    }
    for (at, &weight) in left.iter().enumerate() {
        for (sum, &value) in sums.iter_mut().zip(row(TOGETHER * groups.len() + at)?) {
            *sum = sum.wrapping_add(weighted(value, weight));
        }
    }
    Some(())
}

/// The upper half of the product of a sample less 128, moved up by eight bits, and a weight.
#[inline]
fn weighted(value: u8, weight: i16) -> i16 {
    let centred = (i16::from(value) - 128) << 8;
    ((i32::from(centred) * i32::from(weight)) >> 16) as i16
}

pub(super) fn across(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    match windows.blocks {
        1 => across_blocks::<1>(row, windows, out),
        2 => across_blocks::<2>(row, windows, out),
        3 => across_blocks::<3>(row, windows, out),
        _ => across_many(row, windows, out),
    }
}

/// For a number of blocks that the compiler knows: no loop is left, which is three times as fast.
fn across_blocks<const BLOCKS: usize>(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    let (weights, _) = windows.weights.as_chunks::<BLOCKS>();
    for ((out, &start), weights) in out.iter_mut().zip(&windows.starts).zip(weights) {
        let values = row.get(start..)?.as_chunks::<BLOCK>().0.first_chunk::<BLOCKS>()?;
        // Neighbours are added in pairs, in as many sums as there are pairs: machines have an instruction for that.
        let mut sums = [0_i32; BLOCK / 2];
        for (values, weights) in values.iter().zip(weights) {
            let product = |i: usize| i32::from(values[i]) * i32::from(weights[i]);
            for (sum, i) in sums.iter_mut().zip(0..) {
                *sum += product(2 * i) + product(2 * i + 1);
            }
        }
        *out = sums.iter().sum::<i32>() as f32 * UNIT;
    }
    Some(())
}

fn across_many(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    let weights = windows.weights.chunks_exact(windows.blocks.max(1));
    for ((out, &start), weights) in out.iter_mut().zip(&windows.starts).zip(weights) {
        let values = row.get(start..)?.get(..windows.blocks * BLOCK)?;
        let sum: i32 = values.iter().zip(weights.as_flattened()).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        *out = sum as f32 * UNIT;
    }
    Some(())
}
