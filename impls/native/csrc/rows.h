// Sums and updates along a row, for any length.
#pragma once

#include "convert.h"

namespace lossbench::LOSSBENCH_TARGET {

// The squared distance of two rows, summed in double.
template <class T>
inline double squared_distance(const T* a, const T* b, int64_t count) {
  constexpr int W = WIDTH<double>;
  Vec<double> first = {}, second = {};
  int64_t i = 0;
  for (; i + 2 * W <= count; i += 2 * W) {
    const Vec<double> low = load_wide(a + i) - load_wide(b + i);
    const Vec<double> high = load_wide(a + i + W) - load_wide(b + i + W);
    first += low * low, second += high * high;
  }
  double rest = 0;
  for (; i < count; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    rest += difference * difference;
  }
  return sum_of<double>(first + second) + rest;
}

// The scalar product with a row in double.
template <class T>
inline double product_with(const double* a, const T* b, int64_t count) {
  constexpr int W = WIDTH<double>;
  Vec<double> sum = {};
  int64_t i = 0;
  for (; i + W <= count; i += W) sum += load<double>(a + i) * load_wide(b + i);
  double rest = 0;
  for (; i < count; ++i) rest += a[i] * static_cast<double>(b[i]);
  return sum_of<double>(sum) + rest;
}

// Adds `factor · row` to a sum in double.
template <class T>
inline void add_to(double* sum, const T* row, double factor, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += factor * static_cast<double>(row[i]);
}

}  // namespace lossbench::LOSSBENCH_TARGET
