//! The way to work with AVX2 and FMA: sixteen floats are two registers.
#![allow(unsafe_code, reason = "instructions that not every machine has; `Avx2` proves that this one has them")]
#![allow(clippy::inline_always, reason = "what is not inlined is compiled for any machine")]
#![allow(clippy::cast_ptr_alignment, clippy::unused_self, reason = "loads that may be unaligned; `self` is the proof")]

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_castsi256_si128,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtepu16_epi32, _mm256_extracti128_si256, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_load_ps, _mm256_load_si256, _mm256_madd_epi16, _mm256_min_epu16, _mm256_mul_ps,
    _mm256_mulhrs_epi16, _mm256_permute2f128_ps, _mm256_permute2x128_si256, _mm256_set_m128i, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_shuffle_ps, _mm256_store_ps, _mm256_store_si256, _mm256_sub_epi16, _mm256_sub_ps, _mm256_subs_epu16,
    _mm256_unpackhi_epi16, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpackhi_ps, _mm256_unpacklo_epi16,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_unpacklo_ps,
};

use super::{LANES, Lanes, Line, Shorts, Task};

/// A proof that the machine has AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(in crate::hash) struct Avx2(());

impl Avx2 {
    pub(super) fn found() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// For a machine that is known to have more.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA.
    #[inline(always)]
    pub(super) const unsafe fn assumed() -> Self {
        Self(())
    }

    /// `299 R + 587 G + 114 B`, eight pixels a register.
    #[inline(always)]
    pub(super) fn thousandfold_luma(self, pixels: &[[u8; 3]; LANES]) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2. Of the 48 bytes, 16 are read from each of 0, 12, 24 and 32.
        unsafe {
            #[rustfmt::skip]
            let (low, high) = (
                weigh(
                    bytes::<0, 12>(pixels),
                    _mm256_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1,
                                     0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1),
                    _mm256_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1,
                                     2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1),
                ),
                weigh(
                    bytes::<24, 32>(pixels),
                    _mm256_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1,
                                     4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11, -1, 13, -1, 14, -1),
                    _mm256_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1,
                                     6, -1, -1, -1, 9, -1, -1, -1, 12, -1, -1, -1, 15, -1, -1, -1),
                ),
            );
            [low, high]
        }
    }
}

/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn transpose_8x8(r: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller's promise.
    unsafe {
        let (a0, a1) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
        let (a2, a3) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
        let (a4, a5) = (_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpackhi_ps(r[4], r[5]));
        let (a6, a7) = (_mm256_unpacklo_ps(r[6], r[7]), _mm256_unpackhi_ps(r[6], r[7]));
        let (b0, b1) = (_mm256_shuffle_ps::<0x44>(a0, a2), _mm256_shuffle_ps::<0xee>(a0, a2));
        let (b2, b3) = (_mm256_shuffle_ps::<0x44>(a1, a3), _mm256_shuffle_ps::<0xee>(a1, a3));
        let (b4, b5) = (_mm256_shuffle_ps::<0x44>(a4, a6), _mm256_shuffle_ps::<0xee>(a4, a6));
        let (b6, b7) = (_mm256_shuffle_ps::<0x44>(a5, a7), _mm256_shuffle_ps::<0xee>(a5, a7));
        [
            _mm256_permute2f128_ps::<0x20>(b0, b4),
            _mm256_permute2f128_ps::<0x20>(b1, b5),
            _mm256_permute2f128_ps::<0x20>(b2, b6),
            _mm256_permute2f128_ps::<0x20>(b3, b7),
            _mm256_permute2f128_ps::<0x31>(b0, b4),
            _mm256_permute2f128_ps::<0x31>(b1, b5),
            _mm256_permute2f128_ps::<0x31>(b2, b6),
            _mm256_permute2f128_ps::<0x31>(b3, b7),
        ]
    }
}

