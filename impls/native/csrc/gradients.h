// The gradients of both factors, from the derivatives of a tile `[panel][class][PANEL]`.
#pragma once

#include "class_scores.h"
#include "turned_rows.h"

namespace lossbench::LOSSBENCH_TARGET {

// Derivatives that exist at once: 4 MiB in float32.
constexpr int64_t DERIVATIVES = 1 << 20;
// Replaces a length of 0 in a division, for the direction of a row.
constexpr double LEAST_RADIUS = 1e-30;

// The gradient of the scaled rows, `sums [B / PANEL][D][PANEL]`, and then of the embeddings.
template <class T>
struct RowGradient {
  const CrossEntropy& job;
  const ScaledRows<T>& rows;
  int64_t size, paired_size;
  // Whether a panel's sums are whole after one tile: then each slot has those of one panel.
  bool is_single;
  T *sums, *turned;
  Pair* paired;

  RowGradient(const CrossEntropy& asked, const ScaledRows<T>& scaled, int64_t slots, Arena& arena)
      : job(asked), rows(scaled), is_single(asked.weight.columns <= TILE) {
    const bool wanted = job.grad_x.data != nullptr;
    size = wanted ? rows.dim * PANEL<T> : 0;
    const int64_t pairs = pairs_of(smaller(TILE, job.weight.columns));
    paired_size = wanted && rows.paired ? pairs * PANEL<T> : 0;
    sums = arena.take<T>((is_single ? slots : rows.panels) * size);
    turned = arena.take<T>(writes_in_place() || writes_pairs() ? 0 : slots * size);
    paired = arena.take<Pair>(slots * paired_size);
  }

  bool writes_in_place() const { return job.grad_x.dtype == DTYPE<T>; }
  bool writes_pairs() const { return rows.paired && rows.dim % 2 == 0; }
  T* sums_of(int64_t p, int64_t slot) const { return sums + (is_single ? slot : p) * size; }

  void add(int64_t p, const Tile<T>& tile, const T* derivatives, int64_t slot) {
    T* to = sums_of(p, slot);
    const Store mode = tile.from == 0 ? Store::set : Store::add;
    if constexpr (HAS_PAIRS<T>)
      if (rows.paired) {
        Pair* pairs = paired + slot * paired_size;
        const int64_t depth = pairs_of(tile.count);
        pair_rows(derivatives, tile.count, pairs);
        return multiply<T>(rows.dim, rows.lanes(p), ByRows<Pair>{tile.pairs, tile.pair_stride},
                           pairs, depth, to, mode);
      }
    multiply<T>(rows.dim, rows.lanes(p), ByRows<T>{tile.weight.data, tile.weight.stride},
                derivatives, tile.count, to, mode);
  }

  // Turns the scaled rows' gradient into the embeddings'.
  void write(int64_t p, const T* stretch, int64_t slot) {
    T* sum = sums_of(p, slot);
    if (job.head.rows != Rows::given) combine(p, stretch, sum);
    const int64_t count = rows.lanes(p), first = p * PANEL<T>;
    if constexpr (HAS_PAIRS<T>)
      if (writes_pairs()) {
        Pair* pairs = reinterpret_cast<Pair*>(sum);
        pair_rows(sum, rows.dim, pairs);
        return transpose<Pair>(pairs, PANEL<T>, rows.dim / 2, count,
                               static_cast<Pair*>(job.grad_x.data) + first * rows.dim / 2,
                               rows.dim / 2);
      }
    T* out = writes_in_place() ? static_cast<T*>(job.grad_x.data) + first * rows.dim
                               : turned + slot * size;
    transpose<T>(sum, PANEL<T>, rows.dim, count, out, rows.dim);
    for (int64_t lane = 0; lane < count && !writes_in_place(); ++lane)
      write_row<T>(job.grad_x, first + lane, 0, rows.dim, out + lane * rows.dim);
  }

