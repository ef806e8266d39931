// The gradient of a panel of samples that others pull at: Σ_j h_ij (x_i - y_j).
#pragma once

#include "samples.h"

namespace lossbench::LOSSBENCH_TARGET {

// So many panels of derivatives are multiplied at once.
constexpr int64_t PANELS_AT_ONCE = 4;

// Scratch memory of one thread.
template <class T>
struct PullBuffers {
  T *derivatives, *sums, *rows;

  static int64_t size(int64_t dim) {
    return PANELS_AT_ONCE * PANEL<T> * PANEL<T> + 2 * dim * PANEL<T>;
  }
  PullBuffers(T* memory, int64_t dim)
      : derivatives(memory),
        sums(memory + PANELS_AT_ONCE * PANEL<T> * PANEL<T>),
        rows(sums + dim * PANEL<T>) {}
};

// Writes `scale · Σ_j h_ij (x_i - y_j)` of the samples x of panel `p` to rows `gradient [B, D]`, of
// any dtype.
// `derive(q, to, totals)` writes h `[samples of panel q of the others][PANEL]` to `to`, and adds
// its columns' sums to `totals [PANEL]`.
template <class T, class G, class F>
inline void pull_panel(const Panels<T>& own, int64_t p, const Panels<T>& others, T scale,
                       const PullBuffers<T>& buffers, G* gradient, const F& derive) {
  alignas(64) T totals[PANEL<T>] = {};
  const int64_t dim = own.dim;
  if (others.count == 0)
    for (int64_t i = 0; i < dim * PANEL<T>; ++i) buffers.sums[i] = 0;
  for (int64_t first = 0; first < others.count; first += PANELS_AT_ONCE) {
    const int64_t last = lesser(first + PANELS_AT_ONCE, others.count);
    for (int64_t q = first; q < last; ++q)
      derive(q, buffers.derivatives + (q - first) * PANEL<T> * PANEL<T>, totals);
    multiply<T>(dim, own.lanes(p), ByColumns<T>{others.row(first * PANEL<T>), others.stride()},
                buffers.derivatives, lesser(last * PANEL<T>, others.batch) - first * PANEL<T>,
                buffers.sums, first == 0 ? Store::set : Store::add);
  }
  for (int v = 0; v < own.vectors(p); ++v)
    for (int64_t d = 0; d < dim; ++d) {
      T* at = buffers.sums + d * PANEL<T> + v * WIDTH<T>;
      const Vec<T> x = load<T>(own.panel(p) + d * PANEL<T> + v * WIDTH<T>);
      store<T>(at, (x * load<T>(totals + v * WIDTH<T>) - load<T>(at)) * scale);
    }
  transpose<T>(buffers.sums, PANEL<T>, dim, own.lanes(p) <= WIDTH<T> ? WIDTH<T> : PANEL<T>,
               buffers.rows, dim);
  G* to = gradient + p * PANEL<T> * dim;
  for (int64_t i = 0; i < own.lanes(p) * dim; ++i) narrow(buffers.rows[i], to[i]);
}

}  // namespace lossbench::LOSSBENCH_TARGET
