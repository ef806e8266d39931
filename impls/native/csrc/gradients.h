// The gradients of both factors, from the derivatives of a tile `[panel][class][PANEL]`.
#pragma once

#include "class_scores.h"

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
  int64_t size;
  T *sums, *row;

  RowGradient(const CrossEntropy& asked, const ScaledRows<T>& scaled, Arena& arena)
      : job(asked), rows(scaled) {
    const bool wanted = job.grad_x.data != nullptr;
    size = wanted ? rows.dim * PANEL<T> : 0;
    sums = arena.take<T>(rows.panels * size);
    row = arena.take<T>(rows.dim);
  }

  void add(int64_t p, const Tile<T>& tile, const T* derivatives) {
    multiply<T>(rows.dim, rows.lanes(p), ByRows<T>{tile.weight.data, tile.weight.stride},
                derivatives, tile.count, sums + p * size,
                tile.from == 0 ? Store::set : Store::add);
  }

  // Turns the scaled rows' gradient into the embeddings'.
  void write(int64_t p, const T* stretch) {
    alignas(64) T along[PANEL<T>] = {};
    T* sum = sums + p * size;
    if (job.head.rows != Rows::given)
      for (int64_t v = 0; v < PANEL<T>; v += WIDTH<T>) {
        Vec<T> total = {};
        for (int64_t i = v; i < size; i += PANEL<T>)
          total += load<T>(sum + i) * load<T>(rows.panel(p) + i);
        store<T>(along + v, total);
      }
    combine(p, along, stretch);
    const int64_t count = rows.lanes(p), first = p * PANEL<T>;
    if (job.grad_x.dtype == DTYPE<T>) {
      T* out = static_cast<T*>(job.grad_x.data) + first * rows.dim;
      return transpose<T>(sum, PANEL<T>, rows.dim, count, out, rows.dim);
    }
    for (int64_t lane = 0; lane < count; ++lane) {
      for (int64_t d = 0; d < rows.dim; ++d) row[d] = sum[d * PANEL<T> + lane];
      write_row<T>(job.grad_x, first + lane, 0, rows.dim, row);
    }
  }

 private:
  // Overwrites a panel's sums by the embeddings' gradient, still transposed.
  void combine(int64_t p, const T* along, const T* stretch) {
    if (job.head.rows == Rows::given) return;
    alignas(64) T bends[PANEL<T>] = {};
    for (int64_t lane = 0; lane < rows.lanes(p); ++lane)
      bends[lane] = bend(p * PANEL<T> + lane, along[lane], stretch[lane]);
    T* sum = sums + p * size;
    const T *scaled = rows.panel(p), *factors = rows.factors + p * PANEL<T>;
    for (int64_t i = 0; i < size; i += WIDTH<T>)
      store<T>(sum + i, load<T>(sum + i) * load<T>(factors + i % PANEL<T>) +
                            load<T>(scaled + i) * load<T>(bends + i % PANEL<T>));
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

template <class T>
inline int64_t column_scratch(int64_t batch, int64_t dim) {
  return (batch + dim) * PANEL<T>;
}

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

// Writes the weight's gradient for the classes `from : from + PANEL` of a tile.
template <class T>
inline void write_columns(const CrossEntropy& job, const ScaledRows<T>& rows, const Tile<T>& tile,
                          int64_t from, const T* derivatives, T* scratch) {
  const int64_t lanes = smaller(PANEL<T>, tile.count - from);
  T *turned = scratch, *sums = scratch + rows.batch * PANEL<T>;
  for (int64_t p = 0; p < rows.panels; ++p)
    transpose<T>(derivatives + p * PANEL<T> * tile.count + from * PANEL<T>, PANEL<T>, lanes,
                 rows.lanes(p), turned + p * PANEL<T> * PANEL<T>, PANEL<T>);
  multiply<T>(rows.dim, lanes, ByPanels<T>{rows.scaled, rows.dim * PANEL<T>}, turned, rows.batch,
              sums);
  if (tile.scales != nullptr) remove_radial<T>(job.head.columns, tile, rows.dim, from, lanes, sums);
  visit(job.grad_weight.dtype, job.grad_weight.data, [&](auto grad) {
    for (int64_t d = 0; d < rows.dim; ++d) {
      auto* to = grad + d * job.grad_weight.row_stride + tile.from + from;
      for (int64_t lane = 0; lane < lanes; ++lane) narrow(sums[d * PANEL<T> + lane], to[lane]);
    }
  });
}

}  // namespace lossbench::LOSSBENCH_TARGET
