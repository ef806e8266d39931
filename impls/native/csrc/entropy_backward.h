// The backward pass of the cross-entropy: derivatives of some tiles at a time, then the gradients.
#pragma once

#include "entropy_memory.h"
#include "gradients.h"

namespace lossbench::LOSSBENCH_TARGET {

// Where the columns are one panel, the sums over the batch are in parts of at least so many panels
// of rows, so that several threads compute them.
constexpr int64_t PANELS_OF_PART = 4, MOST_PARTS = 16;

template <class T>
struct EntropyBackward {
  const CrossEntropy& job;
  EntropyMemory<T> memory;
  Arena arena;
  // Else only those turned.
  bool needs_rows;
  ScaledRows<T> rows;
  int64_t slots;
  RowGradient<T> grad_rows;
  int64_t tiles_at_once;
  T *derivatives, *buffers;
  TurnedRows<T> turned;
  // Of the sums over the batch for the columns' gradient: one, or several if the columns are one
  // panel.
  int64_t parts, panels_of_part;
  T *turned_columns, *column_sums;

  explicit EntropyBackward(const CrossEntropy& asked)
      : job(asked),
        memory(asked),
        arena(asked.scratch),
        needs_rows(!memory.paired || asked.head.rows != Rows::given ||
                   asked.kept_tiles < memory.tiles),
        rows(asked, arena, needs_rows),
        slots(slots_for(memory.tiles * rows.panels,
                        4.0 * memory.batch * memory.dim * memory.classes)),
        grad_rows(asked, rows, slots, arena),
        turned(rows, needs_rows, memory.classes, job.grad_weight.data != nullptr, arena) {
    const int64_t area = padded(memory.batch) * TILE, once = DERIVATIVES / area;
    tiles_at_once = smaller(memory.tiles, once > 1 ? once : 1);
    derivatives = arena.take<T>(padded(memory.batch) *
                                smaller(tiles_at_once * TILE, memory.classes));
    buffers = arena.take<T>(slots * memory.buffer_size());
    const bool wanted = job.grad_weight.data != nullptr;
    const int64_t fitting = smaller(rows.panels / PANELS_OF_PART, MOST_PARTS);
    parts = turned.is_single && fitting > 1 ? fitting : 1;
    panels_of_part = (rows.panels + parts - 1) / parts;
    turned_columns = arena.take<T>(wanted ? slots * panels_of_part * PANEL<T> * PANEL<T> : 0);
    column_sums = arena.take<T>(wanted ? (parts > 1 ? parts : slots) * sums_size() : 0);
  }

  int64_t sums_size() const { return memory.dim * PANEL<T>; }

  void run() {
    if (needs_rows && !job.rows_are_filled) rows.fill();
    if (job.grad_weight.data != nullptr) turned.fill();
    const Shares shares(job);
    for (int64_t first = 0; first < memory.tiles; first += tiles_at_once) {
      const int64_t last = smaller(first + tiles_at_once, memory.tiles);
      const Use use = last <= job.kept_tiles ? Use::nothing : Use::scores;
      each_task(first, (last - first) * rows.panels, rows.panels, use,
                [&](const Tile<T>& tile, int64_t, int64_t index, int64_t p) {
                  differentiate_panel(shares, tile, index, p, place(first, index, p));
                });
      if (job.grad_weight.data != nullptr) add_columns(first, last);
      if (job.grad_x.data != nullptr) add_rows(shares, first, last);
    }
    if (job.grad_x.data == nullptr || grad_rows.is_single) return;
    spread(smaller(slots, rows.panels), rows.panels, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) write_rows(shares, p, slot);
    });
  }

  void write_rows(const Shares& shares, int64_t p, int64_t slot) {
    grad_rows.write(p, PanelFactors<T>(job, shares, memory.terms, p).stretch, slot);
  }

  T* place(int64_t first, int64_t index, int64_t p) const {
    return derivatives + (index - first) * TILE * padded(memory.batch) +
           p * PANEL<T> * memory.width(index);
  }

  // Calls `f` for tasks, `parts` for each tile from the first on.
  template <class F>
  void each_task(int64_t first, int64_t tasks, int64_t parts, Use use, const F& f) {
    spread(smaller(slots, tasks), tasks, [&](int64_t slot, int64_t begin, int64_t end) {
      int64_t current = -1;
      Tile<T> tile{};
      for (int64_t task = begin; task < end; ++task) {
        const int64_t index = first + task / parts;
        if (index != current)
          tile = memory.tile(current = index, buffers + slot * memory.buffer_size(), use);
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
    if (parts > 1) return add_columns_in_parts();
    const int64_t classes = smaller(last * TILE, memory.classes) - first * TILE;
    each_task(first, (classes + PANEL<T> - 1) / PANEL<T>, TILE / PANEL<T>, Use::nothing,
              [&](const Tile<T>& tile, int64_t slot, int64_t index, int64_t part) {
                T* sums = column_sums + slot * sums_size();
                multiply_columns(0, rows.panels, slot, tile, part * PANEL<T>,
                                 place(first, index, 0), sums);
                write_columns<T>(job, rows, tile, part * PANEL<T>, sums);
              });
  }

  // The parts are added in their order, whatever the number of threads.
  void add_columns_in_parts() {
    const Tile<T> tile = memory.tile(0, buffers, Use::nothing);
    spread(smaller(rows.slots, parts), parts, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part)
        multiply_columns(part * rows.panels / parts, (part + 1) * rows.panels / parts, slot, tile,
                         0, derivatives, column_sums + part * sums_size());
    });
    for (int64_t part = 1; part < parts; ++part) {
      const T* sums = column_sums + part * sums_size();
      for (int64_t i = 0; i < sums_size(); ++i) column_sums[i] += sums[i];
    }
    write_columns<T>(job, rows, tile, 0, column_sums);
  }

  void multiply_columns(int64_t begin, int64_t end, int64_t slot, const Tile<T>& tile, int64_t from,
                        const T* of_tile, T* sums) const {
    turned.multiply_by(begin, end, slot, of_tile + from * PANEL<T>, tile.count,
                       smaller(PANEL<T>, tile.count - from),
                       turned_columns + slot * panels_of_part * PANEL<T> * PANEL<T>, sums);
  }

  // In the tiles' order for each panel.
  void add_rows(const Shares& shares, int64_t first, int64_t last) {
    spread(smaller(slots, rows.panels), rows.panels,
           [&](int64_t slot, int64_t begin, int64_t end) {
             for (int64_t index = first; index < last; ++index) {
               const Tile<T> tile =
                   memory.tile(index, buffers + slot * memory.buffer_size(), Use::rows);
               for (int64_t p = begin; p < end; ++p) {
                 grad_rows.add(p, tile, place(first, index, p), slot);
                 if (grad_rows.is_single) write_rows(shares, p, slot);
               }
             }
           });
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
