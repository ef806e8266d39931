// The memory of the cross-entropy: what its passes share, and its class tiles.
#pragma once

#include "class_scores.h"

namespace lossbench::LOSSBENCH_TARGET {

// The pieces of memory of both passes, in one order.
template <class T>
struct EntropyMemory {
  const CrossEntropy& job;
  int64_t batch, dim, classes, tiles;
  // Saved between the passes.
  Arena saved;
  SampleTerms<T> terms;
  T* scales;  // [C], if columns are scaled.
  T *kept_tops, *kept;

  explicit EntropyMemory(const CrossEntropy& asked)
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

}  // namespace lossbench::LOSSBENCH_TARGET
