// The memory of the cross-entropy: what its passes share, and its class tiles.
#pragma once

#include "class_scores.h"

namespace lossbench::LOSSBENCH_TARGET {

// What a tile is asked for: its columns' scales, scores, the gradient of rows, or no product. Its
// pairs go along D for scores, `[D / 2][count]`, and along the classes for rows, `[D][count / 2]`.
enum class Use { scales, scores, rows, nothing };

// The pieces of memory of both passes, in one order.
template <class T>
struct EntropyMemory {
  const CrossEntropy& job;
  int64_t batch, dim, classes, tiles;
  bool paired;
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
        paired(takes_pairs<T>(asked.x, asked.weight)),
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
  // A tile; its scales are computed where they are asked for, its weight copied if it must be.
  Tile<T> tile(int64_t index, T* buffer, Use use) const {
    const int64_t from = index * TILE, count = width(index);
    if (paired) return paired_tile(index, reinterpret_cast<Pair*>(buffer), use);
    const TileOfWeight<T> weight = tiles_in_place<T>(job.weight)
                                       ? tile_in_place<T>(job.weight, from)
                                       : tile_copied<T>(job.weight, from, count, buffer);
    if (use == Use::scales) scale_columns<T>(job.head.columns, weight, dim, count, scales + from);
    return {from, count, weight, scales_of(from)};
  }
  int64_t buffer_size() const {
    const int64_t count = width(0), along_d = pairs_of(dim) * count;
    if (!paired) return tiles_in_place<T>(job.weight) ? 0 : dim * count;
    const int64_t along_classes = dim * pairs_of(count);
    return along_d > along_classes ? along_d : along_classes;
  }

 private:
  T* scales_of(int64_t from) const { return scales == nullptr ? nullptr : scales + from; }
  Tile<T> paired_tile(int64_t index, Pair* pairs, Use use) const {
    const int64_t from = index * TILE, count = width(index);
    const TileOfWeight<T> weight = {nullptr, 0, 0, &job.weight, from};
    if (use == Use::scales) scale_columns<T>(job.head.columns, weight, dim, count, scales + from);
    if (use == Use::scores) pair_along_columns(job.weight, from, count, pairs);
    if (use != Use::rows) return {from, count, weight, scales_of(from), pairs, count};
    const int64_t stride = job.weight.row_stride;
    if (pairs_in_place(job.weight) && stride <= WIDE_ROW) {
      const Pair* given = static_cast<const Pair*>(job.weight.data) + from / 2;
      return {from, count, weight, scales_of(from), given, stride / 2};
    }
    for (int64_t d = 0; d < dim; ++d)
      pair_along_row(job.weight, d, from, count, pairs + d * pairs_of(count));
    return {from, count, weight, scales_of(from), pairs, pairs_of(count)};
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
