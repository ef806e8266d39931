// The batch-hard triplet loss; compiled for each target.
//
// Pairs are mined in square tiles of one half of the matrix. Every sum has one order, so the number
// of threads changes no result. The chosen distances are computed again, from differences.
#include "mining.h"
#include "rows.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

template <class T>
struct BatchHard : TripletPass<T> {
  using Pass = TripletPass<T>;
  using Pass::arena, Pass::job, Pass::samples, Pass::classes, Pass::batch, Pass::dim;
  using Pass::correct, Pass::gradient, Pass::halves, Pass::losses;
  using Pass::each_range, Pass::each_tile, Pass::read, Pass::write_outputs;
  static constexpr int W = WIDTH<T>;
  Miner<T> miner;
  double* coefficients;  // [KINDS][B]
  Hardest<T>* chosen;    // [B padded / WIDTH]

  explicit BatchHard(const Triplets& asked) : Pass(asked), miner(*this, arena) {
    coefficients = arena.template take<double>(KINDS * batch);
    chosen = arena.template take<Hardest<T>>(miner.vectors());
  }

  bool run() {
    if (!read()) return false;
    each_tile([&](int64_t, const Tile& tile) { miner.mine(tile); });
    // Each number counts as 64 operations: the threads are awake by now.
    for_each(miner.vectors(), 64.0 * batch * dim, [&](int64_t vector) {
      chosen[vector] = miner.hardest(vector);
      for (int64_t b = vector * W; b < lesser(vector * W + W, batch); ++b) choose(b);
    });
    if (job.gradient != nullptr) differentiate();
    write_outputs();
    return true;
  }

  const Least<T>& partners(int64_t anchor, int kind) const {
    return chosen[anchor / W].kinds[kind];
  }
  T value(int64_t anchor, int kind) const { return partners(anchor, kind).value[anchor % W]; }
  int64_t index(int64_t anchor, int kind) const { return partners(anchor, kind).index[anchor % W]; }
  bool is_tied(int64_t anchor, int kind) const {
    return partners(anchor, kind).second[anchor % W] == value(anchor, kind);
  }

  // An anchor's hinge, and its factors of the differences in the gradient.
  void choose(int64_t anchor) {
    double lengths[KINDS];
    for (int kind = 0; kind < KINDS; ++kind)
      lengths[kind] = __builtin_sqrt(squared_distance<T>(
          samples.row(anchor), samples.row(index(anchor, kind)), dim));
    const double furthest = lengths[0] > LEAST_DISTANCE ? lengths[0] : LEAST_DISTANCE;
    // Without a negative in the batch there is no loss.
    const bool alone = !(value(anchor, 1) < INFINITE<T>);
    const double least = lengths[1] > LEAST_DISTANCE ? lengths[1] : LEAST_DISTANCE;
    const double closest = alone ? __builtin_inf() : least;
    correct[anchor] = closest >= furthest;
    const double hinge = furthest - closest + job.margin;
    losses[anchor] = hinge > 0 ? hinge : 0;
    for (int kind = 0; kind < KINDS; ++kind) {
      const bool flat = hinge < 0 || lengths[kind] <= CLAMPED_DISTANCE;
      const double sign = kind == 0 ? 1 : -1;
      double& coefficient = coefficients[kind * batch + anchor];
      coefficient = flat ? 0 : sign / (lengths[kind] * static_cast<double>(batch));
      if (!flat && is_tied(anchor, kind)) {
        // The gradient of a maximum is shared by equals.
        int64_t equals = 0;
        each_equal(anchor, kind, [&](int64_t) { ++equals; });
        coefficient /= static_cast<double>(equals > 0 ? equals : 1);
      }
    }
  }

  // Calls `f` with every partner of a kind that is as far as the chosen one.
  template <class F>
  void each_equal(int64_t anchor, int kind, const F& f) const {
    const T wanted = value(anchor, kind);
    const int64_t q = anchor / PANEL<T>, lane = anchor % PANEL<T>;
    alignas(64) T products[PANEL<T>];
    for (int64_t p = 0; p < samples.count; ++p) {
      multiply_panels<T>(samples, q, lane, 1, samples, p, products);
      for (int64_t i = 0; i < samples.lanes(p); ++i) {
        const int64_t other = p * PANEL<T> + i;
        const bool same = classes.ids[other] == classes.ids[anchor];
        const T distance = (halves[other] + halves[anchor]) - products[i];
        if (same == (kind == 0) && (same ? -distance : distance) == wanted) f(other);
      }
    }
  }

  void differentiate() {
    each_range(16.0 * batch * dim, [&](int64_t from, int64_t count) {
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t d = from; d < from + count; ++d) gradient[b * dim + d] = 0;
      for (int64_t b = 0; b < batch; ++b) pull(b, from, count);
    });
  }

  void pull(int64_t anchor, int64_t from, int64_t count) {
    const double pulled = coefficients[anchor], pushed = coefficients[batch + anchor];
    if (pulled != 0 && pushed != 0 && !is_tied(anchor, 0) && !is_tied(anchor, 1))
      return pull_both(anchor, from, count);
    for (int kind = 0; kind < KINDS; ++kind) {
      const T factor = static_cast<T>(coefficients[kind * batch + anchor]);
      if (factor == 0) continue;
      if (is_tied(anchor, kind))
        each_equal(anchor, kind,
                   [&](int64_t other) { pull_pair(anchor, other, factor, from, count); });
      else
        pull_pair(anchor, index(anchor, kind), factor, from, count);
    }
  }

  // Both partners at once; they are of two classes, so that no row is there twice.
  void pull_both(int64_t anchor, int64_t from, int64_t count) {
    const int64_t far = index(anchor, 0), near = index(anchor, 1);
    const T pulled = static_cast<T>(coefficients[anchor]);
    const T pushed = static_cast<T>(coefficients[batch + anchor]);
    const T *a = samples.row(anchor) + from, *b = samples.row(far) + from,
            *c = samples.row(near) + from;
    T *to_a = gradient + anchor * dim + from, *to_b = gradient + far * dim + from,
      *to_c = gradient + near * dim + from;
#pragma GCC ivdep
    for (int64_t d = 0; d < count; ++d) {
      const T first = pulled * (a[d] - b[d]), second = pushed * (a[d] - c[d]);
      to_a[d] += first + second, to_b[d] -= first, to_c[d] -= second;
    }
  }

  void pull_pair(int64_t anchor, int64_t other, T factor, int64_t from, int64_t count) {
    pull_apart<T>(samples.row(anchor) + from, samples.row(other) + from, factor, count,
                  gradient + anchor * dim + from, gradient + other * dim + from);
  }
};

}  // namespace

int64_t batch_hard_scratch(const Triplets& job, bool wide) {
  return wide ? BatchHard<double>(job).arena.used() : BatchHard<float>(job).arena.used();
}
bool batch_hard(const Triplets& job, bool wide) {
  return wide ? BatchHard<double>(job).run() : BatchHard<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
