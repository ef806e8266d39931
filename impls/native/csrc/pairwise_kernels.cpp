// The distances of the rows of two matrices, by the expanded square; compiled for each target.
#include "pairwise.h"

#include "math.h"
#include "pair_panels.h"
#include "triplets.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// So many panels of rows stay in the second-level cache while those of the other matrix pass.
constexpr int64_t PANELS_IN_BAND = 4;

// `Rows` are `Panels<T>` or `PairPanels`.
template <class T, class Rows>
struct Distances {
  const Pairwise& job;
  Arena arena;
  Rows a, b;
  int64_t dim, slots;
  double operations;
  T *halves_a, *halves_b;  // [M padded] and [N padded], of the forward pass.
  T* buffers;              // [slots], of the backward pass.

  // The rows take memory first, and `use` if they are pairs.
  template <class... Use>
  Distances(const Pairwise& asked, bool backward, Use... use)
      : job(asked),
        arena(asked.scratch),
        a(asked.a, use..., arena),
        b(asked.b, use..., arena),
        dim(a.dim) {
    operations = 2.0 * a.batch * b.batch * dim;
    slots = slots_for(a.count > b.count ? a.count : b.count, operations);
    halves_a = arena.take<T>(backward ? 0 : a.padded());
    halves_b = arena.take<T>(backward ? 0 : b.padded());
    buffers = arena.take<T>(backward ? slots * PullBuffers<T>::size(dim) : 0);
  }

  void fill(const Rows& rows, T* halves) {
    for_each(rows.count, 4.0 * rows.batch * dim, [&](int64_t p) {
      rows.fill(p);
      if (halves != nullptr) fill_halves(rows, p, halves);
    });
  }

  void run() {
    fill(a, halves_a), fill(b, halves_b);
    const int64_t bands = (a.count + PANELS_IN_BAND - 1) / PANELS_IN_BAND;
    for_each(bands * b.count, operations, [&](int64_t task) {
      const int64_t first = task / b.count * PANELS_IN_BAND;
      for (int64_t q = first; q < lesser(first + PANELS_IN_BAND, a.count); ++q)
        measure(q, task % b.count);
    });
  }

  // The rows of panel `q` of a, and of panel `p` of b.
  void measure(int64_t q, int64_t p) const {
    alignas(64) T tile[PANEL<T> * PANEL<T>];
    multiply_panels(a, q, 0, a.lanes(q), b, p, tile);
    const Vec<T> least = splat<T>(static_cast<T>(LEAST_DISTANCE * LEAST_DISTANCE));
    for (int64_t i = 0; i < a.lanes(q); ++i) {
      T* row = tile + i * PANEL<T>;
      for (int v = 0; v < b.vectors(p); ++v) {
        const Vec<T> own = load<T>(halves_b + p * PANEL<T> + v * WIDTH<T>);
        const Vec<T> half = (own + halves_a[q * PANEL<T> + i]) - load<T>(row + v * WIDTH<T>);
        const Vec<T> square = half + half;
        store<T>(row + v * WIDTH<T>, job.rooted ? root<T>(larger<T>(square, least)) : square);
      }
      write_row<T>({job.distances, b.batch, 1, job.dtype}, q * PANEL<T> + i, p * PANEL<T>,
                   b.lanes(p), row);
    }
  }

  void differentiate() {
    fill(a, nullptr), fill(b, nullptr);
    if (job.grad_a != nullptr)
      pull(a, b, job.grad_a, [&](int64_t p, int64_t q, T* to) { derive_turned(p, q, to); });
    if (job.grad_b != nullptr)
      pull(b, a, job.grad_b, [&](int64_t p, int64_t q, T* to) { derive(q, p, to); });
  }

  template <class F>
  void pull(const Rows& own, const Rows& others, void* gradient, const F& tile) {
    spread(slots < own.count ? slots : own.count, own.count,
           [&](int64_t slot, int64_t begin, int64_t end) {
             const PullBuffers<T> mine(buffers + slot * PullBuffers<T>::size(dim), dim);
             for (int64_t p = begin; p < end; ++p)
               visit(job.a.dtype, gradient, [&](auto* rows) {
                 pull_panel(own, p, others, static_cast<T>(job.rooted ? 1 : 2), mine, rows,
                            [&](int64_t q, T* to, auto... totals) {
                              tile(p, q, to);
                              (add_rows(to, others.lanes(q), totals), ...);
                            });
               });
           });
  }

  // Adds rows of a panel to `totals [PANEL]`.
  static void add_rows(const T* rows, int64_t count, T* totals) {
    for (int64_t j = 0; j < count; ++j)
      for (int64_t i = 0; i < PANEL<T>; ++i) totals[i] += rows[j * PANEL<T> + i];
  }

  // The derivatives by the distances over the distances, of rows of panel `q` of a to panel `p` of
  // b: `to [rows][PANEL]`, 0 beyond them.
  void derive(int64_t q, int64_t p, T* to) const {
    const T clamped = static_cast<T>(CLAMPED_DISTANCE);
    for (int64_t i = 0; i < a.lanes(q); ++i) {
      T* row = to + i * PANEL<T>;
      read_row<T>(job.upstream, q * PANEL<T> + i, p * PANEL<T>, b.lanes(p), row);
      if (job.rooted) {
        const T* rows = static_cast<const T*>(job.distances);
        const T* d = rows + (q * PANEL<T> + i) * b.batch + p * PANEL<T>;
        for (int64_t j = 0; j < b.lanes(p); ++j)
          row[j] = d[j] <= clamped ? static_cast<T>(0) : row[j] / d[j];
      }
      for (int64_t j = b.lanes(p); j < PANEL<T>; ++j) row[j] = 0;
    }
  }

  // The same for the rows of b: `to [rows of panel q of b][samples of panel p of a]`.
  void derive_turned(int64_t p, int64_t q, T* to) const {
    alignas(64) T tile[PANEL<T> * PANEL<T>];
    derive(p, q, tile);
    for (int64_t i = a.lanes(p) * PANEL<T>; i < PANEL<T> * PANEL<T>; ++i) tile[i] = 0;
    transpose<T>(tile, PANEL<T>, PANEL<T>, PANEL<T>, to, PANEL<T>);
  }
};

// Calls `f` with the distances that a job asks for.
template <class F>
auto with_distances(const Pairwise& job, bool wide, bool backward, const F& f) {
  if (wide) return f(Distances<double, Panels<double>>(job, backward));
#if defined(__AVX512F__)
  if (takes_pairs<float>(job.a, job.b)) {
    const Paired use = backward ? Paired::to_pull : Paired::to_compare;
    return f(Distances<float, PairPanels>(job, backward, use));
  }
#endif
  return f(Distances<float, Panels<float>>(job, backward));
}

}  // namespace

int64_t pairwise_scratch(const Pairwise& job, bool wide, bool backward) {
  return with_distances(job, wide, backward, [](auto&& pass) { return pass.arena.used(); });
}
void pairwise(const Pairwise& job, bool wide) {
  with_distances(job, wide, false, [](auto&& pass) { pass.run(); });
}
void pairwise_backward(const Pairwise& job, bool wide) {
  with_distances(job, wide, true, [](auto&& pass) { pass.differentiate(); });
}

}  // namespace lossbench::LOSSBENCH_TARGET
