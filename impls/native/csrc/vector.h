// Vectors of the target's width, in the compiler's own notation (GCC, Clang), and their sums.
#pragma once

#include <stdint.h>

namespace lossbench::LOSSBENCH_TARGET {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
  typedef float unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t ints __attribute__((vector_size(VECTOR_BYTES)));
  typedef double unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
};

template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
using Ints = typename VectorOf<T>::ints;

// The number of T in a vector.
template <class T>
constexpr int WIDTH = VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class T>
inline Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(from);
}

template <class T>
inline void store(T* to, Vec<T> value) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(to) = value;
}

template <class T>
inline Vec<T> splat(T value) {
  return value - Vec<T>{};
}

// A comparison with NaN is false, so NaN as the first argument is kept.
template <class T>
inline Vec<T> larger(Vec<T> a, Vec<T> b) {
  return b > a ? b : a;
}

template <class T>
inline Vec<T> smaller(Vec<T> a, Vec<T> b) {
  return b < a ? b : a;
}

// Whether a comparison holds for any lane.
template <class T>
inline bool any(Ints<T> holds) {
  int64_t parts[VECTOR_BYTES / 8], all = 0;
  __builtin_memcpy(parts, &holds, sizeof(parts));
  for (int64_t part : parts) all |= part;
  return all != 0;
}

template <class T>
inline T sum_of(Vec<T> v) {
  // In halves, as the error of a sum grows with its depth.
  T parts[WIDTH<T>];
  store<T>(parts, v);
  for (int half = WIDTH<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
}

// As many numbers as a vector of double holds, in double.
inline Vec<double> load_wide(const double* from) { return load<double>(from); }

inline Vec<double> load_wide(const float* from) {
#if defined(__AVX512F__)
  // One instruction; GCC converts a vector of this width in halves, and joins them.
  return Vec<double>{from[0], from[1], from[2], from[3], from[4], from[5], from[6], from[7]};
#else
  typedef float Half __attribute__((vector_size(VECTOR_BYTES / 2), aligned(4), may_alias));
  return __builtin_convertvector(*reinterpret_cast<const Half*>(from), Vec<double>);
#endif
}

// The scalar product, summed in double.
template <class T>
inline double dot(const T* a, const T* b, int64_t count) {
  constexpr int W = WIDTH<double>;
  Vec<double> first = {}, second = {};
  int64_t i = 0;
  for (; i + 2 * W <= count; i += 2 * W) {
    first += load_wide(a + i) * load_wide(b + i);
    second += load_wide(a + i + W) * load_wide(b + i + W);
  }
  double rest = 0;
  for (; i < count; ++i) rest += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum_of<double>(first + second) + rest;
}

}  // namespace lossbench::LOSSBENCH_TARGET
