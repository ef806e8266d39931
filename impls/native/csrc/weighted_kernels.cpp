// The weighted triplet losses; compiled for each target.
//
// The first pass sums weights in square tiles of one half of the matrix of pairs, each for the
// anchors of its rows and of its columns, in places of its own. The second computes the gradient of
// each panel of samples: with G the loss's derivatives by the distances, over the distances, and
// H = G + Gᵀ, it is (diag(H 1) - H) X. No sum depends on the number of threads.
#include "pulls.h"
#include "triplets.h"
#include "weighting.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// Up to this batch the second pass reads the distances of the first.
constexpr int64_t KEPT_BATCH = 1024;
// What the derivatives of an anchor's pairs need; `[B padded]` each, 0 beyond the batch.
template <class T>
struct AnchorTerms {
  T *far, *near;                // What is subtracted from distances, or from what they are.
  T *far_weight, *near_weight;  // The slope of the loss over the sum of the powers.
  T *furthest, *closest;        // The weighted means.

  AnchorTerms(int64_t count, Arena& arena) {
    T** const all[] = {&far, &near, &far_weight, &near_weight, &furthest, &closest};
    for (T** term : all) *term = arena.take<T>(count);
  }
};

template <class T>
struct Weighted {
  const Triplets& job;
  Arena arena;
  Panels<T> samples;
  ClassNumbers<T> classes;
  Tiling tiling;
  int64_t batch, dim, padded, slots, size;
  bool kept;
  T* halves;
  WeightedSums<T> sums;  // [blocks][B padded]
  AnchorTerms<T> terms;
  double *losses,
      *excess;  // [B padded]: the derivative by the furthest distance, beside its pair's.
  int64_t *partners, *correct;  // [B padded]
  T* distances;                 // [panels of anchors][panels of samples][PANEL][PANEL], if kept
  T* buffers;                   // [slots], for the gradient.
  T* gradient;                  // [B, D]

  explicit Weighted(const Triplets& asked)
      : job(asked),
        arena(asked.scratch),
        samples(asked.x, arena),
        classes(asked.x.rows, samples.padded(), arena),
        tiling(samples.count),
        batch(samples.batch),
        dim(samples.dim),
        padded(samples.padded()),
        size(PANEL<T> * PANEL<T>),
        kept(batch <= KEPT_BATCH && asked.gradient != nullptr),
        halves(arena.take<T>(padded)),
        sums(tiling.blocks * padded, arena),
        terms(padded, arena) {
    slots = slots_for(tiling.count, static_cast<double>(batch) * batch * dim);
    losses = arena.take<double>(padded), excess = arena.take<double>(padded);
    partners = arena.take<int64_t>(padded), correct = arena.take<int64_t>(padded);
    distances = arena.take<T>(kept ? samples.count * samples.count * size : 0);
    buffers = arena.take<T>(job.gradient == nullptr ? 0 : slots * PullBuffers<T>::size(dim));
    const bool in_place = job.gradient == nullptr || job.dtype == DTYPE<T>;
    gradient = in_place ? static_cast<T*>(job.gradient) : arena.take<T>(batch * dim);
  }

