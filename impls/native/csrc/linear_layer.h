// The two factors of the logits, ready to be multiplied: scaled rows in panels, and class tiles.
#pragma once

#include "arena.h"
#include "margins.h"
#include "parallel.h"
#include "products.h"
#include "transpose.h"

namespace lossbench::LOSSBENCH_TARGET {

// Rows of more numbers are wide.
constexpr int64_t WIDE_ROW = 4096;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Whether a matrix is rows of T already.
template <class T>
inline bool in_place(const Matrix& m) {
  return m.dtype == DTYPE<T> && m.column_stride == 1;
}

// The embeddings times a factor, `panels [B / PANEL][D][PANEL]`: lanes are samples.
template <class T>
struct ScaledRows {
  const Matrix& x;
  const Head& head;
  int64_t batch, dim, panels;
  T* scaled;
  double* lengths;  // [B padded]; without a scale, none.
  T* factors;       // [B padded]; without a scale, none.

  ScaledRows(const CrossEntropy& job, Arena& arena)
      : x(job.x), head(job.head), batch(x.rows), dim(x.columns) {
    panels = (batch + PANEL<T> - 1) / PANEL<T>;
    scaled = arena.take<T>(panels * dim * PANEL<T>);
    lengths = arena.take<double>(panels * PANEL<T>);
    factors = arena.take<T>(panels * PANEL<T>);
    buffer_ = arena.take<T>(in_place<T>(x) ? 0 : PANEL<T> * dim);
  }

  const T* panel(int64_t p) const { return scaled + p * dim * PANEL<T>; }
  int64_t lanes(int64_t p) const { return smaller(PANEL<T>, batch - p * PANEL<T>); }

  void fill() {
    for (int64_t p = 0; p < panels; ++p) {
      T* to = scaled + p * dim * PANEL<T>;
      const int64_t count = lanes(p), first = p * PANEL<T>;
      if (in_place<T>(x)) {
        const T* rows = static_cast<const T*>(x.data) + first * x.row_stride;
        transpose<T>(rows, x.row_stride, count, dim, to, PANEL<T>);
      } else {
        for (int64_t i = 0; i < count; ++i) read_row<T>(x, first + i, 0, dim, buffer_ + i * dim);
        transpose<T>(buffer_, dim, count, dim, to, PANEL<T>);
      }
      for (int64_t d = 0; d < dim && count < PANEL<T>; ++d)
        for (int64_t lane = count; lane < PANEL<T>; ++lane) to[d * PANEL<T> + lane] = 0;
      if (head.rows != Rows::given) scale(first, to);
    }
  }

 private:
  // Scales a panel, and keeps its lengths and factors.
  void scale(int64_t first, T* to) {
    constexpr int W = WIDTH<double>, VECTORS = PANEL<T> / W;
    alignas(64) double squares[PANEL<T>];
    Vec<double> sums[VECTORS] = {};
    for (int64_t d = 0; d < dim; ++d)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) {
        const Vec<double> value = load_wide(to + d * PANEL<T> + v * W);
        sums[v] += value * value;
      }
    for (int v = 0; v < VECTORS; ++v) store<double>(squares + v * W, sums[v]);
    for (int lane = 0; lane < PANEL<T>; ++lane) {
      const double length = __builtin_sqrt(squares[lane]);
      const double held = length > LEAST_LENGTH ? length : LEAST_LENGTH;
      lengths[first + lane] = length;
      factors[first + lane] =
          static_cast<T>((head.rows == Rows::scaled ? head.scale : length) / held);
    }
    for (int64_t i = 0; i < dim * PANEL<T>; i += WIDTH<T>)
      store<T>(to + i, load<T>(to + i) * load<T>(factors + first + i % PANEL<T>));
  }

  T* buffer_;
};

// A tile of the weight's columns as rows of T: in place, or copied to a buffer.
template <class T>
struct TileOfWeight {
  const T* data;
  int64_t stride;
  int64_t end;  // The elements from `data` on that may be read.

  // A panel of numbers of row `d` from column `from` on. Those beyond `lanes` are of other columns;
  // where the matrix ends before them, they are 0, in the buffer.
  const T* panel(int64_t d, int64_t from, int64_t lanes, T* buffer) const {
    const int64_t start = d * stride + from;
    if (start + PANEL<T> <= end) return data + start;
    for (int64_t lane = 0; lane < PANEL<T>; ++lane)
      buffer[lane] = lane < lanes ? data[start + lane] : 0;
    return buffer;
  }
};

// Whether a weight's tiles are read where they are. In a wide weight each row of a tile lies in
// pages of its own, so its tiles are copied.
template <class T>
inline bool tiles_in_place(const Matrix& weight) {
  return in_place<T>(weight) && weight.row_stride <= WIDE_ROW;
}

template <class T>
inline TileOfWeight<T> tile_in_place(const Matrix& weight, int64_t from) {
  const int64_t end = (weight.rows - 1) * weight.row_stride + weight.columns - from;
  return {static_cast<const T*>(weight.data) + from, weight.row_stride, end};
}

template <class T>
inline TileOfWeight<T> tile_copied(const Matrix& weight, int64_t from, int64_t count, T* buffer) {
  for (int64_t d = 0; d < weight.rows; ++d)
    read_row<T>(weight, d, from, count, buffer + d * count);
  return {buffer, count, weight.rows * count};
}

// The scale of each column of a tile, from its length.
template <class T>
inline void scale_columns(Columns columns, TileOfWeight<T> tile, int64_t dim, int64_t count,
                          T* scales) {
  constexpr int VECTORS = PANEL<T> / WIDTH<double>;
  alignas(64) double squares[TILE];
  for (int64_t from = 0; from < count; from += PANEL<T>) {
    Vec<double> sums[VECTORS] = {};
    T buffer[PANEL<T>];
    for (int64_t d = 0; d < dim; ++d) {
      const T* row = tile.panel(d, from, smaller(PANEL<T>, count - from), buffer);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) {
        const Vec<double> value = load_wide(row + v * WIDTH<double>);
        sums[v] += value * value;
      }
    }
    for (int v = 0; v < VECTORS; ++v) store<double>(squares + from + v * WIDTH<double>, sums[v]);
  }
  for (int64_t c = 0; c < count; ++c) {
    const double length = __builtin_sqrt(squares[c]);
    if (columns == Columns::unit)
      scales[c] = static_cast<T>(1 / (length > LEAST_LENGTH ? length : LEAST_LENGTH));
    else
      // renorm's max-norm: shorter columns are stretched, not normalised.
      scales[c] = static_cast<T>(length <= 1e-5 ? 1e5 : 1 / (length + 1e-7));
  }
}

// The factor of a column's gradient along itself: 1 / (scale · length), or 0 for a constant scale.
template <class T>
inline T radial(Columns columns, T scale) {
  if (columns == Columns::unit) return scale < static_cast<T>(1 / LEAST_LENGTH) ? 1 : 0;
  // 1 / (length + 1e-7) is the scale of a column that is longer than 1e-5.
  const double length = 1 / static_cast<double>(scale) - 1e-7;
  return scale >= static_cast<T>(9.95e4) ? 0 : static_cast<T>(1 / (scale * length));
}

}  // namespace lossbench::LOSSBENCH_TARGET
