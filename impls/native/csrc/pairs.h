// Products of bfloat16 by AVX512-BF16, which adds two at a time to a sum in float32.
//
// A pair holds two neighbours along the sum, the first in its low half; where their number is odd,
// the last pair ends with 0. A panel of K numbers is `[K / 2][PANEL]` pairs.
#pragma once

#include "convert.h"
#include "products.h"
#include "target.h"
#include "transpose.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace lossbench::LOSSBENCH_TARGET {

typedef uint32_t Pair;

template <>
struct VectorOf<Pair> {
  typedef Pair type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
  typedef Pair unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
};

inline int64_t pairs_of(int64_t count) { return (count + 1) / 2; }

// Whether kernels of this target that compute in T have products of pairs.
#if defined(__AVX512F__)
template <class T>
constexpr bool HAS_PAIRS = sizeof(T) == 4;
#else
template <class T>
constexpr bool HAS_PAIRS = false;
#endif

// Whether two factors are exact in bfloat16, and this processor multiplies it.
template <class T>
inline bool takes_pairs(const Matrix& left, const Matrix& right) {
  return HAS_PAIRS<T> && left.dtype == Dtype::bfloat16 && right.dtype == Dtype::bfloat16 &&
         target() == Target::avx512bf16;
}

// The first or the second numbers of pairs.
inline Vec<float> half_of(Vec<Pair> pairs, bool second) {
  const Vec<Pair> bits = second ? pairs & 0xffff0000u : pairs << 16;
  Vec<float> value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

// Writes the low halves one after the other: neighbouring lanes become pairs.
inline void store_low_halves(Pair* to, Vec<Pair> value) {
  typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2)));
  const Halves halves = __builtin_convertvector(value, Halves);
  __builtin_memcpy(to, &halves, sizeof(halves));
}

inline const BFloat16* halves_at(const Matrix& m, int64_t row, int64_t column) {
  return static_cast<const BFloat16*>(m.data) + row * m.row_stride + column * m.column_stride;
}

// Reads a panel of numbers of a row of a bfloat16 matrix; those beyond `lanes` are 0.
inline const float* widen_panel(const Matrix& m, int64_t row, int64_t from, int64_t lanes,
                                float* to) {
  const BFloat16* numbers = halves_at(m, row, from);
  if (m.column_stride == 1 && lanes == PANEL<float>) {
    for (int64_t v = 0; v < PANEL<float>; v += WIDTH<float>) {
      uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2)));
      __builtin_memcpy(&halves, numbers + v, sizeof(halves));
      store<float>(to + v, half_of(__builtin_convertvector(halves, Vec<Pair>), false));
    }
    return to;
  }
  for (int64_t lane = 0; lane < PANEL<float>; ++lane)
    to[lane] = lane < lanes ? widen(numbers[lane * m.column_stride]) : 0;
  return to;
}

// Pairs `count` numbers with others as far apart from each other.
inline void pair_up(const BFloat16* first, const BFloat16* second, int64_t stride, int64_t count,
                    Pair* to) {
  const auto pair = [](BFloat16 low, BFloat16 high) {
    return low.bits | static_cast<Pair>(high.bits) << 16;
  };
  if (stride == 1)
    for (int64_t i = 0; i < count; ++i) to[i] = pair(first[i], second[i]);
  else
    for (int64_t i = 0; i < count; ++i) to[i] = pair(first[i * stride], second[i * stride]);
}

// Pairs neighbours in `count` numbers of a row of a bfloat16 matrix, `[count / 2]`.
inline void pair_along_row(const Matrix& m, int64_t row, int64_t from, int64_t count, Pair* to) {
  const BFloat16* numbers = halves_at(m, row, from);
  if (m.column_stride == 1)
    __builtin_memcpy(to, numbers, static_cast<uint64_t>(count / 2) * sizeof(Pair));
  else
    pair_up(numbers, numbers + m.column_stride, 2 * m.column_stride, count / 2, to);
  if (count % 2 != 0) to[count / 2] = numbers[(count - 1) * m.column_stride].bits;
}