/// Transposes eight rows of eight, a quarter of sixteen by sixteen.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn quarter<const DOWN: usize, const ACROSS: usize>(r: &[[__m256; 2]; LANES]) -> [__m256; 8] {
    let mut rows = [r[0][0]; 8];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = r[DOWN + i][ACROSS];
    }
    // SAFETY: the caller's promise.
    unsafe { transpose_8x8(rows) }
}

/// Markstein's division: what is left over, which FMA gives exactly, corrects the first guess.
///
/// # Safety
/// The machine has FMA.
#[inline(always)]
unsafe fn divide_8(value: __m256, divisor: __m256, reciprocal: __m256) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let guess = _mm256_mul_ps(value, reciprocal);
        _mm256_fmadd_ps(_mm256_fnmadd_ps(guess, divisor, value), reciprocal, guess)
    }
}

/// Two times 16 bytes of pixels, from `LOW` and `HIGH`.
///
/// # Safety
/// The machine has AVX2, and both lie within the 48 bytes.
#[inline(always)]
unsafe fn bytes<const LOW: usize, const HIGH: usize>(pixels: &[[u8; 3]; LANES]) -> __m256i {
    let from = pixels.as_ptr().cast::<u8>();
    // SAFETY: the caller's promise.
    unsafe { _mm256_set_m128i(_mm_loadu_si128(from.add(HIGH).cast()), _mm_loadu_si128(from.add(LOW).cast())) }
}

/// `299 R + 587 G + 114 B` of eight pixels, told where their reds and greens, and where their blues are.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn weigh(bytes: __m256i, red_green: __m256i, blue: __m256i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let red_green = _mm256_shuffle_epi8(bytes, red_green);
        let blue = _mm256_shuffle_epi8(bytes, blue);
        _mm256_add_epi32(
            _mm256_madd_epi16(red_green, _mm256_set1_epi32((587 << 16) + 299)),
            _mm256_madd_epi16(blue, _mm256_set1_epi32(114)),
        )
    }
}

/// Transposes eight rows within each half of the register.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn transpose_halves(r: [__m256i; 8]) -> [__m256i; 8] {
    // SAFETY: the caller's promise.
    unsafe {
        let (a0, a1) = (_mm256_unpacklo_epi16(r[0], r[1]), _mm256_unpackhi_epi16(r[0], r[1]));
        let (a2, a3) = (_mm256_unpacklo_epi16(r[2], r[3]), _mm256_unpackhi_epi16(r[2], r[3]));
        let (a4, a5) = (_mm256_unpacklo_epi16(r[4], r[5]), _mm256_unpackhi_epi16(r[4], r[5]));
        let (a6, a7) = (_mm256_unpacklo_epi16(r[6], r[7]), _mm256_unpackhi_epi16(r[6], r[7]));
        let (b0, b1) = (_mm256_unpacklo_epi32(a0, a2), _mm256_unpackhi_epi32(a0, a2));
        let (b2, b3) = (_mm256_unpacklo_epi32(a1, a3), _mm256_unpackhi_epi32(a1, a3));
        let (b4, b5) = (_mm256_unpacklo_epi32(a4, a6), _mm256_unpackhi_epi32(a4, a6));
        let (b6, b7) = (_mm256_unpacklo_epi32(a5, a7), _mm256_unpackhi_epi32(a5, a7));
        [
            _mm256_unpacklo_epi64(b0, b4),
            _mm256_unpackhi_epi64(b0, b4),
            _mm256_unpacklo_epi64(b1, b5),
            _mm256_unpackhi_epi64(b1, b5),
            _mm256_unpacklo_epi64(b2, b6),
            _mm256_unpackhi_epi64(b2, b6),
            _mm256_unpacklo_epi64(b3, b7),
            _mm256_unpackhi_epi64(b3, b7),
        ]
    }
}

impl Lanes for Avx2 {
    type Floats = [__m256; 2];
    type Words = __m256i;

