// The scores of a tile of classes and a panel of samples, `[count][PANEL]`, and what becomes of
// them: powers, their sums, and derivatives.
#pragma once

#include "sample_terms.h"

namespace lossbench::LOSSBENCH_TARGET {

// The classes `from : from + count`, their weights, and the columns' scale or null.
template <class T>
struct Tile {
  int64_t from, count;
  TileOfWeight<T> weight;
  const T* scales;
  const Pair* pairs = nullptr;  // Those that are asked for.
  int64_t pair_stride = 0;

  // Where a sample's target is among the scores, or null.
  T* find(const Labels& labels, int64_t b, int64_t lane, T* scores) const {
    const int64_t c = labels[b] - from;
    return c >= 0 && c < count ? scores + c * PANEL<T> + lane : nullptr;
  }
};

template <class T>
inline void multiply_factors(const ScaledRows<T>& rows, const Tile<T>& tile, int64_t p, T* to) {
  if constexpr (HAS_PAIRS<T>)
    if (rows.paired) {
      multiply<T>(tile.count, rows.lanes(p), ByColumns<Pair>{tile.pairs, tile.pair_stride},
                  rows.pair_panel(p), pairs_of(rows.dim), to);
      if (rows.head.rows == Rows::given) return;
      for (int64_t i = 0; i < tile.count * PANEL<T>; i += WIDTH<T>)
        store<T>(to + i, load<T>(to + i) * load<T>(rows.factors + p * PANEL<T> + i % PANEL<T>));
      return;
    }
  multiply<T>(tile.count, rows.lanes(p), ByColumns<T>{tile.weight.data, tile.weight.stride},
              rows.panel(p), rows.dim, to);
}

template <class T>
inline void score(const ScaledRows<T>& rows, const Tile<T>& tile, int64_t p, T* scores) {
  multiply_factors<T>(rows, tile, p, scores);
  if (tile.scales == nullptr) return;
  for (int64_t i = 0; i < tile.count * PANEL<T>; i += WIDTH<T>)
    store<T>(scores + i, load<T>(scores + i) * tile.scales[i / PANEL<T>]);
}

// Takes the targets out of the scores: a target subtracted later would cancel digits.
template <class T>
inline void take_targets(const CrossEntropy& job, const Tile<T>& tile, int64_t p, int64_t lanes,
                         T* scores, T* target) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    if (T* at = tile.find(job.labels, p * PANEL<T> + lane, lane, scores)) {
      if (target != nullptr) target[lane] = *at;
      *at = Float<T>::LOWEST;
    }
}

// Overwrites scores by their powers before `top`, the highest; their sums to `amount`.
template <class T>
inline void raise(int64_t count, int64_t lanes, T* scores, T* top, T* amount) {
  for (int64_t v = 0; v < PANEL<T> && v < lanes; v += WIDTH<T>) {
    Vec<T> highest = splat<T>(Float<T>::LOWEST), sum = {};
    for (int64_t c = 0; c < count; ++c)
      highest = larger<T>(highest, load<T>(scores + c * PANEL<T> + v));
    for (int64_t c = 0; c < count; ++c) {
      const Vec<T> power = exp<T>(load<T>(scores + c * PANEL<T> + v) - highest);
      store<T>(scores + c * PANEL<T> + v, power);
      sum += power;
    }
    store<T>(top + v, highest);
    store<T>(amount + v, sum);
  }
}

// Sums of the scores times their classes' weights, for label smoothing.
template <class T>
inline void weigh(const Shares& shares, const Tile<T>& tile, int64_t lanes, const T* scores,
                  const Labels& labels, int64_t p, double* weighted) {
  for (int64_t c = 0; c < tile.count; ++c) {
    const double weight = shares.class_weight(tile.from + c);
    for (int64_t lane = 0; lane < lanes; ++lane)
      if (labels[p * PANEL<T> + lane] != tile.from + c)
        weighted[lane] += weight * scores[c * PANEL<T> + lane];
  }
}

// Overwrites scores, or powers before `top`, by the derivatives, times the columns' scale.
template <class T>
inline void differentiate(const CrossEntropy& job, const Shares& shares, const Tile<T>& tile,
                          int64_t p, int64_t lanes, const PanelFactors<T>& factors, const T* top,
                          const T* kept, const T* kept_top, T* scores) {
  for (int64_t v = 0; v < PANEL<T> && v < lanes; v += WIDTH<T>) {
    const Vec<T> highest = load<T>(top + v), factor = load<T>(factors.power + v);
    const Vec<T> spread = load<T>(factors.spread + v), none = {};
    const Vec<T> of_kept =
        kept == nullptr ? factor : factor * exp<T>(load<T>(kept_top + v) - highest);
    for (int64_t c = 0; c < tile.count; ++c) {
      const int64_t at = c * PANEL<T> + v;
      Vec<T> value = kept == nullptr ? factor * exp<T>(load<T>(scores + at) - highest)
                                     : of_kept * load<T>(kept + at);
      if (shares.smoothing != 0)
        value -= spread * static_cast<T>(shares.class_weight(tile.from + c));
      // A sample that is left out has no gradient, even if its scores are NaN.
      value = (factor == none) & (spread == none) ? none : value;
      store<T>(scores + at, value);
    }
  }
  for (int64_t lane = 0; lane < lanes; ++lane)
    if (T* at = tile.find(job.labels, p * PANEL<T> + lane, lane, scores)) *at = factors.target[lane];
  if (tile.scales == nullptr) return;
  for (int64_t i = 0; i < tile.count * PANEL<T>; i += WIDTH<T>)
    store<T>(scores + i, load<T>(scores + i) * tile.scales[i / PANEL<T>]);
}

}  // namespace lossbench::LOSSBENCH_TARGET
