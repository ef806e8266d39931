// The contrastive losses and the distance of two arrays, row by row; compiled for each target.
//
// Sums are in double, first of each row and then over the rows, so no sum depends on the number of
// threads.
#include "arena.h"
#include "differences.h"
#include "parallel.h"
#include "rows.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

template <class T>
struct Pairs {
  const Differences& job;
  Arena arena;
  int64_t batch, dim, slots;
  double* terms;      // [B]: squared distances, then losses.
  T *first, *second;  // [slots][D]: rows that cannot be read in place.

  explicit Pairs(const Differences& asked)
      : job(asked), arena(asked.scratch), batch(asked.a.rows), dim(asked.a.columns) {
    slots = slots_for(batch, 8.0 * batch * dim);
    terms = arena.take<double>(batch);
    first = arena.take<T>(slots * dim), second = arena.take<T>(slots * dim);
  }

  // Calls `f(row number, a's row, b's row)`.
  template <class F>
  void each_row(const F& f) const {
    spread(slots, batch, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        f(i, row_of<T>(job.a, i, first + slot * dim), row_of<T>(job.b, i, second + slot * dim));
    });
  }

  void run() {
    const double count = static_cast<double>(batch);
    each_row([&](int64_t i, const T* a, const T* b) {
      terms[i] = squared_distance<T>(a, b, dim);
      if (job.loss != PairLoss::each) return;
      const double square = terms[i], distance = __builtin_sqrt(square), share = share_of(i);
      terms[i] = loss(square, distance, share);
      if (job.grad_a != nullptr) write(i, a, b, slope(distance, share) / count);
    });
    double total = 0;
    for (int64_t i = 0; i < batch; ++i) total += terms[i];
    if (job.loss == PairLoss::each) return give(total / count);
    const double distance = __builtin_sqrt(total);
    if (job.loss == PairLoss::distance) return give(distance);
    // The loss is linear in the labels, so their mean is enough.
    const double share = mean_share();
    give(loss(total, distance, share));
    if (job.grad_a != nullptr) write_all(slope(distance, share));
  }

  void write_all(double factor) const {
    each_row([&](int64_t i, const T* a, const T* b) { write(i, a, b, factor); });
  }

 private:
  double share_of(int64_t i) const {
    double share = 0;
    read_row<double>(job.same, 0, job.same.columns == 1 ? 0 : i, 1, &share);
    return share;
  }

  double mean_share() const {
    double total = 0;
    for (int64_t i = 0; i < job.same.columns; ++i) total += share_of(i);
    return total / static_cast<double>(job.same.columns);
  }

  double shortfall(double distance) const {
    const double rest = job.margin - distance;
    return rest < 0 ? 0 : rest;
  }

  double loss(double square, double distance, double share) const {
    const double rest = shortfall(distance);
    return (share * square + (1 - share) * rest * rest) / 2;
  }

  // The derivative by the distance, over the distance; a distance of 0 has none.
  double slope(double distance, double share) const {
    const double push = distance == 0 ? 0 : shortfall(distance) / distance;
    return share - (1 - share) * push;
  }

  void write(int64_t i, const T* a, const T* b, double factor) const {
    const T scale = static_cast<T>(factor);
    visit(job.a.dtype, job.grad_a, [&](auto* gradient) {
      auto* to_a = gradient + i * dim;
      auto* to_b = static_cast<decltype(gradient)>(job.grad_b) + i * dim;
#pragma GCC ivdep
      for (int64_t d = 0; d < dim; ++d) {
        const T part = scale * (a[d] - b[d]);
        narrow(part, to_a[d]), narrow(-part, to_b[d]);
      }
    });
  }

  void give(double value) const { *static_cast<T*>(job.value) = static_cast<T>(value); }
};

}  // namespace

int64_t differences_scratch(const Differences& job, bool wide) {
  return wide ? Pairs<double>(job).arena.used() : Pairs<float>(job).arena.used();
}
void differences(const Differences& job, bool wide) {
  wide ? Pairs<double>(job).run() : Pairs<float>(job).run();
}
void distance_gradients(const Differences& job, bool wide) {
  const double factor = job.distance == 0 ? 0 : job.upstream / job.distance;
  wide ? Pairs<double>(job).write_all(factor) : Pairs<float>(job).write_all(factor);
}

}  // namespace lossbench::LOSSBENCH_TARGET
