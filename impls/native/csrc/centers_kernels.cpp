// The centre losses of each sample and its own centre, and the island loss's pairs of centres in
// `O(C D)`; compiled for each target.
//
// `Σ_{j<k} (cos(c_j, c_k) + 1) = (‖s‖² - C) / 2 + C (C - 1) / 2` with `s = Σ_j ĉ_j`, and its
// derivative by `c_j` is `(s - (ĉ_j · s) ĉ_j) / ‖c_j‖`.
#include "arena.h"
#include "centers.h"
#include "parallel.h"
#include "rows.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// Parts of the sum over centres: their number does not depend on that of threads.
constexpr int64_t PARTS = 64;

// A number that is written to memory takes the time of so many operations.
constexpr double OPERATIONS_PER_WRITE = 8;

template <class T>
struct Pass {
  const Centers& job;
  int64_t batch, dim, classes, parts;
  Arena saved, arena;
  double* total;      // Σ_i ‖x_i - c_{y_i}‖².
  double* unit_sum;   // s, [D]; with pairs.
  T* inverse_length;  // 1 / ‖c_j‖, [C]; with pairs.
  double *squares, *part_sums;
  int64_t slots;
  T* rows;
  int64_t *first, *next;  // The first sample of each class [C], the next of its class [B], or -1.

  Pass(const Centers& asked, bool backward)
      : job(asked),
        batch(asked.x.rows),
        dim(asked.x.columns),
        classes(asked.centers.rows),
        parts(classes < PARTS ? classes : PARTS),
        saved(asked.saved),
        arena(asked.scratch) {
    total = saved.take<double>(1);
    unit_sum = saved.take<double>(has_pairs() ? dim : 0);
    inverse_length = saved.take<T>(has_pairs() ? classes : 0);
    squares = arena.take<double>(backward ? 0 : batch);
    part_sums = arena.take<double>(has_pairs() && !backward ? parts * dim : 0);
    double operations = 4.0 * (batch + (has_pairs() ? classes : 0)) * dim;
    const bool writes_centers = backward && job.grad_centers.data != nullptr;
    if (writes_centers) operations += OPERATIONS_PER_WRITE * classes * dim;
    slots = slots_for(batch + classes, operations);
    rows = arena.take<T>(slots * 3 * dim);
    first = arena.take<int64_t>(writes_centers ? classes : 0);
    next = arena.take<int64_t>(writes_centers ? batch : 0);
  }

  bool has_pairs() const { return job.pair_weight != 0; }
  T* row(int64_t slot, int64_t which) const { return rows + (3 * slot + which) * dim; }
  const T* sample(int64_t b, int64_t slot) const { return row_of<T>(job.x, b, row(slot, 0)); }
  const T* center(int64_t c, int64_t slot) const { return row_of<T>(job.centers, c, row(slot, 1)); }

