// Matrix products of blocks that fit the caches, with a panel of lanes as the right factor.
//
// A panel is `[K][PANEL<T>]`: for each k the numbers of two vectors. The left factor is any
// function of a row and a k. The sums of a block of rows stay in registers. `pairs.h` adds products
// of bfloat16.
#pragma once

#include "vector.h"

namespace lossbench::LOSSBENCH_TARGET {

#if defined(__AVX512F__)
constexpr int BLOCK_ROWS = 8;
#elif defined(__AVX2__)
constexpr int BLOCK_ROWS = 6;
#else
constexpr int BLOCK_ROWS = 4;
#endif

// The number of lanes of a panel.
template <class T>
constexpr int PANEL = 2 * WIDTH<T>;

// Sets the lanes of a panel from `lanes` on to 0.
template <class T>
inline void clear_lanes(T* panel, int64_t depth, int64_t lanes) {
  for (int64_t k = 0; k < depth && lanes < PANEL<T>; ++k)
    for (int64_t lane = lanes; lane < PANEL<T>; ++lane) panel[k * PANEL<T> + lane] = 0;
}

// The left factors: element (i, k) of a matrix by columns, by rows, and in panels of k.
template <class T>
struct ByColumns {
  const T* data;
  int64_t stride;
  T operator()(int64_t i, int64_t k) const { return data[k * stride + i]; }
  ByColumns from(int64_t i) const { return {data + i, stride}; }
};

template <class T>
struct ByRows {
  const T* data;
  int64_t stride;
  T operator()(int64_t i, int64_t k) const { return data[i * stride + k]; }
  ByRows from(int64_t i) const { return {data + i * stride, stride}; }
};

template <class T, int SIZE = PANEL<T>>
struct ByPanels {
  const T* data;
  int64_t panel_size;
  T operator()(int64_t i, int64_t k) const {
    return data[k / SIZE * panel_size + i * SIZE + k % SIZE];
  }
  ByPanels from(int64_t i) const { return {data + i * SIZE, panel_size}; }
};

enum class Store { set, add };

template <int ROWS, int VECTORS, class T>
__attribute__((always_inline)) inline void store_block(const Vec<T> (&sums)[ROWS][VECTORS], T* out,
                                                       Store mode) {
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) {
      T* to = out + i * PANEL<T> + v * WIDTH<T>;
      store<T>(to, mode == Store::add ? load<T>(to) + sums[i][v] : sums[i][v]);
    }
}

template <int ROWS, int VECTORS, class T, class Left>
inline void multiply_block(const Left left, const T* panel, int64_t depth, T* out, Store mode) {
  Vec<T> sums[ROWS][VECTORS] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vec<T> right[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) right[v] = load<T>(panel + k * PANEL<T> + v * WIDTH<T>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const T factor = left(i, k);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) sums[i][v] += factor * right[v];
    }
  }
  store_block<ROWS, VECTORS, T>(sums, out, mode);
}

template <int ROWS, class T, class Left, class Element>
inline void multiply_rest(int64_t rows, int vectors, Left left, const Element* panel,
                          int64_t depth, T* out, Store mode) {
  if constexpr (ROWS > 0) {
    if (rows < ROWS) return multiply_rest<ROWS - 1>(rows, vectors, left, panel, depth, out, mode);
    if (vectors == 1) return multiply_block<ROWS, 1>(left, panel, depth, out, mode);
    multiply_block<ROWS, 2>(left, panel, depth, out, mode);
  }
}

// Sets or adds `left · panel` to the panel `out [rows][PANEL]`; lanes beyond `lanes` may be left.
template <class T, class Left, class Element>
inline void multiply(int64_t rows, int64_t lanes, Left left, const Element* panel, int64_t depth,
                     T* out, Store mode = Store::set) {
  const int vectors = lanes <= WIDTH<T> ? 1 : 2;
  for (int64_t i = 0; i < rows; i += BLOCK_ROWS) {
    const int64_t count = rows - i < BLOCK_ROWS ? rows - i : BLOCK_ROWS;
    multiply_rest<BLOCK_ROWS>(count, vectors, left.from(i), panel, depth, out + i * PANEL<T>, mode);
  }
}

}  // namespace lossbench::LOSSBENCH_TARGET
