// The weighted triplet losses; compiled for each target.
//
// The first pass sums weights in square tiles of one half of the matrix of pairs, each for the
// anchors of its rows and of its columns, in places of its own. The second computes the gradient of
// each panel of samples: with G the loss's derivatives by the distances, over the distances, and
// H = G + Gᵀ, it is (diag(H 1) - H) X. No sum depends on the number of threads.
#include "anchor_terms.h"
#include "pulls.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// Up to this batch the second pass reads the distances of the first.
constexpr int64_t KEPT_BATCH = 1024;
template <class T>
struct Weighted : TripletPass<T> {
  using Pass = TripletPass<T>;
  using Pass::arena, Pass::job, Pass::samples, Pass::classes, Pass::batch, Pass::dim;
  using Pass::gradient, Pass::halves, Pass::padded, Pass::slots, Pass::tiling;
  using Pass::each_range, Pass::each_tile, Pass::read, Pass::write_outputs;
  static constexpr int64_t SIZE = PANEL<T> * PANEL<T>;
  bool kept;
  WeightedSums<T> sums;  // [blocks][B padded]
  AnchorTerms<T> terms;
  T* distances;  // [panels of anchors][panels of samples][PANEL][PANEL], if kept
  T* buffers;    // [slots], for the gradient.

  explicit Weighted(const Triplets& asked)
      : Pass(asked),
        kept(batch <= KEPT_BATCH && asked.gradient != nullptr),
        sums(tiling.blocks * padded, arena),
        terms(padded, arena) {
    const int64_t buffer = PullBuffers<T>::size(dim);
    distances = arena.template take<T>(kept ? samples.count * samples.count * SIZE : 0);
    buffers = arena.template take<T>(job.gradient == nullptr ? 0 : slots * buffer);
  }

  bool run() {
    if (!read()) return false;
    each_tile([&](int64_t, const Tile& tile) { sum_tile(tile); });
    for_each(samples.count, 2000.0 * padded, [&](int64_t p) { terms.fill(*this, sums, p); });
    if (job.gradient != nullptr) differentiate();
    write_outputs();
    return true;
  }

  T* kept_distances(int64_t q, int64_t p) const {
    return distances + (p * samples.count + q) * SIZE;
  }

  void sum_tile(const Tile& tile) {
    alignas(64) T own[2 * SIZE] = {};
    for (int64_t p = tile.first_column; p < tile.last_column; ++p)
      sums.clear(tile.row * padded + p * PANEL<T>, PANEL<T>);
    for (int64_t q = tile.first_row; q < tile.last_row; ++q)
      sums.clear(tile.column * padded + q * PANEL<T>, PANEL<T>);
    for (int64_t p = tile.first_column; p < tile.last_column; ++p)
      for (int64_t q = tile.first_row; q < tile.last_row; ++q) {
        T* of_columns = kept ? kept_distances(q, p) : own;
        measure(q, p, of_columns);
        add(tile.row, q, p, of_columns);
        // A tile on the diagonal has all its pairs, so its columns are enough.
        if (tile.row == tile.column) continue;
        T* of_rows = kept ? kept_distances(p, q) : own + SIZE;
        transpose<T>(of_columns, PANEL<T>, PANEL<T>, PANEL<T>, of_rows, PANEL<T>);
        add(tile.column, p, q, of_rows);
      }
  }

  void add(int64_t block, int64_t q, int64_t p, const T* tile) {
    for (int v = 0; v < samples.vectors(p); ++v)
      sums.add(classes, q, samples.lanes(q), p, v, job.shifted, tile,
               block * padded + p * PANEL<T> + v * WIDTH<T>);
  }