// Pairs neighbouring rows of some columns of a bfloat16 matrix, `[rows / 2][count]`.
inline void pair_along_columns(const Matrix& m, int64_t from, int64_t count, Pair* to) {
  for (int64_t d = 0; d + 1 < m.rows; d += 2)
    pair_up(halves_at(m, d, from), halves_at(m, d + 1, from), m.column_stride, count,
            to + d / 2 * count);
  if (m.rows % 2 == 0) return;
  const BFloat16* last = halves_at(m, m.rows - 1, from);
  for (int64_t i = 0; i < count; ++i)
    to[m.rows / 2 * count + i] = last[i * m.column_stride].bits;
}

// Whether the rows of a bfloat16 matrix are pairs already.
inline bool pairs_in_place(const Matrix& m) {
  return m.column_stride == 1 && m.row_stride % 2 == 0 && m.columns % 2 == 0 &&
         reinterpret_cast<uint64_t>(m.data) % sizeof(Pair) == 0;
}

// Writes rows of a bfloat16 matrix, from `first` on, as a panel `[D / 2][PANEL]`; the lanes beyond
// them are 0. `copied` takes a panel of pairs where they are not in place.
inline void pair_panel_of(const Matrix& m, int64_t first, int64_t rows, Pair* copied, Pair* to) {
  const int64_t depth = pairs_of(m.columns);
  if (pairs_in_place(m)) {
    const Pair* given = static_cast<const Pair*>(m.data) + first * m.row_stride / 2;
    transpose<Pair>(given, m.row_stride / 2, rows, depth, to, PANEL<Pair>);
  } else {
    for (int64_t i = 0; i < rows; ++i)
      pair_along_row(m, first + i, 0, m.columns, copied + i * depth);
    transpose<Pair>(copied, depth, rows, depth, to, PANEL<Pair>);
  }
  clear_lanes<Pair>(to, depth, rows);
}

#if defined(__AVX512F__)
#define LOSSBENCH_BF16 __attribute__((target("avx512bf16")))

// As for other numbers; `depth` counts pairs.
template <int ROWS, int VECTORS, class Left>
LOSSBENCH_BF16 void multiply_block(const Left left, const Pair* panel, int64_t depth, float* out,
                                   Store mode) {
  Vec<float> sums[ROWS][VECTORS] = {};
  for (int64_t k = 0; k < depth; ++k) {
    __m512bh right[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v)
      right[v] = (__m512bh)load<Pair>(panel + k * PANEL<Pair> + v * WIDTH<Pair>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const __m512bh factor = (__m512bh)_mm512_set1_epi32(static_cast<int>(left(i, k)));
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) sums[i][v] = _mm512_dpbf16_ps(sums[i][v], factor, right[v]);
    }
  }
  store_block<ROWS, VECTORS, float>(sums, out, mode);
}

// Numbers rounded to bfloat16, in the low halves.
LOSSBENCH_BF16 inline __m512i rounded(Vec<float> value) {
  return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)value));
}

// Pairs the rows of a panel `[rows][PANEL]`, perhaps in place.
LOSSBENCH_BF16 inline void pair_rows(const float* from, int64_t rows, Pair* to) {
  for (int64_t i = 0; i < rows; i += 2)
    for (int64_t v = 0; v < PANEL<float>; v += WIDTH<float>) {
      const float* at = from + i * PANEL<float> + v;
      __m512i pair = rounded(load<float>(at));
      if (i + 1 < rows) {
        const __m512i second = rounded(load<float>(at + PANEL<float>));
        pair = _mm512_or_si512(pair, _mm512_slli_epi32(second, 16));
      }
      _mm512_storeu_si512(to + i / 2 * PANEL<float> + v, pair);
    }
}

// Rounds the rows of a panel, perhaps times a factor for each lane, to rows of bfloat16.
LOSSBENCH_BF16 inline void round_rows(const float* from, int64_t rows, int64_t lanes,
                                      const float* factors, void* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t v = 0; v < lanes; v += WIDTH<float>) {
      Vec<float> value = load<float>(from + i * PANEL<float> + v);
      if (factors != nullptr) value *= load<float>(factors + v);
      const __mmask16 mask = lanes - v < WIDTH<float> ? (1u << (lanes - v)) - 1 : 0xffffu;
      _mm256_mask_storeu_epi16(static_cast<BFloat16*>(to) + i * stride + v, mask,
                               (__m256i)_mm512_cvtneps_pbh((__m512)value));
    }
}
#endif

}  // namespace lossbench::LOSSBENCH_TARGET
