// The samples of a batch, ready to be compared with each other: panels, lengths, class numbers.
#pragma once

#include "arena.h"
#include "convert.h"
#include "distinct.h"
#include "parallel.h"
#include "products.h"
#include "transpose.h"

namespace lossbench::LOSSBENCH_TARGET {

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

// The integer as wide as T: a lane's index or class number.
template <class T>
struct IntegerOf;
template <>
struct IntegerOf<float> {
  typedef int32_t type;
};
template <>
struct IntegerOf<double> {
  typedef int64_t type;
};
template <class T>
using Integer = typename IntegerOf<T>::type;

template <class T>
inline Ints<T> load_integers(const Integer<T>* from) {
  Ints<T> result;
  __builtin_memcpy(&result, from, sizeof(result));
  return result;
}

template <class T>
inline void store_integers(Integer<T>* to, Ints<T> value) {
  __builtin_memcpy(to, &value, sizeof(value));
}

template <class T>
constexpr T INFINITE = static_cast<T>(__builtin_inf());

// So many numbers of each factor stay in the first-level cache.
constexpr int64_t DEPTH = 128;

// `panels [B / PANEL][D][PANEL]`: lanes are samples. Lanes beyond the batch are 0.
template <class T>
struct Panels {
  const Matrix& x;
  int64_t batch, dim, count;
  T* data;
  T* copies;  // [B, D] where x cannot be read in place, else null.

  Panels(const Matrix& matrix, Arena& arena)
      : x(matrix), batch(x.rows), dim(x.columns), count((batch + PANEL<T> - 1) / PANEL<T>) {
    data = arena.take<T>(count * dim * PANEL<T>);
    in_place_ = x.dtype == DTYPE<T> && x.column_stride == 1;
    copies = in_place_ ? nullptr : arena.take<T>(batch * dim);
  }

  const T* panel(int64_t p) const { return data + p * dim * PANEL<T>; }
  int64_t lanes(int64_t p) const { return lesser(PANEL<T>, batch - p * PANEL<T>); }
  int vectors(int64_t p) const { return lanes(p) <= WIDTH<T> ? 1 : 2; }
  int64_t padded() const { return count * PANEL<T>; }
  const T* row(int64_t b) const {
    return in_place_ ? static_cast<const T*>(x.data) + b * x.row_stride : copies + b * dim;
  }

  // The distance of two rows in memory.
  int64_t stride() const { return in_place_ ? x.row_stride : dim; }

  void fill(int64_t p) const {
    T* to = data + p * dim * PANEL<T>;
    const int64_t first = p * PANEL<T>;
    if (!in_place_)
      for (int64_t b = first; b < first + lanes(p); ++b)
        read_row<T>(x, b, 0, dim, copies + b * dim);
    if (lanes(p) < PANEL<T>)
      for (int64_t i = 0; i < dim * PANEL<T>; ++i) to[i] = 0;
    transpose<T>(row(first), stride(), lanes(p), dim, to, PANEL<T>);
  }

 private:
  bool in_place_;
};

// Sets `out [rows][PANEL]` to the scalar products of samples of two sets: of `rows` samples from
// the lane `from` of a panel on, with those of another panel. Every element has one order of sums.
template <class T>
inline void multiply_panels(const Panels<T>& left, int64_t q, int64_t from, int64_t rows,
                            const Panels<T>& right, int64_t p, T* out) {
  for (int64_t k = 0; k < left.dim; k += DEPTH)
    multiply<T>(rows, right.lanes(p), ByColumns<T>{left.panel(q) + k * PANEL<T> + from, PANEL<T>},
                right.panel(p) + k * PANEL<T>, lesser(DEPTH, left.dim - k), out,
                k == 0 ? Store::set : Store::add);
}

// Half the squared length of every sample, infinite beyond the batch; `[B padded]`.
template <class T>
inline void fill_halves(const Panels<T>& samples, int64_t p, T* halves) {
  for (int64_t v = 0; v < PANEL<T>; v += WIDTH<T>) {
    Vec<T> sum = {};
    for (int64_t k = 0; k < samples.dim; k += DEPTH) {
      Vec<T> part = {};
      const T* numbers = samples.panel(p) + v;
      for (int64_t d = k; d < lesser(k + DEPTH, samples.dim); ++d)
        part += load<T>(numbers + d * PANEL<T>) * load<T>(numbers + d * PANEL<T>);
      sum += part;
    }
    store<T>(halves + p * PANEL<T> + v, sum * static_cast<T>(0.5));
  }
  for (int64_t lane = samples.lanes(p); lane < PANEL<T>; ++lane)
    halves[p * PANEL<T> + lane] = INFINITE<T>;
}

// Whether no distance overflows; else, or where a number is NaN, it is false.
template <class T>
inline bool all_finite(const Panels<T>& samples, const T* halves) {
  const T most = (sizeof(T) == 8 ? 1.7976931348623157e308 : 3.402823466e38) / 8;
  bool finite = true;
  for (int64_t b = 0; b < samples.batch; ++b) finite = finite && halves[b] < most;
  return finite;
}

// The number of each sample's class, `[B padded]`; -1 beyond the batch.
template <class T>
struct ClassNumbers {
  Distinct distinct;
  int64_t batch, padded;
  Integer<T>* ids;

  ClassNumbers(int64_t count, int64_t padded_count, Arena& arena)
      : distinct(count, arena), batch(count), padded(padded_count) {
    ids = arena.take<Integer<T>>(padded);
  }

  void fill(const Labels& labels) {
    distinct.fill(labels, [&](int64_t b, int64_t id) { ids[b] = static_cast<Integer<T>>(id); });
    for (int64_t b = batch; b < padded; ++b) ids[b] = -1;
  }

  // Whether the lanes of a panel's vector are of the class of a sample.
  Ints<T> same(int64_t sample, int64_t p, int v) const {
    return load_integers<T>(ids + p * PANEL<T> + v * WIDTH<T>) == Ints<T>{} + ids[sample];
  }
};

// Calls `f(task)` for every task, spread over threads.
template <class F>
inline void for_each(int64_t tasks, double operations, const F& f) {
  spread(slots_for(tasks, operations), tasks, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) f(task);
  });
}

// Adds `factor (a - b)` to a row of a gradient, and subtracts it from another.
template <class T>
inline void pull_apart(const T* a, const T* b, T factor, int64_t count, T* to_a, T* to_b) {
#pragma GCC ivdep
  for (int64_t d = 0; d < count; ++d) {
    const T part = factor * (a[d] - b[d]);
    to_a[d] += part, to_b[d] -= part;
  }
}

}  // namespace lossbench::LOSSBENCH_TARGET
