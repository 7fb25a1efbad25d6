//! The way to work on any machine: plain loops, which the compiler makes of them what it can.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

use super::{LANES, Lanes, Line, Shorts, Task};
use crate::hash::pixels;

/// No instruction but the ordinary.
#[derive(Debug, Clone, Copy)]
pub(in crate::hash) struct Scalar;

#[inline(always)]
fn each<T: Copy, U>(values: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    values.map(f)
}

#[inline(always)]
fn pairs<T: Copy>(a: [T; LANES], b: [T; LANES], f: impl Fn(T, T) -> T) -> [T; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn transposed<T: Copy>(rows: [[T; LANES]; LANES]) -> [[T; LANES]; LANES] {
    std::array::from_fn(|x| std::array::from_fn(|y| rows[y][x]))
}

impl Lanes for Scalar {
    type Floats = [f32; LANES];
    type Words = [u16; LANES];

    fn run<T: Task>(self, task: T) -> T::Out {
        task.run(self)
    }

    #[inline(always)]
    fn zero(self) -> Self::Floats {
        [0.0; LANES]
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &Line) -> Self::Floats {
        from.0
    }

    #[inline(always)]
    fn store(self, values: Self::Floats, to: &mut Line) {
        to.0 = values;
    }

    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        pairs(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        pairs(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn divide(self, value: Self::Floats, divisor: Self::Floats, reciprocal: Self::Floats) -> Self::Floats {
        let quotient = pairs(value, divisor, |a, b| a / b);
        pairs(quotient, reciprocal, |quotient, r| if r == 0.0 { 0.0 } else { quotient })
    }

    #[inline(always)]
    fn transpose(self, rows: [Self::Floats; LANES]) -> [Self::Floats; LANES] {
        transposed(rows)
    }

    #[inline(always)]
    fn load_words(self, from: &Shorts) -> Self::Words {
        from.0
    }

    #[inline(always)]
    fn store_words(self, words: Self::Words, to: &mut Shorts) {
        to.0 = words;
    }

    #[inline(always)]
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words {
        pairs(a, b, u16::wrapping_add)
    }

    #[inline(always)]
    fn sub_words(self, a: Self::Words, b: Self::Words) -> Self::Words {
        pairs(a, b, u16::wrapping_sub)
    }

    #[inline(always)]
    fn transpose_words(self, rows: [Self::Words; LANES]) -> [Self::Words; LANES] {
        transposed(rows)
    }

    #[inline(always)]
    fn widen(self, bytes: &[u8; LANES]) -> Self::Words {
        each(*bytes, u16::from)
    }

    #[inline(always)]
    fn floats(self, words: Self::Words) -> Self::Floats {
        each(words, f32::from)
    }

    #[inline(always)]
    fn expand(self, limited: Self::Words) -> Self::Words {
        each(limited, pixels::full_from_limited)
    }

    #[inline(always)]
    fn luma(self, pixels: &[[u8; 3]; LANES]) -> Self::Floats {
        each(*pixels, pixels::luma_of)
    }
}
