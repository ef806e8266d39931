// The backward pass of the cross-entropy: derivatives of some tiles at a time, then the gradients.
#pragma once

#include "entropy_memory.h"
#include "gradients.h"

namespace lossbench::LOSSBENCH_TARGET {

template <class T>
struct EntropyBackward {
  const CrossEntropy& job;
  EntropyMemory<T> memory;
  Arena arena;
  ScaledRows<T> rows;
  RowGradient<T> grad_rows;
  int64_t tiles_at_once, slots;
  T *derivatives, *buffers;
  T* columns;

  explicit EntropyBackward(const CrossEntropy& asked)
      : job(asked),
        memory(asked),
        arena(asked.scratch),
        rows(asked, arena),
        grad_rows(asked, rows, arena) {
    const int64_t area = padded(memory.batch) * TILE, once = DERIVATIVES / area;
    tiles_at_once = smaller(memory.tiles, once > 1 ? once : 1);
    slots = slots_for(memory.tiles * rows.panels,
                      4.0 * memory.batch * memory.dim * memory.classes);
    derivatives = arena.take<T>(padded(memory.batch) *
                                smaller(tiles_at_once * TILE, memory.classes));
    buffers = arena.take<T>(slots * memory.buffer_size());
    columns = arena.take<T>(job.grad_weight.data == nullptr
                                ? 0
                                : slots * column_scratch<T>(memory.batch, memory.dim));
  }

  void run() {
    if (!job.rows_are_filled) rows.fill();
    const Shares shares(job);
    for (int64_t first = 0; first < memory.tiles; first += tiles_at_once) {
      const int64_t last = smaller(first + tiles_at_once, memory.tiles);
      each_task(first, last, rows.panels, [&](const Tile<T>& tile, int64_t slot, int64_t index,
                                              int64_t p) {
        (void)slot;
        differentiate_panel(shares, tile, index, p, place(first, index, p));
      });
      if (job.grad_weight.data != nullptr) add_columns(first, last);
      if (job.grad_x.data != nullptr) add_rows(first, last);
    }
    if (job.grad_x.data == nullptr) return;
    for (int64_t p = 0; p < rows.panels; ++p)
      grad_rows.write(p, PanelFactors<T>(job, shares, memory.terms, p).stretch);
  }

  T* place(int64_t first, int64_t index, int64_t p) const {
    return derivatives + (index - first) * TILE * padded(memory.batch) +
           p * PANEL<T> * memory.width(index);
  }

  template <class F>
  void each_task(int64_t first, int64_t last, int64_t parts, const F& f) {
    const int64_t tasks = (last - first) * parts;
    spread(smaller(slots, tasks), tasks, [&](int64_t slot, int64_t begin, int64_t end) {
      int64_t current = -1;
      Tile<T> tile{};
      for (int64_t task = begin; task < end; ++task) {
        const int64_t index = first + task / parts;
        if (index != current)
          tile = memory.tile(current = index, buffers + slot * memory.buffer_size());
        f(tile, slot, index, task % parts);
      }
    });
  }

  void differentiate_panel(const Shares& shares, const Tile<T>& tile, int64_t index, int64_t p,
                           T* to) {
    const PanelFactors<T> factors(job, shares, memory.terms, p);
    const T* kept = memory.kept_powers(index, p);
    if (kept == nullptr) score<T>(rows, tile, p, to);
    differentiate<T>(job, shares, tile, p, rows.lanes(p), factors,
                     memory.terms.top + p * PANEL<T>, kept,
                     kept == nullptr ? nullptr : memory.kept_top(index, p), to);
  }

  void add_columns(int64_t first, int64_t last) {
    constexpr int64_t parts = TILE / PANEL<T>;
    each_task(first, last, parts,
              [&](const Tile<T>& tile, int64_t slot, int64_t index, int64_t part) {
                if (part * PANEL<T> >= tile.count) return;
                write_columns<T>(job, rows, tile, part * PANEL<T>, place(first, index, 0),
                                 columns + slot * column_scratch<T>(memory.batch, memory.dim));
              });
  }

  // In the tiles' order for each panel.
  void add_rows(int64_t first, int64_t last) {
    spread(smaller(slots, rows.panels), rows.panels,
           [&](int64_t slot, int64_t begin, int64_t end) {
             for (int64_t index = first; index < last; ++index) {
               const Tile<T> tile =
                   memory.tile(index, buffers + slot * memory.buffer_size());
               for (int64_t p = begin; p < end; ++p)
                 grad_rows.add(p, tile, place(first, index, p));
             }
           });
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