  bool run() {
    for_each(samples.count, 4.0 * batch * dim, [&](int64_t p) {
      samples.fill(p);
      fill_halves<T>(samples, p, halves);
    });
    if (!all_finite<T>(samples, halves)) return false;
    classes.fill(job.labels);
    spread(slots, tiling.count, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t number = begin; number < end; ++number) sum_tile(tiling[number]);
    });
    for_each(samples.count, 2000.0 * padded, [&](int64_t p) { finish(p); });
    write_values();
    if (job.gradient != nullptr) differentiate();
    return true;
  }

  T* kept_distances(int64_t q, int64_t p) const {
    return distances + (p * samples.count + q) * size;
  }

  void sum_tile(const Tile& tile) {
    alignas(64) T own[2 * PANEL<T> * PANEL<T>] = {};
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
        T* of_rows = kept ? kept_distances(p, q) : own + size;
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

  // The sums of a panel's anchors over all blocks, in double, and what follows from them.
  void finish(int64_t p) {
    for (int64_t v = 0; v < PANEL<T>; v += WIDTH<double>) finish_vector(p * PANEL<T> + v);
    for (int64_t lane = 0; lane < PANEL<T>; ++lane) finish_lane(p * PANEL<T> + lane);
  }

  void finish_vector(int64_t at) {
    constexpr int W = WIDTH<double>;
    Vec<double> far = splat<double>(NEAREST<double>), near = splat<double>(FARTHEST<double>);
    for (int64_t block = 0; block < tiling.blocks; ++block) {
      far = larger<double>(far, load_wide(sums.far + block * padded + at));
      const Vec<double> found = load_wide(sums.near + block * padded + at);
      near = found < near ? found : near;
    }
    if (!job.shifted) near = Vec<double>{};
    Vec<double> fp = {}, fd = {}, np = {}, nd = {};
    for (int64_t block = 0; block < tiling.blocks; ++block) {
      const int64_t from = block * padded + at;
      const Vec<double> far_scale = exp<double>(load_wide(sums.far + from) - far);
      const Vec<double> near_scale =
          job.shifted ? exp<double>(near - load_wide(sums.near + from)) : splat<double>(1);
      fp += load_wide(sums.far_powers + from) * far_scale;
      fd += load_wide(sums.far_products + from) * far_scale;
      np += load_wide(sums.near_powers + from) * near_scale;
      nd += load_wide(sums.near_products + from) * near_scale;
    }
    fp += job.epsilon, np += job.epsilon;
    const Vec<double> furthest = fd / fp, closest = nd / np, gap = furthest - closest,
                      one = splat<double>(1);
    const Vec<double> zero = {}, minus = gap > zero ? -gap : gap, e = exp<double>(minus);
    store<double>(losses + at, (gap > zero ? gap : zero) + log_1_plus(e));
    const Vec<double> slope = (gap > zero ? one : e) / (one + e) / static_cast<double>(batch);
    store<double>(excess + at, slope * furthest * (job.epsilon / fp));
    alignas(64) double all[6][W];
    const Vec<double> values[6] = {far, near, slope / fp, slope / np, furthest, closest};
    T* const to[6] = {terms.far,         terms.near,     terms.far_weight,
                      terms.near_weight, terms.furthest, terms.closest};
    for (int term = 0; term < 6; ++term) {
      store<double>(all[term], values[term]);
      for (int i = 0; i < W; ++i) to[term][at + i] = static_cast<T>(all[term][i]);
    }
    for (int i = 0; i < W; ++i) correct[at + i] = all[5][i] >= all[4][i];
  }

  void finish_lane(int64_t b) {
    if (b >= batch) {
      terms.far_weight[b] = terms.near_weight[b] = 0;
      return;
    }
    int64_t block = 0;
    for (int64_t other = 1; other < tiling.blocks; ++other)
      if (sums.far[other * padded + b] > sums.far[block * padded + b]) block = other;
    partners[b] = sums.furthest[block * padded + b];
  }

  void write_values() {
    double total = 0;
    *job.correct = 0;
    for (int64_t b = 0; b < batch; ++b) total += losses[b], *job.correct += correct[b];
    total /= static_cast<double>(batch);
    visit(job.dtype, job.loss, [&](auto* to) { narrow(total, *to); });
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
    if (job.dtype == DTYPE<T>) return;
    const MutableMatrix out{job.gradient, dim, 1, job.dtype};
    for (int64_t b = 0; b < batch; ++b) write_row<T>(out, b, 0, dim, gradient + b * dim);
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
      const Vec<T> own = exp<T>(same ? d - far : near - d) * (same ? far_weight : near_weight);
      const Vec<T> other = exp<T>(same ? d - terms.far[b] : terms.near[b] - d) *
                           (same ? splat<T>(terms.far_weight[b]) : splat<T>(terms.near_weight[b]));
      const Vec<T> pull = same ? own * (d - furthest) + other * (d - (terms.furthest[b] - 1))
                               : own * (d - closest) + other * (d - (terms.closest[b] + 1));
      const Vec<T> h = d > clamped ? pull / d : zero;
      store<T>(to + offset, h);
      total += h;
    }
    store<T>(totals, total);
  }

  // Epsilon is scaled by the furthest distance, which so has a gradient of its own.
  void pull_furthest() {
    const int64_t parts = (dim + PANEL<T> - 1) / PANEL<T>;
    spread(slots_for(parts, 8.0 * batch * dim), parts, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t from = begin * PANEL<T>, count = lesser(end * PANEL<T>, dim) - from;
      for (int64_t b = 0; b < batch; ++b) {
        const int64_t other = partners[b];
        const double d = terms.far[b];
        if (d <= CLAMPED_DISTANCE) continue;
        pull_apart<T>(samples.row(b) + from, samples.row(other) + from,
                      static_cast<T>(-excess[b] / d), count, gradient + b * dim + from,
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
