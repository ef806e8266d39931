// What the triplet losses share: how they read a batch, visit its pairs, and write their outputs.
#pragma once

#include "tiling.h"
#include "triplets.h"

namespace lossbench::LOSSBENCH_TARGET {

template <class T>
struct TripletPass {
  const Triplets& job;
  Arena arena;
  Panels<T> samples;
  ClassNumbers<T> classes;
  Tiling tiling;
  int64_t batch, dim, padded, slots;
  T* halves;         // [B padded]: half the squared lengths.
  double* losses;    // [B padded]
  int64_t* correct;  // [B padded], 0 or 1
  T* gradient;       // [B, D], in the dtype of the computation.

  explicit TripletPass(const Triplets& asked)
      : job(asked),
        arena(asked.scratch),
        samples(asked.x, arena),
        classes(asked.x.rows, samples.padded(), arena),
        tiling(samples.count),
        batch(samples.batch),
        dim(samples.dim),
        padded(samples.padded()) {
    slots = slots_for(tiling.count, static_cast<double>(batch) * batch * dim);
    halves = arena.take<T>(padded);
    losses = arena.take<double>(padded), correct = arena.take<int64_t>(padded);
    const bool in_place = job.gradient == nullptr || job.dtype == DTYPE<T>;
    gradient = in_place ? static_cast<T*>(job.gradient) : arena.take<T>(batch * dim);
  }

  // Reads the batch; false if a distance overflows.
  bool read() {
    // On as many threads as compare the pairs: what one has read alone, the others would fetch.
    spread(slots, samples.count, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        samples.fill(p);
        fill_halves<T>(samples, p, halves);
      }
    });
    if (!all_finite<T>(samples, halves)) return false;
    classes.fill(job.labels);
    return true;
  }

  // Calls `f(slot, tile)` for every tile of pairs.
  template <class F>
  void each_tile(const F& f) const {
    spread(slots, tiling.count, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t number = begin; number < end; ++number) f(slot, tiling[number]);
    });
  }

  // Calls `f(from, count)` for ranges of dimensions. A thread has dimensions of its own, so that
  // anchors add to their partners in one order.
  template <class F>
  void each_range(double operations, const F& f) const {
    const int64_t parts = (dim + PANEL<T> - 1) / PANEL<T>;
    spread(slots_for(parts, operations), parts, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t from = begin * PANEL<T>;
      f(from, lesser(end * PANEL<T>, dim) - from);
    });
  }

  void write_outputs() const {
    double total = 0;
    *job.correct = 0;
    for (int64_t b = 0; b < batch; ++b) total += losses[b], *job.correct += correct[b];
    total /= static_cast<double>(batch);
    visit(job.dtype, job.loss, [&](auto* to) { narrow(total, *to); });
    if (job.gradient == nullptr || job.dtype == DTYPE<T>) return;
    const MutableMatrix out{job.gradient, dim, 1, job.dtype};
    for (int64_t b = 0; b < batch; ++b) write_row<T>(out, b, 0, dim, gradient + b * dim);
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
