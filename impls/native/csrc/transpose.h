// Transposition of blocks, a vector at a time.
#pragma once

#include "vector.h"

namespace lossbench::LOSSBENCH_TARGET {

// One step of a butterfly: the halves of a pair of vectors, `STEP` lanes wide, change places.
template <class T, int STEP>
inline void exchange(Vec<T>& a, Vec<T>& b) {
  constexpr int W = WIDTH<T>;
  Ints<T> low = {}, high = {};
  for (int i = 0; i < W; ++i) {
    low[i] = (i & STEP) == 0 ? i : W + i - STEP;
    high[i] = (i & STEP) == 0 ? i + STEP : W + i;
  }
#if defined(__clang__)
  Vec<T> first = a, second = a;
  for (int i = 0; i < W; ++i) {
    first[i] = low[i] < W ? a[low[i]] : b[low[i] - W];
    second[i] = high[i] < W ? a[high[i]] : b[high[i] - W];
  }
  a = first, b = second;
#else
  const Vec<T> first = __builtin_shuffle(a, b, low), second = __builtin_shuffle(a, b, high);
  a = first, b = second;
#endif
}

template <class T, int STEP>
inline void exchange_all(Vec<T>* rows) {
  if constexpr (STEP > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH<T>; ++i)
      if ((i & STEP) == 0) exchange<T, STEP>(rows[i], rows[i + STEP]);
    exchange_all<T, STEP / 2>(rows);
  }
}

// Writes `from [rows][columns]` to `to [columns][rows]`.
template <class T>
inline void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
                      int64_t to_stride) {
  constexpr int W = WIDTH<T>;
  int64_t r = 0;
  for (; r + W <= rows; r += W) {
    int64_t c = 0;
    for (; c + W <= columns; c += W) {
      Vec<T> block[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) block[i] = load<T>(from + (r + i) * from_stride + c);
      exchange_all<T, W / 2>(block);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) store<T>(to + (c + i) * to_stride + r, block[i]);
    }
    for (; c < columns; ++c)
      for (int i = 0; i < W; ++i) to[c * to_stride + r + i] = from[(r + i) * from_stride + c];
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace lossbench::LOSSBENCH_TARGET
