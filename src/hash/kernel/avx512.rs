//! The way to work with AVX-512: sixteen floats are one register. Whole numbers are left to AVX2.
#![allow(unsafe_code, reason = "instructions that not every machine has; `Avx512` proves that this one has them")]
#![allow(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
#![allow(clippy::unused_self, reason = "it is the proof")]

use std::arch::x86_64::{
    __m256i, __m512, _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castsi256_si512, _mm512_cvtepi32_ps,
    _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_inserti64x4, _mm512_load_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_store_ps, _mm512_sub_ps, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

use super::avx2::Avx2;
use super::{LANES, Lanes, Line, Shorts, Task};

/// A proof that the machine has AVX-512 (F, BW, DQ, VL), AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(in crate::hash) struct Avx512(());

impl Avx512 {
    pub(super) fn found() -> Option<Self> {
        Avx2::found()?;
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Self(()))
    }

    #[inline(always)]
    const fn avx2(self) -> Avx2 {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { Avx2::assumed() }
    }
}

impl Lanes for Avx512 {
    type Floats = __m512;
    type Words = __m256i;

    fn run<T: Task>(self, task: T) -> T::Out {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn compiled<T: Task>(lanes: Avx512, task: T) -> T::Out {
            task.run(lanes)
        }
        // SAFETY: `self` proves all of them.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn zero(self) -> Self::Floats {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &Line) -> Self::Floats {
        // SAFETY: `self` proves AVX-512; a line is 16 floats, aligned.
        unsafe { _mm512_load_ps(from.0.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, values: Self::Floats, to: &mut Line) {
        // SAFETY: `self` proves AVX-512; a line is 16 floats, aligned.
        unsafe { _mm512_store_ps(to.0.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn divide(self, value: Self::Floats, divisor: Self::Floats, reciprocal: Self::Floats) -> Self::Floats {
        // Markstein's division: what is left over, which FMA gives exactly, corrects the first guess.
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let guess = _mm512_mul_ps(value, reciprocal);
            _mm512_fmadd_ps(_mm512_fnmadd_ps(guess, divisor, value), reciprocal, guess)
        }
    }

    #[inline(always)]
    fn transpose(self, r: [Self::Floats; LANES]) -> [Self::Floats; LANES] {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let (mut pairs, mut fours, mut columns) = (r, r, r);
            for i in 0..8 {
                pairs[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            // After this, a quarter of `fours[i + c]` is four rows of every fourth column from `c`.
            for i in (0..LANES).step_by(4) {
                let low = [_mm512_castps_pd(pairs[i]), _mm512_castps_pd(pairs[i + 2])];
                let high = [_mm512_castps_pd(pairs[i + 1]), _mm512_castps_pd(pairs[i + 3])];
                fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
                fours[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
                fours[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
                fours[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
            }
            for c in 0..4 {
                let even = _mm512_shuffle_f32x4::<0x88>(fours[c], fours[4 + c]);
                let odd = _mm512_shuffle_f32x4::<0xdd>(fours[c], fours[4 + c]);
                let even_below = _mm512_shuffle_f32x4::<0x88>(fours[8 + c], fours[12 + c]);
                let odd_below = _mm512_shuffle_f32x4::<0xdd>(fours[8 + c], fours[12 + c]);
                columns[c] = _mm512_shuffle_f32x4::<0x88>(even, even_below);
                columns[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd, odd_below);
                columns[8 + c] = _mm512_shuffle_f32x4::<0xdd>(even, even_below);
                columns[12 + c] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_below);
            }
            columns
        }
    }

    #[inline(always)]
    fn load_words(self, from: &Shorts) -> Self::Words {
        self.avx2().load_words(from)
    }

    #[inline(always)]
    fn store_words(self, words: Self::Words, to: &mut Shorts) {
        self.avx2().store_words(words, to);
    }

    #[inline(always)]
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words {
        self.avx2().add_words(a, b)
    }

    #[inline(always)]
    fn sub_words(self, a: Self::Words, b: Self::Words) -> Self::Words {
        self.avx2().sub_words(a, b)
    }

    #[inline(always)]
    fn transpose_words(self, rows: [Self::Words; LANES]) -> [Self::Words; LANES] {
        self.avx2().transpose_words(rows)
    }

    #[inline(always)]
    fn widen(self, bytes: &[u8; LANES]) -> Self::Words {
        self.avx2().widen(bytes)
    }

    #[inline(always)]
    fn floats(self, words: Self::Words) -> Self::Floats {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(words)) }
    }

    #[inline(always)]
    fn expand(self, limited: Self::Words) -> Self::Words {
        self.avx2().expand(limited)
    }

    #[inline(always)]
    fn luma(self, pixels: &[[u8; 3]; LANES]) -> Self::Floats {
        let [low, high] = self.avx2().thousandfold_luma(pixels);
        // SAFETY: `self` proves AVX-512.
        let thousandfold = unsafe { _mm512_cvtepi32_ps(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)) };
        self.divide(thousandfold, self.splat(1000.0), self.splat(1.0 / 1000.0))
    }
}
