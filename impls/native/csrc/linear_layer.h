// The two factors of the logits, ready to be multiplied: scaled rows in panels, and class tiles.
#pragma once

#include "arena.h"
#include "margins.h"
#include "pairs.h"
#include "parallel.h"

namespace lossbench::LOSSBENCH_TARGET {

// Rows of more numbers are wide.
constexpr int64_t WIDE_ROW = 4096;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Whether a matrix is rows of T already.
template <class T>
inline bool in_place(const Matrix& m) {
  return m.dtype == DTYPE<T> && m.column_stride == 1;
}

// The embeddings times a factor, `panels [B / PANEL][D][PANEL]`: lanes are samples. In pairs along
// D they are as given, `[B / PANEL][D / 2][PANEL]`: products take the factor.
template <class T>
struct ScaledRows {
  const Matrix& x;
  const Head& head;
  int64_t batch, dim, panels, slots;
  bool paired;
  T* scaled;        // Unless paired.
  Pair* pairs;      // If paired.
  double* lengths;  // [B padded]; without a scale, none.
  T* factors;       // [B padded]; without a scale, none.

  // Pairs are kept where they are `needed`.
  ScaledRows(const CrossEntropy& job, Arena& arena, bool needed = true)
      : x(job.x),
        head(job.head),
        batch(x.rows),
        dim(x.columns),
        paired(takes_pairs<T>(x, job.weight)) {
    panels = (batch + PANEL<T> - 1) / PANEL<T>;
    slots = slots_for(panels, 2.0 * batch * dim * job.weight.columns);
    scaled = arena.take<T>(paired ? 0 : panels * dim * PANEL<T>);
    pairs = arena.take<Pair>(paired && needed ? panels * pairs_of(dim) * PANEL<T> : 0);
    lengths = arena.take<double>(panels * PANEL<T>);
    factors = arena.take<T>(panels * PANEL<T>);
    copied_ = arena.take<T>(paired || in_place<T>(x) ? 0 : slots * PANEL<T> * dim);
    const bool copies_pairs = paired && !pairs_in_place(x);
    paired_ = arena.take<Pair>(copies_pairs ? slots * PANEL<T> * pairs_of(dim) : 0);
  }

  const T* panel(int64_t p) const { return scaled + p * dim * PANEL<T>; }
  Pair* pair_panel(int64_t p) const { return pairs + p * pairs_of(dim) * PANEL<T>; }
  int64_t lanes(int64_t p) const { return smaller(PANEL<T>, batch - p * PANEL<T>); }

  // The numbers `d` of a panel's samples from lane `v` on, before factors if paired.
  Vec<T> numbers(int64_t p, int64_t d, int64_t v) const {
    if constexpr (HAS_PAIRS<T>)
      if (paired) return half_of(load<Pair>(pair_panel(p) + d / 2 * PANEL<T> + v), d % 2 != 0);
    return load<T>(panel(p) + d * PANEL<T> + v);
  }

  void fill() {
    spread(slots, panels, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        if (paired) fill_pairs(p, slot, pair_panel(p));
        else fill_panel(p, copied_ + slot * PANEL<T> * dim);
        if (head.rows != Rows::given) scale(p);
      }
    });
  }

  // Writes the pairs of a panel.
  void fill_pairs(int64_t p, int64_t slot, Pair* to) const {
    pair_panel_of(x, p * PANEL<T>, lanes(p), paired_ + slot * PANEL<T> * pairs_of(dim), to);
  }

 private:
  void fill_panel(int64_t p, T* copied) {
    T* to = scaled + p * dim * PANEL<T>;
    const int64_t count = lanes(p), first = p * PANEL<T>;
    if (in_place<T>(x)) {
      const T* rows = static_cast<const T*>(x.data) + first * x.row_stride;
      transpose<T>(rows, x.row_stride, count, dim, to, PANEL<T>);
    } else {
      for (int64_t i = 0; i < count; ++i) read_row<T>(x, first + i, 0, dim, copied + i * dim);
      transpose<T>(copied, dim, count, dim, to, PANEL<T>);
    }
    clear_lanes<T>(to, dim, count);
  }

  // Keeps a panel's lengths and factors, and scales it unless it is paired.
  void scale(int64_t p) {
    constexpr int W = WIDTH<double>, VECTORS = PANEL<T> / W;
    const int64_t first = p * PANEL<T>;
    alignas(64) double squares[PANEL<T>];
    alignas(64) T row[PANEL<T>];
    Vec<double> sums[VECTORS] = {};
    for (int64_t d = 0; d < dim; ++d) {
      for (int64_t v = 0; v < PANEL<T>; v += WIDTH<T>) store<T>(row + v, numbers(p, d, v));
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) {
        const Vec<double> value = load_wide(row + v * W);
        sums[v] += value * value;
      }
    }
    for (int v = 0; v < VECTORS; ++v) store<double>(squares + v * W, sums[v]);
    for (int lane = 0; lane < PANEL<T>; ++lane) {
      const double length = __builtin_sqrt(squares[lane]);
      const double held = length > LEAST_LENGTH ? length : LEAST_LENGTH;
      lengths[first + lane] = length;
      factors[first + lane] =
          static_cast<T>((head.rows == Rows::scaled ? head.scale : length) / held);
    }
    if (paired) return;
    T* to = scaled + p * dim * PANEL<T>;
    for (int64_t i = 0; i < dim * PANEL<T>; i += WIDTH<T>)
      store<T>(to + i, load<T>(to + i) * load<T>(factors + first + i % PANEL<T>));
  }

  T* copied_;
  Pair* paired_;
};

// A tile of the weight's columns as rows of T: in place, copied to a buffer, or still bfloat16.
template <class T>
struct TileOfWeight {
  const T* data;
  int64_t stride;
  int64_t end;  // The elements from `data` on that may be read.
  // To be widened, from this column on, if it is not null.
  const Matrix* matrix = nullptr;
  int64_t first = 0;

  // A panel of numbers of row `d` from column `from` on. Those beyond `lanes` are of other columns;
  // where the matrix ends before them, they are 0, in the buffer.
  const T* panel(int64_t d, int64_t from, int64_t lanes, T* buffer) const {
    const int64_t start = d * stride + from;
    if constexpr (HAS_PAIRS<T>)
      if (matrix != nullptr) return widen_panel(*matrix, d, first + from, lanes, buffer);
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