    fn run<T: Task>(self, task: T) -> T::Out {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<T: Task>(lanes: Avx2, task: T) -> T::Out {
            task.run(lanes)
        }
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn zero(self) -> Self::Floats {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn load(self, from: &Line) -> Self::Floats {
        let from = from.0.as_ptr();
        // SAFETY: `self` proves AVX2; a line is 16 floats, aligned.
        unsafe { [_mm256_load_ps(from), _mm256_load_ps(from.add(8))] }
    }

    #[inline(always)]
    fn store(self, values: Self::Floats, to: &mut Line) {
        let to = to.0.as_mut_ptr();
        // SAFETY: `self` proves AVX2; a line is 16 floats, aligned.
        unsafe {
            _mm256_store_ps(to, values[0]);
            _mm256_store_ps(to.add(8), values[1]);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn divide(self, value: Self::Floats, divisor: Self::Floats, reciprocal: Self::Floats) -> Self::Floats {
        // SAFETY: `self` proves FMA.
        unsafe { [divide_8(value[0], divisor[0], reciprocal[0]), divide_8(value[1], divisor[1], reciprocal[1])] }
    }

    #[inline(always)]
    fn transpose(self, r: [Self::Floats; LANES]) -> [Self::Floats; LANES] {
        // SAFETY: `self` proves AVX2.
        let (left, right) =
            unsafe { ([quarter::<0, 0>(&r), quarter::<8, 0>(&r)], [quarter::<0, 1>(&r), quarter::<8, 1>(&r)]) };
        let mut columns = r;
        for i in 0..8 {
            columns[i] = [left[0][i], left[1][i]];
            columns[8 + i] = [right[0][i], right[1][i]];
        }
        columns
    }

    #[inline(always)]
    fn load_words(self, from: &Shorts) -> Self::Words {
        // SAFETY: `self` proves AVX2; there are 32 bytes, aligned.
        unsafe { _mm256_load_si256(from.0.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_words(self, words: Self::Words, to: &mut Shorts) {
        // SAFETY: `self` proves AVX2; there are 32 bytes, aligned.
        unsafe { _mm256_store_si256(to.0.as_mut_ptr().cast(), words) }
    }

    #[inline(always)]
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi16(a, b) }
    }

    #[inline(always)]
    fn sub_words(self, a: Self::Words, b: Self::Words) -> Self::Words {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn transpose_words(self, r: [Self::Words; LANES]) -> [Self::Words; LANES] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let upper = transpose_halves([r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]]);
            let lower = transpose_halves([r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]]);
            let mut columns = [_mm256_setzero_si256(); LANES];
            for i in 0..8 {
                columns[i] = _mm256_permute2x128_si256::<0x20>(upper[i], lower[i]);
                columns[8 + i] = _mm256_permute2x128_si256::<0x31>(upper[i], lower[i]);
            }
            columns
        }
    }

    #[inline(always)]
    fn widen(self, bytes: &[u8; LANES]) -> Self::Words {
        // SAFETY: `self` proves AVX2; there are 16 bytes.
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn floats(self, words: Self::Words) -> Self::Floats {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words));
            let high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(words));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }

    #[inline(always)]
    fn expand(self, limited: Self::Words) -> Self::Words {
        // 255/219 is 1 + 36/219, and 36/219 is 5387/32768 to within what rounding to whole numbers notices.
        // SAFETY: `self` proves AVX2.
        unsafe {
            let above_black = _mm256_subs_epu16(limited, _mm256_set1_epi16(16));
            let above_black = _mm256_min_epu16(above_black, _mm256_set1_epi16(219));
            _mm256_add_epi16(above_black, _mm256_mulhrs_epi16(above_black, _mm256_set1_epi16(5387)))
        }
    }

    #[inline(always)]
    fn luma(self, pixels: &[[u8; 3]; LANES]) -> Self::Floats {
        let [low, high] = self.thousandfold_luma(pixels);
        // SAFETY: `self` proves AVX2.
        let thousandfold = unsafe { [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)] };
        self.divide(thousandfold, self.splat(1000.0), self.splat(1.0 / 1000.0))
    }
}