 private:
  // Overwrites a panel's sums by the embeddings' gradient, still transposed.
  void combine(int64_t p, const T* stretch, T* sum) {
    alignas(64) T along[PANEL<T>], bends[PANEL<T>] = {};
    const T* factors = rows.factors + p * PANEL<T>;
    for (int64_t v = 0; v < PANEL<T>; v += WIDTH<T>) {
      Vec<T> total = {};
      for (int64_t d = 0; d < rows.dim; ++d)
        total += load<T>(sum + d * PANEL<T> + v) * scaled(p, d, v);
      store<T>(along + v, total);
    }
    for (int64_t lane = 0; lane < rows.lanes(p); ++lane)
      bends[lane] = bend(p * PANEL<T> + lane, along[lane], stretch[lane]);
    for (int64_t d = 0; d < rows.dim; ++d)
      for (int64_t v = 0; v < PANEL<T>; v += WIDTH<T>) {
        T* at = sum + d * PANEL<T> + v;
        const Vec<T> row = scaled(p, d, v);
        store<T>(at, load<T>(at) * load<T>(factors + v) + row * load<T>(bends + v));
      }
  }

  // The numbers of scaled rows.
  Vec<T> scaled(int64_t p, int64_t d, int64_t v) const {
    const Vec<T> numbers = rows.numbers(p, d, v);
    return rows.paired ? numbers * load<T>(rows.factors + p * PANEL<T> + v) : numbers;
  }

  // What is added of the scaled row itself.
  T bend(int64_t b, T along, T stretch) const {
    const double length = rows.lengths[b], factor = rows.factors[b];
    if (job.head.rows == Rows::scaled) {
      const double scale = job.head.scale;
      return static_cast<T>(length < LEAST_LENGTH || scale == 0
                                ? 0
                                : -along / (scale * scale) * factor);
    }
    // A row below LEAST_LENGTH is divided by that, so it grows with its length squared; along is
    // the product with the scaled row, which is the given one times the factor.
    double pull = stretch;
    if (length < LEAST_LENGTH && factor != 0) pull += along / factor / LEAST_LENGTH;
    return factor == 0 ? 0
                       : static_cast<T>(pull / (length > LEAST_RADIUS ? length : LEAST_RADIUS) /
                                        factor);
  }
};

// Removes from scaled columns' gradients, `sums [D][PANEL]`, what points along the columns.
template <class T>
inline void remove_radial(Columns columns, const Tile<T>& tile, int64_t dim, int64_t from,
                          int64_t lanes, T* sums) {
  T buffer[PANEL<T>];
  alignas(64) T factors[PANEL<T>] = {};
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const T scale = tile.scales[from + lane];
    factors[lane] = scale * scale * radial<T>(columns, scale);
  }
  const int vectors = lanes <= WIDTH<T> ? 1 : 2;
  Vec<T> along[2] = {};
  for (int64_t d = 0; d < dim; ++d) {
    const T* row = tile.weight.panel(d, from, lanes, buffer);
    for (int v = 0; v < vectors; ++v)
      along[v] += load<T>(sums + d * PANEL<T> + v * WIDTH<T>) * load<T>(row + v * WIDTH<T>);
  }
  for (int v = 0; v < vectors; ++v) along[v] *= load<T>(factors + v * WIDTH<T>);
  for (int64_t d = 0; d < dim; ++d) {
    const T* row = tile.weight.panel(d, from, lanes, buffer);
    for (int v = 0; v < vectors; ++v) {
      T* at = sums + d * PANEL<T> + v * WIDTH<T>;
      store<T>(at, load<T>(at) - along[v] * load<T>(row + v * WIDTH<T>));
    }
  }
}

// Writes the weight's gradient for the classes `from : from + PANEL` of a tile from the scaled
// columns' gradient, `sums [D][PANEL]`.
template <class T>
inline void write_columns(const CrossEntropy& job, const ScaledRows<T>& rows, const Tile<T>& tile,
                          int64_t from, T* sums) {
  const int64_t lanes = smaller(PANEL<T>, tile.count - from), dim = rows.dim;
  if (tile.scales != nullptr) remove_radial<T>(job.head.columns, tile, dim, from, lanes, sums);
  if constexpr (HAS_PAIRS<T>)
    if (rows.paired)
      return round_rows(sums, dim, lanes, nullptr,
                        static_cast<BFloat16*>(job.grad_weight.data) + tile.from + from,
                        job.grad_weight.row_stride);
  visit(job.grad_weight.dtype, job.grad_weight.data, [&](auto grad) {
    for (int64_t d = 0; d < dim; ++d) {
      auto* to = grad + d * job.grad_weight.row_stride + tile.from + from;
      for (int64_t lane = 0; lane < lanes; ++lane) narrow(sums[d * PANEL<T> + lane], to[lane]);
    }
  });
}

}  // namespace lossbench::LOSSBENCH_TARGET
