// The centre loss over all pairs, from differences: a sample may lie close to a centre, where an
// expanded square would lose its digits. Compiled for each target.
#include "all_pairs.h"
#include "convert.h"
#include "distinct.h"
#include "parallel.h"
#include "products.h"
#include "transpose.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// Document 002 adds this to a squared distance.
constexpr double ADDED_SQUARE = 1e-8;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Squared distances of `ROWS` centres and the samples of a panel `[D][PANEL]`.
template <int ROWS, class T>
inline void square_block(const T* centers, int64_t stride, const T* panel, int64_t dim, T* out) {
  Vec<T> sums[ROWS][2] = {};
  for (int64_t d = 0; d < dim; ++d) {
    const Vec<T> low = load<T>(panel + d * PANEL<T>);
    const Vec<T> high = load<T>(panel + d * PANEL<T> + WIDTH<T>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const T center = centers[i * stride + d];
      const Vec<T> first = low - center, second = high - center;
      sums[i][0] += first * first, sums[i][1] += second * second;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i) {
    store<T>(out + i * PANEL<T>, sums[i][0]);
    store<T>(out + i * PANEL<T> + WIDTH<T>, sums[i][1]);
  }
}

// `Σ_k factor(i, k) (left_k - own_i)` for two rows of lanes, `out [ROWS][2 vectors]`.
template <int ROWS, class T, class Factor>
inline void pull_block(Factor factor, const T* rows, int64_t stride, int64_t depth, const T* own,
                       T* out) {
  Vec<T> sums[ROWS][2] = {}, self[ROWS][2];
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < 2; ++v) self[i][v] = load<T>(own + i * stride + v * WIDTH<T>);
  for (int64_t k = 0; k < depth; ++k) {
    const Vec<T> low = load<T>(rows + k * stride), high = load<T>(rows + k * stride + WIDTH<T>);
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i) {
      const T weight = factor(i, k);
      sums[i][0] += weight * (low - self[i][0]), sums[i][1] += weight * (high - self[i][1]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < 2; ++v) store<T>(out + i * stride + v * WIDTH<T>, sums[i][v]);
}

template <class T>
struct Pairs {
  const AllPairs& job;
  int64_t batch, dim, stride, panels, slots;
  Arena arena;
  Distinct distinct;
  T *x, *centers;  // Rows of both, padded to whole panels: [B][stride], [U][stride].
  T* weights;      // The gradient's factors, [B / PANEL][U][PANEL].
  T *panel, *rows;
  double* losses;

  explicit Pairs(const AllPairs& asked)
      : job(asked),
        batch(asked.x.rows),
        dim(asked.x.columns),
        stride((dim + PANEL<T> - 1) / PANEL<T> * PANEL<T>),
        panels((batch + PANEL<T> - 1) / PANEL<T>),
        slots(slots_for(panels, 6.0 * batch * smaller(batch, asked.centers.rows) * dim)),
        arena(asked.scratch),
        distinct(batch, arena) {
    const int64_t most = smaller(batch, job.centers.rows);
    x = arena.take<T>(panels * PANEL<T> * stride);
    centers = arena.take<T>(most * stride);
    weights = arena.take<T>(panels * PANEL<T> * most);
    panel = arena.take<T>(slots * PANEL<T> * dim);
    rows = arena.take<T>(slots * 4 * stride);
    losses = arena.take<double>(panels);
  }

  void run() {
    distinct.fill(job.labels);
    for (int64_t b = 0; b < panels * PANEL<T>; ++b) copy(job.x, b < batch ? b : batch - 1, x + b * stride);
    for (int64_t u = 0; u < distinct.count; ++u)
      copy(job.centers, job.labels[distinct.first[u]], centers + u * stride);
    spread(slots, panels, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) measure(p, panel + slot * PANEL<T> * dim);
    });
    double total = 0;
    for (int64_t p = 0; p < panels; ++p) total += losses[p];
    *static_cast<T*>(job.loss) = static_cast<T>(total / (2 * static_cast<double>(batch)));
    if (job.grad_x != nullptr) pull_samples();
    if (job.grad_centers != nullptr) pull_centers();
  }

  void copy(const Matrix& from, int64_t row, T* to) const {
    read_row<T>(from, row, 0, dim, to);
    for (int64_t d = dim; d < stride; ++d) to[d] = 0;
  }

  // Distances of a panel of samples, their sum, and the factors of their gradients.
  void measure(int64_t p, T* turned) {
    transpose<T>(x + p * PANEL<T> * stride, stride, PANEL<T>, dim, turned, PANEL<T>);
    T* out = weights + p * PANEL<T> * distinct.count;
    int64_t u = 0;
    for (; u + 4 <= distinct.count; u += 4)
      square_block<4, T>(centers + u * stride, stride, turned, dim, out + u * PANEL<T>);
    for (; u < distinct.count; ++u)
      square_block<1, T>(centers + u * stride, stride, turned, dim, out + u * PANEL<T>);
    double sums[PANEL<T>] = {};
    const T share = static_cast<T>(1 / (2 * static_cast<double>(batch)));
    for (u = 0; u < distinct.count; ++u) {
      const T number = static_cast<T>(distinct.number[u]);
      for (int lane = 0; lane < PANEL<T>; ++lane) {
        T& value = out[u * PANEL<T> + lane];
        const T distance = root(value + static_cast<T>(ADDED_SQUARE));
        sums[lane] += static_cast<double>(number * distance);
        value = number * share / distance;
      }
    }
    losses[p] = 0;
    for (int64_t lane = 0; lane < smaller(PANEL<T>, batch - p * PANEL<T>); ++lane)
      losses[p] += sums[lane];
  }

  static float root(float value) { return __builtin_sqrtf(value); }
  static double root(double value) { return __builtin_sqrt(value); }

  // The gradient of samples is the negated pull of the centres.
  void pull_samples() {
    spread(slots, (batch + 3) / 4, [&](int64_t slot, int64_t begin, int64_t end) {
      T* out = rows + slot * 4 * stride;
      for (int64_t b = 4 * begin; b < 4 * end; b += 4) {
        const auto factor = [&](int64_t i, int64_t u) {
          return -weights[((b + i) / PANEL<T> * distinct.count + u) * PANEL<T> + (b + i) % PANEL<T>];
        };
        // Rows beyond the batch are copies, so that a block is always whole.
        for (int64_t d = 0; d < stride; d += PANEL<T>)
          pull_block<4, T>(factor, centers + d, stride, distinct.count, x + b * stride + d, out + d);
        for (int64_t i = 0; i < 4 && b + i < batch; ++i)
          put(static_cast<T*>(job.grad_x) + (b + i) * dim, out + i * stride);
      }
    });
  }

  void put(T* to, const T* from) const {
    for (int64_t d = 0; d < dim; ++d) to[d] = from[d];
  }

  void pull_centers() {
    T* grad = static_cast<T*>(job.grad_centers);
    const int64_t count = (job.dense ? job.centers.rows : batch) * dim;
    for (int64_t i = 0; i < count; ++i) grad[i] = 0;
    spread(slots, (distinct.count + 3) / 4, [&](int64_t slot, int64_t begin, int64_t end) {
      T* out = rows + slot * 4 * stride;
      for (int64_t u = 4 * begin; u < smaller(4 * end, distinct.count); u += 4) {
        if (u + 4 <= distinct.count) pull_some<4>(u, grad, out);
        else
          for (int64_t last = u; last < distinct.count; ++last) pull_some<1>(last, grad, out);
      }
    });
  }

  // The gradients of `ROWS` centres from `u` on.
  template <int ROWS>
  void pull_some(int64_t u, T* grad, T* out) const {
    const auto factor = [&](int64_t i, int64_t b) {
      return -weights[(b / PANEL<T> * distinct.count + u + i) * PANEL<T> + b % PANEL<T>];
    };
    for (int64_t d = 0; d < stride; d += PANEL<T>)
      pull_block<ROWS, T>(factor, x + d, stride, batch, centers + u * stride + d, out + d);
    for (int64_t i = 0; i < ROWS; ++i) {
      const int64_t first = distinct.first[u + i];
      put(grad + (job.dense ? job.labels[first] : first) * dim, out + i * stride);
    }
  }
};

}  // namespace

int64_t all_pairs_scratch(const AllPairs& job, bool wide) {
  return wide ? Pairs<double>(job).arena.used() : Pairs<float>(job).arena.used();
}
void all_pairs(const AllPairs& job, bool wide) {
  wide ? Pairs<double>(job).run() : Pairs<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
