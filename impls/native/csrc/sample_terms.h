// The terms of each sample: its loss from the sums over classes, and the factors of its gradient.
#pragma once

#include "linear_layer.h"
#include "math.h"

namespace lossbench::LOSSBENCH_TARGET {

// The number at `i` of a matrix of one row.
inline double number(const Matrix& m, int64_t i) {
  double value = 0;
  read_row<double>(m, 0, i, 1, &value);
  return value;
}

// The weights of samples, and what a mean divides by.
struct Shares {
  const CrossEntropy& job;
  double smoothing, all_weights, norm = 1;

  explicit Shares(const CrossEntropy& asked) : job(asked), smoothing(asked.options.smoothing) {
    const int64_t classes = job.weight.columns;
    all_weights = static_cast<double>(classes);
    if (job.options.class_weights.data != nullptr) {
      all_weights = 0;
      for (int64_t c = 0; c < classes; ++c) all_weights += class_weight(c);
    }
    if (job.options.reduction != Reduction::mean) return;
    norm = 0;
    for (int64_t b = 0; b < job.x.rows; ++b) norm += kept(b) ? class_weight(job.labels[b]) : 0;
  }

  bool kept(int64_t b) const {
    return !job.options.ignores || job.labels[b] != job.options.ignored;
  }
  double class_weight(int64_t c) const {
    return job.options.class_weights.data == nullptr ? 1
                                                     : number(job.options.class_weights, c);
  }
  // The share ε / C of every class.
  double spread() const { return smoothing / static_cast<double>(job.weight.columns); }
  double upstream(int64_t b) const {
    if (job.upstream.data == nullptr) return 1;
    return number(job.upstream, job.options.reduction == Reduction::none ? b : 0);
  }
};

// What the backward pass reads of each sample, `[B padded]` each.
template <class T>
struct SampleTerms {
  T *top, *inverse, *miss, *slope, *stretch, *focus;

