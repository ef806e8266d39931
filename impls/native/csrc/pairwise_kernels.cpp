// The distances of the rows of two matrices, by the expanded square; compiled for each target.
#include "pairwise.h"

#include "math.h"
#include "pulls.h"
#include "triplets.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// So many panels of rows stay in the second-level cache while those of the other matrix pass.
constexpr int64_t PANELS_IN_BAND = 4;

template <class T>
struct Distances {
  const Pairwise& job;
  Arena arena;
  Panels<T> a, b;
  int64_t dim, slots;
  double operations;
  T *halves_a, *halves_b;  // [M padded] and [N padded], of the forward pass.
  T* buffers;              // [slots], of the backward pass.

  Distances(const Pairwise& asked, bool backward)
      : job(asked), arena(asked.scratch), a(asked.a, arena), b(asked.b, arena), dim(a.dim) {
    operations = 2.0 * a.batch * b.batch * dim;
    slots = slots_for(a.count > b.count ? a.count : b.count, operations);
    halves_a = arena.take<T>(backward ? 0 : a.padded());
    halves_b = arena.take<T>(backward ? 0 : b.padded());
    buffers = arena.take<T>(backward ? slots * PullBuffers<T>::size(dim) : 0);
  }

  void fill(const Panels<T>& panels, T* halves) {
    for_each(panels.count, 4.0 * panels.batch * dim, [&](int64_t p) {
      panels.fill(p);
      if (halves != nullptr) fill_halves<T>(panels, p, halves);
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
    multiply_panels<T>(a, q, 0, a.lanes(q), b, p, tile);
    const Vec<T> least = splat<T>(static_cast<T>(LEAST_DISTANCE * LEAST_DISTANCE));
    for (int64_t i = 0; i < a.lanes(q); ++i) {
      T* row = tile + i * PANEL<T>;
      for (int v = 0; v < b.vectors(p); ++v) {
        const Vec<T> own = load<T>(halves_b + p * PANEL<T> + v * WIDTH<T>);
        const Vec<T> half = (own + halves_a[q * PANEL<T> + i]) - load<T>(row + v * WIDTH<T>);
        const Vec<T> square = half + half;
        store<T>(row + v * WIDTH<T>, job.rooted ? root<T>(larger<T>(square, least)) : square);
      }
      __builtin_memcpy(distance(q * PANEL<T> + i, p * PANEL<T>), row,
                       b.lanes(p) * static_cast<int64_t>(sizeof(T)));
    }
  }

  T* distance(int64_t i, int64_t j) const {
    return static_cast<T*>(job.distances) + i * b.batch + j;
  }

  void differentiate() {
    fill(a, nullptr), fill(b, nullptr);
    if (job.grad_a != nullptr)
      pull(a, b, job.grad_a, [&](int64_t p, int64_t q, T* to) { derive_turned(p, q, to); });
    if (job.grad_b != nullptr)
      pull(b, a, job.grad_b, [&](int64_t p, int64_t q, T* to) { derive(q, p, to); });
  }

  template <class F>
  void pull(const Panels<T>& own, const Panels<T>& others, void* gradient, const F& tile) {
    spread(slots < own.count ? slots : own.count, own.count,
           [&](int64_t slot, int64_t begin, int64_t end) {
             const PullBuffers<T> mine(buffers + slot * PullBuffers<T>::size(dim), dim);
             for (int64_t p = begin; p < end; ++p)
               visit(job.a.dtype, gradient, [&](auto* rows) {
                 pull_panel<T>(own, p, others, job.rooted ? 1 : 2, mine, rows,
                               [&](int64_t q, T* to, T* totals) {
                                 tile(p, q, to);
                                 for (int64_t j = 0; j < others.lanes(q); ++j)
                                   for (int64_t i = 0; i < PANEL<T>; ++i)
                                     totals[i] += to[j * PANEL<T> + i];
                               });
               });
           });
  }

  // The derivatives by the distances over the distances, of rows of panel `q` of a to panel `p` of
  // b: `to [rows][PANEL]`, 0 beyond them.
  void derive(int64_t q, int64_t p, T* to) const {
    const T clamped = static_cast<T>(CLAMPED_DISTANCE);
    for (int64_t i = 0; i < a.lanes(q); ++i) {
      T* row = to + i * PANEL<T>;
      read_row<T>(job.upstream, q * PANEL<T> + i, p * PANEL<T>, b.lanes(p), row);
      const T* d = distance(q * PANEL<T> + i, p * PANEL<T>);
      if (job.rooted)
        for (int64_t j = 0; j < b.lanes(p); ++j)
          row[j] = d[j] <= clamped ? static_cast<T>(0) : row[j] / d[j];
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

}  // namespace

int64_t pairwise_scratch(const Pairwise& job, bool wide, bool backward) {
  return wide ? Distances<double>(job, backward).arena.used()
              : Distances<float>(job, backward).arena.used();
}
void pairwise(const Pairwise& job, bool wide) {
  wide ? Distances<double>(job, false).run() : Distances<float>(job, false).run();
}
void pairwise_backward(const Pairwise& job, bool wide) {
  wide ? Distances<double>(job, true).differentiate() : Distances<float>(job, true).differentiate();
}

}  // namespace lossbench::LOSSBENCH_TARGET
