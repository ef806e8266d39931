// The forward pass of the cross-entropy: the powers of each tile, their sums, and the losses.
#pragma once

#include "entropy_memory.h"

namespace lossbench::LOSSBENCH_TARGET {

template <class T>
struct EntropyForward {
  const CrossEntropy& job;
  EntropyMemory<T> memory;
  Arena arena;
  ScaledRows<T> rows;
  int64_t tasks, slots;
  T *tops, *amounts, *targets;
  double *weighted, *losses;
  T *scores, *buffers;

  explicit EntropyForward(const CrossEntropy& asked)
      : job(asked), memory(asked), arena(asked.scratch), rows(asked, arena) {
    const double operations = 2.0 * memory.batch * memory.dim * memory.classes;
    tasks = memory.tiles * rows.panels;
    slots = slots_for(tasks, operations);
    const int64_t per_tile = memory.tiles * padded(memory.batch);
    tops = arena.take<T>(per_tile), amounts = arena.take<T>(per_tile);
    targets = arena.take<T>(padded(memory.batch));
    weighted = arena.take<double>(job.options.smoothing == 0 ? 0 : per_tile);
    losses = arena.take<double>(padded(memory.batch));
    const bool keeps_all = job.kept_tiles >= memory.tiles;
    scores = arena.take<T>(keeps_all ? 0 : slots * memory.width(0) * PANEL<T>);
    buffers = arena.take<T>(slots * memory.buffer_size());
  }

  void run() {
    rows.fill();
    const Shares shares(job);
    if (memory.scales != nullptr) scale_all();
    spread(slots, tasks, [&](int64_t slot, int64_t begin, int64_t end) {
      T* buffer = buffers + slot * memory.buffer_size();
      int64_t current = -1;
      Tile<T> tile{};
      for (int64_t task = begin; task < end; ++task) {
        const int64_t index = task / rows.panels, p = task % rows.panels;
        if (index != current) tile = memory.tile(current = index, buffer, Use::scores);
        T* kept = memory.kept_powers(index, p);
        if (kept == nullptr) kept = scores + slot * memory.width(0) * PANEL<T>;
        sum(shares, tile, index, p, kept);
      }
    });
    for (int64_t p = 0; p < rows.panels; ++p) finish(shares, p);
    if (!job.of_shard) reduce(shares);
  }

  void scale_all() {
    spread(slots_for(memory.tiles, 4.0 * memory.dim * memory.classes), memory.tiles,
           [&](int64_t slot, int64_t begin, int64_t end) {
             for (int64_t index = begin; index < end; ++index)
               memory.tile(index, buffers + slot * memory.buffer_size(), Use::scales);
           });
  }

  void sum(const Shares& shares, const Tile<T>& tile, int64_t index, int64_t p, T* to) {
    const int64_t lanes = rows.lanes(p), at = index * padded(memory.batch) + p * PANEL<T>;
    score<T>(rows, tile, p, to);
    if (shares.smoothing != 0) {
      for (int64_t lane = 0; lane < PANEL<T>; ++lane) weighted[at + lane] = 0;
      weigh<T>(shares, tile, lanes, to, job.labels, p, weighted + at);
    }
    take_targets<T>(job, tile, p, lanes, to, targets + p * PANEL<T>);
    raise<T>(tile.count, lanes, to, tops + at, amounts + at);
    if (index >= job.kept_tiles) return;
    for (int64_t lane = 0; lane < PANEL<T>; ++lane)
      memory.kept_top(index, p)[lane] = tops[at + lane];
  }

  // Adds a panel's sums over the tiles, in the tiles' order.
  void finish(const Shares& shares, int64_t p) {
    PanelSums<T> sums;
    for (int64_t lane = 0; lane < PANEL<T>; ++lane) {
      const int64_t b = p * PANEL<T> + lane, step = padded(memory.batch);
      T top = Float<T>::LOWEST;
      if (b >= memory.batch) targets[b] = 0;
      for (int64_t t = 0; t < memory.tiles; ++t) {
        if (b >= memory.batch) tops[t * step + b] = 0, amounts[t * step + b] = 1;
        top = tops[t * step + b] > top ? tops[t * step + b] : top;
      }
      sums.top[lane] = top, sums.amount[lane] = sums.weighted[lane] = 0;
    }
    for (int64_t t = 0; t < memory.tiles; ++t) {
      const int64_t at = t * padded(memory.batch) + p * PANEL<T>;
      for (int64_t lane = 0; lane < PANEL<T>; lane += WIDTH<double>) {
        const Vec<double> shift = load_wide(tops + at + lane) - load<double>(sums.top + lane);
        store<double>(sums.amount + lane, load<double>(sums.amount + lane) +
                                              load_wide(amounts + at + lane) * exp<double>(shift));
      }
      if (shares.smoothing == 0) continue;
      for (int64_t lane = 0; lane < PANEL<T>; ++lane) sums.weighted[lane] += weighted[at + lane];
    }
    if (job.of_shard) return finish_panel_of_shard<T>(job, rows, p, sums, memory.terms);
    finish_panel<T>(job, rows, shares, p, targets + p * PANEL<T>, sums, memory.terms,
                    losses + p * PANEL<T>);
  }

  void reduce(const Shares& shares) {
    T* out = static_cast<T*>(job.loss);
    double total = 0;
    for (int64_t b = 0; b < memory.batch; ++b) {
      if (job.options.reduction == Reduction::none) out[b] = static_cast<T>(losses[b]);
      total += losses[b];
    }
    if (job.options.reduction != Reduction::none) out[0] = static_cast<T>(total / shares.norm);
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