  void forward() {
    spread(slots, batch, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        squares[b] = squared_distance<T>(sample(b, slot), center(job.labels[b], slot), dim);
    });
    *total = 0;
    for (int64_t b = 0; b < batch; ++b) *total += squares[b];
    double loss = job.factor * (job.rooted ? __builtin_sqrt(*total) : *total);
    if (has_pairs()) loss += job.pair_weight * pairs();
    *static_cast<T*>(job.loss) = static_cast<T>(loss);
  }

  double pairs() {
    spread(slots < parts ? slots : parts, parts, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) sum_part(slot, part);
    });
    double square = 0;
    for (int64_t d = 0; d < dim; ++d) {
      unit_sum[d] = 0;
      for (int64_t part = 0; part < parts; ++part) unit_sum[d] += part_sums[part * dim + d];
      square += unit_sum[d] * unit_sum[d];
    }
    const double count = static_cast<double>(classes);
    return square / 2 + count * (count / 2 - 1);
  }

  void sum_part(int64_t slot, int64_t part) {
    double* sum = part_sums + part * dim;
    for (int64_t d = 0; d < dim; ++d) sum[d] = 0;
    for (int64_t c = part * classes / parts; c < (part + 1) * classes / parts; ++c) {
      const T* values = center(c, slot);
      const double inverse = 1 / __builtin_sqrt(dot<T>(values, values, dim));
      inverse_length[c] = static_cast<T>(inverse);
      add_to<T>(sum, values, inverse, dim);
    }
  }

  void backward() {
    double upstream = 1;
    if (job.upstream.data != nullptr) read_row<double>(job.upstream, 0, 0, 1, &upstream);
    double slope = 2 * job.factor * upstream;
    if (job.rooted) slope = *total > 0 ? job.factor * upstream / __builtin_sqrt(*total) : 0;
    if (job.grad_x.data != nullptr) write_samples(static_cast<T>(slope));
    if (job.grad_centers.data != nullptr) write_centers(static_cast<T>(slope), upstream);
  }

  void write_samples(T slope) {
    spread(slots, batch, [&](int64_t slot, int64_t begin, int64_t end) {
      T* out = row(slot, 2);
      for (int64_t b = begin; b < end; ++b) {
        const T *x = sample(b, slot), *own = center(job.labels[b], slot);
        for (int64_t d = 0; d < dim; ++d) out[d] = slope * (x[d] - own[d]);
        if (job.adds) add_given(b, out);
        write_row<T>(job.grad_x, b, 0, dim, out);
      }
    });
  }

  void add_given(int64_t b, T* out) const {
    visit(job.grad_x.dtype, job.grad_x.data, [&](auto data) {
      for (int64_t d = 0; d < dim; ++d)
        out[d] += static_cast<T>(widen(data[b * job.grad_x.row_stride + d]));
    });
  }

  void write_centers(T slope, double upstream) {
    for (int64_t c = 0; c < classes; ++c) first[c] = -1;
    for (int64_t b = batch - 1; b >= 0; --b) {
      const int64_t c = job.labels[b];
      next[b] = first[c], first[c] = b;
    }
    const T pull = static_cast<T>(job.pair_weight * upstream);
    spread(slots, classes, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) write_center(slot, c, slope, pull);
    });
  }

  // Each row is written once, its samples in their order.
  void write_center(int64_t slot, int64_t c, T slope, T pull) {
    if (!has_pairs() && first[c] < 0) return clear_row(job.grad_centers, c);
    const MutableMatrix& grad = job.grad_centers;
    const bool in_place = grad.dtype == DTYPE<T>;
    T* to = in_place ? static_cast<T*>(grad.data) + c * grad.row_stride : row(slot, 2);
    if (has_pairs()) write_pairs(slot, c, pull, to);
    else for (int64_t d = 0; d < dim; ++d) to[d] = 0;
    if (first[c] >= 0) subtract_samples(slot, c, slope, to);
    if (!in_place) write_row<T>(grad, c, 0, dim, to);
  }

  void subtract_samples(int64_t slot, int64_t c, T slope, T* to) {
    const T* own = center(c, slot);
    for (int64_t b = first[c]; b >= 0; b = next[b]) {
      const T* x = sample(b, slot);
      for (int64_t d = 0; d < dim; ++d) to[d] -= slope * (x[d] - own[d]);
    }
  }

  void clear_row(const MutableMatrix& m, int64_t c) const {
    visit(m.dtype, m.data, [&](auto data) {
      __builtin_memset(data + c * m.row_stride, 0, static_cast<uint64_t>(dim) * sizeof(*data));
    });
  }

  void write_pairs(int64_t slot, int64_t c, T pull, T* to) {
    const T* values = center(c, slot);
    const double product = product_with<T>(unit_sum, values, dim);
    const T inverse = inverse_length[c], along = static_cast<T>(product) * inverse * inverse;
    for (int64_t d = 0; d < dim; ++d)
      to[d] = (static_cast<T>(unit_sum[d]) - along * values[d]) * (inverse * pull);
  }
};

}  // namespace

int64_t saved_bytes(const Centers& job, bool wide) {
  return wide ? Pass<double>(job, false).saved.used() : Pass<float>(job, false).saved.used();
}
int64_t forward_scratch(const Centers& job, bool wide) {
  return wide ? Pass<double>(job, false).arena.used() : Pass<float>(job, false).arena.used();
}
int64_t backward_scratch(const Centers& job, bool wide) {
  return wide ? Pass<double>(job, true).arena.used() : Pass<float>(job, true).arena.used();
}
void centers_forward(const Centers& job, bool wide) {
  wide ? Pass<double>(job, false).forward() : Pass<float>(job, false).forward();
}
void centers_backward(const Centers& job, bool wide) {
  wide ? Pass<double>(job, true).backward() : Pass<float>(job, true).backward();
}

}  // namespace lossbench::LOSSBENCH_TARGET
