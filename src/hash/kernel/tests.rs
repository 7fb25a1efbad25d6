//! Each operation gives the same bits on every machine.

use super::*;
use crate::hash::pixels;

fn bits(values: [f32; LANES]) -> [u32; LANES] {
    values.map(f32::to_bits)
}

struct Divide {
    values: Line,
    divisor: f32,
}

impl Task for Divide {
    type Out = Line;

    fn run<L: Lanes>(self, lanes: L) -> Line {
        let mut quotients = Line::default();
        let quotient =
            lanes.divide(lanes.load(&self.values), lanes.splat(self.divisor), lanes.splat(1.0 / self.divisor));
        lanes.store(quotient, &mut quotients);
        quotients
    }
}

#[test]
fn division_is_rounded_as_ieee_says() {
    // Halving changes no mantissa, so odd divisors stand for all, and one power of two for every value.
    for divisor in (1..=LARGEST_DIVISOR).step_by(2).chain([1000]).map(|divisor| divisor as f32) {
        for kernel in all() {
            for start in (0..1u32 << 23).step_by(104_729) {
                let values =
                    Line(std::array::from_fn(|i| f32::from_bits(134 << 23 | (start + 6151 * i as u32) & 0x7f_ffff)));
                let quotients = kernel.run(Divide { values, divisor });
                for (value, quotient) in values.0.iter().zip(quotients.0) {
                    assert_eq!(quotient.to_bits(), (value / divisor).to_bits(), "{kernel:?}: {value} / {divisor}");
                }
            }
        }
    }
}

struct LumaOf([[u8; 3]; LANES]);

impl Task for LumaOf {
    type Out = Line;

    fn run<L: Lanes>(self, lanes: L) -> Line {
        let mut luma = Line::default();
        lanes.store(lanes.luma(&self.0), &mut luma);
        luma
    }
}

#[test]
fn luma_is_the_same_for_every_colour() {
    for kernel in all() {
        for red in 0..=255u8 {
            // Every green and blue with every sixteenth red; the rest is coarser, to be quick.
            let step = if red % 16 == 0 { 1 } else { 17 };
            for green in (0..=255u8).step_by(step) {
                for blue in (0..=255u8).step_by(LANES) {
                    let colours = std::array::from_fn(|i| [red, green, blue + i as u8]);
                    assert_eq!(bits(kernel.run(LumaOf(colours)).0), bits(colours.map(pixels::luma_of)), "{kernel:?}");
                }
            }
        }
    }
}

struct Words([[u8; LANES]; LANES]);

impl Task for Words {
    type Out = [[Line; LANES]; 3];

    /// As floats: transposed as words, expanded, and transposed as floats.
    fn run<L: Lanes>(self, lanes: L) -> Self::Out {
        let mut out = [[Line::default(); LANES]; 3];
        let words = self.0.each_ref().map(|row| lanes.widen(row));
        for (i, columns) in lanes.transpose_words(words).into_iter().enumerate() {
            lanes.store(lanes.floats(columns), &mut out[0][i]);
            lanes.store(lanes.floats(lanes.expand(words[i])), &mut out[1][i]);
        }
        for (columns, to) in lanes.transpose(words.map(|words| lanes.floats(words))).into_iter().zip(&mut out[2]) {
            lanes.store(columns, to);
        }
        out
    }
}

#[test]
fn words_are_moved_and_expanded_alike() {
    let rows: [[u8; LANES]; LANES] = std::array::from_fn(|y| std::array::from_fn(|x| (LANES * y + x) as u8));
    for kernel in all() {
        let [words, expanded, floats] = kernel.run(Words(rows));
        for (i, row) in rows.iter().enumerate() {
            let column = rows.map(|row| f32::from(row[i]));
            assert_eq!((words[i].0, floats[i].0), (column, column), "{kernel:?}");
            let full = row.map(|value| f32::from(pixels::full_from_limited(u16::from(value))));
            assert_eq!(bits(expanded[i].0), bits(full), "{kernel:?}");
        }
    }
}