  SampleTerms(int64_t batch, Arena& arena) {
    const int64_t count = padded(batch);
    T** const all[] = {&top, &inverse, &miss, &slope, &stretch, &focus};
    for (T** term : all) *term = arena.take<T>(count);
  }
};

// The sums over the classes other than the target, of one panel of samples.
template <class T>
struct PanelSums {
  alignas(64) double top[PANEL<T>], amount[PANEL<T>], weighted[PANEL<T>];
};

// The losses of a panel, before weights, and the terms of its gradient.
template <class T>
inline void finish_panel(const CrossEntropy& job, const ScaledRows<T>& rows, const Shares& shares,
                         int64_t p, const T* target, const PanelSums<T>& sums,
                         SampleTerms<T>& terms, double* losses) {
  constexpr int W = WIDTH<double>;
  alignas(64) double logits[PANEL<T>], slopes[PANEL<T>], stretches[PANEL<T>];
  for (int64_t lane = 0; lane < PANEL<T>; ++lane) {
    const int64_t b = p * PANEL<T> + lane;
    logits[lane] = target[lane], slopes[lane] = 1, stretches[lane] = 0;
    if (b >= rows.batch || job.head.margin == Margin::none || !shares.kept(b)) continue;
    const double length = job.head.rows == Rows::own_length ? rows.lengths[b] : job.head.scale;
    double cosine = target[lane] / (length == 0 ? 1 : length);
    if (!(cosine < STEEP_COSINE && cosine > -STEEP_COSINE))
      cosine = cosine_of(job.x, b, rows.lengths[b], job.weight, job.labels[b]);
    cosine = cosine < -1 ? -1 : cosine > 1 ? 1 : cosine;
    const Substitute margin = substitute(job.head, cosine);
    logits[lane] = margin.value * length, slopes[lane] = margin.slope;
    if (job.head.rows == Rows::own_length) stretches[lane] = margin.value - cosine * margin.slope;
  }
  for (int64_t lane = 0; lane < PANEL<T>; lane += W) {
    const int64_t b = p * PANEL<T> + lane;
    const Vec<double> t = load<double>(logits + lane), top = load<double>(sums.top + lane);
    const Vec<double> amount = load<double>(sums.amount + lane);
    const Vec<double> gap = (top - t) + log<double>(amount);
    const Vec<double> minus = gap > splat<double>(0) ? -gap : gap;
    const Vec<double> e = exp<double>(minus), one = splat<double>(1);
    const Vec<double> miss = (gap > splat<double>(0) ? one : e) / (one + e);
    const Vec<double> nll = (gap > splat<double>(0) ? gap : splat<double>(0)) + log_1_plus(e);
    const Vec<double> highest = t > top ? t : top;
    const Vec<double> total = amount * exp<double>(top - highest) + exp<double>(t - highest);
    for (int i = 0; i < W; ++i) {
      losses[lane + i] = nll[i];
      terms.top[b + i] = static_cast<T>(highest[i]);
      terms.inverse[b + i] = static_cast<T>(1 / total[i]);
      terms.miss[b + i] = static_cast<T>(miss[i]);
      terms.slope[b + i] = static_cast<T>(slopes[lane + i]);
      terms.stretch[b + i] = static_cast<T>(stretches[lane + i]);
      terms.focus[b + i] = 1;
    }
  }
  for (int64_t lane = 0; lane < rows.lanes(p); ++lane) {
    const int64_t b = p * PANEL<T> + lane;
    if (!shares.kept(b)) {
      losses[lane] = 0;
      continue;
    }
    const double weight = shares.class_weight(job.labels[b]), nll = losses[lane];
    losses[lane] = (1 - shares.smoothing) * weight * nll;
    if (shares.smoothing != 0) {
      const double everything = sums.weighted[lane] + weight * logits[lane];
      losses[lane] +=
          shares.spread() * (shares.all_weights * (logits[lane] + nll) - everything);
    }
    if (job.head.gamma == 0) continue;
    const double focus = __builtin_pow(terms.miss[b], job.head.gamma);
    losses[lane] *= focus, terms.focus[b] = static_cast<T>(focus);
  }
}

// Writes the sums of a panel over a shard, and the terms of its gradient.
template <class T>
inline void finish_panel_of_shard(const CrossEntropy& job, const ScaledRows<T>& rows, int64_t p,
                                  const PanelSums<T>& sums, SampleTerms<T>& terms) {
  alignas(64) double logs[PANEL<T>];
  for (int64_t lane = 0; lane < PANEL<T>; lane += WIDTH<double>)
    store<double>(logs + lane, load<double>(sums.top + lane) +
                                   log<double>(load<double>(sums.amount + lane)));
  for (int64_t lane = 0; lane < rows.lanes(p); ++lane) {
    const int64_t b = p * PANEL<T> + lane;
    static_cast<T*>(job.loss)[b] = static_cast<T>(logs[lane]);
    if (job.spreads != nullptr) static_cast<T*>(job.spreads)[b] = static_cast<T>(sums.weighted[lane]);
    terms.top[b] = static_cast<T>(sums.top[lane]);
    terms.inverse[b] = static_cast<T>(1 / sums.amount[lane]);
  }
}

// The factors of a panel's gradient: by the powers of the others, by the classes' weights, and the
// derivative by the target's product; and by the embedding's length.
template <class T>
struct PanelFactors {
  alignas(64) T power[PANEL<T>], spread[PANEL<T>], target[PANEL<T>], stretch[PANEL<T>];

  PanelFactors(const CrossEntropy& job, const Shares& shares, const SampleTerms<T>& terms,
               int64_t p) {
    const double per_norm = 1 / shares.norm;
    for (int64_t lane = 0; lane < PANEL<T>; ++lane) {
      const int64_t b = p * PANEL<T> + lane;
      power[lane] = spread[lane] = target[lane] = stretch[lane] = 0;
      if (b >= job.x.rows) continue;
      if (job.of_shard) {
        power[lane] = static_cast<T>(shares.upstream(b) * terms.inverse[b]);
        if (job.spread_upstream.data != nullptr)
          spread[lane] = static_cast<T>(-number(job.spread_upstream, b));
        continue;
      }
      if (!shares.kept(b)) continue;
      const double share = shares.upstream(b) * terms.focus[b] * per_norm;
      const double weight = shares.class_weight(job.labels[b]);
      const double own = (1 - shares.smoothing) * weight, miss = terms.miss[b];
      const double spreads = shares.spread() * shares.all_weights;
      const double pull = share * (spreads * (1 - miss) - shares.spread() * weight - own * miss);
      power[lane] = static_cast<T>(share * (own + spreads) * terms.inverse[b]);
      spread[lane] = static_cast<T>(share * shares.spread());
      target[lane] = static_cast<T>(pull * terms.slope[b]);
      stretch[lane] = static_cast<T>(pull * terms.stretch[b]);
    }
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
