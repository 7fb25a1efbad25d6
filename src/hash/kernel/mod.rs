//! Arithmetic on sixteen values at a time, as wide as the machine can do it.
//!
//! One filter is written once, over [`Lanes`]; the implementations differ in instructions and in nothing that can be
//! seen: every addition, subtraction and division is rounded once, to the nearest `f32`, so each gives the same bits.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

use scalar::Scalar;

/// Values that are worked on together.
pub(super) const LANES: usize = 16;

/// Divisors up to this size, and 1000, divide exactly through [`Lanes::divide`] on every path.
pub(super) const LARGEST_DIVISOR: usize = 512;

/// Does something with each of 0 to 15, written out sixteen times: registers cannot be counted through.
macro_rules! sixteen_times {
    ($i:ident => $work:expr) => {
        sixteen_times!(@ $i $work, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $i:ident $work:expr, $($n:literal)*) => {
        $({
            let $i: usize = $n;
            $work
        })*
    };
}
pub(super) use sixteen_times;

/// Sixteen floats in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; LANES]);

/// Sixteen small whole numbers in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(32))]
pub(super) struct Shorts(pub(super) [u16; LANES]);

/// What the filter asks of the machine.
///
/// A value of the type is a proof that the machine has the instructions, so the operations themselves are safe.
pub(super) trait Lanes: Copy {
    /// Sixteen floats in registers.
    type Floats: Copy;
    /// Sixteen whole numbers of 16 bits in registers; sums wrap.
    type Words: Copy;

    /// Runs a task, compiled for this machine.
    fn run<T: Task>(self, task: T) -> T::Out;

    fn zero(self) -> Self::Floats;
    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, from: &Line) -> Self::Floats;
    fn store(self, values: Self::Floats, to: &mut Line);
    /// The floats, in memory.
    #[inline(always)]
    fn line(self, values: Self::Floats) -> Line {
        let mut line = Line::default();
        self.store(values, &mut line);
        line
    }
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `value / divisor`, or 0 where the reciprocal is 0. The divisor is whole, 1000 or at most [`LARGEST_DIVISOR`], and
    /// `reciprocal` is `1.0 / divisor` unless it is 0.
    fn divide(self, value: Self::Floats, divisor: Self::Floats, reciprocal: Self::Floats) -> Self::Floats;
    /// Rows become columns.
    fn transpose(self, rows: [Self::Floats; LANES]) -> [Self::Floats; LANES];

    fn load_words(self, from: &Shorts) -> Self::Words;
    fn store_words(self, words: Self::Words, to: &mut Shorts);
    /// The words, in memory.
    #[inline(always)]
    fn shorts(self, words: Self::Words) -> Shorts {
        let mut shorts = Shorts::default();
        self.store_words(words, &mut shorts);
        shorts
    }
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    fn sub_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Rows become columns.
    fn transpose_words(self, rows: [Self::Words; LANES]) -> [Self::Words; LANES];
    fn widen(self, bytes: &[u8; LANES]) -> Self::Words;
    fn floats(self, words: Self::Words) -> Self::Floats;

    /// Full-range luma of limited-range luma, to the nearest whole number.
    fn expand(self, limited: Self::Words) -> Self::Words;
    /// The luma of pixels: 0.299 R + 0.587 G + 0.114 B, rounded once.
    fn luma(self, pixels: &[[u8; 3]; LANES]) -> Self::Floats;
}

/// Something to be compiled for each kind of machine.
pub(super) trait Task {
    type Out;

    /// Must be inlined, and all that it calls with `lanes`: what is not is compiled for any machine.
    fn run<L: Lanes>(self, lanes: L) -> Self::Out;
}

/// The ways to work, chosen when the program runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Scalar(Scalar),
}

impl Kernel {
    /// Every way that this machine can work, the fastest first.
    pub(super) fn found() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [avx512::Avx512::found().map(Self::Avx512), avx2::Avx2::found().map(Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide = [];
        wide.into_iter().flatten().chain([Self::SCALAR])
    }

    /// Works on any machine, and divides by numbers of any size.
    pub(super) const SCALAR: Self = Self::Scalar(Scalar);

    /// Runs a task.
    pub(super) fn run<T: Task>(self, task: T) -> T::Out {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(lanes) => lanes.run(task),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(lanes) => lanes.run(task),
            Self::Scalar(lanes) => lanes.run(task),
        }
    }
}

impl Default for Kernel {
    /// The fastest that this machine has.
    fn default() -> Self {
        Self::found().next().unwrap_or(Self::SCALAR)
    }
}

/// Every way to work, for tests; says so where this machine lacks one.
#[cfg(test)]
pub(super) fn all() -> Vec<Kernel> {
    let found: Vec<_> = Kernel::found().collect();
    if found.len() < 3 {
        println!("this machine lacks AVX-512 or AVX2: only {found:?} are tested");
    }
    found
}
