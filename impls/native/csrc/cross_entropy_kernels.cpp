// The cross-entropy over a linear layer, class tile by class tile; compiled for each target.
//
// The forward pass keeps the powers of the first tiles; the backward pass computes the others
// again, some tiles at a time, and from them all gradients. Every sum has one order, so the number
// of threads changes no result.
#include "class_scores.h"
#include "gradients.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// The pieces of memory of both passes, in one order.
template <class T>
struct Memory {
  const CrossEntropy& job;
  int64_t batch, dim, classes, tiles;
  // Saved between the passes.
  Arena saved;
  SampleTerms<T> terms;
  T* scales;  // [C], if columns are scaled.
  T *kept_tops, *kept;

  explicit Memory(const CrossEntropy& asked)
      : job(asked),
        batch(asked.x.rows),
        dim(asked.x.columns),
        classes(asked.weight.columns),
        tiles((classes + TILE - 1) / TILE),
        saved(asked.saved),
        terms(batch, saved) {
    scales = job.head.columns == Columns::given ? nullptr : saved.take<T>(classes);
    kept_tops = saved.take<T>(job.kept_tiles * padded(batch));
    kept = saved.take<T>(smaller(job.kept_tiles * TILE, classes) * padded(batch));
  }

  int64_t width(int64_t tile) const { return smaller(TILE, classes - tile * TILE); }
  // The powers of a tile and a panel that are kept, or null.
  T* kept_powers(int64_t tile, int64_t p) const {
    if (tile >= job.kept_tiles) return nullptr;
    return kept + tile * TILE * padded(batch) + p * PANEL<T> * width(tile);
  }
  T* kept_top(int64_t tile, int64_t p) const {
    return kept_tops + tile * padded(batch) + p * PANEL<T>;
  }
  // A tile; its scales are computed where `fill` says so, its weight copied if it must be.
  Tile<T> tile(int64_t index, T* buffer, bool fill = false) const {
    const int64_t from = index * TILE, count = width(index);
    const TileOfWeight<T> weight = tiles_in_place<T>(job.weight)
                                       ? tile_in_place<T>(job.weight, from)
                                       : tile_copied<T>(job.weight, from, count, buffer);
    if (fill && scales != nullptr)
      scale_columns<T>(job.head.columns, weight, dim, count, scales + from);
    return {from, count, weight, scales == nullptr ? nullptr : scales + from};
  }
  int64_t buffer_size() const { return tiles_in_place<T>(job.weight) ? 0 : dim * TILE; }
};

template <class T>
struct Forward {
  const CrossEntropy& job;
  Memory<T> memory;
  Arena arena;
  ScaledRows<T> rows;
  int64_t tasks, slots;
  T *tops, *amounts, *targets;
  double *weighted, *losses;
  T *scores, *buffers;

  explicit Forward(const CrossEntropy& asked)
      : job(asked), memory(asked), arena(asked.scratch), rows(asked, arena) {
    const double operations = 2.0 * memory.batch * memory.dim * memory.classes;
    tasks = memory.tiles * rows.panels;
    slots = slots_for(tasks, operations);
    const int64_t per_tile = memory.tiles * padded(memory.batch);
    tops = arena.take<T>(per_tile), amounts = arena.take<T>(per_tile);
    targets = arena.take<T>(padded(memory.batch));
    weighted = arena.take<double>(job.options.smoothing == 0 ? 0 : per_tile);
    losses = arena.take<double>(padded(memory.batch));
    scores = arena.take<T>(slots * TILE * PANEL<T>);
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
        if (index != current) tile = memory.tile(current = index, buffer);
        T* kept = memory.kept_powers(index, p);
        sum(shares, tile, index, p, kept != nullptr ? kept : scores + slot * TILE * PANEL<T>);
      }
    });
    for (int64_t p = 0; p < rows.panels; ++p) finish(shares, p);
    reduce(shares);
  }

  void scale_all() {
    spread(slots_for(memory.tiles, 4.0 * memory.dim * memory.classes), memory.tiles,
           [&](int64_t slot, int64_t begin, int64_t end) {
             for (int64_t index = begin; index < end; ++index)
               memory.tile(index, buffers + slot * memory.buffer_size(), true);
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

template <class T>
struct Backward {
  const CrossEntropy& job;
  Memory<T> memory;
  Arena arena;
  ScaledRows<T> rows;
  RowGradient<T> grad_rows;
  int64_t tiles_at_once, slots;
  T *derivatives, *buffers;
  T* columns;

  explicit Backward(const CrossEntropy& asked)
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
    rows.fill();
    const Shares shares(job);
    grad_rows.clear();
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

}  // namespace

int64_t saved_bytes(const CrossEntropy& job, bool wide) {
  return wide ? Memory<double>(job).saved.used() : Memory<float>(job).saved.used();
}
int64_t forward_scratch(const CrossEntropy& job, bool wide) {
  return wide ? Forward<double>(job).arena.used() : Forward<float>(job).arena.used();
}
int64_t backward_scratch(const CrossEntropy& job, bool wide) {
  return wide ? Backward<double>(job).arena.used() : Backward<float>(job).arena.used();
}
void cross_entropy_forward(const CrossEntropy& job, bool wide) {
  wide ? Forward<double>(job).run() : Forward<float>(job).run();
}
void cross_entropy_backward(const CrossEntropy& job, bool wide) {
  wide ? Backward<double>(job).run() : Backward<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
