// The samples of a batch, ready to be compared with each other: panels, lengths, class numbers.
#pragma once

#include "arena.h"
#include "convert.h"
#include "parallel.h"
#include "products.h"

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

// 0, 1, 2, ...
template <class T>
inline Ints<T> lane_numbers() {
  static constexpr Integer<T> numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static_assert(WIDTH<T> <= 16, "a vector has more lanes");
  return load_integers<T>(numbers);
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

  void fill(int64_t p) {
    T* to = data + p * dim * PANEL<T>;
    const T* rows[PANEL<T>];
    for (int64_t lane = 0; lane < PANEL<T>; ++lane) {
      const int64_t b = p * PANEL<T> + lane;
      if (b < batch && !in_place_) read_row<T>(x, b, 0, dim, copies + b * dim);
      rows[lane] = b < batch ? row(b) : nullptr;
    }
    for (int64_t lane = 0; lane < PANEL<T>; lane += 4) turn(rows + lane, to + lane);
  }

 private:
  // Four lanes at once, four numbers of each at once.
  void turn(const T* const* rows, T* to) const {
    typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));
    typedef Integer<T> Places __attribute__((vector_size(4 * sizeof(T))));
    int64_t d = 0;
    for (; rows[3] != nullptr && d + 4 <= dim; d += 4) {
      Four r[4];
      for (int i = 0; i < 4; ++i) r[i] = *reinterpret_cast<const Four*>(rows[i] + d);
      const Four low = __builtin_shuffle(r[0], r[1], Places{0, 4, 1, 5});
      const Four high = __builtin_shuffle(r[0], r[1], Places{2, 6, 3, 7});
      const Four lower = __builtin_shuffle(r[2], r[3], Places{0, 4, 1, 5});
      const Four higher = __builtin_shuffle(r[2], r[3], Places{2, 6, 3, 7});
      const Four columns[4] = {__builtin_shuffle(low, lower, Places{0, 1, 4, 5}),
                               __builtin_shuffle(low, lower, Places{2, 3, 6, 7}),
                               __builtin_shuffle(high, higher, Places{0, 1, 4, 5}),
                               __builtin_shuffle(high, higher, Places{2, 3, 6, 7})};
      for (int i = 0; i < 4; ++i)
        *reinterpret_cast<Four*>(to + (d + i) * PANEL<T>) = columns[i];
    }
    for (; d < dim; ++d)
      for (int i = 0; i < 4; ++i) to[d * PANEL<T> + i] = rows[i] == nullptr ? 0 : rows[i][d];
  }

  bool in_place_;
};

// Sets `out [rows][PANEL]` to the scalar products of samples of two sets: of `rows` samples from
// the lane `from` of a panel on, with those of another panel. Every element has one order of sums.
template <class T>
inline void multiply_panels(const Panels<T>& left, int64_t q, int64_t from, int64_t rows,
                            const Panels<T>& right, int64_t p, T* out) {
  for (int64_t k = 0; k < left.dim; k += DEPTH)
    multiply<T>(rows, right.lanes(p),
                ByColumns<T>{left.panel(q) + k * PANEL<T> + from, PANEL<T>},
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

// Numbers the classes by their first samples; `ids [B padded]` is -1 beyond the batch.
template <class T>
struct ClassNumbers {
  int64_t batch, size;
  int bits;
  Integer<T>* ids;
  int32_t* firsts;  // A hash table of samples, -1 where there is none.

  ClassNumbers(int64_t count, int64_t padded, Arena& arena) : batch(count), bits(4) {
    while ((int64_t{1} << bits) < 2 * count) ++bits;
    size = int64_t{1} << bits, padded_ = padded;
    ids = arena.take<Integer<T>>(padded);
    firsts = arena.take<int32_t>(size);
  }

  // Returns the number of classes.
  int64_t fill(const Labels& labels) {
    for (int64_t i = 0; i < size; ++i) firsts[i] = -1;
    int64_t classes = 0;
    for (int64_t b = 0; b < batch; ++b) {
      const uint64_t label = static_cast<uint64_t>(labels[b]);
      uint64_t at = label * 0x9e3779b97f4a7c15u >> (64 - bits);
      while (firsts[at] >= 0 && labels[firsts[at]] != labels[b]) at = (at + 1) % size;
      if (firsts[at] < 0) {
        firsts[at] = static_cast<int32_t>(b);
        ids[b] = static_cast<Integer<T>>(classes++);
      } else {
        ids[b] = ids[firsts[at]];
      }
    }
    for (int64_t b = batch; b < padded_; ++b) ids[b] = -1;
    return classes;
  }

 private:
  int64_t padded_;
};

}  // namespace lossbench::LOSSBENCH_TARGET