  // The distances `[PANEL][PANEL]` of the samples of panel `q` to those of panel `p`.
  void measure(int64_t q, int64_t p, T* to) const {
    multiply_panels<T>(samples, q, 0, samples.lanes(q), samples, p, to);
    const Vec<T> least = splat<T>(static_cast<T>(LEAST_DISTANCE * LEAST_DISTANCE));
    for (int v = 0; v < samples.vectors(p); ++v) {
      const Vec<T> own = load<T>(halves + p * PANEL<T> + v * WIDTH<T>);
      for (int64_t i = 0; i < samples.lanes(q); ++i) {
        T* at = to + i * PANEL<T> + v * WIDTH<T>;
        const Vec<T> half = (own + halves[q * PANEL<T> + i]) - load<T>(at);
        store<T>(at, root<T>(larger<T>(half + half, least)));
      }
    }
  }

  void differentiate() {
    spread(slots, samples.count, [&](int64_t slot, int64_t begin, int64_t end) {
      const PullBuffers<T> mine(buffers + slot * PullBuffers<T>::size(dim), dim);
      for (int64_t p = begin; p < end; ++p)
        pull_panel<T>(samples, p, samples, 1, mine, gradient, [&](int64_t q, T* to, T* totals) {
          if (!kept) measure(q, p, to);
          for (int v = 0; v < samples.vectors(p); ++v)
            derive(q, p, v, kept ? kept_distances(q, p) : to, to, totals + v * WIDTH<T>);
        });
    });
    if (job.epsilon != 0) pull_furthest();
  }

  // Overwrites distances `[PANEL][PANEL]` by H, and adds H to its columns' totals.
  void derive(int64_t q, int64_t p, int v, const T* from, T* to, T* totals) const {
    const int64_t at = p * PANEL<T> + v * WIDTH<T>;
    const Vec<T> far = load<T>(terms.far + at), near = load<T>(terms.near + at), zero = {};
    const Vec<T> far_weight = load<T>(terms.far_weight + at);
    const Vec<T> near_weight = load<T>(terms.near_weight + at);
    const Vec<T> furthest = load<T>(terms.furthest + at) - static_cast<T>(1);
    const Vec<T> closest = load<T>(terms.closest + at) + static_cast<T>(1);
    const Vec<T> clamped = splat<T>(static_cast<T>(CLAMPED_DISTANCE));
    Vec<T> total = load<T>(totals);
    for (int64_t i = 0; i < samples.lanes(q); ++i) {
      const int64_t b = q * PANEL<T> + i, offset = i * PANEL<T> + v * WIDTH<T>;
      const Vec<T> d = load<T>(from + offset);
      const Ints<T> same = classes.same(b, p, v);
      const Vec<T> own = exp<T>(same ? d - far : near - d);
      // Both anchors have the same power of a negative, unless it is shifted.
      const Vec<T> other = job.shifted || any<T>(same)
                               ? exp<T>(same ? d - terms.far[b] : terms.near[b] - d)
                               : own;
      const Vec<T> of_own = own * (same ? far_weight : near_weight);
      const Vec<T> of_b =
          other * (same ? splat<T>(terms.far_weight[b]) : splat<T>(terms.near_weight[b]));
      const Vec<T> pull = same ? of_own * (d - furthest) + of_b * (d - (terms.furthest[b] - 1))
                               : of_own * (d - closest) + of_b * (d - (terms.closest[b] + 1));
      const Vec<T> h = d > clamped ? pull / d : zero;
      store<T>(to + offset, h);
      total += h;
    }
    store<T>(totals, total);
  }

  // Epsilon is scaled by the furthest distance, which so has a gradient of its own.
  void pull_furthest() {
    each_range(8.0 * batch * dim, [&](int64_t from, int64_t count) {
      for (int64_t b = 0; b < batch; ++b) {
        const int64_t other = terms.partners[b];
        const double d = terms.far[b];
        if (d <= CLAMPED_DISTANCE) continue;
        pull_apart<T>(samples.row(b) + from, samples.row(other) + from,
                      static_cast<T>(-terms.excess[b] / d), count, gradient + b * dim + from,
                      gradient + other * dim + from);
      }
    });
  }
};

}  // namespace

int64_t weighted_scratch(const Triplets& job, bool wide) {
  return wide ? Weighted<double>(job).arena.used() : Weighted<float>(job).arena.used();
}
bool weighted(const Triplets& job, bool wide) {
  return wide ? Weighted<double>(job).run() : Weighted<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
